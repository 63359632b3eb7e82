"""A disk that forgets what was not synced.

Writes are applied at once, so reads see them, and stand in a journal until the next sync. A crash keeps a prefix of the
journal, drawn from the seed: sometimes all of it, sometimes nothing.

Production writes each turn as a transaction into a log whose entries are checksummed one upon the other: whatever
reached the platter, a start finds the turns before the first that is missing or torn, and nothing after it.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import assert_never

import msgspec

from consensus.certificates import FinalityCertificate
from consensus.effects import Batch
from consensus.epochs import EpochStart
from consensus.leaf import Block, EpochProof, Leaf
from consensus.ledger import Ledger
from consensus.messages import Snapshot
from consensus.payload_tree import compute_payload_commitment
from consensus.safety import SafetyRecord
from consensus.types import Commitment, Epoch, Height
from netsim.network import Constant, Latency

INSTANT = Constant(0)
_encode = msgspec.msgpack.Encoder().encode


class DiskFailure(Exception):
    """A read, a write or a sync has failed: the process ends (R8)."""


class Loss(StrEnum):
    """What a crash does to the turns that were not synced."""

    PREFIX = "prefix"
    """Some of the first ones are kept."""
    ALL = "all"
    SUBSET = "subset"
    """Each reached the platter or did not: kept are those before the first that did not."""
    TORN = "torn"
    """All but one reached it, and of that one a part: it and what follows are discarded."""


@dataclass(frozen=True, slots=True)
class DiskModel:
    sync_latency: Latency = INSTANT
    """How long a sync takes. With zero a turn is released at once, and a crash never meets a vote's pending write."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a process that starts finds."""

    record: SafetyRecord
    tip: Block
    tip_fc: FinalityCertificate | None
    undecided: tuple[Block, ...]
    ledger: Ledger | None
    epoch: EpochStart | None
    """What the running epoch began with; None in the first one."""


@dataclass(frozen=True, slots=True)
class Image:
    """A copy of a whole disk."""

    record: SafetyRecord
    ledger: Ledger | None
    blocks: dict[Commitment, Block]
    decided: list[Block]
    proofs: dict[Commitment, FinalityCertificate]
    epochs: list[EpochStart]


class _Undo(msgspec.Struct):
    """How to take one write back."""

    record: SafetyRecord
    blocks: list[Commitment]
    proofs: list[Commitment]
    chain: list[Block]
    """The decided one; another list when a snapshot has taken its place."""
    decided: int
    """How long it was."""
    ledger: Ledger | None
    epochs: int


