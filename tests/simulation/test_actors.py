"""Each liar's actor by itself: what every peer gets, whether it is valid, and what it proves against the liar."""

from collections.abc import Iterable
from random import Random

import pytest

from consensus.effects import Report
from consensus.evidence import ForgottenFinalize, SignedLeaf, find_evidence_flaw
from consensus.leaf import compute_leaf_commitment, make_header
from consensus.messages import (
    FinalizeVote,
    Message,
    QuorumProposal,
    QuorumVote,
    ReplicaMessage,
    StatusRequest,
    TimeoutVote,
    decode,
    encode,
)
from consensus.types import Epoch, ValidatorId, View
from consensus.validation import Deferred, Verified
from netsim.byzantine.actor import PROPOSALS_MAX, Actor, Means
from netsim.byzantine.behaviours import BEHAVIOURS, make_actor
from tests.lab import EPOCH, Lab, select

LIAR = 1
"""Leads view 1."""
FORGERS = {
    "forge_certificates",
    "replay",
    "speak_ahead",
    "serve_lies",
    "mutate_slightly",
    "mutate_anything",
    "flood_signatures",
    "frame",
    "forge_anything",
}
"""What they say is not meant to be let in, see test_forging_actors."""


def make(lab: Lab, name: str) -> Actor:
    means = Means(
        lab.context.network_id, ValidatorId(LIAR), lab.signers[LIAR], lab.context.parameters, Random(f"actor/{name}")
    )
    return make_actor(name, means)


def say(actor: Actor, message: Message, peers: Iterable[int] = (0, 2, 3)) -> list[list[Message]]:
    """What each peer gets of one broadcast."""
    return [list(actor.send(message, ValidatorId(to))) for to in peers]


@pytest.mark.parametrize("name", sorted(set(BEHAVIOURS) - FORGERS))
def test_whatever_a_liar_says_is_well_formed_and_its_own(lab: Lab, name: str) -> None:
    """What a validator refuses at the door would be no test of what stands behind it."""
    actor = make(lab, name)
    chain = lab.chain(12)
    said: list[ReplicaMessage] = []
    for block in chain:
        own = block.leaf.proposer == LIAR
        words: list[Message] = [lab.proposal(block)] if own else []
        if not own:
            actor.hear(lab.proposal(block))
        words += [lab.vote(LIAR, block), lab.finalize(LIAR, block), StatusRequest(Epoch(EPOCH), block.leaf.view)]
        words += [lab.timeout(LIAR, block.leaf.view + 1, lab.qc(block))]
        said += [instead for word in words for peer in say(actor, word) for instead in peer]  # type: ignore[misc]
    assert said
    for message in said:
        assert decode(encode(message)) == message
        if isinstance(message, QuorumProposal) and not make_header(message.leaf).is_justified:
            assert name in ("propose_stale", "vote_unjustified", "do_anything")
            continue
        item = lab.validator.validate(ValidatorId(LIAR), message)
        if isinstance(item, Deferred):
            assert lab.validator.is_genuine(item.vote)
        else:
            assert isinstance(item, Verified)


def test_equivocate_gives_halves_of_the_network_different_leaves(lab: Lab) -> None:
    actor = make(lab, "equivocate")
    block = lab.block(lab.genesis, 1)
    (even,), (odd,) = say(actor, lab.proposal(block), peers=(0, 3))
    assert even == lab.proposal(block)
    assert isinstance(odd, QuorumProposal)
    assert odd.leaf != block.leaf
    assert odd.leaf.view == block.leaf.view
    (vote,), (other,) = say(actor, lab.vote(LIAR, block), peers=(0, 3))
    assert isinstance(vote, QuorumVote)
    assert isinstance(other, QuorumVote)
    assert (vote.leaf, other.leaf) == (block.commitment, compute_leaf_commitment(odd.leaf))


def test_equivocate_votes_honestly_for_others(lab: Lab) -> None:
    block = lab.block(lab.genesis, 2, tc=lab.tc(1, lab.genesis_qc))
    vote = lab.vote(LIAR, block)
    assert say(make(lab, "equivocate"), vote) == [[vote]] * 3


def test_double_vote_prefers_a_competitor_that_exists(lab: Lab) -> None:
    actor = make(lab, "double_vote")
    block, rival = lab.block(lab.genesis, 1), lab.block(lab.genesis, 1, payload=b"rival")
    _, made_up = say(actor, lab.vote(LIAR, block))[0]
    assert isinstance(made_up, QuorumVote)
    assert made_up.leaf not in (block.commitment, rival.commitment)
    actor.hear(lab.proposal(rival))
    _, competitor = say(actor, lab.finalize(LIAR, block))[0]
    assert isinstance(competitor, FinalizeVote)
    assert competitor.leaf == rival.commitment


def test_forget_proves_e4_against_itself(lab: Lab) -> None:
    actor = make(lab, "forget")
    block = lab.chain(4)[-1]
    actor.hear(lab.proposal(block))
    finalize, timeout = say(actor, lab.finalize(LIAR, block))[0]
    assert isinstance(finalize, FinalizeVote)
    assert isinstance(timeout, TimeoutVote)
    evidence = ForgottenFinalize(
        ValidatorId(LIAR),
        Epoch(EPOCH),
        finalize.view,
        SignedLeaf(finalize.leaf, finalize.signature),
        timeout.view,
        timeout.high_qc_view,
        timeout.signature,
    )
    public_key = lab.table.get_validator(ValidatorId(LIAR)).public_key
    assert find_evidence_flaw(evidence, public_key, lab.scheme, lab.context.network_id) is None


