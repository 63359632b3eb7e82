"""Where a rule meets a restart, a lost leaf or a late certificate: what must go on, and what must not be signed."""

from consensus.effects import Effect, Persist, Send, SetTimer
from consensus.events import PeerLost, Timer, TimerFired
from consensus.fetch import ORPHANS_MAX
from consensus.leaf import Block
from consensus.messages import (
    FinalizeVote,
    LeafRequest,
    LeafResponse,
    QuorumProposal,
    QuorumVote,
    StatusResponse,
    TimeoutVote,
)
from consensus.parameters import ConsensusParameters
from consensus.types import ValidatorId
from tests.lab import Bench, Lab, get_messages, select

# Validator 3 is under test: with four equal stakes it leads views 3, 7, 11, …
SUBJECT = 3
PARAMETERS = ConsensusParameters()


def serve(bench: Bench, effects: list[Effect], blocks: list[Block]) -> list[LeafRequest]:
    """Answer every leaf request of the next while; returns the requests."""
    known = {block.commitment: block for block in blocks}
    requests: list[LeafRequest] = []
    for _ in range(4 * len(blocks)):
        asked = [send.message for send in select(effects, Send) if isinstance(send.message, LeafRequest)]
        requests += asked
        effects = []
        for request in asked:
            block = known[request.leaf]
            effects += bench.receive(0, LeafResponse(block.leaf, block.payload))
        bench.wait(PARAMETERS.fetch_interval)
        effects += bench.handle(TimerFired(Timer.FETCH))
    return requests


def lose_orphans(lab: Lab) -> tuple[Bench, list[Block]]:
    """A replica that has fetched a certified branch longer than it may hold unconnected, and lost the top of it."""
    bench = lab.bench(SUBJECT)
    bench.start()
    blocks = lab.chain(ORPHANS_MAX + 3)
    serve(bench, bench.receive(0, StatusResponse(lab.qc(blocks[-1]), None, None)), blocks)
    assert len(bench.replica.chain.blocks) >= ORPHANS_MAX
    assert bench.replica.high_block is None, "its leaf was the first to make room"
    return bench, blocks


# L3


def test_l3_a_leaf_that_was_lost_again_is_asked_for_when_its_certificate_comes_again(lab: Lab) -> None:
    bench, blocks = lose_orphans(lab)
    serve(bench, bench.receive(1, lab.timeout(1, len(blocks) + 1, lab.qc(blocks[-1]))), blocks)
    assert bench.replica.high_block is not None


def test_l3_a_leaf_that_was_lost_again_is_asked_for_when_the_view_times_out(lab: Lab) -> None:
    bench, blocks = lose_orphans(lab)
    bench.now = [effect.deadline for effect in select(bench.effects, SetTimer) if effect.timer is Timer.VIEW][-1]
    serve(bench, bench.handle(TimerFired(Timer.VIEW)), blocks)
    assert bench.replica.high_block is not None


# R2


def test_r2_a_leader_goes_on_when_a_later_qc_is_for_a_leaf_that_it_holds(lab: Lab) -> None:
    """It entered its view by a TC, and the leaf of its highest QC, of an older view, is missing."""
    bench = lab.bench(SUBJECT)
    bench.start()
    missing = lab.chain(1)[0]
    held = lab.block(lab.genesis, 2, tc=lab.tc(1, lab.genesis_qc))
    bench.propose(held)
    bench.receive(0, StatusResponse(lab.qc(missing), None, lab.tc(2, lab.genesis_qc)))
    assert not get_messages(bench.effects, QuorumProposal)
    effects = bench.receive(0, StatusResponse(lab.qc(held), None, None))
    assert [proposal.leaf.parent for proposal in get_messages(effects, QuorumProposal)] == [held.commitment]


def test_r2_a_proposal_is_repeated_after_a_restart_although_high_qc_has_risen_since(lab: Lab) -> None:
    """The same bytes again harm nobody; silence would cost the view."""
    bench = lab.bench(SUBJECT)
    bench.start()
    bench.receive(0, StatusResponse(lab.genesis_qc, None, lab.tc(2, lab.genesis_qc)))
    (proposal,) = get_messages(bench.effects, QuorumProposal)
    bench.receive(0, StatusResponse(lab.qc(lab.chain(1)[0]), None, None))
    again = lab.bench(SUBJECT, bench.record, undecided=(Block(proposal.leaf, proposal.payload),))
    again.start()
    assert get_messages(again.effects, QuorumProposal) == [proposal]


