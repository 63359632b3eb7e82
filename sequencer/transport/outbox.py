"""What waits to be sent to one peer: bounded in frames and in bytes, the oldest dropped first.

The oldest is the right one to lose: a newer vote or certificate makes it worthless, and whoever misses it catches up by
asking.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import trio


@dataclass(frozen=True, slots=True)
class OutboxLimit:
    """`frames` and `bytes` that may wait; `reason` is the label under which what is dropped beyond it is counted."""

    frames: int
    bytes: int
    reason: str


ONLINE_LIMIT = OutboxLimit(frames=16_384, bytes=32 * 1024 * 1024, reason="outbox_full")
"""Two frames of the largest size, or a dozen full blocks: a peer that is further behind than that reads too slowly to
take part and will catch up by ranges. The frames bound the overhead of small ones."""
OFFLINE_LIMIT = OutboxLimit(frames=256, bytes=4 * 1024 * 1024, reason="outbox_offline")
"""What a peer that is back within a blink still has use for; more would only delay what it asks for first."""


class Outbox:
    """Filled by anyone, emptied by the one task that writes to the peer. `on_drop(reason, frames)` counts what is
    lost."""

    def __init__(self, on_drop: Callable[[str, int], None], limit: OutboxLimit = OFFLINE_LIMIT) -> None:
        self._on_drop = on_drop
        self._limit = limit
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._wake_up: trio.Event | None = None

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def queued_bytes(self) -> int:
        return self._bytes

    def put(self, frame: bytes) -> None:
        """Never blocks. When the outbox is full, the oldest frames make room."""
        self._frames.append(frame)
        self._bytes += len(frame)
        if self._bytes > self._limit.bytes or len(self._frames) > self._limit.frames:
            self._trim()
        if self._wake_up is not None:
            self._wake_up.set()

    def set_limit(self, limit: OutboxLimit) -> None:
        """From now on; what is above it is dropped at once."""
        self._limit = limit
        self._trim()

    async def take_all(self) -> list[bytes]:
        """Wait until there is something, then take everything: one wake-up, one write."""
        if not self._frames:
            self._wake_up = trio.Event()
            await self._wake_up.wait()
            self._wake_up = None
        frames = list(self._frames)
        self._frames.clear()
        self._bytes = 0
        return frames

    def _trim(self) -> None:
        dropped = 0
        while self._bytes > self._limit.bytes or len(self._frames) > self._limit.frames:
            self._bytes -= len(self._frames.popleft())
            dropped += 1
        if dropped:
            self._on_drop(self._limit.reason, dropped)
