"""Sections 1 to 4: thresholds, domains (P1), certificates (P2), leaves (P3), evidence (E1 to E3). P4 is in
tests/consensus.
"""

from collections.abc import Callable

import msgspec
import pytest

from consensus.certificates import QuorumCertificate, make_timeout_subject
from consensus.effects import Drop, Report
from consensus.errors import InvalidMessage
from consensus.events import Received
from consensus.evidence import DoubleFinalize, DoubleProposal, DoubleVote, UnjustifiedVote
from consensus.leaf import BeaconResult, EpochProof, Leaf, compute_leaf_commitment, make_header
from consensus.messages import FinalizeVote, QuorumVote, TimeoutVote
from consensus.operations import Unjail
from consensus.signatures import Domain, make_statement
from consensus.types import Epoch, NetworkId, ValidatorId, View
from consensus.validation import Foreign
from tests.lab import EPOCH, Lab, get_messages, select

replace = msgspec.structs.replace


# Section 1


@pytest.mark.parametrize(
    ("stakes", "success", "one_honest"),
    [
        ((1, 1, 1, 1), 3, 2),
        ((1,), 1, 1),
        ((1, 1, 1), 3, 2),
        ((10, 20, 30, 41), 68, 34),
        ((5, 5, 5, 5, 5, 5, 5), 24, 12),
    ],
)
def test_thresholds(stakes: tuple[int, ...], success: int, one_honest: int) -> None:
    table = Lab(stakes).table
    assert (table.success_threshold, table.one_honest_threshold) == (success, one_honest)


# P1


def test_p1_network_kind_epoch_view_and_subject_are_all_under_the_signature() -> None:
    statements = {
        make_statement(NetworkId(network * 32), domain, Epoch(epoch), View(view), subject)
        for network in (b"a", b"b")
        for domain in Domain
        for epoch in (0, 1)
        for view in (0, 1)
        for subject in (b"x" * 32, b"y" * 32)
    }
    assert len(statements) == 2 * len(Domain) * 2 * 2 * 2


def test_p1_a_quorum_vote_is_no_finalize_vote(lab: Lab) -> None:
    block = lab.chain(1)[0]
    vote = lab.vote(0, block)
    assert lab.validator.is_genuine(vote)
    assert not lab.validator.is_genuine(FinalizeVote(vote.epoch, vote.view, vote.leaf, vote.voter, vote.signature))
    assert not lab.validator.is_genuine(replace(vote, view=View(2)))
    assert not lab.validator.is_genuine(replace(vote, voter=lab.table.ids[1]))


def test_p1_a_vote_of_another_network_is_not_valid_here(lab: Lab) -> None:
    block = lab.chain(1)[0]
    statement = make_statement(NetworkId(b"M" * 32), Domain.QUORUM_VOTE, EPOCH, block.leaf.view, block.commitment)
    foreign = replace(lab.vote(0, block), signature=lab.signers[0].sign(statement))
    assert not lab.validator.is_genuine(foreign)


def test_p1_messages_and_certificates_of_another_epoch_are_refused(lab: Lab) -> None:
    block = lab.chain(1)[0]
    foreign = lab.validator.validate(lab.table.ids[0], replace(lab.vote(0, block), epoch=Epoch(1)))
    assert isinstance(foreign, Foreign)
    assert [drop.reason for drop in select(lab.bench(1).handle(Received(lab.table.ids[0], foreign)), Drop)] == [
        "wrong_epoch"
    ]
    with pytest.raises(InvalidMessage, match="wrong_epoch"):
        lab.validator.certificates.verify(replace(lab.qc(block), epoch=Epoch(1)))


# P2


def test_p2_certificates_of_a_quorum_verify(lab: Lab) -> None:
    block = lab.chain(1)[0]
    for certificate in (lab.qc(block), lab.fc(block), lab.tc(2, lab.qc(block)), lab.qc(block, (1, 2, 3))):
        Lab().validator.certificates.verify(certificate)


def _break_proof(certificate: QuorumCertificate) -> QuorumCertificate:
    return replace(certificate, proof=certificate.proof[:-1] + bytes([certificate.proof[-1] ^ 1]))


QC_FAULTS: dict[str, Callable[[QuorumCertificate], QuorumCertificate]] = {
    "bad_signature, a bit flipped": _break_proof,
    "bad_signature, another view": lambda qc: replace(qc, view=View(9)),
    "bad_signature, another leaf": lambda qc: replace(qc, leaf=bytes(32)),
    "bad_signature, another signer": lambda qc: replace(qc, signers=b"\x0b"),
    "bad_signature, a signature too many": lambda qc: replace(qc, proof=qc.proof + bytes(64)),
    "bad_bitmap, a signer that does not exist": lambda qc: replace(qc, signers=b"\x17"),
    "bad_bitmap, not canonical": lambda qc: replace(qc, signers=b"\x07\x00"),
    "no_quorum": lambda qc: replace(qc, signers=b"\x03", proof=qc.proof[:128]),
    "no_quorum, nobody": lambda qc: replace(qc, signers=b"\x00", proof=b""),
}


