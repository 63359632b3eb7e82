"""Is this block final? Told by the FC of it or of a descendant, and by nothing else (R6)."""

from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from consensus.certificates import CertificateVerifier, FinalityCertificate, decode_signers
from consensus.context import EpochContext
from consensus.errors import InvalidMessage
from consensus.leaf import LEAF_VERSION, Leaf, compute_leaf_commitment
from consensus.messages import RANGE_PATH_MAX
from consensus.types import Commitment
from sequencer.light.errors import ProofError
from sequencer.standing import compute_first_height

FINALITY_LEAVES_MAX: Final = RANGE_PATH_MAX + 1
"""The block's leaf and as many above it as nodes themselves go without an FC."""


class Finality(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Why a block is final: its leaf, the leaves that follow up to the one that has an FC, and that FC.

    Most blocks have their own and `leaves` holds one. All are of one epoch, closing leaves included (T2).
    """

    leaves: Annotated[tuple[Leaf, ...], Meta(min_length=1, max_length=FINALITY_LEAVES_MAX)]
    fc: FinalityCertificate


@dataclass(frozen=True, slots=True)
class Signed:
    """How much stake signed a certificate, of how much."""

    stake: int
    threshold: int
    total: int


_encoder = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Finality)

encode_finality = _encoder.encode


def decode_finality(encoded: bytes) -> Finality:
    """P4: exactly what `encode_finality` makes. Raises `ProofError`."""
    try:
        finality = _decoder.decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProofError("P4", "malformed", f"the finality certificate cannot be read: {error}") from error
    if _encoder.encode(finality) != encoded:
        raise ProofError("P4", "non_canonical", "the finality certificate is in another form than its only one")
    return finality


def verify_finality(context: EpochContext, finality: Finality) -> Leaf:
    """The leaf of the final block. Trusts the stake table of `context`, and its network and epoch, alone.

    Raises `ProofError`: T1 for another epoch, T2 for a leaf that is never decided although a quorum signed it, R6 for a
    path that does not lead from the block to the FC, P2 for an FC that does not prove anything, P3 for a leaf that this
    program does not know how to read.
    """
    leaf = finality.leaves[0]
    parent: Leaf | None = None
    commitment = Commitment(b"")
    for each in finality.leaves:
        _check_place(context, each)
        if parent is not None and (each.parent, each.height) != (commitment, parent.height + 1):
            raise ProofError("R6", "bad_path", f"the leaf of view {each.view} does not follow that of {parent.view}")
        parent, commitment = each, compute_leaf_commitment(each)
    first = compute_first_height(context.epoch, context.ledger_parameters)
    if not first <= leaf.height <= context.last_height:
        raise ProofError(
            "T2",
            "not_decided",
            f"epoch {context.epoch} decides the heights {first} to {context.last_height}, and not {leaf.height}",
        )
    fc = finality.fc
    if fc.leaf != commitment:
        raise ProofError("R6", "bad_path", f"the FC of view {fc.view} is not about the last leaf of the path")
    verifier = CertificateVerifier(context.network_id, context.scheme, context.stake_table, context.genesis_qc)
    try:
        verifier.verify(fc)
    except InvalidMessage as error:
        raise ProofError.of(error, f"the FC for height {leaf.height}") from error
    return leaf


def compute_signed(context: EpochContext, fc: FinalityCertificate) -> Signed:
    """Of an FC that was verified in this epoch."""
    table = context.stake_table
    stake = table.compute_stake(decode_signers(table, fc.signers))
    return Signed(stake, table.success_threshold, table.total)


def _check_place(context: EpochContext, leaf: Leaf) -> None:
    if leaf.version != LEAF_VERSION:
        raise ProofError("P3", "bad_leaf", f"a leaf of version {leaf.version}, this program reads {LEAF_VERSION}")
    if leaf.epoch != context.epoch:
        raise ProofError("T1", "wrong_epoch", f"a leaf of epoch {leaf.epoch}, its table is of epoch {context.epoch}")
