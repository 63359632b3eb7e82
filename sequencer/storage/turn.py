"""What one batch changes on disk, as a value. Pure: the state before and a batch make the rows and the state after.

A block is written once, with the vote that needs it (R8), and never again: deciding it adds one small row. Blocks that
come by catch-up are written when they are decided. What lost its height is deleted, and so is what an epoch leaves
undecided: its closing leaves are of no use once it is proven to be over (T2).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from consensus.certificates import FinalityCertificate
from consensus.effects import Batch, Decide
from consensus.epochs import EpochStart
from consensus.errors import InvariantViolation
from consensus.leaf import Block
from consensus.payload_tree import compute_payload_commitment
from consensus.types import Commitment, Epoch, Height
from sequencer.storage.schema import HEIGHT_SHIFT

_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class ChainState:
    """What must be known of the disk to write the next turn."""

    epoch: Epoch
    """The one that runs."""
    height: Height
    tip: Commitment
    undecided: Mapping[Commitment, int]
    """Blocks of this epoch on disk above the tip, by their `blocks.id`, which is greater for a higher height."""
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
    finalized: list[Block]
    """What becomes decided, in order of height"""
    lost: list[tuple[int]]
    """ids of blocks whose height went to another one, or whose epoch is over"""
    after: ChainState
    early_fc_changed: bool
    size: int
    """Bytes of payload, and of an epoch's ledger states, to write."""
    ledger: bytes | None
    """State after the last decided block, when it has changed."""
    epochs: list[tuple[int, bytes, bytes, bytes]]
    """epoch, proof, ledger, before: of each epoch that begins"""
    base: bytes | None
    """Leaf that the chain begins with from now on, in place of genesis (T5)."""

    @property
    def must_sync(self) -> bool:
        """Votes, and the proof that lets a node act in an epoch, are durable before anything follows (R8, T2)."""
        return self.record is not None or bool(self.epochs)


def make_turn(state: ChainState, batch: Batch) -> Turn:
    """Raises `InvariantViolation` when a decided block does not follow the one before it, or an epoch does not begin
    with the block that ended the one before.
    """
    draft = _Draft(state)
    base = batch.epochs[0] if batch.epochs and _is_base(batch.epochs[0], state, batch) else None
    if base is not None:
        draft.adopt(base)
    for block in batch.blocks:
        draft.add(block)
    for decide in batch.decides:
        draft.decide(decide)
    for start in batch.epochs:
        draft.begin_epoch(start)
    draft.drop_losers()
    epochs = [_make_epoch_row(start) for start in batch.epochs]
    return Turn(
        record=None if batch.record is None else _encode(batch.record),
        blocks=draft.blocks,
        decided=draft.decided,
        finalized=draft.finalized,
        lost=draft.lost,
        after=ChainState(draft.epoch, draft.height, draft.tip, draft.undecided, draft.early_fc),
        early_fc_changed=draft.early_fc != state.early_fc,
        size=sum(len(payload) for *_, payload in draft.blocks)
        + sum(len(ledger) + len(before) for _, _, ledger, before in epochs),
        ledger=None if batch.ledger is None else _encode(batch.ledger.state),
        epochs=epochs,
        base=None if base is None else _encode(base.block.leaf),
    )