@pytest.mark.parametrize("fault", QC_FAULTS)
def test_p2_a_broken_qc_is_refused(lab: Lab, fault: str) -> None:
    broken = QC_FAULTS[fault](lab.qc(lab.chain(1)[0]))
    with pytest.raises(InvalidMessage, match=fault.split(",")[0]):
        lab.validator.certificates.verify(broken)


def test_p2_quorums_are_counted_in_stake() -> None:
    lab = Lab(stakes=(1, 1, 1, 6))  # threshold 7 of 9
    block = lab.block(lab.genesis, 1)
    with pytest.raises(InvalidMessage, match="no_quorum"):
        lab.validator.certificates.verify(lab.qc(block, (0, 1, 2)))
    lab.validator.certificates.verify(lab.qc(block, (0, 3)))


def test_p2_the_same_signer_cannot_count_twice(lab: Lab) -> None:
    qc = lab.qc(lab.chain(1)[0], (0, 1))
    doubled = replace(qc, signers=b"\x07", proof=qc.proof + qc.proof[64:])
    with pytest.raises(InvalidMessage, match="bad_signature"):
        lab.validator.certificates.verify(doubled)


def test_p2_an_fc_holds_the_qc_of_its_leaf_and_both_are_checked(lab: Lab) -> None:
    first, second = lab.chain(2)
    fc = lab.fc(second)
    with pytest.raises(InvalidMessage, match="another leaf"):
        lab.validator.certificates.verify(replace(fc, qc=lab.qc(first)))
    with pytest.raises(InvalidMessage, match="bad_signature"):
        lab.validator.certificates.verify(replace(fc, qc=_break_proof(fc.qc)))
    with pytest.raises(InvalidMessage, match="bad_signature"):
        lab.validator.certificates.verify(replace(fc, proof=lab.qc(second).proof))


def test_p2_a_tc_holds_each_signed_view_and_a_qc_at_least_as_high(lab: Lab) -> None:
    first, second = lab.chain(2)
    tc = lab.tc(5, lab.qc(second))
    lab.validator.certificates.verify(tc)
    for broken in (
        replace(tc, high_qc=lab.qc(first)),  # below the highest signed view
        replace(tc, high_qc_views=(View(1), View(2), View(2))),  # not what was signed
        replace(tc, high_qc_views=tc.high_qc_views[:2]),
        replace(tc, view=View(2)),  # its QC would be of the view itself
    ):
        with pytest.raises(InvalidMessage):
            lab.validator.certificates.verify(broken)


def test_p2_the_genesis_certificate_is_valid_only_for_the_genesis_leaf(lab: Lab) -> None:
    lab.validator.certificates.verify(lab.genesis_qc)
    with pytest.raises(InvalidMessage):
        lab.validator.certificates.verify(replace(lab.genesis_qc, leaf=bytes(32)))
    with pytest.raises(InvalidMessage):
        lab.validator.certificates.verify(replace(lab.genesis_qc, view=View(1)))


def test_p2_a_timeout_vote_shows_how_its_view_was_entered(lab: Lab) -> None:
    first = lab.chain(1)[0]
    qc, tc = lab.qc(first), lab.tc(4, lab.genesis_qc)
    sender = lab.table.ids[0]
    for good in (lab.timeout(0, 2, qc), lab.timeout(0, 5, qc, tc), lab.timeout(0, 5, qc, tc, signed_view=0)):
        lab.validator.validate(sender, good)
    bad: list[TimeoutVote] = [
        lab.timeout(0, 5, qc),  # neither QC(4) nor TC(4)
        lab.timeout(0, 6, qc, tc),  # TC of another view
        lab.timeout(0, 1, qc),  # high_qc of the view itself
        lab.timeout(0, 5, lab.genesis_qc, tc, signed_view=1),  # signed more than it holds
        replace(lab.timeout(0, 5, qc, tc), high_qc_view=View(0)),  # signed something else
    ]
    for vote in bad:
        with pytest.raises(InvalidMessage):
            lab.validator.validate(sender, vote)


def test_p2_a_vote_counts_only_from_its_voter(lab: Lab) -> None:
    with pytest.raises(InvalidMessage, match="wrong_sender"):
        lab.validator.validate(lab.table.ids[1], lab.vote(0, lab.chain(1)[0]))


# P3


