"""Which transactions are decided, and at which height; without it a resubmitted transaction would be decided twice.

A file of its own beside the database: derived data, made anew from the blocks when it is missing, damaged or of another
database, and its writes never hold up a vote.

Hashes come in random order, so a table keyed by hash would rewrite most of its pages for every batch: 7 µs and more per
transaction at two million rows, and growing. Here hashes are appended instead, as in a log-structured hash table:

- The latest ones are in memory: a dict for looking up, and 8,192 buckets of bytes for writing.
- `FLUSH_ROWS` later the buckets are appended to the buckets of the current *run* on disk, in one SQL statement, in
  another thread, without the interpreter lock. A run covers a range of heights, and ends at `RUN_ROWS`.
- Looking up means one bucket per run, about 1.5 KiB each, and the filter in memory leaves hardly anything to look up.

An entry is 16 bytes of the hash and the height. Who finds two transactions that share 16 bytes (2**64 attempts) harms
himself alone: the second is refused. Nobody can find one that shares them with somebody else's.
"""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog

from consensus.types import Height
from sequencer.storage.decided_filter import DecidedFilter, read_words
from sequencer.storage.errors import explaining
from sequencer.storage.schema import PAGE_BYTES, closing_on_failure

FLUSH_ROWS = 2**17
"""Hashes kept in memory before they are written: about 30 MiB, four seconds at 30,000 transactions a second."""
FLUSH_HEIGHTS = 4096
"""Blocks before a flush when few transactions come: what a restart has to read again."""
BEHIND_ROWS = 2 * FLUSH_ROWS
"""With so many waiting while a flush is still running, the disk cannot keep up and decides have to wait for it."""
RUN_ROWS = 4 * FLUSH_ROWS
"""More make a lookup read fewer buckets, and each flush write more of the run again."""

_VERSION = 1
_FIRST_HEIGHT = Height(1)
_BUCKETS = 2**13
_BUCKET_SHIFT = 32 - 13
"""A hash's bucket is the upper bits of its first word, as is its place in the filter: the entries of one bucket go to
one page of the filter, so that loading it misses the processor's cache less."""
_KEY_BYTES = 16
_HEIGHT_BYTES = 8
_ENTRY_BYTES = _KEY_BYTES + _HEIGHT_BYTES
_LENGTH_DIGITS = 8
_MAPPED_BYTES = 2**30
"""Lookups hit random pages: mapped, they are not copied into a cache that would not hold them."""

_MAKE_ANEW = "Delete this file (not the database beside it) and start the node again: it is made anew from the blocks"

log = structlog.get_logger(__name__)

