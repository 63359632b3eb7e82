"""The main file: what is in it, and how it is made, checked and opened.

Nothing here writes to a file that is not whole and ours: checks run on a read-only connection first.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from consensus.safety import SafetyRecord
from consensus.types import NetworkId, ValidatorId
from sequencer.folders import sync_folder
from sequencer.storage.errors import NEW_KEY, StorageError, explaining
from sequencer.storage.lock import DatabaseLock

SCHEMA_VERSION: Final = 3
"""Of the tables and of what stands in them: goes up with the leaf's version (`consensus.leaf.LEAF_VERSION`) too."""
APPLICATION_ID: Final = 0x53455131
"""Marks the file as ours (bytes 68 to 71 of its header, "SEQ1")."""
PAGE_BYTES: Final = 16 * 1024
"""A block of 256 KiB is written in 375 µs with these, in 500 µs with SQLite's usual 4 KiB; larger ones gain nothing
more."""
BUSY_TIMEOUT_MS: Final = 10_000
"""How long to wait for another program's lock (a backup, a database browser) before giving up."""
HEIGHT_SHIFT: Final = 20
"""`blocks.id` is the height in the upper bits and a number within the height in these: blocks lie on disk in order of
height, what is undecided is one range, and a million views may fail at one height."""

Origin: TypeAlias = dict[str, bytes]
"""The rows of `meta`."""

_HEADER = b"SQLite format 3\0"
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE safety (id INTEGER PRIMARY KEY CHECK (id = 1), record BLOB NOT NULL) STRICT;
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY,
    commitment BLOB NOT NULL UNIQUE,
    leaf BLOB NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE TABLE decided (
    height INTEGER PRIMARY KEY,
    block INTEGER NOT NULL,
    fc BLOB
) STRICT;
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    proof BLOB NOT NULL,
    ledger BLOB NOT NULL,
    before BLOB NOT NULL
) STRICT;
CREATE TABLE promises (
    transaction_hash BLOB PRIMARY KEY,
    transaction_bytes BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    last_view INTEGER NOT NULL,
    promise BLOB NOT NULL
) STRICT, WITHOUT ROWID;
"""
# meta: "network_id", "validator_id", "database_id" (ties the index to this file), "ledger" (its state after the last
# decided block), "early_fc" (an FC whose leaf is still on its way, while catching up), "base" (the leaf that the chain
# begins with here, when a snapshot has taken the place of what came before), "volatile_since" (the machine's boot
# during which unsynced votes were signed).
# epochs: one row for each epoch that has begun after the first: the proof that the one before is over, the state that
# it begins with, and the state before the last leaf of the one before, which a snapshot serves (T2, T5).


def create_database(path: Path, network_id: NetworkId, validator_id: ValidatorId, record: SafetyRecord) -> None:
    """A new database for a key that has never signed, durable on return. Raises `StorageError` when there is one
    already."""
    partial = path.with_name(path.name + ".new")
    with explaining(path), DatabaseLock(path):
        if path.exists():
            raise StorageError(path, "there is a database already", "It is never overwritten: start the node")
        partial.unlink(missing_ok=True)
        connection = sqlite3.connect(partial, isolation_level=None)
        try:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN")
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            origin = {
                "network_id": network_id,
                "validator_id": _encode_validator(validator_id),
                "database_id": secrets.token_bytes(16),
            }
            connection.executemany("INSERT INTO meta VALUES (?, ?)", origin.items())
            connection.execute("INSERT INTO safety VALUES (1, ?)", (msgspec.msgpack.encode(record),))
            connection.execute("COMMIT")
        finally:
            connection.close()
        partial.rename(path)
        sync_folder(path.parent)


def open_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection to a file that is one of ours, or `StorageError`. Contents are not looked at yet."""
    with explaining(path):
        try:
            with path.open("rb") as file:
                header = file.read(100)
        except FileNotFoundError:
            raise StorageError(
                path,
                "there is no database",
                "It holds what this validator has signed, and without it the node must not sign again. If the node has "
                "never run, make its home with: sequencer init. If you moved the database, put it back. " + NEW_KEY,
            ) from None
        if header[:16] != _HEADER or len(header) < 100:
            raise StorageError(path, "it is not a database any more and has been left as it is", NEW_KEY)
        if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
            raise StorageError(path, "it is a database of another program", "Correct the path in node.toml")
        version = int.from_bytes(header[60:64], "big")
        if version != SCHEMA_VERSION:
            raise StorageError(
                path,
                f"its format is version {version}, this program reads version {SCHEMA_VERSION}",
                "Run the version of the program that wrote it; on a network made for trying things out, start over "
                "(sequencer devnet --reset)",
            )
        return _connect(path, "ro")


def open_writer(path: Path, *, synchronous: str) -> sqlite3.Connection:
    """The one connection that writes; checkpoints are not its business. May move between threads, one at a time."""
    with closing_on_failure(_connect(path, "rw")) as connection:
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection


@contextmanager
def closing_on_failure(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """For a connection that its opener hands out only when all went well."""
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


def read_origin(connection: sqlite3.Connection) -> Origin:
    """All of `meta`."""
    return dict(connection.execute("SELECT key, value FROM meta").fetchall())


def read_database_id(path: Path, origin: Origin) -> bytes:
    """Drawn when the database was made: what is derived from it names it, and is of no use beside another one."""
    database_id = origin.get("database_id", b"")
    if not database_id:
        raise StorageError(path, "it is damaged (it does not say which database it is)", NEW_KEY)
    return database_id


def check_origin(path: Path, origin: Origin, network_id: NetworkId, validator_id: ValidatorId) -> None:
    """Raises `StorageError` when the database belongs to another network or validator, or may have lost votes (R8)."""
    stored = origin.get("validator_id", b"")
    if stored != _encode_validator(validator_id):
        number = int.from_bytes(stored, "big")
        raise StorageError(
            path,
            f"it belongs to validator {number}, this node is validator {validator_id}",
            "Give each node its own home; correct `validator` in node.toml or the path of the database",
        )
    stored = origin.get("network_id", b"")
    if stored != network_id:
        raise StorageError(
            path,
            f"it belongs to network {stored.hex()[:16]}, the network file says {network_id.hex()[:16]}",
            "A network is its file: one changed setting makes another. Use the file that the network was started with",
        )
    since = origin.get("volatile_since", b"")
    boot = read_boot_id()
    if since and boot and since != boot:
        raise StorageError(
            path,
            'the machine went down while the node ran with durability = "os": the last votes it signed may be missing',
            'Use durability = "fsync" where a machine may lose power. ' + NEW_KEY,
        )


def read_boot_id() -> bytes:
    """Changes whenever the machine starts; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    except OSError:
        return b""


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    with explaining(path):
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        made = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        with closing_on_failure(made) as connection:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA cell_size_check = ON")
            return connection


def _encode_validator(validator_id: ValidatorId) -> bytes:
    return validator_id.to_bytes(2, "big")
