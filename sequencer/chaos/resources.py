"""What a process holds, read from /proc: memory that is resident, and open descriptors."""

import os
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def read_resident_bytes(pid: int) -> int | None:
    """None when there is no such process any more, or no /proc."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return None


def count_descriptors(pid: int) -> int | None:
    """None when there is no such process any more, or no /proc."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None


def is_stopped(pid: int) -> bool:
    """Whether the process is frozen (SIGSTOP)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (OSError, IndexError):
        return False


def find_holder(path: Path) -> int | None:
    """The process of this user that has a file open; None when there is none, or it cannot be seen.

    A running node has its database open, so this finds it even while it is frozen.
    """
    wanted = str(path.resolve())
    for process in Path("/proc").iterdir() if Path("/proc").is_dir() else ():
        if not process.name.isdecimal():
            continue
        # Processes end, and those of other users cannot be looked into: neither is an error here.
        try:
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) == wanted:
                    return int(process.name)
        except OSError:
            continue
    return None
