"""The one clock of a node: wall time that never runs backwards.

The core asks for one number that both orders events and stamps leaves. It is read once from the wall at the start and
advanced by Trio's clock, so a step of the wall clock moves no timer, and under Trio's `MockClock` it is virtual.
"""

import time
from collections.abc import Callable

import structlog
import trio

from consensus.types import Microseconds

log = structlog.get_logger("clock")

_MICROSECONDS = 1_000_000


class NodeClock:
    """Make it inside a Trio run. `wall` gives seconds since the Unix epoch."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._offset = wall() - trio.current_time()

    def now(self) -> Microseconds:
        return Microseconds(int((trio.current_time() + self._offset) * _MICROSECONDS))

    def compute_drift(self) -> float:
        """Seconds by which the wall clock has left this one: it was stepped, or the machine slept."""
        return self._wall() - trio.current_time() - self._offset

    def to_trio_time(self, moment: Microseconds) -> float:
        """The same moment on Trio's clock, for deadlines: at that time `now()` is `moment` or more.

        The numbers are rounded on the way there and back, so a microsecond is added.
        """
        return (moment + 1) / _MICROSECONDS - self._offset


class DriftWatch:
    """Says once when the wall clock has left the node's, and again after it has come back."""

    def __init__(self, clock: NodeClock, skew_max: float) -> None:
        self._clock = clock
        self._skew_max = skew_max
        self._is_told = False

    def look(self) -> None:
        """To be called now and then."""
        drift = self._clock.compute_drift()
        if abs(drift) > self._skew_max and not self._is_told:
            log.warning(
                "clock_left_behind",
                seconds=round(drift, 3),
                reason="the wall clock was stepped, or the machine slept, while the node ran",
                action="restart the node: others may refuse its timestamps, and it theirs (R3b)",
            )
        self._is_told = abs(drift) > self._skew_max
