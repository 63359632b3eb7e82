"""Section 4, accountability: E4, E5, and what two conflicting FCs prove. E1 to E3 are in test_certificates."""

from collections.abc import Iterable

import msgspec
import pytest

from consensus.certificates import TimeoutCertificate, assemble_timeout_certificate
from consensus.certifier import Certifier
from consensus.effects import Report
from consensus.evidence import Evidence, ForgottenFinalize, UnjustifiedVote, find_evidence_flaw, get_rule
from consensus.forensics import Exhibit, compute_offending_stake, examine
from consensus.leaf import Block, make_header
from consensus.types import ValidatorId, View
from tests.lab import EPOCH, Lab, select

replace = msgspec.structs.replace
THREE = (0, 1, 2)


def get_evidence(effects: Iterable[object]) -> list[Evidence]:
    return [effect.evidence for effect in effects if isinstance(effect, Report)]


def is_flawless(lab: Lab, evidence: Evidence) -> bool:
    public_key = lab.table.get_validator(evidence.offender).public_key
    return find_evidence_flaw(evidence, public_key, lab.scheme, lab.context.network_id) is None


# E4, E5: a replica notices


def test_e4_a_timeout_that_denies_the_own_finalize_vote_is_reported_once(lab: Lab) -> None:
    bench = lab.bench(3)
    bench.start()
    (block,) = lab.chain(1)
    bench.propose(block)
    bench.certify(block)
    bench.receive(0, lab.finalize(0, block))
    bench.receive(0, lab.timeout(0, 2, lab.qc(block), signed_view=0))
    bench.receive(1, lab.vote(1, lab.block(block, 2)))
    (evidence,) = get_evidence(bench.effects)
    assert isinstance(evidence, ForgottenFinalize)
    assert (evidence.offender, evidence.finalized_view, evidence.timeout_view, evidence.high_qc_view) == (0, 1, 2, 0)
    assert is_flawless(lab, evidence)
    assert not get_evidence(bench.receive(0, lab.timeout(0, 2, lab.qc(block), signed_view=0)))


def test_e4_a_finalize_vote_after_the_timeout_that_denies_it_is_reported(lab: Lab) -> None:
    bench = lab.bench(3)
    bench.start()
    (block,) = lab.chain(1)
    bench.receive(0, lab.timeout(0, 1, lab.genesis_qc))
    (evidence,) = get_evidence(bench.receive(0, lab.finalize(0, block)))
    assert isinstance(evidence, ForgottenFinalize)
    assert evidence.offender == 0
    assert is_flawless(lab, evidence)


def test_e4_the_signers_of_a_tc_are_held_to_what_they_finalized(lab: Lab) -> None:
    (block,) = lab.chain(1)
    certifier = Certifier(lab.context, lab.validator)
    for number in (0, 1):
        certifier.add_finalize_vote(lab.finalize(number, block), genuine=False)
    tc = lab.tc(1, lab.genesis_qc, voters=(1, 2, 3))
    assert [evidence.offender for evidence in get_evidence(certifier.note_tc(tc))] == [1]
    assert certifier.note_tc(tc) == []


def test_e4_the_signers_of_an_fc_are_held_to_their_timeouts(lab: Lab) -> None:
    (block,) = lab.chain(1)
    certifier = Certifier(lab.context, lab.validator)
    assert certifier.note_tc(lab.tc(1, lab.genesis_qc, voters=(1, 2, 3))) == []
    certifier.note_fc(lab.fc(block, voters=(0, 1, 2)))
    assert {evidence.offender for evidence in get_evidence(certifier.take_findings())} == {1, 2}
    assert certifier.take_findings() == []


