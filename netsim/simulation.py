"""The loop: a heap of (time, tie-break, sequence), one seed, one audit hash.

Laws of this file:

1. Nothing here or above reads a clock, the environment or `hash()`: the seed and the scenario fix every event.
2. All randomness comes from named streams of the seed, so that drawing more from one of them moves no other.
3. Every event that happens goes into the audit hash. Two runs with one hash were the same run.
"""

import struct
from collections.abc import Callable
from hashlib import sha256
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, TypeAlias

from consensus.types import Microseconds

STREAMS = ("network", "disk", "schedule", "workload", "byzantine", "parameters", "faults")
"""What draws by itself: links, disks, the order of simultaneous events, transactions, adversaries, settings, faults."""

AUDIT_BUFFER_EVENTS = 4096
"""Events hashed at a time: the hasher's call overhead is then a few nanoseconds an event."""

_EVENT = struct.Struct("<QQ")

Entry: TypeAlias = tuple[Microseconds, float, int, Callable[[Any], None], object, int]
"""time, tie-break, sequence, callback, its argument, audit tag."""


def make_stream(seed: int, name: str) -> Random:
    """An independent generator for each (seed, name), the same in every process."""
    digest = sha256(f"netsim/1/{seed}/{name}".encode()).digest()
    return Random(int.from_bytes(digest, "big"))  # noqa: S311 - reproducible on purpose, nothing secret is drawn


def make_tag(kind: int, node: int, serial: int = 0) -> int:
    """What an event says of itself in the audit hash: its kind, the node it happens to, the number of its message."""
    return kind << 56 | node << 40 | serial & 0xFF_FFFF_FFFF


class Simulation:
    """Virtual time in microseconds since the Unix epoch, starting at `start`."""

    def __init__(self, seed: int, start: Microseconds) -> None:
        self.seed = seed
        self.start = start
        self.now = start
        self.events = 0
        self.changed = False
        """Set by whoever changes something that a scenario may wait for; keeps conditions off the hot path."""
        self.streams = {name: make_stream(seed, name) for name in STREAMS}
        self.heap: list[Entry] = []
        """Open to the wire, which pushes millions of deliveries and cannot afford a call for each."""
        self.draw_tie = self.streams["schedule"].random
        self.next_sequence = count().__next__
        self._hasher = sha256()
        self._buffer = bytearray(AUDIT_BUFFER_EVENTS * _EVENT.size)
        self._filled = 0

    @property
    def elapsed_seconds(self) -> float:
        return (self.now - self.start) / 1e6

    @property
    def audit_hash(self) -> str:
        """SHA-256 in hex over all that has happened so far."""
        hasher = self._hasher.copy()
        hasher.update(memoryview(self._buffer)[: self._filled])
        return hasher.hexdigest()

    def schedule(self, at: int, callback: Callable[[Any], None], argument: object, tag: int) -> None:
        """Call `callback(argument)` at time `at`, or now when that is past."""
        time = Microseconds(max(at, self.now))
        heappush(self.heap, (time, self.draw_tie(), self.next_sequence(), callback, argument, tag))

    def note(self, data: bytes) -> None:
        """Put something that is no event of its own, such as the bytes of a message, under the audit hash."""
        self._hasher.update(data)

    def run(self, until: int, is_done: Callable[[], bool] | None = None) -> bool:
        """Run all events up to time `until`, included. True as soon as `is_done` holds, at the time of that event."""
        if is_done is not None and is_done():
            return True
        heap, buffer, pack_into = self.heap, self._buffer, _EVENT.pack_into
        filled, size, events = self._filled, len(self._buffer), 0
        try:
            while heap and heap[0][0] <= until:
                time, _, _, callback, argument, tag = heappop(heap)
                self.now = time
                events += 1
                pack_into(buffer, filled, time, tag)
                filled += 16
                if filled == size:
                    self._hasher.update(buffer)
                    filled = 0
                callback(argument)
                if is_done is not None and self.changed:
                    self.changed = False
                    if is_done():
                        return True
        finally:
            self._filled = filled
            self.events += events
        self.now = Microseconds(until)
        return False
