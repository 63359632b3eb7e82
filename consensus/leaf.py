"""What the chain is made of.

A leaf is what consensus agrees on; the payload (the transactions, opaque bytes here) hangs on it by its commitment. A
light client follows leaves alone.
"""

from hashlib import sha256
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from consensus.certificates import (
    FinalityCertificate,
    QuorumCertificate,
    TimeoutCertificate,
    make_genesis_certificate,
)
from consensus.evidence import EVIDENCE_MAX, Evidence
from consensus.header import LeafHeader, compute_header_commitment
from consensus.operations import OPERATIONS_MAX, Operation
from consensus.payload_tree import compute_payload_commitment
from consensus.types import (
    Commitment,
    Epoch,
    Height,
    ValidatorId,
    View,
    WireCommitment,
    WireCount,
    WireEpoch,
    WireHeight,
    WireValidatorId,
    WireView,
)

LEAF_VERSION: Final = 3
"""Version of the leaf's fields. A leaf of another version is refused."""
CLOSING_PATH_MAX = 2048
"""Closing leaves in an epoch proof."""
BEACON_CHECKPOINTS_MAX = 256

_BODY_TAG = b"sequencer/leaf-body/2\0"
_NO_COMMITMENT = Commitment(bytes(32))

_encode = encode_leaf = msgspec.msgpack.Encoder().encode


class BeaconResult(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """T4: the beacon's hash chain at evenly spaced steps; the last checkpoint is the result."""

    checkpoints: Annotated[tuple[WireCommitment, ...], Meta(min_length=1, max_length=BEACON_CHECKPOINTS_MAX)]

    @property
    def output(self) -> Commitment:
        return self.checkpoints[-1]


class Leaf(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Everything that is agreed on about one height (P3). Its commitment covers every field."""

    version: WireCount
    epoch: WireEpoch
    view: WireView
    height: WireHeight
    parent: WireCommitment
    proposer: WireValidatorId
    timestamp_ms: WireCount
    """Milliseconds since the Unix epoch by the proposer's clock, never below the parent's."""
    payload: WireCommitment
    """Root of the payload's tree, see `consensus.payload_tree`."""
    payload_bytes: WireCount
    ledger: WireCommitment
    """Commitment of the ledger state after the parent (S1)."""
    operations: Annotated[tuple[Operation, ...], Meta(max_length=OPERATIONS_MAX)]
    """Stake operations (J5), in the order in which they take effect."""
    evidence: Annotated[tuple[Evidence, ...], Meta(max_length=EVIDENCE_MAX)]
    """Offences that this leaf punishes (J4)."""
    beacon: BeaconResult | None
    """The result of this epoch's beacon, once per epoch (T4)."""
    justify_qc: QuorumCertificate
    """Certifies the parent."""
    timeout_certificate: TimeoutCertificate | None
    """TC(view - 1) when the leader entered its view by it."""
    epoch_proof: "EpochProof | None"
    """In the first leaf of an epoch and nowhere else: the parent ended the epoch before (T2)."""


class EpochProof(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """T2: the leaf at the epoch's last height is final. `fc` certifies it, or the last of the closing leaves in
    `path`, which follow it one upon the other.
    """

    fc: FinalityCertificate
    path: Annotated[tuple[Leaf, ...], Meta(max_length=CLOSING_PATH_MAX)]

    @property
    def leaf(self) -> Commitment:
        """The epoch's last leaf."""
        return self.path[0].parent if self.path else self.fc.leaf

    @property
    def qc(self) -> QuorumCertificate:
        """Certifies that leaf."""
        return self.path[0].justify_qc if self.path else self.fc.qc


def make_header(leaf: Leaf) -> LeafHeader:
    """What the commitment is computed over."""
    body = (leaf.operations, leaf.evidence, leaf.beacon, leaf.epoch_proof)
    return LeafHeader(
        leaf.version,
        leaf.epoch,
        leaf.view,
        leaf.height,
        leaf.parent,
        leaf.proposer,
        leaf.timestamp_ms,
        leaf.payload,
        leaf.payload_bytes,
        leaf.ledger,
        _EMPTY_BODY if body == _NO_BODY else _compute_body_commitment(body),
        leaf.justify_qc,
        leaf.timeout_certificate,
    )


def compute_leaf_commitment(leaf: Leaf) -> Commitment:
    """Covers every field, the certificates included: two leaves that differ anywhere are two leaves (P3)."""
    return compute_header_commitment(make_header(leaf))


def _compute_body_commitment(body: object) -> Commitment:
    return Commitment(sha256(_BODY_TAG + _encode(body)).digest())


_NO_BODY = ((), (), None, None)
_EMPTY_BODY = _compute_body_commitment(_NO_BODY)


class Block:
    """A leaf with its payload and its commitment, computed once. A value: nothing changes it.

    Whoever makes one has checked that the payload matches the leaf, and may hand over the commitment if it has computed
    that itself.
    """

    __slots__ = ("commitment", "leaf", "payload")

    def __init__(self, leaf: Leaf, payload: bytes, commitment: Commitment | None = None) -> None:
        self.leaf = leaf
        self.payload = payload
        self.commitment = compute_leaf_commitment(leaf) if commitment is None else commitment

    def __repr__(self) -> str:
        leaf = self.leaf
        return f"Block(height={leaf.height}, view={leaf.view}, {self.commitment.hex()[:8]}, {leaf.payload_bytes} B)"


def make_genesis(epoch: Epoch, timestamp_ms: int, ledger: Commitment) -> Block:
    """The block at height 0 that every node computes from the network file."""
    leaf = Leaf(
        version=LEAF_VERSION,
        epoch=epoch,
        view=View(0),
        height=Height(0),
        parent=_NO_COMMITMENT,
        proposer=ValidatorId(0),
        timestamp_ms=timestamp_ms,
        payload=compute_payload_commitment(b""),
        payload_bytes=0,
        ledger=ledger,
        operations=(),
        evidence=(),
        beacon=None,
        justify_qc=make_genesis_certificate(epoch, View(0), _NO_COMMITMENT),
        timeout_certificate=None,
        epoch_proof=None,
    )
    return Block(leaf, b"")


def make_leaf(
    parent: Block,
    *,
    epoch: Epoch,
    view: View,
    proposer: ValidatorId,
    timestamp_ms: int,
    payload: bytes,
    ledger: Commitment,
    justify_qc: QuorumCertificate,
    timeout_certificate: TimeoutCertificate | None,
    operations: tuple[Operation, ...] = (),
    evidence: tuple[Evidence, ...] = (),
    beacon: BeaconResult | None = None,
    epoch_proof: EpochProof | None = None,
) -> Leaf:
    """The leaf that follows `parent`; its timestamp never falls below the parent's."""
    return Leaf(
        version=LEAF_VERSION,
        epoch=epoch,
        view=view,
        height=Height(parent.leaf.height + 1),
        parent=parent.commitment,
        proposer=proposer,
        timestamp_ms=max(timestamp_ms, parent.leaf.timestamp_ms),
        payload=compute_payload_commitment(payload),
        payload_bytes=len(payload),
        ledger=ledger,
        operations=operations,
        evidence=evidence,
        beacon=beacon,
        justify_qc=justify_qc,
        timeout_certificate=timeout_certificate,
        epoch_proof=epoch_proof,
    )
