"""What one batch changes on disk, as a value. Pure: the state before and a batch make the rows and the state after.

A block is written once, with the vote that needs it (R8), and never again: deciding it adds one small row. Blocks that
come by catch-up are written when they are decided. What lost its height is deleted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from consensus.certificates import FinalityCertificate
from consensus.effects import Batch, Decide
from consensus.errors import InvariantViolation
from consensus.leaf import Block
from consensus.types import Commitment, Height
from sequencer.storage.schema import HEIGHT_SHIFT

_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class ChainState:
    """What must be known of the disk to write the next turn."""

    height: Height
    tip: Commitment
    undecided: Mapping[Commitment, int]
    """Blocks on disk above the tip, by their `blocks.id`, which is greater for a higher height."""
    early_fc: FinalityCertificate | None = None
    """Certifies a block that is not here yet: catch-up ends an answer with an FC further up."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Rows to write in one transaction, and the state once they are."""

    record: bytes | None
    blocks: list[tuple[int, bytes, bytes, bytes]]
    """id, commitment, leaf, payload"""
    decided: list[tuple[int, int, bytes | None]]
    """height, id of the block, FC"""
    lost: list[tuple[int]]
    """ids of blocks whose height went to another one"""
    after: ChainState
    early_fc_changed: bool
    size: int
    """Bytes of payload to write."""
    ledger: bytes | None
    """State after the last decided block, when it has changed."""


def make_turn(state: ChainState, batch: Batch) -> Turn:
    """Raises `InvariantViolation` when a decided block does not follow the one before it."""
    undecided = dict(state.undecided)
    blocks = [_place(block, undecided) for block in batch.blocks if _is_new(block, state.height, undecided)]
    decided: list[tuple[int, int, bytes | None]] = []
    after = replace(state, undecided=undecided)
    for decide in batch.decides:
        for block in decide.blocks:
            _check_follows(block, after)
            if block.commitment not in undecided:
                blocks.append(_place(block, undecided))
            fc = _get_fc(block, decide, after.early_fc)
            decided.append((block.leaf.height, undecided.pop(block.commitment), None if fc is None else _encode(fc)))
            early_fc = None if fc is not None and fc == after.early_fc else after.early_fc
            after = replace(after, height=block.leaf.height, tip=block.commitment, early_fc=early_fc)
        if decide.blocks and decide.fc.leaf != after.tip:
            after = replace(after, early_fc=decide.fc)
    lost = {commitment: id_ for commitment, id_ in undecided.items() if id_ >> HEIGHT_SHIFT <= after.height}
    for commitment in lost:
        del undecided[commitment]
    return Turn(
        record=None if batch.record is None else _encode(batch.record),
        blocks=blocks,
        decided=decided,
        lost=[(id_,) for id_ in lost.values()],
        after=after,
        early_fc_changed=after.early_fc != state.early_fc,
        size=sum(len(payload) for _, _, _, payload in blocks),
        ledger=None if batch.ledger is None else _encode(batch.ledger.state),
    )


def _is_new(block: Block, height: Height, undecided: Mapping[Commitment, int]) -> bool:
    """A block at or below the tip is on disk already, or has lost."""
    return block.leaf.height > height and block.commitment not in undecided


def _place(block: Block, undecided: dict[Commitment, int]) -> tuple[int, bytes, bytes, bytes]:
    """Give the block the next id of its height and note it as undecided."""
    first = block.leaf.height << HEIGHT_SHIFT
    last = max((id_ for id_ in undecided.values() if id_ >> HEIGHT_SHIFT == block.leaf.height), default=first - 1)
    undecided[block.commitment] = last + 1
    return last + 1, block.commitment, _encode(block.leaf), block.payload


def _check_follows(block: Block, state: ChainState) -> None:
    if (block.leaf.height, block.leaf.parent) != (state.height + 1, state.tip):
        raise InvariantViolation(f"{block} is to be stored as decided on top of height {state.height}, not its parent")


def _get_fc(block: Block, decide: Decide, early_fc: FinalityCertificate | None) -> FinalityCertificate | None:
    if decide.fc.leaf == block.commitment:
        return decide.fc
    return early_fc if early_fc is not None and early_fc.leaf == block.commitment else None
