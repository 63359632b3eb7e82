"""Certificates: one shape, three kinds (P2).

| kind | success_threshold of | proves |
|---|---|---|
| QC, quorum certificate | QuorumVotes for a leaf | no other leaf is certified in its view |
| FC, finality certificate | FinalizeVotes for a leaf | the leaf is final; holds its QC, else a double vote could hide |
| TC, timeout certificate | TimeoutVotes of a view | the view may be left; says how high its signers' `high_qc` were |

A bitmap says who signed: bit i (least significant first) is position i of the epoch's stake table.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from consensus.errors import InvalidMessage
from consensus.signatures import Domain, SignatureScheme, make_statement
from consensus.stake_table import StakeTable
from consensus.types import (
    Commitment,
    Epoch,
    NetworkId,
    ValidatorId,
    View,
    WireCommitment,
    WireEpoch,
    WireView,
)

VERIFIED_CERTIFICATES_MAX = 4096
"""Certificates remembered as verified. A view makes three; the same one arrives once from every peer."""


class _Certificate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    epoch: WireEpoch
    view: WireView
    signers: Annotated[bytes, Meta(max_length=2**13)]
    proof: Annotated[bytes, Meta(max_length=2**23)]


class QuorumCertificate(_Certificate, frozen=True, tag="QC"):
    """`leaf` was voted for by `success_threshold` in `view`."""

    leaf: WireCommitment


class FinalityCertificate(_Certificate, frozen=True, tag="FC"):
    """`leaf` and its ancestors are final. `qc` certifies the same leaf in the same view."""

    leaf: WireCommitment
    qc: QuorumCertificate


class TimeoutCertificate(_Certificate, frozen=True, tag="TC"):
    """`view` ended without progress that a quorum saw.

    `high_qc_views[i]` is what the i-th signer signed. `high_qc` is at least the highest of them: a signer may attach
    a newer one than it signed (R7), and newer only strengthens what R3c asks for.
    """

    high_qc_views: tuple[WireView, ...]
    high_qc: QuorumCertificate

    @property
    def highest_view(self) -> View:
        """The highest signed `high_qc.view`: what R3c compares with."""
        return max(self.high_qc_views)


Certificate: TypeAlias = QuorumCertificate | FinalityCertificate | TimeoutCertificate


def make_timeout_subject(high_qc_view: View) -> bytes:
    """What a TimeoutVote signs besides epoch and view."""
    return high_qc_view.to_bytes(8, "big")


def encode_signers(table: StakeTable, signers: Iterable[ValidatorId]) -> bytes:
    """Set of validators -> bitmap, exactly as long as the stake table needs."""
    bits, positions = 0, table.positions
    for signer in signers:
        bits |= 1 << positions[signer]
    return bits.to_bytes((len(table) + 7) // 8, "little")


def decode_signers(table: StakeTable, bitmap: bytes) -> tuple[ValidatorId, ...]:
    """Bitmap -> validators in order of position. Raises `InvalidMessage` when it is not canonical for this table
    (P4).
    """
    if len(bitmap) != (len(table) + 7) // 8:
        raise InvalidMessage("bad_bitmap", f"{len(bitmap)} bytes of signers for {len(table)} validators")
    bits = int.from_bytes(bitmap, "little")
    if bits >> len(table):
        raise InvalidMessage("bad_bitmap", "a signer beyond the end of the stake table")
    return tuple([validator_id for position, validator_id in enumerate(table.ids) if bits >> position & 1])


def make_genesis_certificate(epoch: Epoch, view: View, leaf: Commitment) -> QuorumCertificate:
    """The first `justify_qc` of an epoch: valid by definition, so it carries no signature."""
    return QuorumCertificate(epoch=epoch, view=view, signers=b"", proof=b"", leaf=leaf)


def assemble_quorum_certificate(
    scheme: SignatureScheme,
    table: StakeTable,
    epoch: Epoch,
    view: View,
    leaf: Commitment,
    signatures: Mapping[ValidatorId, bytes],
) -> QuorumCertificate:
    """R4. The caller has verified the signatures and counted their stake."""
    signers, proof = _combine(scheme, table, signatures)
    return QuorumCertificate(epoch=epoch, view=view, signers=signers, proof=proof, leaf=leaf)


def assemble_finality_certificate(
    scheme: SignatureScheme, table: StakeTable, qc: QuorumCertificate, signatures: Mapping[ValidatorId, bytes]
) -> FinalityCertificate:
    """R6. `qc` is the certificate of the leaf that the votes finalize."""
    signers, proof = _combine(scheme, table, signatures)
    return FinalityCertificate(epoch=qc.epoch, view=qc.view, signers=signers, proof=proof, leaf=qc.leaf, qc=qc)


def assemble_timeout_certificate(
    scheme: SignatureScheme,
    table: StakeTable,
    epoch: Epoch,
    view: View,
    votes: Mapping[ValidatorId, tuple[View, bytes]],
    high_qc: QuorumCertificate,
) -> TimeoutCertificate:
    """R7. `votes` maps each signer to the view that it signed and its signature."""
    signers, proof = _combine(scheme, table, {signer: signature for signer, (_, signature) in votes.items()})
    views = tuple(votes[signer][0] for signer in sorted(votes, key=table.get_position))
    return TimeoutCertificate(
        epoch=epoch, view=view, signers=signers, proof=proof, high_qc_views=views, high_qc=high_qc
    )


def _combine(
    scheme: SignatureScheme, table: StakeTable, signatures: Mapping[ValidatorId, bytes]
) -> tuple[bytes, bytes]:
    in_order = sorted(signatures)  # a stake table is in order of the ids
    return encode_signers(table, in_order), scheme.combine([signatures[signer] for signer in in_order])


class CertificateVerifier:
    """Verifies each certificate once and remembers it, for one network and one epoch.

    The memory is bounded by `VERIFIED_CERTIFICATES_MAX`, oldest out first; forgetting only costs another verification.
    """

    def __init__(
        self, network_id: NetworkId, scheme: SignatureScheme, table: StakeTable, genesis: QuorumCertificate
    ) -> None:
        self._network_id = network_id
        self._scheme = scheme
        self._table = table
        self._genesis = genesis
        self._verified: dict[Certificate, None] = {}

    def verify(self, certificate: Certificate) -> None:
        """Raises `InvalidMessage` unless the certificate proves what it says (P2)."""
        if certificate in self._verified or certificate == self._genesis:
            return
        if certificate.epoch != self._genesis.epoch:
            raise InvalidMessage(
                "wrong_epoch",
                f"certificate of epoch {certificate.epoch}, this is {self._genesis.epoch}",
                retry=True,
            )
        if certificate.view <= self._genesis.view:
            raise InvalidMessage("bad_certificate", f"certificate of view {certificate.view}, before the first view")
        match certificate:
            case QuorumCertificate():
                self._check_signatures(certificate, Domain.QUORUM_VOTE, certificate.leaf)
            case FinalityCertificate():
                self._check_finality(certificate)
            case TimeoutCertificate():
                self._check_timeout(certificate)
        self.remember(certificate)

    def remember(self, certificate: Certificate) -> None:
        """Note a certificate that needs no verification because this replica assembled it from verified votes."""
        if len(self._verified) >= VERIFIED_CERTIFICATES_MAX:
            del self._verified[next(iter(self._verified))]
        self._verified[certificate] = None

    def _check_finality(self, fc: FinalityCertificate) -> None:
        if (fc.qc.view, fc.qc.leaf) != (fc.view, fc.leaf):
            raise InvalidMessage("bad_certificate", f"the FC of view {fc.view} holds the QC of another leaf")
        self.verify(fc.qc)
        self._check_signatures(fc, Domain.FINALIZE_VOTE, fc.leaf)

    def _check_timeout(self, tc: TimeoutCertificate) -> None:
        signers = decode_signers(self._table, tc.signers)
        if len(tc.high_qc_views) != len(signers):
            raise InvalidMessage("bad_certificate", f"{len(tc.high_qc_views)} signed views for {len(signers)} signers")
        if not signers or not tc.highest_view <= tc.high_qc.view < tc.view:
            raise InvalidMessage("bad_certificate", f"the TC of view {tc.view} holds the QC of view {tc.high_qc.view}")
        self.verify(tc.high_qc)
        statements = [
            make_statement(self._network_id, Domain.TIMEOUT_VOTE, tc.epoch, tc.view, make_timeout_subject(view))
            for view in tc.high_qc_views
        ]
        self._check_quorum(tc, signers, statements)

    def _check_signatures(
        self, certificate: QuorumCertificate | FinalityCertificate, domain: Domain, leaf: Commitment
    ) -> None:
        signers = decode_signers(self._table, certificate.signers)
        statement = make_statement(self._network_id, domain, certificate.epoch, certificate.view, leaf)
        self._check_quorum(certificate, signers, [statement] * len(signers))

    def _check_quorum(
        self, certificate: Certificate, signers: Sequence[ValidatorId], statements: Sequence[bytes]
    ) -> None:
        stake = self._table.compute_stake(signers)
        if stake < self._table.success_threshold:
            raise InvalidMessage(
                "no_quorum",
                f"stake {stake} of {self._table.total} signed, {self._table.success_threshold} needed",
            )
        public_keys = [self._table.get_validator(signer).public_key for signer in signers]
        if not self._scheme.verify_combined(public_keys, statements, certificate.proof):
            raise InvalidMessage(
                "bad_signature", f"a signature in the certificate of view {certificate.view} is not valid"
            )