_TABLES = """
CREATE TABLE origin (version INTEGER NOT NULL, database_id BLOB NOT NULL) STRICT;
CREATE TABLE runs (
    run INTEGER PRIMARY KEY, first_height INTEGER NOT NULL, last_height INTEGER NOT NULL, entries INTEGER NOT NULL
) STRICT;
CREATE TABLE buckets (id INTEGER PRIMARY KEY, entries BLOB NOT NULL) STRICT;
"""
# buckets.id = run * buckets + bucket. All buckets come as one blob, their lengths as digits of fixed width in another:
# SQLite can cut blobs, and cannot read binary integers.
_APPEND = """
WITH RECURSIVE piece (bucket, first, length) AS (
    SELECT 0, 1, CAST(substr(:lengths, 1, :digits) AS INTEGER)
    UNION ALL
    SELECT bucket + 1, first + length, CAST(substr(:lengths, (bucket + 1) * :digits + 1, :digits) AS INTEGER)
    FROM piece WHERE bucket + 1 < :buckets
)
INSERT INTO buckets
SELECT :run * :buckets + bucket, substr(:entries, first, length) FROM piece WHERE length > 0
ON CONFLICT (id) DO UPDATE SET entries = CAST(entries || excluded.entries AS BLOB)
"""
_SELECT_BUCKETS = """
WITH RECURSIVE wanted (id) AS (
    VALUES (:newest) UNION ALL SELECT id - :buckets FROM wanted WHERE id >= :buckets
)
SELECT entries FROM wanted CROSS JOIN buckets USING (id)
"""


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive heights whose transactions lie together. `entries` is how many there are."""

    number: int
    first_height: int
    last_height: int
    entries: int


class TransactionIndex:
    """Reads and `add` are plain calls of one thread; `executor` (one thread) writes.

    `read_hashes` gives the transactions of a decided height: what was decided after the last flush is read again. Of
    heights below `first_height` there is nothing to know.
    """

    def __init__(
        self,
        path: Path,
        database_id: bytes,
        latest_height: Height,
        read_hashes: Callable[[Height], Sequence[bytes]],
        executor: Executor,
        *,
        first_height: Height = _FIRST_HEIGHT,
    ) -> None:
        self._path = path
        self._height_before = first_height - 1
        self._executor = executor
        self._recent: dict[bytes, int] = {}
        self._flushing: dict[bytes, int] = {}
        self._buckets = _make_buckets()
        self._writing: Future[_Run] | None = None
        self._filter = DecidedFilter()
        with ExitStack() as opened:
            with explaining(path, _MAKE_ANEW):
                self._writer = opened.enter_context(closing_on_failure(_open(path, database_id, latest_height)))
                self._reader = opened.enter_context(closing_on_failure(_connect(path)))
                self._reader.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
                self._run = _read_last_run(self._reader)
                self._load_filter()
            self._height = self._indexed_height
            self._catch_up(latest_height, read_hashes)

    @property
    def is_behind(self) -> bool:
        """Whether `add` should wait for `finish_flush`."""
        return len(self._recent) >= BEHIND_ROWS and self._writing is not None

    def add(self, height: Height, hashes: Sequence[bytes]) -> None:
        """These are decided at `height`, above the last. Raises `StorageError` when a flush has failed."""
        if hashes:
            suffix = height.to_bytes(_HEIGHT_BYTES, "little")
            first, second = read_words(b"".join(hashes))
            buckets = self._buckets
            for hash_, word in zip(hashes, first, strict=True):
                buckets[word >> _BUCKET_SHIFT] += hash_[:_KEY_BYTES] + suffix
            self._filter.add(first, second)
            self._recent.update(dict.fromkeys(hashes, height))
        self._height = height
        self._poll()
        if self._writing is None and (
            len(self._recent) >= FLUSH_ROWS or self._height - self._indexed_height >= FLUSH_HEIGHTS
        ):
            self._start_flush()

    def select_decided(self, hashes: Collection[bytes]) -> set[bytes]:
        """Which of these are decided."""
        found = self._recent.keys() & hashes
        if self._flushing:
            found |= self._flushing.keys() & hashes
        if self._run is not None:
            candidates = self._filter.select(hashes)
            found.update([hash_ for hash_ in candidates if hash_ not in found and self._look_up(hash_) is not None])
        return found

    def find_height(self, hash_: bytes) -> int | None:
        """Where a transaction is decided, by 16 bytes of its hash."""
        height = self._recent.get(hash_, self._flushing.get(hash_))
        return height if height is not None or self._run is None else self._look_up(hash_)

    def wait_for_flush(self) -> None:
        """Block until the flush that is under way has ended, well or not. For another thread."""
        writing = self._writing
        if writing is not None:
            writing.exception()

    def finish_flush(self) -> None:
        """The same, and take note of it. Raises `StorageError` when it has failed."""
        self.wait_for_flush()
        self._poll()

    def close(self) -> None:
        """Write everything that is in memory. The executor must still be running."""
        try:
            self.finish_flush()
            if self._height > self._indexed_height:
                self._start_flush()
                self.finish_flush()
        finally:
            self._reader.close()
            self._writer.close()

    @property
    def _indexed_height(self) -> int:
        return self._height_before if self._run is None else self._run.last_height

    def _catch_up(self, latest_height: Height, read_hashes: Callable[[Height], Sequence[bytes]]) -> None:
        missing = latest_height - self._height
        if missing > FLUSH_HEIGHTS:
            log.info("transaction_index_rebuilding", blocks=missing)
        for height in range(self._height + 1, latest_height + 1):
            self.add(Height(height), read_hashes(Height(height)))
            if self.is_behind:
                self.finish_flush()

    def _look_up(self, hash_: bytes) -> int | None:
        """On disk, newest run first. Costs about 10 µs."""
        if self._run is None:
            return None
        key = hash_[:_KEY_BYTES]
        bucket = self._run.number * _BUCKETS + (int.from_bytes(hash_[:4], "little") >> _BUCKET_SHIFT)
        with explaining(self._path, _MAKE_ANEW):
            rows = self._reader.execute(_SELECT_BUCKETS, {"newest": bucket, "buckets": _BUCKETS}).fetchall()
        for (entries,) in rows:
            at = entries.find(key)
            while at >= 0 and at % _ENTRY_BYTES:
                at = entries.find(key, at + 1)
            if at >= 0:
                return int.from_bytes(entries[at + _KEY_BYTES : at + _ENTRY_BYTES], "little")
        return None

    def _load_filter(self) -> None:
        """0.1 s per million entries, before the node starts: without its filter it could not keep up anyway."""
        for (entries,) in self._reader.execute("SELECT entries FROM buckets ORDER BY id"):
            self._filter.add(*read_words(entries, _ENTRY_BYTES // 4))

    def _start_flush(self) -> None:
        buckets, self._buckets = self._buckets, _make_buckets()
        self._flushing, self._recent = self._recent, {}
        run = self._run
        count = len(self._flushing)
        if run is None or run.entries >= RUN_ROWS:
            run = _Run(0 if run is None else run.number + 1, self._indexed_height + 1, self._height, count)
        else:
            run = _Run(run.number, run.first_height, self._height, run.entries + count)
        self._writing = self._executor.submit(self._write, run, buckets)

    def _write(self, run: _Run, buckets: list[bytearray]) -> _Run:
        """In the other thread: everything that takes long is inside SQLite, which needs no interpreter lock."""
        lengths = "".join([f"{len(bucket):{_LENGTH_DIGITS}d}" for bucket in buckets]).encode()
        pieces = {"entries": b"".join(buckets), "lengths": lengths, "digits": _LENGTH_DIGITS}
        with explaining(self._path, _MAKE_ANEW):
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.execute(_APPEND, {**pieces, "run": run.number, "buckets": _BUCKETS})
            row = (run.number, run.first_height, run.last_height, run.entries)
            self._writer.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", row)
            self._writer.execute("COMMIT")
            self._writer.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        return run

    def _poll(self) -> None:
        if self._writing is not None and self._writing.done():
            finished, self._writing = self._writing, None
            self._run = finished.result()
            self._flushing = {}


def _make_buckets() -> list[bytearray]:
    return [bytearray() for _ in range(_BUCKETS)]


def _open(path: Path, database_id: bytes, latest_height: Height) -> sqlite3.Connection:
    """A writing connection to an index of this database that knows nothing above `latest_height`; new if need be."""
    if path.exists():
        try:
            return _open_existing(path, database_id, latest_height)
        except (sqlite3.DatabaseError, _UselessError) as error:
            log.warning("transaction_index_discarded", path=str(path), reason=str(error))
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with closing_on_failure(_connect(path)) as connection:
        connection.executescript(_TABLES)
        connection.execute("INSERT INTO origin VALUES (?, ?)", (_VERSION, database_id))
        return connection


class _UselessError(Exception):
    """The index is whole, and not of this database."""


def _open_existing(path: Path, database_id: bytes, latest_height: Height) -> sqlite3.Connection:
    with closing_on_failure(_connect(path)) as connection:
        _check(connection, database_id, latest_height)
        return connection


def _check(connection: sqlite3.Connection, database_id: bytes, latest_height: Height) -> None:
    """Runs above the chain go: after a machine's crash the database may have lost more than the index."""
    if connection.execute("SELECT version, database_id FROM origin").fetchall() != [(_VERSION, database_id)]:
        raise _UselessError("it belongs to another database or version")
    ((first_bad,),) = connection.execute("SELECT min(run) FROM runs WHERE last_height > ?", (latest_height,)).fetchall()
    if first_bad is not None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM buckets WHERE id >= ?", (first_bad * _BUCKETS,))
        connection.execute("DELETE FROM runs WHERE run >= ?", (first_bad,))
        connection.execute("COMMIT")


def _connect(path: Path) -> sqlite3.Connection:
    made = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with closing_on_failure(made) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection


def _read_last_run(connection: sqlite3.Connection) -> _Run | None:
    rows = connection.execute("SELECT run, first_height, last_height, entries FROM runs ORDER BY run DESC LIMIT 1")
    return next((_Run(*row) for row in rows.fetchall()), None)