@pytest.mark.parametrize(
    ("finalized", "timed_out", "signed"), [(1, 2, 1), (2, 1, 0), (2, 3, 2), (2, 4, 3)], ids=lambda view: str(view)
)
def test_e4_a_timeout_that_remembers_or_came_before_is_no_offence(
    lab: Lab, finalized: int, timed_out: int, signed: int
) -> None:
    """The signed view is at least the finalized one, or the view that timed out is below it."""
    blocks = lab.chain(4)
    qc = lab.genesis_qc if signed == 0 else lab.qc(blocks[signed - 1])
    certifier = Certifier(lab.context, lab.validator)
    certifier.add_finalize_vote(lab.finalize(0, blocks[finalized - 1]), genuine=False)
    assert certifier.note_timeout(lab.timeout(0, timed_out, qc)) == []


def test_e4_a_forged_finalize_vote_frames_nobody(lab: Lab) -> None:
    (block,) = lab.chain(1)
    certifier = Certifier(lab.context, lab.validator)
    certifier.add_finalize_vote(replace(lab.finalize(1, block), voter=ValidatorId(0)), genuine=False)
    assert certifier.note_timeout(lab.timeout(0, 1, lab.genesis_qc)) == []


def make_unjustified(lab: Lab) -> Block:
    """In view 3 on genesis, while the TC(2) that it carries knows of a QC of view 1."""
    (first,) = lab.chain(1)
    return lab.block(lab.genesis, 3, justify=lab.genesis_qc, tc=lab.tc(2, lab.qc(first)))


def test_e5_votes_for_a_leaf_that_undoes_a_qc_are_reported(lab: Lab) -> None:
    """Those that came before it was seen, and those that come later."""
    certifier = Certifier(lab.context, lab.validator)
    leaf = make_unjustified(lab)
    certifier.add_quorum_vote(lab.vote(0, leaf), genuine=False)
    early = get_evidence(certifier.note_unjustified(make_header(leaf.leaf)))
    certifier.add_quorum_vote(lab.vote(1, leaf), genuine=False)
    late = get_evidence(certifier.take_findings())
    for offender, (evidence,) in enumerate((early, late)):
        assert isinstance(evidence, UnjustifiedVote)
        assert evidence.offender == offender
        assert is_flawless(lab, evidence)


def test_e5_the_signers_of_the_qc_of_such_a_leaf_are_reported(lab: Lab) -> None:
    certifier = Certifier(lab.context, lab.validator)
    leaf = make_unjustified(lab)
    certifier.note_unjustified(make_header(leaf.leaf))
    certifier.note_qc(lab.qc(leaf, voters=(1, 2, 3)))
    found = get_evidence(certifier.take_findings())
    assert [(type(evidence), evidence.offender) for evidence in found] == [(UnjustifiedVote, n) for n in (1, 2, 3)]


def test_e5_a_vote_for_a_justified_leaf_or_in_the_name_of_another_is_no_offence(lab: Lab) -> None:
    certifier = Certifier(lab.context, lab.validator)
    (first,) = lab.chain(1)
    justified = lab.block(first, 3, tc=lab.tc(2, lab.qc(first)))
    unjustified = make_unjustified(lab)
    for block in (justified, unjustified):
        assert certifier.note_unjustified(make_header(block.leaf)) == []
    certifier.add_quorum_vote(lab.vote(0, justified), genuine=False)
    assert certifier.take_findings() == []
    forged = replace(lab.vote(1, unjustified), voter=ValidatorId(2))
    certifier.add_quorum_vote(forged, genuine=False)
    assert not select(certifier.take_findings(), Report)


# Two conflicting FCs, each way to make them


def convict(lab: Lab, *exhibits: Exhibit) -> dict[str, set[int]]:
    """Offenders by rule; together they have a third of the stake and more."""
    found = examine(exhibits, [(EPOCH, lab.table)], lab.scheme, lab.context.network_id)
    assert all(is_flawless(lab, evidence) for evidence in found)
    assert compute_offending_stake(found, EPOCH, lab.table) >= lab.table.one_honest_threshold
    return {
        get_rule(evidence): {each.offender for each in found if get_rule(each) == get_rule(evidence)}
        for evidence in found
    }


