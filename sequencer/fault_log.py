"""The fault log of a cluster: what was done to it on purpose and what broke by itself, as JSON lines in one file.

`sequencer chaos` and whoever keeps a devnet running write it, and a scenario that runs on processes; every node of the
cluster reads it for whoever looks at that node. A line holds a whole fault, and nothing is ever rewritten: when a fault
ends, it is written again with its end, and of several lines with one id the last one counts. So a line that a crash has
torn costs that line alone, and of a long file only the end is read.
"""

import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from sequencer.schema.faults import Fault

TAIL_BYTES: Final = 128 * 1024
"""Of the file that are read, its end: some hundreds of faults. A fault whose last line lies before it is forgotten."""

KILL: Final = "kill"
CRASH: Final = "crash"
STOP: Final = "stop"
PAUSE: Final = "pause"
PARTITION: Final = "partition"
DELAY: Final = "delay"
PROCESS_FAULTS: Final = (KILL, CRASH, STOP, PAUSE)
"""A process was killed by a signal, ended with an error, ended in order though nobody here asked it to, is frozen."""
LINK_FAULTS: Final = (PARTITION, DELAY)
SCENARIO_FAULTS: Final = (
    *("degrade", "cut", "flap", "clog", "corrupt", "rolling_restart", "reset"),
    *("burst", "oversize", "slow_readers"),
)
"""What only a scenario does: to links, to nodes in turn, and what clients do."""
FAULTS: Final = (*PROCESS_FAULTS, *LINK_FAULTS, *SCENARIO_FAULTS)


def read_now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


class FaultLog:
    """The log in one file, which need not exist yet. Several processes may write to it at the same time."""

    def __init__(self, path: Path, now_ms: Callable[[], int] = read_now_ms) -> None:
        self.path = path
        self.now_ms = now_ms
        self._cached: tuple[tuple[int, int, int], tuple[Fault, ...]] | None = None

    def read(self) -> tuple[Fault, ...]:
        """The last faults, in the order in which they began. Empty when there is no file; raises `OSError`.

        A file that has not changed is not read again.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return ()
        version = (found.st_ino, found.st_size, found.st_mtime_ns)
        if self._cached is None or self._cached[0] != version:
            with self.path.open("rb") as file:
                self._cached = version, _parse_tail(file.fileno())
        return self._cached[1]

    def read_active(self) -> tuple[Fault, ...]:
        """Those that are on now. Raises `OSError`."""
        now_ms = self.now_ms()
        return tuple(fault for fault in self.read() if fault.is_active(now_ms))

    def begin(
        self,
        fault: str,
        targets: Sequence[str],
        by: str,
        *,
        seconds: float | None = None,
        is_known: Callable[[Fault], bool] = lambda _: False,
    ) -> Fault | None:
        """One of `FAULTS` begins now, for ever or for so long.

        None when one that is active `is_known` to be this very fault. Raises `OSError`.
        """
        with self._locked() as descriptor:
            now_ms = self.now_ms()
            if any(old.is_active(now_ms) and is_known(old) for old in _parse_tail(descriptor)):
                return None
            until_ms = None if seconds is None else now_ms + round(seconds * 1000)
            begun = Fault(
                id=uuid.uuid4().hex[:12],
                fault=fault,
                targets=tuple(targets),
                since_ms=now_ms,
                until_ms=until_ms,
                by=by,
            )
            _append(descriptor, [begun])
            return begun

    def end(self, is_over: Callable[[Fault], bool] = lambda _: True) -> tuple[Fault, ...]:
        """Every active fault of which this is true ends now. Returns them as they are written; raises `OSError`."""
        if not self.path.exists():
            return ()
        with self._locked() as descriptor:
            now_ms = self.now_ms()
            ended = tuple(
                msgspec.structs.replace(fault, until_ms=now_ms)
                for fault in _parse_tail(descriptor)
                if fault.is_active(now_ms) and is_over(fault)
            )
            if ended:
                _append(descriptor, ended)
            return ended

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Read and write in one step: what is written depends on what others have written."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def _parse_tail(descriptor: int) -> tuple[Fault, ...]:
    """Lines that cannot be read are passed over: whoever wrote them was interrupted, or does not know this format."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - TAIL_BYTES)
    lines = os.pread(descriptor, TAIL_BYTES, start).split(b"\n")
    faults: dict[str, Fault] = {}
    for line in lines[1:] if start else lines:
        try:
            fault = _decode(line)
        except msgspec.DecodeError:
            continue
        faults[fault.id] = fault
    return tuple(sorted(faults.values(), key=lambda fault: fault.since_ms))


def _append(descriptor: int, faults: Sequence[Fault]) -> None:
    """One write. It begins a new line when the last one was torn."""
    size = os.fstat(descriptor).st_size
    is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    os.write(descriptor, b"\n" * is_torn + b"".join(_encode(fault) + b"\n" for fault in faults))


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Fault).decode
