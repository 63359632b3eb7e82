"""What a node must not forget, on disk, behind one of the five pluggable protocols.

`sqlite` is what nodes run. It is made of `schema` (the file and how it is opened), `turn` (what one batch changes, as a
value), `writer` and `reader` (the two connections), `checkpoint` (moving the write-ahead log into the file without
stopping votes) and `transaction_index` (which transactions are decided, in a second file that can be rebuilt).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from consensus.catchup import BlockSource
from consensus.certificates import FinalityCertificate
from consensus.effects import Batch
from consensus.leaf import Block
from consensus.ledger import Ledger
from consensus.safety import SafetyRecord
from consensus.types import Height
from sequencer.storage.errors import DiskError, StorageError
from sequencer.storage.schema import create_database

__all__ = ["DiskError", "Recovered", "Storage", "StorageError", "TransactionLocation", "create_database"]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a node that starts finds. `undecided` stands above the tip, in order of height, then view."""

    record: SafetyRecord
    tip: Block
    tip_fc: FinalityCertificate | None
    """None at genesis, and when the tip came by catch-up below the leaf that its FC certifies."""
    undecided: tuple[Block, ...]
    ledger: Ledger | None
    """After the tip; None as long as no leaf has changed it."""


@dataclass(frozen=True, slots=True)
class TransactionLocation:
    """Where a decided transaction stands. `position` counts from 0 within the payload."""

    height: Height
    position: int


class Storage(BlockSource, Protocol):
    """One node's disk. Only `append` writes, one call at a time; reads see what was appended before.

    Everything raises `StorageError` when the disk fails. After a failed `append` the process must end (R8).
    """

    def load(self) -> Recovered:
        """What to start from. To be called before the first `append`."""
        ...

    async def append(self, batch: Batch) -> None:
        """Write one turn in one transaction; when `batch.must_sync` it is durable on return (R8)."""
        ...

    @property
    def latest_height(self) -> Height:
        """Height of the last decided block; 0 is genesis."""
        ...

    def read_decided_at(self, height: Height) -> Block | None:
        """The decided block at this height."""
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