class _Draft:
    """A turn while it is put together."""

    def __init__(self, state: ChainState) -> None:
        self.epoch = state.epoch
        self.height = state.height
        self.tip = state.tip
        self.undecided = dict(state.undecided)
        self.early_fc = state.early_fc
        self.blocks: list[tuple[int, bytes, bytes, bytes]] = []
        self.decided: list[tuple[int, int, bytes | None]] = []
        self.finalized: list[Block] = []
        self.lost: list[tuple[int]] = []
        self._tips = {state.tip}
        # Of the blocks that are new in this turn; those that were here before it are all of the epoch that ran then.
        self._epochs: dict[Commitment, Epoch] = {}

    def adopt(self, start: EpochStart) -> None:
        """T5: the chain begins with this block, which is stored when it came with its payload."""
        block = start.block
        self.epoch = block.leaf.epoch
        if compute_payload_commitment(block.payload) == block.leaf.payload:
            self._place(block)
            self._decide(block, None if start.proof.path else start.proof.fc)
        self._set_tip(block)

    def add(self, block: Block) -> None:
        """A block at or below the tip is on disk already, or has lost; one of an epoch that is over comes too late."""
        is_late = block.leaf.height <= self.height or block.leaf.epoch < self.epoch
        if not is_late and block.commitment not in self.undecided:
            self._place(block)

    def decide(self, decide: Decide) -> None:
        for block in decide.blocks:
            if (block.leaf.height, block.leaf.parent) != (self.height + 1, self.tip):
                raise InvariantViolation(
                    f"{block} is to be stored as decided on top of height {self.height}, not its parent"
                )
            if block.commitment not in self.undecided:
                self._place(block)
            self._decide(block, self._take_fc(block, decide.fc))
            self._set_tip(block)
        if decide.blocks and decide.fc.leaf != self.tip:
            self.early_fc = decide.fc

    def begin_epoch(self, start: EpochStart) -> None:
        """T2: what the epoch before has left undecided stays so."""
        ending, beginning = start.block.leaf.epoch, start.ledger.epoch
        if start.block.commitment not in self._tips or (ending, beginning) != (self.epoch, self.epoch + 1):
            raise InvariantViolation(f"epoch {beginning} is to begin with {start.block} after height {self.height}")
        over = [commitment for commitment in self.undecided if self._epochs.get(commitment, ending) <= ending]
        self.lost += [(self.undecided.pop(commitment),) for commitment in over]
        if self.early_fc is not None and self.early_fc.epoch <= ending:
            self.early_fc = None
        self.epoch = beginning

    def drop_losers(self) -> None:
        """What stands at a height that is decided now."""
        losers = [commitment for commitment, id_ in self.undecided.items() if id_ >> HEIGHT_SHIFT <= self.height]
        self.lost += [(self.undecided.pop(commitment),) for commitment in losers]

    def _place(self, block: Block) -> None:
        """Give the block the next id of its height and note it as undecided."""
        first = block.leaf.height << HEIGHT_SHIFT
        ids = (id_ for id_ in self.undecided.values() if id_ >> HEIGHT_SHIFT == block.leaf.height)
        id_ = max(ids, default=first - 1) + 1
        self.undecided[block.commitment] = id_
        self._epochs[block.commitment] = block.leaf.epoch
        self.blocks.append((id_, block.commitment, _encode(block.leaf), block.payload))

    def _decide(self, block: Block, fc: FinalityCertificate | None) -> None:
        id_ = self.undecided.pop(block.commitment)
        self.finalized.append(block)
        self.decided.append((block.leaf.height, id_, None if fc is None else _encode(fc)))

    def _set_tip(self, block: Block) -> None:
        self.height, self.tip = block.leaf.height, block.commitment
        self._tips.add(block.commitment)

    def _take_fc(self, block: Block, fc: FinalityCertificate) -> FinalityCertificate | None:
        """The block's own: this one, or the one that has been waiting for it."""
        early_fc = self.early_fc
        if early_fc is None or early_fc.leaf != block.commitment:
            early_fc = None
        else:
            self.early_fc = None
        return fc if fc.leaf == block.commitment else early_fc


def _is_base(start: EpochStart, state: ChainState, batch: Batch) -> bool:
    """T5: on a disk that holds nothing decided an epoch may begin with a block whose ancestors are not here."""
    if state.height:
        return False
    return all(start.block.commitment != block.commitment for decide in batch.decides for block in decide.blocks)


def _make_epoch_row(start: EpochStart) -> tuple[int, bytes, bytes, bytes]:
    return start.ledger.epoch, _encode(start.proof), _encode(start.ledger.state), _encode(start.before.state)
