"""What can go wrong with the disk, said so that an operator knows what to do."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec


class StorageError(Exception):
    """The node cannot start, or cannot go on, with this database. Says what happened, why, and what to do."""

    def __init__(self, path: Path, problem: str, action: str) -> None:
        super().__init__(f"{path}: {problem}. {action}.")
        self.path = path
        self.problem = problem
        self.action = action


NEW_KEY = (
    "Do not put an older copy of the database in its place: it does not know what this validator signed since, and "
    "signing twice costs the stake. Move the node's folder away and give the validator a new key; on a network made "
    "for trying things out, start over (sequencer devnet --reset)"
)

_ACTIONS = {
    sqlite3.SQLITE_FULL: ("the disk is full", "Make room and start the node again; nothing that was signed is lost"),
    sqlite3.SQLITE_READONLY: (
        "it cannot be written",
        "Make the file and its folder writable for the user that runs the node, and the file system mounted read-write",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "Make the file and its folder readable and writable for the user that runs the node",
    ),
    sqlite3.SQLITE_CORRUPT: ("it is damaged and has been left as it is", NEW_KEY),
    sqlite3.SQLITE_NOTADB: ("it is not a database any more and has been left as it is", NEW_KEY),
    sqlite3.SQLITE_IOERR: (
        "the disk reported an error",
        "Look at the system's log. If the disk is sound again start the node; it checks what it finds",
    ),
    sqlite3.SQLITE_BUSY: (
        "another program holds a lock on it",
        "Close whatever has the database open (a backup, a database browser) and start the node again",
    ),
}


def explain(path: Path, error: sqlite3.Error | OSError) -> StorageError:
    """SQLite's or the system's error in an operator's words."""
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int) and code & 0xFF in _ACTIONS:
        problem, action = _ACTIONS[code & 0xFF]
        return StorageError(path, f"{problem} ({error})", action)
    if code is None and isinstance(error, sqlite3.DatabaseError):
        # The driver's own complaints about what it read, such as text that is no UTF-8.
        return StorageError(path, f"it is damaged and has been left as it is ({error})", NEW_KEY)
    return StorageError(path, str(error), "Check the disk and the permissions, then start the node again")


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn what SQLite, the system and the decoders raise inside into `StorageError`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise explain(path, error) from error
    except msgspec.MsgspecError as error:
        raise StorageError(path, f"it is damaged and has been left as it is ({error})", NEW_KEY) from error
