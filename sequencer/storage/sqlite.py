"""`Storage` on SQLite: one file in write-ahead mode, one writer, one reader, and an index beside it.

What is durable when (`durability`):

| | a turn with a record or a new epoch, or promises: something signed may leave | a turn that only decides |
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
from consensus.epochs import EpochStart
from consensus.errors import InvariantViolation
from consensus.leaf import Block, EpochProof, Leaf
from consensus.ledger import Ledger
from consensus.messages import Snapshot
from consensus.safety import SafetyRecord
from consensus.types import Commitment, Epoch, Height, NetworkId, ValidatorId, View
from sequencer.payload import PayloadCache
from sequencer.storage import PromiseRow, Recovered, TransactionLocation
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
        self._forgotten: tuple[Epoch, View] | None = None
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
                first_height=self._reader.first_height,
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
        """As it was when it was opened, or when a snapshot was adopted. Raises `StorageError` when the record is older
        than its chain (R8).
        """
        found = self._reader.found
        tip, record = found.tip, found.record
        if (record.epoch, record.high_qc.view) < (tip.leaf.epoch, tip.leaf.view):
            raise StorageError(self._path, "its safety record is older than its decided chain", NEW_KEY)
        undecided = sorted(
            (block for _, block in found.undecided), key=lambda block: (block.leaf.height, block.leaf.view)
        )
        return Recovered(record, tip, self.read_finality(tip.leaf.height), tuple(undecided), found.ledger, found.epoch)

    async def append(self, batch: Batch) -> None:
        """Raises `StorageError` when the disk fails, `InvariantViolation` when the chain has a gap; end the process
        then.

        No checkpoint in Trio's sense when nothing has to wait. A call that was cancelled is carried out all the same.
        """
        turn = make_turn(self._state, batch)
        forgotten, self._forgotten = self._forgotten, None
        # While promises are being written in the thread, the turn waits there for its connection.
        if self._is_synced and (turn.must_sync or turn.blocks or self._limiter.borrowed_tokens):
            await trio.to_thread.run_sync(self._writer.write, turn, forgotten, limiter=self._limiter)
        else:
            self._writer.write(turn, forgotten)
        self._state = turn.after
        self._checkpointer.on_written(turn.size)
        if turn.base is not None:
            self._reader.refresh()
        for block in turn.finalized:
            self._index.add(block.leaf.height, self._payloads.open(block).hashes)
        if self._index.is_behind:
            await trio.to_thread.run_sync(self._index.wait_for_flush, limiter=self._limiter)
            self._index.finish_flush()

    async def adopt_snapshot(self, start: EpochStart, record: SafetyRecord) -> None:
        """Its block stays out of what is read and served, unless it came with its payload."""
        if self._state.height:
            raise InvariantViolation(f"a chain of height {self._state.height} cannot begin with {start.block}")
        await self.append(Batch(record, (), (), (), start.ledger, (start,)))

    async def append_promises(self, rows: Sequence[PromiseRow]) -> None:
        if self._is_synced:
            await trio.to_thread.run_sync(self._writer.write_promises, rows, limiter=self._limiter)
        else:
            self._writer.write_promises(rows)

    def forget_promises(self, epoch: Epoch, view: View) -> None:
        self._forgotten = epoch, view

    # Reading

    @property
    def latest_height(self) -> Height:
        return self._state.height

    @property
    def first_height(self) -> Height:
        return self._reader.first_height

    def read_block(self, commitment: Commitment) -> Block | None:
        """Voted for or decided; genesis too. Not what a snapshot has taken the place of."""
        return self._reader.read_block(commitment)

    def read_decided(self, from_height: Height, *, blocks_max: int, bytes_max: int) -> list[Block]:
        return self._reader.read_decided(from_height, blocks_max, bytes_max)

    def read_decided_at(self, height: Height) -> Block | None:
        """Height 0 is genesis. None also where a snapshot has taken the place of the block."""
        blocks = self._reader.read_decided(height, 1, 0) if 0 <= height <= self._state.height else []
        return blocks[0] if blocks and blocks[0].leaf.height == height else None

    def read_leaf_at(self, height: Height) -> Leaf | None:
        return self._reader.read_leaf_at(height) if height <= self._state.height else None

    def find_decided(self, commitment: Commitment) -> Height | None:
        return self._reader.find_decided(commitment)

    def read_ledger(self, epoch: Epoch) -> Ledger | None:
        return self._reader.read_ledger(epoch)

    def read_finality(self, height: Height) -> FinalityCertificate | None:
        return self._reader.read_finality(height)

    def read_finality_proof(
        self, height: Height, *, leaves_max: int
    ) -> tuple[tuple[Leaf, ...], FinalityCertificate] | None:
        return self._reader.read_finality_proof(height, leaves_max)

    def read_epoch_proof(self, epoch: Epoch) -> EpochProof | None:
        return self._reader.read_epoch_proof(epoch)

    def read_snapshot(self, epoch: Epoch) -> Snapshot | None:
        return self._reader.read_snapshot(epoch)

    def read_promises(self) -> list[PromiseRow]:
        return self._reader.read_promises()

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