def test_r2_a_leader_extends_the_tcs_highest_qc_although_it_came_in_the_tc_alone(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    first = lab.chain(1)[0]
    bench.propose(first)
    effects = bench.receive(0, StatusResponse(lab.genesis_qc, None, lab.tc(2, lab.qc(first))))
    assert [proposal.leaf.parent for proposal in get_messages(effects, QuorumProposal)] == [first.commitment]


# R7


def test_r7_no_timeout_of_a_view_whose_qc_is_being_handled(lab: Lab) -> None:
    """Nobody would accept it: its high_qc is of the very view that it gives up.

    The leader's connection is gone, and its name becomes known only with the QC, since the leaf of the last high_qc is
    missing; the own FinalizeVote then completes an FC before the next view is entered.
    """
    first, missing = lab.block(lab.genesis, 2, tc=lab.tc(1, lab.genesis_qc)), lab.chain(1)[0]
    before = lab.bench(SUBJECT)
    before.start()
    before.propose(first)
    before.receive(0, StatusResponse(lab.qc(missing), None, None))
    bench = lab.bench(SUBJECT, before.record, undecided=(first,))
    bench.start()
    bench.handle(PeerLost(ValidatorId(2)))
    for number in (0, 1):
        bench.receive(number, lab.finalize(number, first))
    effects = bench.receive(0, StatusResponse(lab.qc(first), None, None))
    assert [block.commitment for block in bench.decided] == [first.commitment]
    assert not [vote for vote in get_messages(effects, TimeoutVote) if vote.view == first.leaf.view]


# R8


def test_r8_what_is_sent_again_after_a_restart_waits_for_a_sync_too(lab: Lab) -> None:
    """A process that was killed between write and sync finds its record again, and the power may fail after that."""
    bench = lab.bench(SUBJECT)
    bench.start()
    block = lab.chain(1)[0]
    bench.propose(block)
    bench.certify(block)
    again = lab.bench(SUBJECT, bench.record, undecided=(block,))
    effects = again.start()
    bare = [effect for effect in effects if not isinstance(effect, Persist)]
    for kind in (QuorumVote, FinalizeVote):
        assert get_messages(effects, kind)
        assert not get_messages(bare, kind)


# R5


def test_r5_finalize_first_then_enter_even_when_the_next_leader_is_gone(lab: Lab) -> None:
    """The other order would time out in the new view at once, and then forbid the FinalizeVote of the old one."""
    bench = lab.bench(SUBJECT)
    bench.start()
    bench.handle(PeerLost(ValidatorId(2)))
    block = lab.chain(1)[0]
    bench.propose(block)
    effects = bench.certify(block, voters=(0, 1))
    assert [vote.view for vote in get_messages(effects, FinalizeVote)] == [1]
    assert [(vote.view, vote.high_qc_view) for vote in get_messages(effects, TimeoutVote)] == [(2, 1)]


# L3


def test_l3_the_answer_to_a_peer_that_is_behind_holds_the_tc_that_it_needs(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    bench.receive(0, StatusResponse(lab.genesis_qc, None, lab.tc(4, lab.genesis_qc)))
    (status,) = get_messages(bench.receive(1, lab.timeout(1, 1, lab.genesis_qc)), StatusResponse)
    behind = lab.bench(1)
    behind.start()
    behind.receive(SUBJECT, status)
    assert behind.replica.view == 5


def test_l3_after_a_restart_the_leaf_of_high_qc_is_asked_for(lab: Lab) -> None:
    before = lab.bench(SUBJECT)
    before.start()
    missing = lab.chain(1)[0]
    before.receive(0, StatusResponse(lab.qc(missing), None, None))
    bench = lab.bench(SUBJECT, before.record)
    bench.start()
    bench.wait(PARAMETERS.fetch_interval)
    requests = [send.message for send in select(bench.handle(TimerFired(Timer.FETCH)), Send)]
    assert requests == [LeafRequest(missing.commitment)]


# R8


def test_r8_the_certificate_by_which_a_view_was_entered_is_in_the_record(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    tc = lab.tc(1, lab.genesis_qc)
    effects = bench.receive(0, StatusResponse(lab.genesis_qc, None, tc))
    assert select(effects, Persist)[-1].record.entry == tc
    again = lab.bench(SUBJECT, bench.record)
    again.start()
    assert again.replica.view == 2


def test_r8_a_block_is_durable_with_the_finalize_vote_for_it_when_it_was_not_voted_for(lab: Lab) -> None:
    """A decided block is on the disks of a quorum before anyone can know that it is decided."""
    bench = lab.bench(SUBJECT)
    bench.start()
    block = lab.chain(1)[0]
    bench.receive(0, StatusResponse(lab.qc(block), None, None))
    effects = bench.receive(0, LeafResponse(block.leaf, block.payload))
    (persist,) = [effect for effect in select(effects, Persist) if get_messages([effect], FinalizeVote)]
    assert [stored.commitment for stored in persist.blocks] == [block.commitment]
