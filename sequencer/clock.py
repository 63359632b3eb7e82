"""The one clock of a node: wall time that never runs backwards.

The core asks for one number that both orders events and stamps leaves. It is read once from the wall at the start and
advanced by Trio's clock, so a step of the wall clock moves no timer, and under Trio's `MockClock` it is virtual.
"""

import time
from collections.abc import Callable

import trio

from consensus.types import Microseconds

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