def test_p3_the_commitment_covers_every_field(lab: Lab) -> None:
    leaf = lab.block(lab.genesis, 2, tc=lab.tc(1, lab.genesis_qc)).leaf
    other = lab.block(lab.genesis, 3, tc=lab.tc(2, lab.genesis_qc), payload=b"p", bend={"version": 1}).leaf
    changed = {
        field: replace(leaf, **{field: getattr(other, field)})
        for field in Leaf.__struct_fields__
        if getattr(other, field) != getattr(leaf, field)
    }
    changed["epoch"] = replace(leaf, epoch=Epoch(1))
    changed["height"] = replace(leaf, height=leaf.height + 1)
    changed["parent"] = replace(leaf, parent=bytes(32))
    changed["ledger"] = replace(leaf, ledger=bytes(32))
    changed["timestamp_ms"] = replace(leaf, timestamp_ms=leaf.timestamp_ms + 1)
    changed["justify_qc"] = replace(leaf, justify_qc=lab.qc(lab.chain(1)[0]))
    proof = EpochProof(lab.fc(lab.chain(1)[0]), ())
    changed["operations"] = replace(leaf, operations=(Unjail(bytes(32), 0, b"", ValidatorId(0)),))
    changed["evidence"] = replace(leaf, evidence=(UnjustifiedVote(ValidatorId(0), make_header(leaf), b""),))
    changed["beacon"] = replace(leaf, beacon=BeaconResult((leaf.payload,)))
    changed["epoch_proof"] = replace(leaf, epoch_proof=proof)
    changed["no timeout_certificate"] = replace(leaf, timeout_certificate=None)
    assert {*Leaf.__struct_fields__} <= {*changed}
    commitments = {compute_leaf_commitment(bent) for bent in (leaf, *changed.values())}
    assert len(commitments) == len(changed) + 1


# E1 to E3


def test_e1_two_proposals_of_one_leader_in_one_view_are_reported_once(lab: Lab) -> None:
    bench = lab.bench(3)
    bench.start()
    blocks = [lab.block(lab.genesis, 1, payload=payload) for payload in (b"a", b"b", b"c")]
    reports = [report for block in blocks for report in select(bench.propose(block), Report)]
    (evidence,) = [report.evidence for report in reports]
    assert isinstance(evidence, DoubleProposal)
    assert evidence.offender == 1
    assert {evidence.first.leaf, evidence.second.leaf} == {blocks[0].commitment, blocks[1].commitment}


def test_e1_a_repeated_proposal_is_no_offence(lab: Lab) -> None:
    bench = lab.bench(3)
    bench.start()
    block = lab.chain(1)[0]
    bench.propose(block)
    assert not select(bench.propose(block), Report)


def test_e2_e3_two_votes_for_different_leaves_are_reported_once(lab: Lab) -> None:
    bench = lab.bench(3)
    bench.start()
    blocks = [lab.block(lab.genesis, 1, payload=payload) for payload in (b"a", b"b", b"c")]
    for block in blocks:
        bench.receive(0, lab.vote(0, block))
        bench.receive(1, lab.finalize(1, block))
    evidence = [report.evidence for report in select(bench.effects, Report)]
    assert [(type(proof), proof.offender) for proof in evidence] == [(DoubleVote, 0), (DoubleFinalize, 1)]


def test_e2_a_forged_contradiction_frames_nobody(lab: Lab) -> None:
    bench = lab.bench(3)
    bench.start()
    first, second = (lab.block(lab.genesis, 1, payload=payload) for payload in (b"a", b"b"))
    bench.receive(0, lab.vote(0, first))
    bench.receive(0, replace(lab.vote(0, second), signature=bytes(64)))
    bench.receive(1, replace(lab.vote(1, first), signature=bytes(64)))
    bench.receive(1, lab.vote(1, second))
    assert not select(bench.effects, Report)


def test_a_finalize_vote_for_another_leaf_than_the_own_quorum_vote_is_no_offence(lab: Lab) -> None:
    """The leader equivocated and the others chose the other leaf: an honest replica follows them."""
    bench = lab.bench(3)
    bench.start()
    mine, theirs = (lab.block(lab.genesis, 1, payload=payload) for payload in (b"a", b"b"))
    bench.propose(mine)
    for number in (0, 1, 2):
        bench.receive(number, lab.vote(number, theirs))
    bench.propose(theirs)
    assert [vote.leaf for vote in get_messages(bench.effects, QuorumVote)] == [mine.commitment]
    assert [vote.leaf for vote in get_messages(bench.effects, FinalizeVote)] == [theirs.commitment]


def test_timeout_subject_is_the_signed_view() -> None:
    assert make_timeout_subject(View(258)) == bytes([0, 0, 0, 0, 0, 0, 1, 2])
