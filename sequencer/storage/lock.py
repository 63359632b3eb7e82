"""One process per database.

Two nodes on one safety record would sign twice. SQLite's own locks last for a transaction; this one lasts for the
process, and the system drops it when the process ends, however it ends. The file beside the database stays, and means
nothing by itself.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from sequencer.storage.errors import StorageError, explaining


class DatabaseLock:
    """Held from construction to `close`. Raises `StorageError` when another process, or this one, holds it."""

    def __init__(self, path: Path) -> None:
        lock_path = path.with_name(path.name + ".lock")
        if not path.parent.is_dir():
            raise StorageError(
                path, "its folder does not exist", "Correct the path, or make the home with: sequencer init"
            )
        with explaining(lock_path):
            self._descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._descriptor, 20, 0).decode("ascii", "replace") or "unknown"
            os.close(self._descriptor)
            raise StorageError(
                path,
                f"a running node has it open (process {owner})",
                "Each node needs its own home; stop the other process if it is the same node",
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
