"""A disk that forgets what was not synced.

Writes are applied at once, so reads see them, and stand in a journal until the next sync. A crash keeps a prefix of the
journal, drawn from the seed: sometimes all of it, sometimes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from consensus.certificates import FinalityCertificate
from consensus.effects import Batch
from consensus.leaf import Block, Leaf
from consensus.ledger import Ledger
from consensus.safety import SafetyRecord
from consensus.types import Commitment, Height
from netsim.network import Constant, Latency

INSTANT = Constant(0)


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


@dataclass(slots=True)
class _Undo:
    """How to take one write back."""

    record: SafetyRecord
    blocks: list[Commitment]
    proofs: list[Commitment]
    decided: int
    ledger: Ledger | None


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
        self._journal: list[_Undo] = []
        self.writes_lost = 0

    @property
    def decided(self) -> Sequence[Block]:
        """The decided chain as a reader sees it; position is height."""
        return self._decided

    @property
    def record(self) -> SafetyRecord:
        return self._record

    def sample_sync_latency(self) -> int:
        """Microseconds that the next sync takes."""
        return self._model.sync_latency.sample(self._random)

    def append(self, turn: Batch) -> None:
        """Write one turn; not durable before `sync`."""
        undo = _Undo(self._record, [], [], len(self._decided), self._ledger)
        if turn.record is not None:
            self._record = turn.record
        if turn.ledger is not None:
            self._ledger = turn.ledger
        for block in turn.blocks:
            self._add(block, undo)
        for decide in turn.decides:
            for block in decide.blocks:
                if block.leaf.height != len(self._decided):
                    raise ValueError(f"{block} written after height {len(self._decided) - 1}")
                self._add(block, undo)
                self._decided.append(block)
            if decide.fc.leaf not in self._proofs:
                self._proofs[decide.fc.leaf] = decide.fc
                undo.proofs.append(decide.fc.leaf)
        self._journal.append(undo)

    def sync(self) -> None:
        """Everything written so far survives a crash from now on."""
        self._journal.clear()

    def crash(self) -> None:
        """Keep a prefix of what was not synced."""
        kept = self._random.randint(0, len(self._journal))
        lost = self._journal[kept:]
        self.writes_lost += len(lost)
        for undo in reversed(lost):
            self._record = undo.record
            self._ledger = undo.ledger
            del self._decided[undo.decided :]
            for commitment in undo.blocks:
                del self._blocks[commitment]
            for commitment in undo.proofs:
                del self._proofs[commitment]
        self._journal.clear()

    def put_back(self, record: SafetyRecord) -> None:
        """An operator's worst mistake: an old copy of the record in place of the newest one."""
        self._record = record

    def load(self) -> Recovered:
        """What a process that starts now has to start from."""
        tip = self._decided[-1]
        undecided = sorted(
            (block for block in self._blocks.values() if block.leaf.height > tip.leaf.height),
            key=lambda block: (block.leaf.height, block.leaf.view),
        )
        return Recovered(self._record, tip, self._proofs.get(tip.commitment), tuple(undecided), self._ledger)

    def read_block(self, commitment: Commitment) -> Block | None:
        return self._blocks.get(commitment)

    def read_decided(self, from_height: Height, *, blocks_max: int, bytes_max: int) -> list[Block]:
        blocks: list[Block] = []
        size = 0
        for block in self._decided[from_height : from_height + blocks_max]:
            size += len(block.payload)
            if blocks and size > bytes_max:
                break
            blocks.append(block)
        return blocks

    def read_finality_proof(
        self, height: Height, *, leaves_max: int
    ) -> tuple[tuple[Leaf, ...], FinalityCertificate] | None:
        leaves: list[Leaf] = []
        for block in self._decided[height : height + leaves_max + 1]:
            if block.leaf.height > height:
                leaves.append(block.leaf)
            fc = self._proofs.get(block.commitment)
            if fc is not None:
                return tuple(leaves), fc
        return None

    def _add(self, block: Block, undo: _Undo) -> None:
        if block.commitment not in self._blocks:
            self._blocks[block.commitment] = block
            undo.blocks.append(block.commitment)
