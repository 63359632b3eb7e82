"""What the chain is made of.

A leaf is what consensus agrees on; the payload (the transactions, opaque bytes here) hangs on it by its commitment. A
light client follows leaves alone.
"""

from hashlib import sha256
from typing import Final

import msgspec

from consensus.certificates import QuorumCertificate, TimeoutCertificate, make_genesis_certificate
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

LEAF_VERSION: Final = 1
"""Version of the leaf's fields. A leaf of another version is refused."""

_LEAF_TAG = b"sequencer/leaf/1\0"
_PAYLOAD_TAG = b"sequencer/payload/1\0"
_NO_COMMITMENT = Commitment(bytes(32))

encode_leaf = msgspec.msgpack.Encoder().encode


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
    payload_bytes: WireCount
    ledger: WireCommitment
    """Commitment of the ledger state after the parent; with a fixed stake table, that table's."""
    justify_qc: QuorumCertificate
    """Certifies the parent."""
    timeout_certificate: TimeoutCertificate | None
    """TC(view - 1) when the leader entered its view by it."""


def compute_leaf_commitment(leaf: Leaf) -> Commitment:
    """Covers every field, the certificates included: two leaves that differ anywhere are two leaves (P3)."""
    return Commitment(sha256(_LEAF_TAG + encode_leaf(leaf)).digest())


def compute_payload_commitment(payload: bytes) -> Commitment:
    digest = sha256(_PAYLOAD_TAG)
    digest.update(payload)
    return Commitment(digest.digest())


class Block:
    """A leaf with its payload and its commitment, computed once. A value: nothing changes it.

    Whoever makes one has checked that the payload matches the leaf.
    """

    __slots__ = ("commitment", "leaf", "payload")

    def __init__(self, leaf: Leaf, payload: bytes) -> None:
        self.leaf = leaf
        self.payload = payload
        self.commitment = compute_leaf_commitment(leaf)

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
        justify_qc=make_genesis_certificate(epoch, View(0), _NO_COMMITMENT),
        timeout_certificate=None,
    )
    return Block(leaf, b"")


def make_leaf(
    parent: Block,
    *,
    view: View,
    proposer: ValidatorId,
    timestamp_ms: int,
    payload: bytes,
    ledger: Commitment,
    justify_qc: QuorumCertificate,
    timeout_certificate: TimeoutCertificate | None,
) -> Leaf:
    """The leaf that follows `parent`; its timestamp never falls below the parent's."""
    return Leaf(
        version=LEAF_VERSION,
        epoch=parent.leaf.epoch,
        view=view,
        height=Height(parent.leaf.height + 1),
        parent=parent.commitment,
        proposer=proposer,
        timestamp_ms=max(timestamp_ms, parent.leaf.timestamp_ms),
        payload=compute_payload_commitment(payload),
        payload_bytes=len(payload),
        ledger=ledger,
        justify_qc=justify_qc,
        timeout_certificate=timeout_certificate,
    )
