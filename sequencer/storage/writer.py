"""The connection that writes turns."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from consensus.types import Epoch, View
from sequencer.storage import PromiseRow
from sequencer.storage.errors import StorageError, explaining
from sequencer.storage.schema import closing_on_failure, open_writer, read_boot_id
from sequencer.storage.turn import Turn


class Writer:
    """Writes one turn per transaction. `is_synced` says whether a turn that must sync waits for the disk (R8, T2).

    After the first failure every further call fails: what a failed sync has left on disk cannot be known.
    """

    def __init__(self, path: Path, *, is_synced: bool) -> None:
        self._path = path
        self._is_synced = is_synced
        self._failed = False
        with explaining(path):
            self._connection = open_writer(path, synchronous="FULL")
            self._synchronous = "FULL"
            with closing_on_failure(self._connection):
                if is_synced:
                    self._settle()
                self._mark_volatile(b"" if is_synced else read_boot_id())

    def write(self, turn: Turn, forgotten: tuple[Epoch, View] | None = None) -> None:
        """One transaction, without the promises that ended before `forgotten`. May run in any thread, one call at a
        time.
        """
        with self._transaction(must_sync=turn.must_sync):
            self._write_rows(turn)
            if forgotten is not None:
                self._connection.execute("DELETE FROM promises WHERE (epoch, last_view) < (?, ?)", forgotten)

    def write_promises(self, rows: Sequence[PromiseRow]) -> None:
        """Synced as a vote is. May run in any thread, but not while `write` runs in another."""
        with self._transaction(must_sync=True):
            self._connection.executemany(
                "INSERT OR REPLACE INTO promises VALUES (?, ?, ?, ?, ?)", [_encode_promise(row) for row in rows]
            )

    def close(self) -> None:
        """Sync what was written, unless a write has failed."""
        try:
            if not self._failed:
                with explaining(self._path):
                    self._set_synchronous("FULL")
                    self._mark_volatile(b"")
        finally:
            self._connection.close()

    @contextmanager
    def _transaction(self, *, must_sync: bool) -> Iterator[None]:
        if self._failed:
            raise StorageError(
                self._path, "an earlier write failed", "End the process; start the node when the disk is sound"
            )
        try:
            with explaining(self._path):
                self._set_synchronous(self._get_synchronous(must_sync=must_sync))
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
        except BaseException:
            self._failed = True
            raise

    def _write_rows(self, turn: Turn) -> None:
        connection = self._connection
        if turn.record is not None:
            connection.execute("UPDATE safety SET record = ? WHERE id = 1", (turn.record,))
        if turn.blocks:
            connection.executemany("INSERT INTO blocks VALUES (?, ?, ?, ?)", turn.blocks)
        if turn.decided:
            connection.executemany("INSERT INTO decided VALUES (?, ?, ?)", turn.decided)
        if turn.lost:
            connection.executemany("DELETE FROM blocks WHERE id = ?", turn.lost)
        if turn.ledger is not None:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('ledger', ?)", (turn.ledger,))
        if turn.epochs:
            connection.executemany("INSERT INTO epochs VALUES (?, ?, ?, ?)", turn.epochs)
        if turn.base is not None:
            connection.execute("INSERT INTO meta VALUES ('base', ?)", (turn.base,))
        if turn.early_fc_changed:
            early_fc = turn.after.early_fc
            value = b"" if early_fc is None else msgspec.msgpack.encode(early_fc)
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('early_fc', ?)", (value,))

    def _get_synchronous(self, *, must_sync: bool) -> str:
        """NORMAL syncs no commit, but keeps the order in which log and file reach the disk; OFF not even that."""
        if not self._is_synced:
            return "OFF"
        return "FULL" if must_sync else "NORMAL"

    def _set_synchronous(self, mode: str) -> None:
        """A pragma costs microseconds and no disk access; changing it between transactions is what SQLite allows."""
        if mode != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous = {mode}")
            self._synchronous = mode

    def _settle(self) -> None:
        """Sync whatever an earlier run under "os" left to the system: a write, so that the checkpoint has to sync."""
        self._connection.execute("UPDATE safety SET record = record")
        ((is_busy, _, _),) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if is_busy:
            raise StorageError(
                self._path,
                "another program is reading it",
                "Close whatever has the database open (a backup, a database browser) and start the node again",
            )

    def _mark_volatile(self, boot_id: bytes) -> None:
        """Synced, as `synchronous` is FULL here: after a machine's crash it says whether votes may be missing."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('volatile_since', ?)", (boot_id,))


def _encode_promise(row: PromiseRow) -> tuple[bytes, bytes, int, int, bytes]:
    promise = row.promise
    encoded = msgspec.msgpack.encode(promise)
    return promise.transaction, row.transaction, promise.epoch, promise.last_view, encoded
