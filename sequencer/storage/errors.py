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


class DiskError(StorageError):
    """The system does not let the node use its database now. When that is mended the node may go on as it was."""


NEW_KEY = (
    "Do not put an older copy of the database in its place: it does not know what this validator signed since, and "
    "signing twice costs the stake. Move the node's folder away and give the validator a new key; on a network made "
    "for trying things out, start over (sequencer devnet --reset)"
)

_ACTIONS = {
    sqlite3.SQLITE_FULL: ("the disk is full", "Make room and start again; nothing that was signed is lost"),
    sqlite3.SQLITE_READONLY: (
        "it cannot be written",
        "Make the file and its folder writable for the user that runs the node, and the file system mounted read-write",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "Make the file and its folder readable and writable for the user that runs the node",
    ),
    sqlite3.SQLITE_IOERR: (
        "the disk reported an error",
        "Look at the system's log and at the free space. When the disk is sound start the node again",
    ),
    sqlite3.SQLITE_BUSY: (
        "another program holds a lock on it",
        "Close whatever has the database open (a backup, a database browser) and start the node again",
    ),
}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA}
"""Also what SQLite says when a table is not there."""


def explain(path: Path, error: sqlite3.Error | OSError, if_damaged: str = NEW_KEY) -> StorageError:
    """SQLite's or the system's error in an operator's words. `if_damaged` says what to do about a damaged file."""
    # Without a code it is the driver's own complaint about what it read, such as text that is no UTF-8.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if isinstance(error, sqlite3.Error) and code in _DAMAGE:
        return StorageError(path, f"it is damaged and has been left as it is ({error})", if_damaged)
    if isinstance(error, sqlite3.Error) and code in _ACTIONS:
        problem, action = _ACTIONS[code]
        return DiskError(path, f"{problem} ({error})", action)
    return DiskError(path, str(error), "Check the disk and the permissions, then start the node again")


@contextmanager
def explaining(path: Path, if_damaged: str = NEW_KEY) -> Iterator[None]:
    """Turn what SQLite, the system and the decoders raise inside into `StorageError`. Misuse by this program stays."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise
    except (sqlite3.Error, OSError) as error:
        raise explain(path, error, if_damaged) from error
    except msgspec.MsgspecError as error:
        raise StorageError(path, f"it is damaged and has been left as it is ({error})", if_damaged) from error
