"""Section 3, rules R1 to R7: one test per sentence, named after it. R8 is in test_durability."""

import msgspec
import pytest

from consensus.effects import BuildPayload, Drop, EnteredView, SetTimer, TimedOut
from consensus.errors import InvalidMessage
from consensus.events import PayloadBuilt, Timer, TimerFired
from consensus.leaf import Block
from consensus.messages import (
    FinalizeVote,
    LeafResponse,
    QuorumProposal,
    QuorumVote,
    StatusResponse,
    TimeoutVote,
)
from consensus.types import Microseconds, View
from tests.lab import START, Lab, get_messages, select

# Validator 3 is under test: with four equal stakes it leads views 3, 7, 11, …
SUBJECT = 3


# R1


@pytest.mark.parametrize("kind", ["qc", "fc", "tc"])
def test_r1_a_replica_enters_view_v_plus_1_on_a_certificate_of_view_v(lab: Lab, kind: str) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    (block,) = lab.chain(1)
    status = {
        "qc": StatusResponse(lab.qc(block), None, None),
        "fc": StatusResponse(lab.genesis_qc, lab.fc(block), None),
        "tc": StatusResponse(lab.genesis_qc, None, lab.tc(1, lab.genesis_qc)),
    }[kind]
    effects = bench.receive(0, status)
    assert bench.replica.view == 2
    assert [effect.view for effect in select(effects, EnteredView)] == [2]
    assert next(effect.timer for effect in select(effects, SetTimer)) is Timer.VIEW


