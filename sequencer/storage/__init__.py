"""What a node must not forget, on disk, behind one of the five pluggable protocols.

`sqlite` is what nodes run. It is made of `schema` (the file and how it is opened), `turn` (what one batch changes, as a
value), `writer` and `reader` (the two connections), `checkpoint` (moving the write-ahead log into the file without
stopping votes) and `transaction_index` (which transactions are decided, in a second file that can be rebuilt).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from consensus.catchup import BlockSource
from consensus.certificates import FinalityCertificate
from consensus.effects import Batch
from consensus.epochs import EpochStart
from consensus.leaf import Block, Leaf
from consensus.ledger import Ledger
from consensus.promises import Promise
from consensus.safety import SafetyRecord
from consensus.types import Commitment, Epoch, Height, View
from sequencer.storage.errors import DiskError, StorageError
from sequencer.storage.schema import create_database

__all__ = [
    "DiskError",
    "PromiseRow",
    "Recovered",
    "Storage",
    "StorageError",
    "TransactionLocation",
    "create_database",
]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a node that starts finds. `undecided` stands above the tip, in order of height, then view."""

    record: SafetyRecord
    tip: Block
    tip_fc: FinalityCertificate | None
    """None at genesis, and when the tip came by catch-up below the leaf that its FC certifies, or ended its epoch by
    the FC of a closing leaf."""
    undecided: tuple[Block, ...]
    """Of the running epoch."""
    ledger: Ledger | None
    """After the tip, and after the roll-over when an epoch begins with the tip; None as long as no leaf has changed
    it."""
    epoch: EpochStart | None
    """What the running epoch began with; None in the network's first one."""


@dataclass(frozen=True, slots=True)
class TransactionLocation:
    """Where a decided transaction stands. `position` counts from 0 within the payload."""

    height: Height
    position: int


@dataclass(frozen=True, slots=True)
class PromiseRow:
    """A soft confirmation that this node has given, and the transaction that it is about."""

    transaction: bytes
    promise: Promise


class Storage(BlockSource, Protocol):
    """One node's disk. Turns are written by `append`, one call at a time; reads see what was appended before.

    Everything raises `StorageError` when the disk fails. After a failed `append` the process must end (R8).
    """

    def load(self) -> Recovered:
        """What to start from. To be called before the first `append`."""
        ...

    async def append(self, batch: Batch) -> None:
        """Write one turn in one transaction; when `batch.must_sync` it is durable on return (R8, T2)."""
        ...

    async def adopt_snapshot(self, start: EpochStart, record: SafetyRecord) -> None:
        """T5: let the chain begin with the block that ended an epoch; durable on return, and `load` answers with it.

        Only for a disk that holds nothing decided. Raises `InvariantViolation` for another one.
        """
        ...

    async def append_promises(self, rows: Sequence[PromiseRow]) -> None:
        """Durable on return as a vote is. A later promise about a transaction takes the place of an earlier one.

        May be called while an `append` is under way.
        """
        ...

    def read_promises(self) -> list[PromiseRow]:
        """Those that were given and not forgotten, in the order of their bounds."""
        ...

    def forget_promises(self, epoch: Epoch, view: View) -> None:
        """Drop those of earlier epochs, and those of this one whose last view is below `view`; with the next turn."""
        ...

    @property
    def latest_height(self) -> Height:
        """Height of the last decided block; 0 is genesis."""
        ...

    @property
    def first_height(self) -> Height:
        """Height of the first decided block that is here, genesis apart: 1, unless the chain began with a snapshot."""
        ...

    def read_decided_at(self, height: Height) -> Block | None:
        """The decided block at this height."""
        ...

    def read_leaf_at(self, height: Height) -> Leaf | None:
        """The leaf of the decided block at this height, for those who do not need the payload. Genesis too."""
        ...

    def find_decided(self, commitment: Commitment) -> Height | None:
        """At which height this leaf is decided; None for one that is not, or not known here."""
        ...

    def read_ledger(self, epoch: Epoch) -> Ledger | None:
        """The state that this epoch began with; None for the network's first one, and for one that has not begun."""
        ...

    def read_finality(self, height: Height) -> FinalityCertificate | None:
        """The FC of the block at this height, if it has one of its own; most blocks do."""
        ...

    def find_transaction(self, transaction_hash: bytes) -> TransactionLocation | None:
        """Where it is decided; None when it is not."""
        ...

    def select_decided(self, hashes: Collection[bytes]) -> set[bytes]:
        """Which of these transactions are decided."""
        ...

    def close(self) -> None:
        """Leave the disk in order. Nothing may be called afterwards."""
        ...
