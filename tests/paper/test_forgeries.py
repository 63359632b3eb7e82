"""P2: a certificate whose signatures do not hold is refused wherever a message carries one."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import pytest
from msgspec.structs import replace

from consensus.certificates import (
    Certificate,
    FinalityCertificate,
    QuorumCertificate,
    TimeoutCertificate,
    assemble_quorum_certificate,
)
from consensus.effects import Decide, Drop, TimedOut
from consensus.errors import InvalidMessage
from consensus.leaf import Block
from consensus.messages import LeafResponse, ProposalEcho, QuorumVote, RangeResponse, ReplicaMessage, StatusResponse
from consensus.signatures import Domain
from consensus.types import ValidatorId, View
from tests.lab import EPOCH, Lab, get_messages, select

C = TypeVar("C", bound=Certificate)
SENDER = 0


def break_proof(certificate: C) -> C:
    """A signature of zeros in place of the last one."""
    return replace(certificate, proof=certificate.proof[:-64] + bytes(64))


class Parts:
    """Valid certificates of every kind, and a message for every place where one can stand."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.first, self.second = lab.chain(2)
        self.qc: QuorumCertificate = lab.qc(self.second)
        self.fc: FinalityCertificate = lab.fc(self.second)
        self.tc: TimeoutCertificate = lab.tc(4, self.qc)

    def make_proposal(self, qc: QuorumCertificate, tc: TimeoutCertificate | None, view: int) -> ReplicaMessage:
        """Of the validator that sends it, so that nothing but the certificates can be wrong."""
        block = self.lab.block(self.second, view, justify=qc, tc=tc, bend={"proposer": ValidatorId(SENDER)})
        return self.lab.proposal(block)

    def make_range(self, fc: FinalityCertificate) -> ReplicaMessage:
        blocks: Iterable[Block] = (self.first, self.second)
        return RangeResponse(tuple(LeafResponse(block.leaf, block.payload) for block in blocks), (), fc)


PLACES: dict[str, tuple[Callable[[Parts], ReplicaMessage], Callable[[Parts], ReplicaMessage]]] = {
    "justify_qc": (
        lambda p: p.make_proposal(p.qc, None, 3),
        lambda p: p.make_proposal(break_proof(p.qc), None, 3),
    ),
    "timeout_certificate of a leaf": (
        lambda p: p.make_proposal(p.qc, p.tc, 5),
        lambda p: p.make_proposal(p.qc, break_proof(p.tc), 5),
    ),
    "high_qc of a leaf's timeout_certificate": (
        lambda p: p.make_proposal(p.qc, p.tc, 5),
        lambda p: p.make_proposal(p.qc, replace(p.tc, high_qc=break_proof(p.qc)), 5),
    ),
    "high_qc of a timeout": (
        lambda p: p.lab.timeout(SENDER, 5, p.qc, p.tc),
        lambda p: p.lab.timeout(SENDER, 5, break_proof(p.qc), p.tc),
    ),
    "entry_tc of a timeout": (
        lambda p: p.lab.timeout(SENDER, 5, p.qc, p.tc),
        lambda p: p.lab.timeout(SENDER, 5, p.qc, break_proof(p.tc)),
    ),
    "high_qc of a status": (
        lambda p: StatusResponse(p.qc, p.fc, p.tc),
        lambda p: StatusResponse(break_proof(p.qc), p.fc, p.tc),
    ),
    "fc of a status": (
        lambda p: StatusResponse(p.qc, p.fc, p.tc),
        lambda p: StatusResponse(p.qc, break_proof(p.fc), p.tc),
    ),
    "qc in the fc of a status": (
        lambda p: StatusResponse(p.qc, p.fc, p.tc),
        lambda p: StatusResponse(p.qc, replace(p.fc, qc=break_proof(p.qc)), p.tc),
    ),
    "entry_tc of a status": (
        lambda p: StatusResponse(p.qc, p.fc, p.tc),
        lambda p: StatusResponse(p.qc, p.fc, break_proof(p.tc)),
    ),
    "fc of a range": (lambda p: p.make_range(p.fc), lambda p: p.make_range(break_proof(p.fc))),
}


@pytest.mark.parametrize("place", PLACES)
def test_p2_a_forged_certificate_is_refused_in_every_place(lab: Lab, place: str) -> None:
    make_good, make_forged = PLACES[place]
    parts = Parts(lab)
    with pytest.raises(InvalidMessage, match="bad_signature"):
        lab.validator.validate(ValidatorId(SENDER), make_forged(parts))
    lab.validator.validate(ValidatorId(SENDER), make_good(parts))
    with pytest.raises(InvalidMessage, match="bad_signature"):  # having verified the good one does not help the forged
        lab.validator.validate(ValidatorId(SENDER), make_forged(parts))


def test_p2_finalize_votes_for_another_leaf_than_the_qcs_make_no_fc(lab: Lab) -> None:
    """Only with a third or more Byzantine; an FC without the QC of its leaf would hide who voted twice."""
    bench = lab.bench(3)
    bench.start()
    mine, other = (lab.block(lab.genesis, 1, payload=payload) for payload in (b"a", b"b"))
    bench.propose(mine)
    for number in (0, 1, 2):
        bench.receive(number, lab.finalize(number, other))
    bench.certify(mine)
    assert not select(bench.effects, Decide)
    assert bench.replica.view == View(2)
    assert not select(bench.effects, TimedOut)


def test_r3b_the_qc_of_a_leaf_in_another_view_than_its_own_is_no_justification(lab: Lab) -> None:
    """Nobody honest votes for a leaf in another view, so only a lost quorum makes such a QC."""
    bench = lab.bench(2)
    bench.start()
    (first,) = lab.chain(1)
    bench.propose(first)
    signatures = {
        voter: lab.sign(voter, Domain.QUORUM_VOTE, 2, first.commitment) for voter in map(ValidatorId, range(3))
    }
    qc = assemble_quorum_certificate(lab.scheme, lab.table, EPOCH, View(2), first.commitment, signatures)
    effects = bench.propose(lab.block(first, 3, justify=qc))
    assert [drop.reason for drop in select(effects, Drop)] == ["bad_leaf"]
    assert not get_messages(effects, QuorumVote)


def test_p1_a_proposal_that_its_proposer_has_not_signed_is_refused_told_or_echoed(lab: Lab) -> None:
    """Else anybody could propose in the leader's name, and frame it for two proposals (E1)."""
    block = lab.block(lab.genesis, 1)
    leaf, good = block.leaf, lab.proposal(block)
    echo = ProposalEcho(EPOCH, leaf.view, block.commitment, leaf.proposer, good.signature)
    lab.validator.validate(ValidatorId(SENDER), good)
    lab.validator.validate(ValidatorId(SENDER), echo)
    for signature in (bytes(64), lab.sign(SENDER, Domain.PROPOSAL, leaf.view, block.commitment)):
        for forged in (replace(good, signature=signature), replace(echo, signature=signature)):
            with pytest.raises(InvalidMessage, match="bad_signature"):
                lab.validator.validate(ValidatorId(SENDER), forged)