def test_e2_e3_two_fcs_of_one_view_prove_double_votes(lab: Lab) -> None:
    """0 and 1 vote and finalize twice, once with 2 and once with 3."""
    one, other = (lab.block(lab.genesis, 1, payload=payload) for payload in (b"a", b"b"))
    fcs = [
        replace(lab.fc(block, voters=voters), qc=lab.qc(block, voters))
        for block, voters in ((one, (0, 1, 2)), (other, (0, 1, 3)))
    ]
    assert convict(lab, *fcs) == {"E2": {0, 1}, "E3": {0, 1}}


def test_e4_an_fc_that_a_tc_has_hidden_proves_who_forgot_it(lab: Lab) -> None:
    """0 and 1 finalize view 1 with 2, then deny it to 3; nobody has voted twice."""
    (one,) = lab.chain(1)
    other = lab.block(lab.genesis, 2, justify=lab.genesis_qc, tc=lab.tc(1, lab.genesis_qc, voters=(0, 1, 3)))
    exhibits: list[Exhibit] = [lab.fc(one, voters=(0, 1, 2)), lab.fc(other, voters=(0, 1, 3)), one.leaf, other.leaf]
    assert convict(lab, *exhibits) == {"E4": {0, 1}}


def test_e4_an_fc_that_is_hidden_for_many_views_proves_it_too(lab: Lab) -> None:
    """The chain that forgot goes on for a while before it has an FC: the fork is where it left."""
    one, two = lab.chain(2)
    parent = lab.block(one, 5, tc=make_tc(lab, 4, {0: 1, 1: 1, 3: 1}, one))
    chain = [parent]
    for view in (6, 7, 8):
        chain.append(lab.block(chain[-1], view))
    exhibits: list[Exhibit] = [lab.fc(two, voters=(0, 1, 2)), lab.fc(chain[-1], voters=(0, 1, 3))]
    assert convict(lab, *exhibits, *(block.leaf for block in chain)) == {"E4": {0, 1}}


def make_tc(lab: Lab, view: int, signed: dict[int, int], high: Block) -> TimeoutCertificate:
    votes = {number: lab.timeout(number, view, lab.qc(high), signed_view=below) for number, below in signed.items()}
    parts = {vote.voter: (vote.high_qc_view, vote.signature) for vote in votes.values()}
    return assemble_timeout_certificate(lab.scheme, lab.table, EPOCH, View(view), parts, lab.qc(high))


def test_e5_an_fc_over_an_unjustified_leaf_proves_who_voted_for_it(lab: Lab) -> None:
    """0, 1 and 2 are a quorum of their own: they need not forget anything, nor vote twice."""
    (one,) = lab.chain(1)
    other = lab.block(lab.genesis, 3, justify=lab.genesis_qc, tc=lab.tc(2, lab.qc(one)))
    exhibits: list[Exhibit] = [lab.fc(one, voters=THREE), lab.fc(other, voters=THREE), one.leaf, other.leaf]
    assert convict(lab, *exhibits) == {"E5": {0, 1, 2}}


def test_e2_an_fc_beside_a_qc_of_its_view_proves_double_votes(lab: Lab) -> None:
    """The other chain has no FC in that view, only one further up."""
    one, other = (lab.block(lab.genesis, 1, payload=payload) for payload in (b"a", b"b"))
    child = lab.block(other, 2, justify=lab.qc(other, voters=(0, 1, 3)))
    exhibits: list[Exhibit] = [
        replace(lab.fc(one), qc=lab.qc(one, voters=(0, 1, 2))),
        lab.fc(child, voters=(0, 1, 3)),
        child.leaf,
    ]
    assert convict(lab, *exhibits) == {"E2": {0, 1}}


def test_one_chain_with_its_lost_views_accuses_nobody(lab: Lab) -> None:
    one, two = lab.chain(2)
    three = lab.block(two, 4, tc=lab.tc(3, lab.qc(two)))
    exhibits: list[Exhibit] = [one.leaf, two.leaf, three.leaf, *(lab.fc(block) for block in (one, two, three))]
    assert examine(exhibits, [(EPOCH, lab.table)], lab.scheme, lab.context.network_id) == []
