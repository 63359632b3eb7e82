"""`Storage` on SQLite: one file in write-ahead mode, one writer, one reader, and an index beside it.

What is durable when (`durability`):

| | a turn with a record, so that a vote may leave | a turn that only decides |
|---|---|---|
| "fsync" | on disk before `append` returns, in a worker thread | given to the system, on disk with the next record |
| "os" | given to the system before `append` returns | given to the system |

What was given to the system survives the end of the process, however it ends, but not a machine that crashes or loses
power. Then "fsync" loses at most the last decided blocks, which peers have; every vote is there and the file is whole.
"os" never syncs while the node runs, so votes may be lost and the file damaged. A node that forgot votes must not sign
(R8): the file says during which boot of the machine it was written, and after another one it is refused, unless the
node had been stopped in order, which syncs everything.
"""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

import trio

from consensus.certificates import FinalityCertificate
from consensus.effects import Batch
from consensus.errors import InvariantViolation
from consensus.leaf import Block, Leaf
from consensus.types import Commitment, Height, NetworkId, ValidatorId
from sequencer.payload import PayloadCache
from sequencer.storage import Recovered, TransactionLocation
from sequencer.storage.checkpoint import Checkpointer
from sequencer.storage.errors import NEW_KEY, StorageError
from sequencer.storage.lock import DatabaseLock
from sequencer.storage.reader import Reader
from sequencer.storage.transaction_index import TransactionIndex
from sequencer.storage.turn import make_turn
from sequencer.storage.writer import Writer

Durability: TypeAlias = Literal["fsync", "os"]


class SqliteStorage:
    """Opens an existing database; `create_database` makes one. Raises `StorageError` for one that it must not use.

    All calls come from one thread. Close it, or use it as a context manager.
    """

    def __init__(
        self,
        path: Path,
        network_id: NetworkId,
        validator_id: ValidatorId,
        genesis: Block,
        payloads: PayloadCache,
        durability: Durability,
    ) -> None:
        self._path = path
        self._payloads = payloads
        self._is_synced = durability == "fsync"
        self._limiter = trio.CapacityLimiter(1)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="storage")
        with ExitStack() as opened:
            opened.callback(DatabaseLock(path).close)
            self._reader = Reader(path, network_id, validator_id, genesis)
            opened.callback(self._reader.close)
            self._state = self._reader.compute_state()
            self._writer = Writer(path, is_synced=self._is_synced)
            opened.callback(self._writer.close)
            opened.callback(self._reader.close)  # before the writer, which tidies up only when it is the last
            self._checkpointer = Checkpointer(path, self._executor, is_synced=self._is_synced)
            opened.callback(self._checkpointer.close)
            opened.callback(self._executor.shutdown)
            self._index = TransactionIndex(
                path.with_name(path.name + ".index"),
                self._reader.database_id,
                self._state.height,
                self._read_hashes,
                self._executor,
            )
            opened.callback(self._index.close)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Sync, and leave one tidy file. A second call does nothing."""
        self._opened.close()

    # Writing

    def load(self) -> Recovered:
        """As it was when it was opened. Raises `StorageError` when the record is older than its chain (R8)."""
        tip = self._reader.tip
        if self._reader.record.high_qc.view < tip.leaf.view:
            raise StorageError(self._path, "its safety record is older than its decided chain", NEW_KEY)
        undecided = sorted(
            (block for _, block in self._reader.undecided), key=lambda block: (block.leaf.height, block.leaf.view)
        )
        return Recovered(
            self._reader.record, tip, self.read_finality(tip.leaf.height), tuple(undecided), self._reader.ledger
        )

    async def append(self, batch: Batch) -> None:
        """Raises `StorageError` when the disk fails, `InvariantViolation` when the chain has a gap; end the process
        then.

        No checkpoint in Trio's sense when nothing has to wait. A call that was cancelled is carried out all the same.
        """
        turn = make_turn(self._state, batch)
        if self._is_synced and (batch.must_sync or turn.blocks):
            await trio.to_thread.run_sync(self._writer.write, turn, limiter=self._limiter)
        else:
            self._writer.write(turn)
        self._state = turn.after
        self._checkpointer.on_written(turn.size)
        for decide in batch.decides:
            for block in decide.blocks:
                self._index.add(block.leaf.height, self._payloads.open(block).hashes)
        if self._index.is_behind:
            await trio.to_thread.run_sync(self._index.wait_for_flush, limiter=self._limiter)
            self._index.finish_flush()

    # Reading

    @property
    def latest_height(self) -> Height:
        return self._state.height

    def read_block(self, commitment: Commitment) -> Block | None:
        """Voted for or decided; genesis too."""
        return self._reader.read_block(commitment)

    def read_decided(self, from_height: Height, *, blocks_max: int, bytes_max: int) -> list[Block]:
        return self._reader.read_decided(from_height, blocks_max, bytes_max)

    def read_decided_at(self, height: Height) -> Block | None:
        """Height 0 is genesis."""
        blocks = self._reader.read_decided(height, 1, 0) if 0 <= height <= self._state.height else []
        return blocks[0] if blocks else None

    def read_finality(self, height: Height) -> FinalityCertificate | None:
        return self._reader.read_finality(height)

    def read_finality_proof(
        self, height: Height, *, leaves_max: int
    ) -> tuple[tuple[Leaf, ...], FinalityCertificate] | None:
        return self._reader.read_finality_proof(height, leaves_max)

    def find_transaction(self, transaction_hash: bytes) -> TransactionLocation | None:
        """Opens the block that the index names, so the answer is exact."""
        height = self._index.find_height(transaction_hash)
        if height is None:
            return None
        hashes = self._read_hashes(Height(height))
        if transaction_hash not in hashes:
            return None
        return TransactionLocation(Height(height), hashes.index(transaction_hash))

    def select_decided(self, hashes: Collection[bytes]) -> set[bytes]:
        return self._index.select_decided(hashes)

    def _read_hashes(self, height: Height) -> Sequence[bytes]:
        block = self.read_decided_at(height)
        if block is None:
            raise InvariantViolation(f"the decided block at height {height} is not in storage")
        return self._payloads.open(block).hashes