def test_e4_a_timeout_of_a_view_that_is_over_is_held_against_who_finalized_it(lab: Lab) -> None:
    """Whoever forgets, forgets late: the others have left that view long ago."""
    bench = lab.bench(0)
    actor = make(lab, "forget")
    chain = lab.chain(6)
    bench.start()
    for block in chain:
        bench.propose(block)
        bench.certify(block)
        actor.hear(lab.proposal(block))
    finalize, timeout = say(actor, lab.finalize(LIAR, chain[3]))[0]
    assert isinstance(timeout, TimeoutVote)
    assert bench.replica.view > timeout.view
    reports = [
        report.evidence
        for message in (finalize, timeout)
        for report in select(bench.receive(LIAR, message), Report)  # type: ignore[arg-type]
    ]
    assert [(type(evidence), evidence.offender) for evidence in reports] == [(ForgottenFinalize, LIAR)]


def test_forget_signs_every_timeout_as_if_it_knew_nothing(lab: Lab) -> None:
    block = lab.chain(3)[-1]
    (timeout,) = say(make(lab, "forget"), lab.timeout(LIAR, 4, lab.qc(block)))[0]
    assert isinstance(timeout, TimeoutVote)
    assert (timeout.view, timeout.high_qc_view) == (View(4), View(0))


def test_vote_unjustified_undoes_the_parent_and_votes_for_that(lab: Lab) -> None:
    actor = make(lab, "vote_unjustified")
    first, second, third, fourth, fifth = lab.chain(5)
    for block in (first, second, third, fourth):
        actor.hear(lab.proposal(block))
    (stale,) = say(actor, lab.proposal(fifth))[0]
    assert isinstance(stale, QuorumProposal)
    assert stale.leaf.parent == third.commitment
    assert stale.leaf.ledger == lab.get_ledger(third).commitment
    assert not make_header(stale.leaf).is_justified
    (vote,) = say(actor, lab.vote(LIAR, fifth))[0]
    assert isinstance(vote, QuorumVote)
    assert vote.leaf == compute_leaf_commitment(stale.leaf)


@pytest.mark.parametrize(
    ("name", "proposal", "votes"),
    [
        ("silent", [0, 0, 0], [1, 1, 1]),
        ("silent_to_some", [0, 0, 1], [0, 0, 1]),
        ("withhold_votes", [1, 1, 1], [0] * 3),
        ("abstain", [1, 1, 1], [0] * 3),
    ],
)
def test_what_those_who_keep_silent_leave_unsaid(lab: Lab, name: str, proposal: list[int], votes: list[int]) -> None:
    actor, block = make(lab, name), lab.block(lab.genesis, 1)
    assert [len(peer) for peer in say(actor, lab.proposal(block))] == proposal
    assert [len(peer) for peer in say(actor, lab.vote(LIAR, block))] == votes
    assert [len(peer) for peer in say(actor, lab.finalize(LIAR, block))] == votes


def test_abstain_keeps_certificates_with_its_own_vote_to_itself(lab: Lab) -> None:
    actor, parent = make(lab, "abstain"), lab.block(lab.genesis, 1)
    others = [number for number in range(4) if number != LIAR]
    for signers, proposal in ((others, [1, 1, 1]), (range(4), [0] * 3)):
        block = lab.block(parent, 2, justify=lab.qc(parent, signers))
        assert [len(peer) for peer in say(actor, lab.proposal(block))] == proposal
        assert [len(peer) for peer in say(actor, lab.timeout(LIAR, 2, lab.qc(parent, signers)))] == proposal


def test_stall_holds_proposals_back_for_less_than_the_shortest_timer(lab: Lab) -> None:
    actor, block = make(lab, "stall"), lab.block(lab.genesis, 1)
    floor = lab.context.parameters.timeout_floor
    assert floor // 2 < actor.compute_delay(lab.proposal(block)) < floor
    assert actor.compute_delay(lab.vote(LIAR, block)) == 0


def test_flood_sends_a_dozen_old_timeouts_with_each_word(lab: Lab) -> None:
    actor = make(lab, "flood_timeouts")
    chain = lab.chain(20)
    for block in chain:
        actor.hear(lab.proposal(block))
    *flood, last = say(actor, lab.vote(LIAR, chain[-1]))[0]
    assert last == lab.vote(LIAR, chain[-1])
    assert [message.view for message in flood if isinstance(message, TimeoutVote)] == list(range(9, 21))


def test_a_liar_remembers_a_bounded_number_of_proposals(lab: Lab) -> None:
    actor = make(lab, "double_vote")
    for block in lab.chain(PROPOSALS_MAX + 5):
        actor.hear(lab.proposal(block))
    assert len(actor.proposals) == PROPOSALS_MAX
    assert min(proposal.leaf.view for proposal in actor.proposals.values()) == 6
