"""The write-ahead log stays short, nothing is lost by shortening it, and a failure to do so is not passed over."""

import resource
from pathlib import Path

import pytest

from sequencer.payload import PayloadCache
from sequencer.storage import StorageError, checkpoint, create_database
from sequencer.storage.checkpoint import Checkpointer
from sequencer.storage.sqlite import SqliteStorage
from sequencer.storage.turn import ChainState, make_turn
from sequencer.storage.writer import Writer
from tests.node.chain import GENESIS, NETWORK, RECORD, VALIDATOR, caught_up, decided, make_block, make_chain, voted
from tests.node.executors import StepExecutor

PAYLOAD_BYTES = 200_000


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(checkpoint, "CHECKPOINT_BYTES", 5 * PAYLOAD_BYTES)
    create_database(tmp_path / "node.db", NETWORK, VALIDATOR, RECORD)
    return tmp_path / "node.db"


class Disk:
    """A writer and a checkpointer, without the rest of storage. `executor` says when checkpoints run."""

    def __init__(self, path: Path, *, at_once: bool, is_synced: bool = True) -> None:
        self.executor = StepExecutor(at_once=at_once)
        self.writer = Writer(path, is_synced=is_synced)
        self.checkpointer = Checkpointer(path, self.executor, is_synced=is_synced)
        self.state = ChainState(GENESIS.leaf.epoch, GENESIS.leaf.height, GENESIS.commitment, {})
        self.tip = GENESIS
        self._log = path.with_name(path.name + "-wal")

    def append(self) -> None:
        self.tip = make_block(self.tip, [self.tip.leaf.height.to_bytes(8, "big") * (PAYLOAD_BYTES // 8)])
        turn = make_turn(self.state, caught_up(self.tip))
        self.writer.write(turn)
        self.state = turn.after
        self.checkpointer.on_written(turn.size)

    @property
    def log_bytes(self) -> int:
        return self._log.stat().st_size

    def close(self) -> None:
        self.checkpointer.close()
        self.writer.close()


@pytest.mark.parametrize("is_synced", [True, False])
def test_the_log_starts_over_after_each_checkpoint(path: Path, is_synced: bool) -> None:
    disk = Disk(path, at_once=True, is_synced=is_synced)
    for _ in range(60):
        disk.append()
        assert disk.log_bytes < 12 * PAYLOAD_BYTES
    disk.close()
    with SqliteStorage(path, NETWORK, VALIDATOR, GENESIS, PayloadCache(entries_max=4), "fsync") as storage:
        assert storage.load().tip.commitment == disk.tip.commitment


def test_only_one_checkpoint_runs_at_a_time(path: Path) -> None:
    disk = Disk(path, at_once=False)
    for _ in range(30):
        disk.append()
    long_log = disk.log_bytes
    assert long_log > 30 * PAYLOAD_BYTES
    disk.executor.run()
    for _ in range(4):
        disk.append()
    assert disk.log_bytes == long_log, "written from its start again"
    disk.executor.run()
    disk.close()


def test_a_checkpoint_that_fails_ends_the_writing(path: Path) -> None:
    disk = Disk(path, at_once=False)
    for _ in range(6):
        disk.append()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (PAYLOAD_BYTES, limits[1]))
    try:
        disk.executor.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(StorageError, match="disk"):
        disk.append()
    disk.close()


async def test_checkpoints_run_beside_a_living_storage(path: Path) -> None:
    chain = make_chain(GENESIS, 1)
    with SqliteStorage(path, NETWORK, VALIDATOR, GENESIS, PayloadCache(entries_max=4), "os") as storage:
        await storage.append(decided(*chain))
        for number in range(40):
            chain.append(make_block(chain[-1], [bytes([number]) * PAYLOAD_BYTES]))
            await storage.append(decided(chain[-1]))
        assert [
            block.commitment for block in storage.read_decided(chain[0].leaf.height, blocks_max=50, bytes_max=10**9)
        ] == [block.commitment for block in chain]


@pytest.mark.parametrize(("is_synced", "modes"), [(True, ["FULL", "NORMAL", "FULL"]), (False, ["OFF", "OFF", "OFF"])])
def test_r8_a_turn_with_a_record_is_committed_with_a_sync(path: Path, is_synced: bool, modes: list[str]) -> None:
    """A vote, a decided block that can be fetched again, and a vote: what SQLite is told to do with each commit."""
    disk = Disk(path, at_once=True, is_synced=is_synced)
    told: list[str] = []
    first, second = make_chain(GENESIS, 2)
    for batch in (voted(first), decided(first), voted(second)):
        turn = make_turn(disk.state, batch)
        disk.writer.write(turn)
        disk.state = turn.after
        (mode,) = disk.writer._connection.execute("PRAGMA synchronous").fetchone()
        told.append(["OFF", "NORMAL", "FULL"][mode])
    disk.close()
    assert told == modes
