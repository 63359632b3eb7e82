"""A proof in one file: all encodings that it takes, to be checked anywhere and without a node (docs/light-client.md).

MessagePack, one array. Nothing in it is believed: whoever checks it brings the network file, and the checkpoint when it
begins with one. It has one form (P4), and no byte of it is spare.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from consensus.context import EpochContext
from consensus.types import COMMITMENT_BYTES, NetworkId, WireCommitment, WireEpoch
from sequencer.anchor import Anchor
from sequencer.light.errors import ProofError
from sequencer.light.examination import Examination, Proven, TransactionPlace
from sequencer.light.finality import Finality
from sequencer.light.payload_proof import PayloadProof
from sequencer.light.questions import RANGE_HEIGHTS_MAX, Question

BUNDLE_BYTES_MAX: Final = 256 * 1024 * 1024
"""In memory at once. A thousand epochs of a hundred validators take a fifth of it; a checkpoint spares most of them."""
SNAPSHOTS_MAX: Final = 65_536


class Checkpoint(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """With what it begins, when that is not genesis."""

    epoch: WireEpoch
    leaf: WireCommitment


class BlockProof(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Why a block is final, and what its payload has: a transaction at a place, or all of a namespace."""

    finality: Finality
    proof: PayloadProof | None = None
    place: TransactionPlace | None = None


class Bundle(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`snapshots` of the ends of consecutive epochs, from genesis or the checkpoint on, each as nodes send it to each
    other; `blocks` ascending by height.
    """

    format: Literal["sequencer-proof/1"]
    network_id: Annotated[NetworkId, Meta(min_length=COMMITMENT_BYTES, max_length=COMMITMENT_BYTES)]
    checkpoint: Checkpoint | None
    question: Question
    snapshots: Annotated[tuple[bytes, ...], Meta(max_length=SNAPSHOTS_MAX)]
    blocks: Annotated[tuple[BlockProof, ...], Meta(max_length=RANGE_HEIGHTS_MAX)]


_encoder = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Bundle)

encode_bundle = _encoder.encode


def make_checkpoint(anchor: Anchor | None) -> Checkpoint | None:
    return None if anchor is None else Checkpoint(anchor.epoch, anchor.leaf)


def decode_bundle(encoded: bytes) -> Bundle:
    """P4: exactly what `encode_bundle` makes. Raises `ProofError`."""
    if len(encoded) > BUNDLE_BYTES_MAX:
        raise ProofError("P4", "malformed", f"{len(encoded)} bytes are above {BUNDLE_BYTES_MAX}")
    try:
        bundle = _decoder.decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProofError("P4", "malformed", f"this is no saved proof: {error}") from error
    if _encoder.encode(bundle) != encoded:
        raise ProofError("P4", "non_canonical", "the saved proof is in another form than its only one")
    return bundle


def verify_bundle(bundle: Bundle, network: EpochContext, trusted: Anchor | None) -> Proven:
    """What the bundle proves to somebody who trusts this network's first stake table, or this checkpoint of it.

    Raises `ProofError`, also when the bundle begins with a checkpoint that is not the one trusted.
    """
    if bundle.network_id != network.network_id:
        raise ProofError("P1", "wrong_network", f"it is about the network 0x{bundle.network_id.hex()}, not this one")
    if bundle.checkpoint != make_checkpoint(trusted):
        raise ProofError("T5", "wrong_checkpoint", "it begins with another checkpoint than the trusted one")
    examination = Examination(network, trusted, bundle.question)
    pending = list(reversed(bundle.snapshots))
    for block in bundle.blocks:
        while pending and (not examination.has_begun or examination.epoch < block.finality.leaves[0].epoch):
            examination.take_snapshot(pending.pop())
        examination.take_block(block.finality, block.proof, block.place)
    while pending:
        examination.take_snapshot(pending.pop())
    return examination.conclude()
