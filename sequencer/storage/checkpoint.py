"""Moving the write-ahead log into the file, in a thread of its own, so that no vote waits for it.

SQLite would do it inside the commit that happens to make the log too long, and sync twice there. Here one connection
copies while the writer goes on (PASSIVE), again while what was written meanwhile is long, and then asks for the short
moment without a writer in which the log may start over (RESTART). Should that moment not come, the next round tries
again.
"""

import sqlite3
from concurrent.futures import Executor, Future
from pathlib import Path

from sequencer.storage.errors import explaining
from sequencer.storage.schema import PAGE_BYTES, closing_on_failure, open_writer

CHECKPOINT_BYTES = 64 * 1024 * 1024
"""Written between two checkpoints: four seconds at 30,000 transactions of 512 bytes a second. The log is about as
long."""
TURN_BYTES = 4 * PAGE_BYTES
"""What a turn writes besides payloads: a page for the record, the block's row, its index and the decided row."""
_PASSES_MAX = 4
_REST_BYTES = 1024 * 1024
"""So little is copied within the moment without a writer."""
_BUSY_TIMEOUT_MS = 100
"""How long to wait for that moment."""


class Checkpointer:
    """Counts what is written and starts a checkpoint when it is time.

    Without `is_synced` nothing is synced here either: a sync now and then would hold votes up and make none durable.
    """

    def __init__(self, path: Path, executor: Executor, *, is_synced: bool) -> None:
        self._path = path
        self._executor = executor
        self._written = 0
        self._running: Future[None] | None = None
        with explaining(path):
            with closing_on_failure(open_writer(path, synchronous="NORMAL" if is_synced else "OFF")) as connection:
                connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            self._connection = connection

    def on_written(self, payload_bytes: int) -> None:
        """To be called after each turn. Raises `StorageError` when the checkpoint before has failed."""
        self._written += payload_bytes + TURN_BYTES
        if self._running is not None:
            if not self._running.done():
                return
            finished, self._running = self._running, None
            finished.result()
        if self._written >= CHECKPOINT_BYTES:
            self._written = 0
            self._running = self._executor.submit(self._run)

    def close(self) -> None:
        """The executor has stopped."""
        self._connection.close()

    def _run(self) -> None:
        with explaining(self._path):
            copied_before = 0
            for _ in range(_PASSES_MAX):
                pages, copied = self._checkpoint("PASSIVE")
                if (pages - copied_before) * PAGE_BYTES <= _REST_BYTES:
                    break
                copied_before = copied
            self._checkpoint("RESTART")

    def _checkpoint(self, mode: str) -> tuple[int, int]:
        """Pages in the log, and pages of them in the file."""
        try:
            ((_, pages, copied),) = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return 0, 0
        return pages, copied
