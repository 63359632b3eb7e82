"""The index knows every decided transaction, in memory, on disk and in between, whatever happens to its file."""

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.types import Height
from sequencer.storage import StorageError, transaction_index
from sequencer.storage.decided_filter import DecidedFilter, read_words
from sequencer.storage.transaction_index import TransactionIndex
from tests.node.executors import StepExecutor

DATABASE = b"this database"
PER_BLOCK = 5


def hashes_at(height: int) -> list[bytes]:
    return [sha256(b"%d/%d" % (height, position)).digest() for position in range(PER_BLOCK)]


def hashes_between(first: int, last: int) -> list[bytes]:
    return [hash_ for height in range(first, last + 1) for hash_ in hashes_at(height)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four blocks make a flush, two flushes a run."""
    monkeypatch.setattr(transaction_index, "FLUSH_ROWS", 4 * PER_BLOCK)
    monkeypatch.setattr(transaction_index, "RUN_ROWS", 8 * PER_BLOCK)
    monkeypatch.setattr(transaction_index, "BEHIND_ROWS", 8 * PER_BLOCK)
    monkeypatch.setattr(transaction_index, "FLUSH_HEIGHTS", 16)


class Blocks:
    """The decided chain that an index is made from, and which heights were read again."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __call__(self, height: Height) -> Sequence[bytes]:
        self.read.append(height)
        return hashes_at(height)


def open_index(
    path: Path, height: int, blocks: Callable[[Height], Sequence[bytes]], executor: StepExecutor | None = None
) -> TransactionIndex:
    return TransactionIndex(path, DATABASE, Height(height), blocks, executor or StepExecutor(at_once=True))


@contextmanager
def built(path: Path, height: int) -> Iterator[TransactionIndex]:
    """An index that was told of every block up to `height`; closed in order."""
    index = open_index(path, 0, Blocks())
    for number in range(1, height + 1):
        index.add(Height(number), hashes_at(number))
    yield index
    index.close()


def crash(path: Path) -> Path:
    """A copy of what is on disk at this moment."""
    copy = path.with_name("copy")
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
    return copy


def check_knows(index: TransactionIndex, last: int) -> None:
    known, unknown = hashes_between(1, last), hashes_between(last + 1, last + 20)
    assert index.select_decided(known + unknown) == set(known)
    assert index.select_decided(frozenset(unknown)) == set()
    for height in range(1, last + 1):
        assert [index.find_height(hash_) for hash_ in hashes_at(height)] == [height] * PER_BLOCK
    assert index.find_height(unknown[0]) is None


@pytest.mark.parametrize("height", [0, 1, 3, 4, 5, 8, 9, 30])
def test_every_decided_transaction_is_known_before_and_after_a_restart(tmp_path: Path, height: int) -> None:
    blocks = Blocks()
    with built(tmp_path / "index", height) as index:
        check_knows(index, height)
    reopened = open_index(tmp_path / "index", height, blocks)
    check_knows(reopened, height)
    assert blocks.read == [], "an index that was closed in order is complete"
    reopened.close()


def test_blocks_after_the_last_flush_are_read_again(tmp_path: Path) -> None:
    blocks = Blocks()
    with built(tmp_path / "index", 10):
        reopened = open_index(crash(tmp_path / "index"), 12, blocks)
        assert blocks.read == [9, 10, 11, 12], "two flushes hold eight blocks"
        check_knows(reopened, 12)
        reopened.close()


def test_all_are_known_while_a_flush_is_under_way(tmp_path: Path) -> None:
    executor = StepExecutor()
    index = open_index(tmp_path / "index", 0, Blocks(), executor)
    for height in range(1, 7):
        index.add(Height(height), hashes_at(height))
    check_knows(index, 6)
    executor.run()
    check_knows(index, 6)
    index.add(Height(7), hashes_at(7))
    check_knows(index, 7)
    executor.at_once = True
    index.close()


def test_a_disk_that_cannot_keep_up_is_noticed(tmp_path: Path) -> None:
    executor = StepExecutor()
    index = open_index(tmp_path / "index", 0, Blocks(), executor)
    behind_at = None
    for height in range(1, 20):
        index.add(Height(height), hashes_at(height))
        if index.is_behind:
            behind_at = height
            break
    assert behind_at == 12, "four blocks in the flush, eight waiting"
    executor.run()
    index.finish_flush()
    assert not index.is_behind
    check_knows(index, 12)
    executor.at_once = True
    index.close()


def test_empty_blocks_are_flushed_now_and_then(tmp_path: Path) -> None:
    index = open_index(tmp_path / "index", 0, Blocks())
    for height in range(1, 40):
        index.add(Height(height), ())
    copy = crash(tmp_path / "index")
    index.close()
    read: list[int] = []

    def read_empty(height: Height) -> Sequence[bytes]:
        read.append(height)
        return ()

    open_index(copy, 39, read_empty).close()
    assert read == list(range(33, 40)), "16 blocks to a flush"


def test_with_a_thread_of_its_own_nothing_is_lost_either(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        index = TransactionIndex(tmp_path / "index", DATABASE, Height(0), Blocks(), executor)
        for height in range(1, 100):
            index.add(Height(height), hashes_at(height))
            assert index.select_decided(hashes_between(max(1, height - 6), height + 1)) == set(
                hashes_between(max(1, height - 6), height)
            )
            if index.is_behind:
                index.finish_flush()
        check_knows(index, 99)
        index.close()
        reopened = TransactionIndex(tmp_path / "index", DATABASE, Height(99), Blocks(), executor)
        check_knows(reopened, 99)
        reopened.close()


def remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def make_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE origin SET database_id = x'00'")
        connection.commit()


def make_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE origin SET version = version + 1")
        connection.commit()


@pytest.mark.parametrize(
    "spoil",
    [
        remove,
        lambda path: path.write_bytes(b"text" * 1000),
        lambda path: os.truncate(path, 20_000),
        make_foreign,
        make_newer,
    ],
    ids=["removed", "text", "cut off", "of another database", "of another version"],
)
def test_an_index_that_is_of_no_use_is_made_anew(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    blocks = Blocks()
    with built(tmp_path / "index", 9):
        pass
    spoil(tmp_path / "index")
    index = open_index(tmp_path / "index", 9, blocks)
    assert blocks.read == list(range(1, 10))
    check_knows(index, 9)
    index.close()


@pytest.mark.parametrize("left", [0, 3, 8, 9, 15])
def test_an_index_ahead_of_its_database_forgets_the_rest(tmp_path: Path, left: int) -> None:
    """After a machine went down, decided blocks that were not synced are gone, and may come again."""
    with built(tmp_path / "index", 18):
        pass
    index = open_index(tmp_path / "index", left, Blocks())
    check_knows(index, left)
    for height in range(left + 1, 25):
        index.add(Height(height), hashes_at(height))
    check_knows(index, 24)
    index.close()


def test_a_flush_that_fails_is_not_passed_over(tmp_path: Path) -> None:
    index = open_index(tmp_path / "index", 0, Blocks())
    with closing(sqlite3.connect(tmp_path / "index")) as connection:
        connection.execute("DROP TABLE buckets")
        connection.commit()
    for height in range(1, 5):
        index.add(Height(height), hashes_at(height))
    with pytest.raises(StorageError, match="Delete this file"):
        index.add(Height(5), hashes_at(5))
    with pytest.raises(StorageError, match="Delete this file"):
        index.close()


def test_only_whole_entries_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of an entry's hash and of its height may together look like another hash."""
    monkeypatch.setattr(transaction_index, "FLUSH_ROWS", 1)
    zeros = bytes(32)
    lookalike = bytes(12) + (1).to_bytes(4, "little") + bytes(16)
    index = open_index(tmp_path / "index", 0, Blocks())
    index.add(Height(1), [zeros])
    index.add(Height(2), ())
    assert (index.find_height(zeros), index.find_height(lookalike)) == (1, None)
    index.add(Height(3), [lookalike])
    index.add(Height(4), ())
    assert (index.find_height(zeros), index.find_height(lookalike)) == (1, 3)
    index.close()


@settings(deadline=None, max_examples=30)
@given(st.sets(st.binary(min_size=32, max_size=32), max_size=50), st.sets(st.binary(min_size=32, max_size=32)))
def test_the_filter_forgets_nothing(added: set[bytes], others: set[bytes]) -> None:
    filter_ = DecidedFilter()
    filter_.add(*read_words(b"".join(added)))
    assert set(filter_.select(added | others)) >= added


def test_the_filter_lets_few_others_through() -> None:
    choices = random.Random(1)
    filter_ = DecidedFilter()
    filter_.add(*read_words(choices.randbytes(32 * 100_000)))
    fresh = [choices.randbytes(32) for _ in range(20_000)]
    assert len(filter_.select(fresh)) < 10
