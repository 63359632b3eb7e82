"""Proof of an offence: two signatures of one validator that no honest validator makes (section 4, J4).

Evidence is small whatever was signed: commitments and signatures, at most one header. Each proof has one form, its two
halves in ascending order, so that the same offence makes the same bytes wherever it is noticed.
"""

from hashlib import sha256
from typing import TypeAlias

import msgspec

from consensus.certificates import make_timeout_subject
from consensus.header import LeafHeader, compute_header_commitment
from consensus.promises import Promise, make_promise_statement
from consensus.signatures import Domain, SignatureScheme, make_statement
from consensus.types import (
    Commitment,
    Epoch,
    NetworkId,
    ValidatorId,
    View,
    WireCommitment,
    WireEpoch,
    WireHeight,
    WireSignature,
    WireValidatorId,
    WireView,
)

EVIDENCE_MAX = 16
"""In one leaf. Each offender is tombstoned by one, so more wait for the next leaf."""

_TAG = b"sequencer/evidence/1\0"
_encode = msgspec.msgpack.Encoder().encode


class SignedLeaf(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A leaf's commitment and what the offender signed over it."""

    leaf: WireCommitment
    signature: WireSignature


class _Pair(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    offender: WireValidatorId
    epoch: WireEpoch
    view: WireView
    first: SignedLeaf
    second: SignedLeaf


class DoubleProposal(_Pair, frozen=True, tag="E1"):
    """E1: two proposals signed by one leader in one view."""


class DoubleVote(_Pair, frozen=True, tag="E2"):
    """E2: two QuorumVotes for different leaves in one view."""


class DoubleFinalize(_Pair, frozen=True, tag="E3"):
    """E3: two FinalizeVotes for different leaves in one view."""


class ForgottenFinalize(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="E4"):
    """E4: FinalizeVote(v), and TimeoutVote(w ≥ v) signed with a high_qc.view < v."""

    offender: WireValidatorId
    epoch: WireEpoch
    finalized_view: WireView
    finalized: SignedLeaf
    timeout_view: WireView
    high_qc_view: WireView
    timeout_signature: WireSignature


class UnjustifiedVote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="E5"):
    """E5: a QuorumVote for a leaf that breaks R3c on its face."""

    offender: WireValidatorId
    header: LeafHeader
    signature: WireSignature

    @property
    def epoch(self) -> Epoch:
        return self.header.epoch


class BrokenPromise(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="promise"):
    """The decided leaf at `height` is the promiser's, within the bound, and the transaction is in no leaf up to it.

    The signature can be checked by everyone; the rest by whoever holds the blocks (R3b).
    """

    promise: Promise
    height: WireHeight

    @property
    def offender(self) -> ValidatorId:
        return self.promise.promiser

    @property
    def epoch(self) -> Epoch:
        return self.promise.epoch


Evidence: TypeAlias = DoubleProposal | DoubleVote | DoubleFinalize | ForgottenFinalize | UnjustifiedVote | BrokenPromise

_PAIR_DOMAINS: dict[type[_Pair], Domain] = {
    DoubleProposal: Domain.PROPOSAL,
    DoubleVote: Domain.QUORUM_VOTE,
    DoubleFinalize: Domain.FINALIZE_VOTE,
}


def make_pair(
    kind: type[DoubleProposal] | type[DoubleVote] | type[DoubleFinalize],
    offender: ValidatorId,
    epoch: Epoch,
    view: View,
    one: SignedLeaf,
    other: SignedLeaf,
) -> DoubleProposal | DoubleVote | DoubleFinalize:
    """The one form of this proof: its halves in ascending order of their leaves."""
    first, second = sorted((one, other), key=lambda signed: signed.leaf)
    return kind(offender, epoch, view, first, second)


def get_rule(evidence: Evidence) -> str:
    """E1 to E5, or `promise`: what was broken, for logs and metrics."""
    return str(evidence.__struct_config__.tag)


def compute_evidence_id(evidence: Evidence) -> Commitment:
    """Names a proof, for pools and people."""
    return Commitment(sha256(_TAG + _encode(evidence)).digest())


def find_evidence_flaw(
    evidence: Evidence, public_key: bytes, scheme: SignatureScheme, network_id: NetworkId
) -> str | None:
    """None when it proves the offence of the holder of `public_key`, else why it does not.

    Whether the offender had stake in that epoch, and whether the proof still counts, is the ledger's to say.
    """
    epoch = evidence.epoch
    match evidence:
        case DoubleProposal() | DoubleVote() | DoubleFinalize():
            if evidence.first.leaf >= evidence.second.leaf:
                return "its halves are not two leaves in ascending order"
            domain = _PAIR_DOMAINS[type(evidence)]
            signed = [
                (make_statement(network_id, domain, epoch, evidence.view, half.leaf), half.signature)
                for half in (evidence.first, evidence.second)
            ]
        case ForgottenFinalize():
            if not evidence.high_qc_view < evidence.finalized_view <= evidence.timeout_view:
                return "the timeout vote does not contradict the finalize vote"
            finalized, subject = evidence.finalized, make_timeout_subject(evidence.high_qc_view)
            statement = make_statement(network_id, Domain.FINALIZE_VOTE, epoch, evidence.finalized_view, finalized.leaf)
            timeout = make_statement(network_id, Domain.TIMEOUT_VOTE, epoch, evidence.timeout_view, subject)
            signed = [(statement, finalized.signature), (timeout, evidence.timeout_signature)]
        case UnjustifiedVote(header=header):
            if header.is_justified:
                return "the leaf that was voted for is justified"
            leaf = compute_header_commitment(header)
            statement = make_statement(network_id, Domain.QUORUM_VOTE, epoch, header.view, leaf)
            signed = [(statement, evidence.signature)]
        case BrokenPromise(promise=promise):
            if promise.first_view > promise.last_view:
                return "the promise has no view"
            signed = [(make_promise_statement(promise, network_id), promise.signature)]
    if not all(scheme.verify(public_key, statement, signature) for statement, signature in signed):
        return "a signature in it is not the offender's"
    return None
