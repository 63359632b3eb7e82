"""The safety rules alone, asked by a caller that checks nothing: each refuses by itself what its rule forbids.

The replica and the validation in front of it would stop most of this earlier. These walls stand on their own, so that
no change in front of them can make a key sign what it must not.
"""

import pytest

from consensus.certificates import TimeoutCertificate, assemble_timeout_certificate
from consensus.errors import Unsafe
from consensus.messages import FinalizeVote, QuorumProposal, QuorumVote, TimeoutVote
from consensus.safety import SafetyRules
from consensus.types import ValidatorId, View
from tests.lab import EPOCH, Lab

SUBJECT = 3


@pytest.fixture
def rules(lab: Lab) -> SafetyRules:
    return lab.bench(SUBJECT).safety


def get_rule(answer: object) -> str:
    assert isinstance(answer, Unsafe)
    return answer.rule


def make_mixed_tc(lab: Lab, view: int, *signed: int) -> TimeoutCertificate:
    """TC in which the i-th validator signed `signed[i]` as the view of its high_qc."""
    blocks = {block.leaf.view: lab.qc(block) for block in lab.chain(max(signed))} | {View(0): lab.genesis_qc}
    votes = {ValidatorId(number): lab.timeout(number, view, blocks[View(high)]) for number, high in enumerate(signed)}
    return assemble_timeout_certificate(
        lab.scheme,
        lab.table,
        EPOCH,
        View(view),
        {voter: (vote.high_qc_view, vote.signature) for voter, vote in votes.items()},
        blocks[View(max(signed))],
    )


def test_r2_another_proposal_in_the_same_view_is_refused(lab: Lab, rules: SafetyRules) -> None:
    first, second = lab.chain(2)
    block, other = (lab.block(second, 3, payload=payload) for payload in (b"a", b"b"))
    proposal = rules.sign_proposal(block)
    assert isinstance(proposal, QuorumProposal)
    assert get_rule(rules.sign_proposal(other)) == "R2"
    assert get_rule(rules.sign_proposal(first)) == "R2"
    assert rules.sign_proposal(block) == proposal


def test_r2_a_proposal_below_high_qc_is_refused(lab: Lab, rules: SafetyRules) -> None:
    first, second = lab.chain(2)
    rules.raise_high_qc(lab.qc(second))
    stale = lab.block(first, 7, tc=lab.tc(6, lab.genesis_qc))
    assert get_rule(rules.sign_proposal(stale)) == "R2"


def test_r3a_one_vote_a_view_and_none_below(lab: Lab, rules: SafetyRules) -> None:
    first, second = lab.chain(2)
    assert isinstance(rules.sign_vote(second), QuorumVote)
    record = rules.record
    for block in (second, first, lab.block(first, 2, payload=b"other")):
        assert get_rule(rules.sign_vote(block)) == "R3a"
    assert rules.record == record, "a refusal changes nothing"


def test_r3c_the_tc_must_be_of_the_view_before(lab: Lab, rules: SafetyRules) -> None:
    for tc in (None, lab.tc(3, lab.genesis_qc), lab.tc(5, lab.genesis_qc)):
        assert get_rule(rules.sign_vote(lab.block(lab.genesis, 5, tc=tc))) == "R3c"
    assert isinstance(rules.sign_vote(lab.block(lab.genesis, 5, tc=lab.tc(4, lab.genesis_qc))), QuorumVote)


@pytest.mark.parametrize("signed", [(2, 0, 0), (0, 2, 1), (0, 0, 2)])
def test_r3c_one_signer_that_saw_more_is_enough_to_forbid(
    lab: Lab, rules: SafetyRules, signed: tuple[int, ...]
) -> None:
    """It may be the only honest one that finalized."""
    tc = make_mixed_tc(lab, 4, *signed)
    lab.validator.certificates.verify(tc)
    first, second = lab.chain(2)
    assert get_rule(rules.sign_vote(lab.block(first, 5, tc=tc))) == "R3c"
    assert isinstance(rules.sign_vote(lab.block(second, 5, tc=tc)), QuorumVote)


def test_r5_a_finalize_vote_raises_high_qc_by_itself_and_is_given_once(lab: Lab, rules: SafetyRules) -> None:
    first, second = lab.chain(2)
    assert isinstance(rules.sign_finalize(lab.qc(second)), FinalizeVote)
    assert rules.record.high_qc == lab.qc(second)
    for block in (second, first, lab.block(first, 2, payload=b"other")):
        assert get_rule(rules.sign_finalize(lab.qc(block))) == "R5"


def test_r5_after_a_timeout_nothing_at_or_below_is_finalized(lab: Lab, rules: SafetyRules) -> None:
    first, second, third = lab.chain(3)
    rules.enter(lab.qc(first))
    assert isinstance(rules.sign_timeout(View(2)), TimeoutVote)
    for block in (first, second):
        assert get_rule(rules.sign_finalize(lab.qc(block))) == "R5"
    assert get_rule(rules.sign_vote(second)) == "R3a"
    assert isinstance(rules.sign_finalize(lab.qc(third)), FinalizeVote)


def test_r7_a_timeout_only_of_the_view_that_was_entered(lab: Lab, rules: SafetyRules) -> None:
    rules.enter(lab.tc(4, lab.genesis_qc))
    for view in (4, 6):
        assert get_rule(rules.sign_timeout(View(view))) == "R7"
    assert isinstance(rules.sign_timeout(View(5)), TimeoutVote)