def test_r1_nothing_but_a_certificate_opens_a_view(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    block = lab.chain(1)[0]
    bench.propose(block)
    bench.receive(0, lab.vote(0, block))
    bench.wait(10**9)
    bench.handle(TimerFired(Timer.VIEW))
    assert bench.replica.view == 1


def test_r1_views_never_go_back(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    blocks = lab.chain(5)
    bench.receive(0, StatusResponse(lab.qc(blocks[4]), None, None))
    bench.receive(0, StatusResponse(lab.qc(blocks[1]), None, lab.tc(3, lab.qc(blocks[1]))))
    assert bench.replica.view == 6


def test_r1_the_entry_certificate_is_relayed_once_to_a_peer_known_to_be_behind(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    blocks = lab.chain(6)
    bench.receive(0, lab.vote(0, blocks[0]))  # validator 0 was last heard of in view 1
    effects = bench.receive(1, StatusResponse(lab.qc(blocks[5]), None, None))
    assert [message.high_qc.view for message in get_messages(effects, StatusResponse)] == [6]


# R2


def test_r2_the_leader_extends_the_qc_by_which_it_entered(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    first, second = lab.chain(2)
    for block in (first, second):
        bench.propose(block)
        bench.certify(block)
    (proposal,) = get_messages(bench.effects, QuorumProposal)
    assert (proposal.leaf.view, proposal.leaf.parent, proposal.leaf.justify_qc.view) == (3, second.commitment, 2)
    assert proposal.leaf.timeout_certificate is None


def test_r2_after_a_tc_it_extends_its_highest_qc_and_the_proposal_carries_the_tc(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    first = lab.chain(1)[0]
    bench.propose(first)
    bench.certify(first)
    bench.receive(0, StatusResponse(lab.genesis_qc, None, lab.tc(2, lab.genesis_qc)))
    (proposal,) = get_messages(bench.effects, QuorumProposal)
    assert proposal.leaf.parent == first.commitment
    assert proposal.leaf.timeout_certificate is not None
    assert proposal.leaf.timeout_certificate.view == 2


def test_r2_one_proposal_per_view_ever_restarts_included(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    bench.receive(0, StatusResponse(lab.genesis_qc, None, lab.tc(2, lab.genesis_qc)))
    assert len(get_messages(bench.effects, QuorumProposal)) == 1
    bench.handle(PayloadBuilt(View(3), lab.genesis.commitment, b"again"))
    assert len(get_messages(bench.effects, QuorumProposal)) == 1
    again = lab.bench(SUBJECT, bench.record)
    again.payload = b"something else"
    again.start()
    assert not get_messages(again.effects, QuorumProposal)


def test_r2_after_a_restart_the_leader_sends_its_proposal_again_when_it_still_has_it(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    bench.receive(0, StatusResponse(lab.genesis_qc, None, lab.tc(2, lab.genesis_qc)))
    (proposal,) = get_messages(bench.effects, QuorumProposal)
    again = lab.bench(SUBJECT, bench.record, undecided=(Block(proposal.leaf, proposal.payload),))
    again.payload = b"something else"
    again.start()
    assert get_messages(again.effects, QuorumProposal) == [proposal]
    again.handle(PayloadBuilt(View(3), lab.genesis.commitment, b"something else"))
    assert get_messages(again.effects, QuorumProposal) == [proposal]


def test_r2_a_leader_without_the_leaf_that_it_must_extend_waits_for_it(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    first, second = lab.chain(2)
    bench.propose(first)
    bench.receive(0, StatusResponse(lab.qc(second), None, None))
    assert bench.replica.view == 3
    assert not select(bench.effects, BuildPayload)
    bench.receive(0, LeafResponse(second.leaf, second.payload))
    (proposal,) = get_messages(bench.effects, QuorumProposal)
    assert proposal.leaf.parent == second.commitment


# R3


def test_r3_a_valid_proposal_is_voted_for(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    block = lab.chain(1)[0]
    effects = bench.propose(block)
    (vote,) = get_messages(effects, QuorumVote)
    assert (vote.view, vote.leaf, vote.voter) == (1, block.commitment, SUBJECT)
    assert lab.validator.is_genuine(vote)


def test_r3_its_certificates_are_processed_first(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    first, second = lab.chain(2)
    bench.propose(first)
    effects = bench.propose(second)  # brings QC(1): finalize view 1, enter view 2, then vote
    sent = [type(message) for message in get_messages(effects, FinalizeVote | QuorumVote)]  # type: ignore[arg-type]
    assert sent == [FinalizeVote, QuorumVote]


def test_r3a_no_second_vote_in_a_view(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    bench.propose(lab.block(lab.genesis, 1, payload=b"one"))
    effects = bench.propose(lab.block(lab.genesis, 1, payload=b"two"))
    assert not get_messages(effects, QuorumVote)


def test_r3a_no_vote_after_the_own_timeout(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    bench.expire_view()
    effects = bench.propose(lab.chain(1)[0])
    assert not get_messages(effects, QuorumVote)


BENT_LEAVES: dict[str, dict[str, object]] = {
    "proposer": {"proposer": 2},
    "height": {"height": 2},
    "timestamp before the parent": {"timestamp_ms": 0},
    "timestamp ahead": {"timestamp_ms": START // 1000 + 60_000},
    "ledger": {"ledger": bytes(32)},
}


@pytest.mark.parametrize("bend", BENT_LEAVES, ids=str)
def test_r3b_an_invalid_leaf_is_not_voted_for_and_changes_nothing(lab: Lab, bend: str) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    record = bench.record
    effects = bench.propose(lab.block(lab.genesis, 1, bend=BENT_LEAVES[bend]))
    assert not get_messages(effects, QuorumVote)
    assert [drop.reason for drop in select(effects, Drop)] == ["bad_leaf"]
    assert bench.record == record
    assert get_messages(bench.propose(lab.chain(1)[0]), QuorumVote), "the good leaf of the view must still be voted for"


@pytest.mark.parametrize(
    "bend", [{"version": 1}, {"payload": bytes(32)}, {"payload_bytes": 7}, {"parent": b"p" * 32}], ids=str
)
def test_r3b_what_needs_no_state_is_refused_before_it_reaches_the_replica(lab: Lab, bend: dict[str, object]) -> None:
    with pytest.raises(InvalidMessage):
        lab.bench(SUBJECT).propose(lab.block(lab.genesis, 1, bend=bend))


def test_r3b_a_payload_that_the_application_refuses_is_not_voted_for(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    bench.accepts = False
    assert not get_messages(bench.propose(lab.chain(1)[0]), QuorumVote)


def test_r3c_a_skipped_view_needs_its_tc(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    for block in (lab.block(lab.genesis, 2), lab.block(lab.genesis, 3, tc=lab.tc(1, lab.genesis_qc))):
        effects = bench.propose(block)
        assert [drop.reason for drop in select(effects, Drop)] == ["unjustified"]
        assert not get_messages(effects, QuorumVote)
    effects = bench.propose(lab.block(lab.genesis, 2, tc=lab.tc(1, lab.genesis_qc)))
    assert get_messages(effects, QuorumVote)


def test_r3c_justify_qc_must_not_be_below_the_tcs_highest(lab: Lab) -> None:
    bench = lab.bench(2)
    bench.start()
    first, second = lab.chain(2)
    for block in (first, second):
        bench.propose(block)
    tc = lab.tc(3, lab.qc(second))
    stale = lab.block(first, 4, justify=lab.qc(first), tc=tc)
    assert not get_messages(bench.propose(stale), QuorumVote)
    fresh = lab.block(second, 4, justify=lab.qc(second), tc=tc)
    other = lab.bench(2)
    other.start()
    for block in (first, second):
        other.propose(block)
    assert get_messages(other.propose(fresh), QuorumVote), "equal to the highest is enough: more would cost liveness"


# R4, R5


def test_r4_quorum_votes_of_success_threshold_make_the_qc_in_stake_not_in_heads() -> None:
    lab = Lab(stakes=(1, 1, 4, 1))  # total 7, threshold 5
    bench = lab.bench(0)
    bench.start()
    block = lab.block(lab.genesis, 1)
    bench.propose(block)
    own = 1
    bench.receive(1, lab.vote(1, block))
    bench.receive(3, lab.vote(3, block))
    assert bench.replica.high_qc.view == 0, f"three heads, but only {own + 2} of 7"
    bench.receive(2, lab.vote(2, block))
    assert bench.replica.high_qc.view == 1


def test_r4_a_forged_vote_is_not_counted(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    block = lab.chain(1)[0]
    bench.propose(block)
    bench.receive(0, msgspec.structs.replace(lab.vote(0, block), signature=bytes(64)))
    effects = bench.receive(1, lab.vote(1, block))
    assert [drop.reason for drop in select(effects, Drop)] == ["bad_signature"]
    assert bench.replica.high_qc.view == 0
    bench.receive(2, lab.vote(2, block))
    assert bench.replica.high_qc.view == 1


def test_r5_on_a_qc_it_raises_high_qc_finalizes_and_enters_the_next_view(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    block = lab.chain(1)[0]
    bench.propose(block)
    effects = bench.certify(block)
    (vote,) = get_messages(effects, FinalizeVote)
    assert (vote.view, vote.leaf) == (1, block.commitment)
    assert bench.replica.high_qc.view == 1
    assert bench.replica.view == 2


def test_r5_high_qc_rises_however_old_the_qc_is(lab: Lab) -> None:
    """After a long row of timeouts the highest QC may be known to one replica only: it must still get through."""
    bench = lab.bench(SUBJECT)
    bench.start()
    first = lab.chain(1)[0]
    bench.receive(0, StatusResponse(lab.genesis_qc, None, lab.tc(500, lab.genesis_qc)))
    bench.receive(0, lab.timeout(0, 501, lab.qc(first), lab.tc(500, lab.genesis_qc)))
    assert bench.replica.high_qc.view == 1


def test_r5_no_finalize_vote_after_a_timeout_of_a_view_at_or_above(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    block = lab.chain(1)[0]
    bench.propose(block)
    bench.expire_view()
    effects = bench.certify(block)
    assert bench.replica.view == 2
    assert not get_messages(effects, FinalizeVote)


def test_r5_a_late_payload_earns_the_finalize_vote_later(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    block = lab.chain(1)[0]
    effects = bench.certify(block)
    assert bench.replica.view == 2
    assert not get_messages(effects, FinalizeVote)
    assert get_messages(bench.propose(block), FinalizeVote)


def test_r5_a_late_payload_earns_nothing_after_a_timeout(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    block = lab.chain(1)[0]
    bench.certify(block)
    bench.expire_view()
    assert not get_messages(bench.propose(block), FinalizeVote)


def test_r5_there_is_no_lock_besides_high_qc(lab: Lab) -> None:
    """It finalized A in view 1; after TC(2) whose signers never saw QC(1) a sibling of A is still voted for."""
    bench = lab.bench(SUBJECT)
    bench.start()
    first = lab.chain(1)[0]
    bench.propose(first)
    bench.certify(first, voters=(0, 1))
    assert bench.record.finalized_view == 1
    sibling = lab.block(lab.genesis, 4, tc=lab.tc(3, lab.genesis_qc))
    assert get_messages(bench.propose(sibling), QuorumVote)


# R6


def test_r6_an_fc_decides_the_leaf_and_its_ancestors_in_order_once(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    first, second = lab.chain(2)
    bench.propose(first)
    bench.propose(second)
    for number in (0, 1, 2):
        bench.receive(number, lab.vote(number, second))
    for number in (0, 1, 2):
        bench.receive(number, lab.finalize(number, second))
    bench.receive(0, StatusResponse(lab.genesis_qc, lab.fc(first), None))
    bench.receive(0, StatusResponse(lab.genesis_qc, lab.fc(second), None))
    assert [block.commitment for block in bench.decided] == [first.commitment, second.commitment]


def test_r6_finalize_votes_wait_for_the_qc_that_their_certificate_must_hold(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    block = lab.chain(1)[0]
    bench.propose(block)
    for number in (0, 1, 2):
        bench.receive(number, lab.finalize(number, block))
    assert not bench.decided
    bench.certify(block)
    assert [decided.commitment for decided in bench.decided] == [block.commitment]


@pytest.mark.parametrize("by_votes", [True, False])
def test_r6_every_fc_decides_when_its_leaf_comes_not_only_the_newest(lab: Lab, by_votes: bool) -> None:
    """A replica whose blocks are always a little late must not wait for the newest FC's for ever."""
    bench = lab.bench(SUBJECT)
    bench.start()
    blocks = lab.chain(4)
    for block in blocks:
        if by_votes:
            bench.certify(block)
            for number in (0, 1, 2):
                bench.receive(number, lab.finalize(number, block))
        else:
            bench.receive(0, StatusResponse(lab.genesis_qc, lab.fc(block), None))
    bench.propose(blocks[0])
    bench.propose(blocks[1])
    assert [block.leaf.height for block in bench.decided] == [1, 2]
    assert bench.replica.is_behind


def test_r6_a_leaf_without_an_fc_is_not_decided(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    for block in lab.chain(3)[:2]:
        bench.propose(block)
        bench.certify(block)
    assert not bench.decided


# R7


def test_r7_the_timer_of_its_view_makes_it_time_out(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    effects = bench.expire_view()
    (vote,) = get_messages(effects, TimeoutVote)
    assert (vote.view, vote.high_qc_view) == (1, 0)
    assert [effect.view for effect in select(effects, TimedOut)] == [1]


def test_r7_a_timer_that_fires_early_is_set_again(lab: Lab) -> None:
    """A runtime may round: the view must still end some time."""
    bench = lab.bench(SUBJECT)
    (first,) = [effect for effect in select(bench.start(), SetTimer) if effect.timer is Timer.VIEW]
    bench.now = Microseconds(first.deadline - 1)
    effects = bench.handle(TimerFired(Timer.VIEW))
    assert effects == [first]


def test_r7_one_honest_threshold_of_timeouts_is_followed(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    assert not get_messages(bench.receive(0, lab.timeout(0, 1, lab.genesis_qc)), TimeoutVote)
    assert get_messages(bench.receive(1, lab.timeout(1, 1, lab.genesis_qc)), TimeoutVote)


def test_r7_a_repetition_carries_newer_certificates_under_the_same_signature(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    first = lab.chain(1)[0]
    bench.receive(0, StatusResponse(lab.genesis_qc, None, lab.tc(2, lab.genesis_qc)))
    (vote,) = get_messages(bench.expire_view(), TimeoutVote)
    bench.receive(0, StatusResponse(lab.qc(first), None, None))
    (again,) = get_messages(bench.expire_view(), TimeoutVote)
    assert (vote.high_qc.view, again.high_qc.view) == (0, 1)
    assert (again.high_qc_view, again.signature) == (vote.high_qc_view, vote.signature)
    lab.validator.validate(bench.safety.validator_id, again)


def test_r7_the_certificates_of_a_timeout_vote_bring_a_lower_replica_up(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    first = lab.chain(1)[0]
    bench.receive(0, lab.timeout(0, 5, lab.qc(first), entry_tc=lab.tc(4, lab.qc(first))))
    assert bench.replica.view == 5


def test_r7_timeout_votes_of_success_threshold_make_the_tc(lab: Lab) -> None:
    bench = lab.bench(2)
    bench.start()
    for number in (0, 1):
        bench.receive(number, lab.timeout(number, 1, lab.genesis_qc))
    assert bench.replica.view == 2
    (proposal,) = get_messages(bench.effects, QuorumProposal)
    assert proposal.leaf.timeout_certificate is not None
    lab.validator.certificates.verify(proposal.leaf.timeout_certificate)
