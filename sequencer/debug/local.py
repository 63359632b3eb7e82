"""What lies in a node's folder and what the system knows of its process. Keys and databases are never opened."""

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

import msgpack

from consensus.errors import InvalidMessage
from consensus.trace import Record, decode_record
from sequencer.config import LoadedNode, render_toml
from sequencer.debug.items import Collection, read_tail
from sequencer.debug.task_tree import TASK_TREE_FILE
from sequencer.journal import SUFFIX
from sequencer.local_cluster.cluster import LOG_FILE

TASK_TREE_SECONDS: Final = 3.0
"""For the node to write its task tree: a turn takes milliseconds. A frozen one never does."""
DEVNET_JOURNAL: Final = "journal"
"""Folder of a journal that no setting names: a devnet asks for it when it starts a node."""
RECORDS_TOLD_MAX: Final = 500
RECORD_CHARACTERS_MAX: Final = 300
FILES_LISTED_MAX: Final = 1000
_POLL_SECONDS: Final = 0.05
_RECORDS_IN_ORDER: Final = 4
"""So many records in a row make it certain that the first of them begins where it seems to."""


def gather_local(node: LoadedNode, collection: Collection) -> None:
    name = node.config.validator
    folder = f"nodes/{name}"
    collection.add_text(
        f"{folder}/config.toml",
        "its settings as they are known here (flags and environment of the process are not)",
        render_toml(node.config),
    )
    collection.add_text(f"{folder}/files.txt", "names and sizes of the files in its folder", _list_files(node.folder))
    log_path = node.folder / LOG_FILE
    if log_path.exists():
        collection.add_tail(f"{folder}/log.txt", "end of its log", log_path)
    else:
        collection.leave_out(f"{folder}/log.txt", "its log goes to its stderr: see journalctl, or who started it")
    _gather_journal(node, folder, collection)
    _gather_process(node, folder, collection)
    collection.leave_out(f"{folder}/ (keys)", "keys are never opened, whatever they are called")
    collection.leave_out(f"{folder}/ (database)", "the chain and all payloads: copy it yourself if it is asked for")


def _list_files(folder: Path) -> str:
    lines = []
    for path in islice(sorted(folder.rglob("*")), FILES_LISTED_MAX):
        with suppress(OSError):
            status = path.lstat()
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(status.st_mtime))
            lines.append(f"{status.st_size:>14} {status.st_mode & 0o777:04o} {stamp} {path.relative_to(folder)}")
    with suppress(OSError):
        usage = shutil.disk_usage(folder)
        lines.append(f"disk: {usage.total} bytes, {usage.used} used, {usage.free} free")
    return "\n".join(lines) + "\n"


# Journal


def _gather_journal(node: LoadedNode, folder: str, collection: Collection) -> None:
    """The end of the newest file, from a record on, and the last records for people."""
    place = node.journal_path or node.folder / DEVNET_JOURNAL
    files = sorted(place.glob(f"*{SUFFIX}"))
    if not files:
        why = "the node keeps no journal (journal in node.toml)"
        collection.leave_out(f"{folder}/journal.txt", why if node.journal_path is None else f"there is none in {place}")
        return
    try:
        tail, size = read_tail(files[-1]), files[-1].stat().st_size
    except OSError as error:
        collection.leave_out(f"{folder}/journal.txt", f"{files[-1]} cannot be read: {error.strerror}")
        return
    start = find_record(tail) if size > len(tail) else 0
    collection.add(
        f"{folder}/journal{SUFFIX}", f"end of its journal {files[-1].name}, from a record on", tail[start:], size
    )
    records = list(read_records(tail[start:]))[-RECORDS_TOLD_MAX:]
    told = "\n".join(repr(record)[:RECORD_CHARACTERS_MAX] for record in records)
    collection.add_text(f"{folder}/journal.txt", f"the last {len(records)} records of it, shortened", told + "\n")


def find_record(data: bytes) -> int:
    """Where the first record begins in the end of a journal; its length when there is none."""
    for start in range(len(data)):
        if (
            data[start] in (0xC4, 0xC5, 0xC6)
            and len(list(islice(read_records(data[start:]), _RECORDS_IN_ORDER))) == _RECORDS_IN_ORDER
        ):
            return start
    return len(data)


def read_records(data: bytes) -> Iterator[Record]:
    """Up to the first thing that is no record: the end of a file may be half of one."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(data) + 1)
    unpacker.feed(data)
    with suppress(ValueError, msgpack.UnpackException, InvalidMessage):
        for frame in unpacker:
            if not isinstance(frame, bytes):
                return
            yield decode_record(frame)


# The process


def _gather_process(node: LoadedNode, folder: str, collection: Collection) -> None:
    pid = find_process(node.database_path)
    if pid is None:
        collection.leave_out(f"{folder}/task_tree.txt", "no process has its database open: the node does not run")
        return
    for file in ("limits", "status"):
        with suppress(OSError):
            text = Path(f"/proc/{pid}/{file}").read_text()
            collection.add_text(f"{folder}/process_{file}.txt", f"/proc/{pid}/{file}", text)
    path = node.database_path.parent / TASK_TREE_FILE
    refusal = ask_for_task_tree(pid, path)
    if refusal is None:
        collection.add_tail(f"{folder}/task_tree.txt", "what each of its tasks waits for", path)
    else:
        collection.leave_out(f"{folder}/task_tree.txt", refusal)


def find_process(database: Path) -> int | None:
    """Who holds the lock beside the database, as the system says: taking the lock to find out could hold up a start."""
    lock_path = database.with_name(database.name + ".lock")
    try:
        inode = lock_path.stat().st_ino
        locks = Path("/proc/locks").read_text()
    except OSError:
        return None
    found = re.search(rf"FLOCK\s+ADVISORY\s+WRITE\s+(\d+)\s+\S+:{inode}\s", locks)
    return int(found[1]) if found else None


def ask_for_task_tree(pid: int, path: Path) -> str | None:
    """None when the process has written it anew, else why not."""
    if not _catches_signal(pid, signal.SIGUSR1):
        return "the process does not write one: it is older, or has only just started"
    before = _read_stamp(path)
    try:
        os.kill(pid, signal.SIGUSR1)
    except OSError as error:
        return f"process {pid} cannot be asked for it: {(error.strerror or str(error)).lower()}"
    deadline = time.monotonic() + TASK_TREE_SECONDS
    while _read_stamp(path) == before:
        if time.monotonic() > deadline:
            return f"process {pid} has not written one in {TASK_TREE_SECONDS:g} s: it is frozen, or its disk is full"
        time.sleep(_POLL_SECONDS)
    return None


def _read_stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _catches_signal(pid: int, number: signal.Signals) -> bool:
    """A process that does not would be ended by it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)
