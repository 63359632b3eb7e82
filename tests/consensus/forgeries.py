"""Messages with one thing wrong, made of right ones: none of them may change anything (P1, P2)."""

from msgspec.structs import replace

from consensus.certificates import QuorumCertificate, TimeoutCertificate
from consensus.messages import (
    FinalizeVote,
    QuorumProposal,
    QuorumVote,
    ReplicaMessage,
    StatusRequest,
    StatusResponse,
    TimeoutVote,
)
from consensus.types import Epoch, View
from tests.consensus.others import Others

SIGNATURE_BYTES = 64


def forge(sender: int, message: ReplicaMessage, others: Others) -> list[tuple[int, ReplicaMessage]]:
    """Each with the validator that sends it. A vote's signature is looked at late, so votes are only misplaced here."""
    stranger = (sender + 1) % len(others.stakes)
    bad: list[ReplicaMessage]
    match message:
        case QuorumVote() | FinalizeVote():
            return [(stranger, message), (sender, replace(message, epoch=Epoch(1)))]
        case QuorumProposal():
            bad = _forge_proposal(message)
        case TimeoutVote():
            bad = _forge_timeout(message, others)
        case StatusResponse():
            bad = _forge_status(message, others)
        case StatusRequest():
            bad = [replace(message, epoch=Epoch(1))]
        case _:
            raise AssertionError(f"no forgery of {message}")
    extra = [(stranger, message)] if isinstance(message, TimeoutVote) else []
    return [(sender, one) for one in bad] + extra


def _forge_proposal(proposal: QuorumProposal) -> list[ReplicaMessage]:
    leaf = proposal.leaf
    return [
        replace(proposal, signature=_break(proposal.signature)),
        replace(proposal, payload=proposal.payload + b"!"),
        replace(proposal, leaf=replace(leaf, epoch=Epoch(1))),
        replace(proposal, leaf=replace(leaf, parent=bytes(32))),
        replace(proposal, leaf=replace(leaf, timestamp_ms=leaf.timestamp_ms + 1)),
    ]


def _forge_timeout(vote: TimeoutVote, others: Others) -> list[ReplicaMessage]:
    bad: list[ReplicaMessage] = [
        replace(vote, signature=_break(vote.signature)),
        replace(vote, view=View(vote.view + 1)),
        replace(vote, high_qc_view=View(vote.high_qc_view + 1)),
        replace(vote, epoch=Epoch(1)),
    ]
    bad += [replace(vote, high_qc=qc) for qc in _forge_qc(vote.high_qc, others)]
    if vote.entry_tc is not None:
        bad += [replace(vote, entry_tc=tc) for tc in _forge_tc(vote.entry_tc, others)]
    return bad


def _forge_status(status: StatusResponse, others: Others) -> list[ReplicaMessage]:
    bad: list[ReplicaMessage] = [replace(status, high_qc=qc) for qc in _forge_qc(status.high_qc, others)]
    fc = status.fc
    if fc is not None:
        bad += [replace(status, fc=replace(fc, qc=qc)) for qc in _forge_qc(fc.qc, others)]
        bad.append(replace(status, fc=replace(fc, proof=fc.qc.proof, signers=fc.qc.signers)))
    if status.entry_tc is not None:
        bad += [replace(status, entry_tc=tc) for tc in _forge_tc(status.entry_tc, others)]
    return bad


def _forge_qc(qc: QuorumCertificate, others: Others) -> list[QuorumCertificate]:
    if not qc.view:  # genesis' own is right by definition, and nothing like it is
        return [replace(qc, view=View(1)), replace(qc, leaf=bytes(32))]
    signers, proof = [number for number in range(len(others.stakes)) if qc.signers[0] >> number & 1], qc.proof
    bad = [
        replace(qc, view=View(qc.view + 1)),
        replace(qc, leaf=bytes(32)),
        replace(qc, proof=_break(proof)),
        replace(qc, proof=proof[SIGNATURE_BYTES:] + proof[:SIGNATURE_BYTES]),
        replace(qc, signers=bytes([qc.signers[0] | 128])),
        replace(qc, signers=qc.signers + b"\0"),
    ]
    while others.is_quorum(signers):
        signers, proof = signers[1:], proof[SIGNATURE_BYTES:]
    return [*bad, replace(qc, signers=bytes([sum(1 << number for number in signers)]), proof=proof)]


def _forge_tc(tc: TimeoutCertificate, others: Others) -> list[TimeoutCertificate]:
    signed = tc.high_qc_views
    return [
        replace(tc, view=View(tc.view + 1)),
        replace(tc, proof=_break(tc.proof)),
        replace(tc, high_qc_views=signed[1:]),
        replace(tc, high_qc_views=(View(signed[0] + 1), *signed[1:])),
        *(replace(tc, high_qc=qc) for qc in _forge_qc(tc.high_qc, others)),
    ]


def _break(signature: bytes) -> bytes:
    return bytes([signature[0] ^ 1]) + signature[1:]