class Disk:
    """Storage of one node: its safety record, its blocks, and the decided chain with its FCs. Also a `BlockSource`."""

    def __init__(self, model: DiskModel, random: Random, genesis: Block, record: SafetyRecord) -> None:
        self._model = model
        self._random = random
        self._record = record
        self._ledger: Ledger | None = None
        self._blocks: dict[Commitment, Block] = {}
        self._decided: list[Block] = [genesis]
        self._proofs: dict[Commitment, FinalityCertificate] = {}
        self._epochs: list[EpochStart] = []
        self._journal: list[_Undo] = []
        self._rotten: set[Commitment] = set()
        self.writes_lost = 0
        self.has_lost_sync = False
        """Whether something was written and not synced when its process died last."""
        self.failed_reads = 0
        self.syncs = 0

    @property
    def decided(self) -> Sequence[Block]:
        """The decided chain as a reader sees it. Position is height, unless it begins with a snapshot's block."""
        return self._decided

    @property
    def latest_height(self) -> Height:
        return self._decided[-1].leaf.height

    @property
    def record(self) -> SafetyRecord:
        return self._record

    def sample_sync_latency(self) -> int:
        """Microseconds that the next sync takes."""
        return self._model.sync_latency.sample(self._random)

    def append(self, turn: Batch) -> None:
        """Write one turn; not durable before `sync`.

        Where nothing is decided yet, an epoch may begin with a block whose ancestors are not here (T5).
        """
        undo = _Undo(self._record, [], [], self._decided, len(self._decided), self._ledger, len(self._epochs))
        if turn.record is not None:
            self._record = turn.record
        if turn.ledger is not None:
            self._ledger = turn.ledger
        for start in turn.epochs:
            self._epochs.append(start)
            if self.latest_height == 0 and not _is_decided(start.block, turn):
                self._adopt(start, undo)
        for block in turn.blocks:
            self._add(block, undo)
        for decide in turn.decides:
            for block in decide.blocks:
                if block.leaf.height != self.latest_height + 1:
                    raise ValueError(f"{block} written after height {self.latest_height}")
                self._add(block, undo)
                self._decided.append(block)
            if decide.fc.leaf not in self._proofs:
                self._proofs[decide.fc.leaf] = decide.fc
                undo.proofs.append(decide.fc.leaf)
        self._journal.append(undo)

    def sync(self) -> None:
        """Everything written so far survives a crash from now on."""
        self._journal.clear()
        self.syncs += 1

    def set_model(self, model: DiskModel) -> None:
        """From the next sync on."""
        self._model = model

    def crash(self, loss: Loss = Loss.PREFIX) -> None:
        """Keep what of the turns that were not synced is whole at the next start."""
        kept = self._draw_kept(len(self._journal), loss)
        lost = self._journal[kept:]
        self.writes_lost += len(lost)
        self.has_lost_sync = bool(self._journal)
        for undo in reversed(lost):
            self._record = undo.record
            self._ledger = undo.ledger
            self._decided = undo.chain
            del self._decided[undo.decided :]
            del self._epochs[undo.epochs :]
            for commitment in undo.blocks:
                del self._blocks[commitment]
            for commitment in undo.proofs:
                del self._proofs[commitment]
        self._journal.clear()

    def _draw_kept(self, written: int, loss: Loss) -> int:
        random = self._random
        match loss:
            case Loss.PREFIX:
                return random.randint(0, written)
            case Loss.ALL:
                return 0
            case Loss.SUBSET:
                return next((turn for turn in range(written) if random.random() < 0.5), written)
            case Loss.TORN:
                return random.randrange(written) if written else 0
            case _:
                assert_never(loss)

    def rot(self, blocks: Collection[Commitment]) -> None:
        """From now on these cannot be read: their checksums are wrong. An empty collection makes all readable again."""
        self._rotten = set(blocks)

    def take_image(self) -> Image:
        """A copy of all that is written."""
        return Image(
            self._record,
            self._ledger,
            dict(self._blocks),
            list(self._decided),
            dict(self._proofs),
            list(self._epochs),
        )

    def put_image_back(self, image: Image) -> None:
        """An earlier copy in the place of everything, under a process that is down. The copy is used up."""
        self._record, self._ledger = image.record, image.ledger
        self._blocks, self._decided = image.blocks, image.decided
        self._proofs, self._epochs = image.proofs, image.epochs
        self._journal.clear()

    def put_back(self, record: SafetyRecord) -> None:
        """An operator's worst mistake: an old copy of the record in place of the newest one."""
        self._record = record

    def load(self) -> Recovered:
        """What a process that starts now has to start from. All reads raise `DiskFailure` for a rotten block."""
        tip = self._decided[-1]
        start = self._epochs[-1] if self._epochs else None
        epoch = self._decided[0].leaf.epoch if start is None else start.ledger.epoch
        undecided = sorted(
            (
                block
                for block in self._blocks.values()
                if block.leaf.height > tip.leaf.height and block.leaf.epoch == epoch
            ),
            key=lambda block: (block.leaf.height, block.leaf.view),
        )
        self._check([tip, *undecided])
        fc = self._proofs.get(tip.commitment)
        return Recovered(self._record, tip, fc, tuple(undecided), self._ledger, start)

    def read_block(self, commitment: Commitment) -> Block | None:
        block = self._blocks.get(commitment)
        if block is not None and self._rotten:
            self._check([block])
        return block

    def read_decided(self, from_height: Height, *, blocks_max: int, bytes_max: int) -> list[Block]:
        blocks: list[Block] = []
        size = 0
        for block in self._get_decided(from_height, blocks_max):
            size += len(block.payload)
            if blocks and size > bytes_max:
                break
            blocks.append(block)
        if self._rotten:
            self._check(blocks)
        return blocks

    def read_finality_proof(
        self, height: Height, *, leaves_max: int
    ) -> tuple[tuple[Leaf, ...], FinalityCertificate] | None:
        leaves: list[Leaf] = []
        last: Block | None = None
        for block in self._get_decided(height, leaves_max + 1):
            is_beyond = block.leaf.height > height + min(len(leaves) + 1, leaves_max)
            if is_beyond or (last is not None and block.leaf.epoch != last.leaf.epoch):
                break
            last = block
            if block.leaf.height > height:
                leaves.append(block.leaf)
            fc = self._proofs.get(block.commitment)
            if fc is not None:
                return tuple(leaves), fc
        proof = None if last is None else self.read_epoch_proof(last.leaf.epoch)
        if last is None or proof is None or proof.leaf != last.commitment:
            return None
        return ((*leaves, *proof.path), proof.fc) if len(leaves) + len(proof.path) <= leaves_max else None

    def read_epoch_proof(self, epoch: Epoch) -> EpochProof | None:
        start = self._find_epoch(Epoch(epoch + 1))
        return None if start is None else start.proof

    def read_snapshot(self, epoch: Epoch) -> Snapshot | None:
        start = self._find_epoch(Epoch(epoch + 1))
        if start is None:
            return None
        last = start.block.leaf
        parent = self._decided[0] if last.parent == self._decided[0].commitment else self._blocks.get(last.parent)
        return None if parent is None else Snapshot(start.proof, parent.leaf, last, _encode(start.before.state))

    def _check(self, blocks: Iterable[Block]) -> None:
        if self._rotten and not self._rotten.isdisjoint(block.commitment for block in blocks):
            self.failed_reads += 1
            raise DiskFailure("a block is not what was written")

    def _find_epoch(self, epoch: Epoch) -> EpochStart | None:
        return next((start for start in reversed(self._epochs) if start.ledger.epoch == epoch), None)

    def _get_decided(self, from_height: Height, blocks_max: int) -> list[Block]:
        """What came with a snapshot without its payload is no block for others."""
        base = self._decided[0]
        is_whole = base.leaf.payload == compute_payload_commitment(base.payload)
        first = max(from_height - base.leaf.height, 0 if is_whole else 1)
        return self._decided[first : first + blocks_max]

    def _adopt(self, start: EpochStart, undo: _Undo) -> None:
        """T5: the chain begins with this block."""
        self._decided = [start.block]
        if start.block.leaf.payload == compute_payload_commitment(start.block.payload):
            self._add(start.block, undo)
            if not start.proof.path:
                self._proofs[start.proof.leaf] = start.proof.fc
                undo.proofs.append(start.proof.leaf)

    def _add(self, block: Block, undo: _Undo) -> None:
        if block.commitment not in self._blocks:
            self._blocks[block.commitment] = block
            undo.blocks.append(block.commitment)


def _is_decided(block: Block, turn: Batch) -> bool:
    return any(block.commitment == other.commitment for decide in turn.decides for other in decide.blocks)
