"""A node's own clock and the timers that follow it.

The clock may be wrong, run fast or slow, or stand still, but a process never sees it run backwards. As long as nobody
sets it there is none, and true time is used.
"""

from collections.abc import Callable
from heapq import heappush
from typing import Final, TypeAlias

from consensus.events import Timer
from consensus.types import Microseconds
from netsim.simulation import Simulation, make_tag

KIND_TIMER: Final = 3
_TIMER_NUMBERS = {timer: number for number, timer in enumerate(Timer)}
_PPM: Final = 1_000_000

Due: TypeAlias = tuple[Microseconds, float, int]
"""True time, tie-break and sequence: the place among all events, which nothing that comes between moves."""


class LocalClock:
    """Right until it is `set`. Times are in microseconds, `now` is always the true time."""

    def __init__(self) -> None:
        self._true_anchor = 0
        self._own_anchor = 0
        self._rate_ppm = _PPM
        self._latest = 0
        self.wrong_times = 0
        """How often it was read and showed another time than the true one."""

    def set(self, now: int, skew_microseconds: int, drift: float) -> None:
        """Off by so much from now on, and running `drift` times as fast as true time."""
        self._true_anchor, self._own_anchor = now, now + skew_microseconds
        self._rate_ppm = round(drift * _PPM)

    def restart(self) -> None:
        """A new process knows nothing of what the one before has read."""
        self._latest = 0

    def read(self, now: int) -> Microseconds:
        own = self._own_anchor + (now - self._true_anchor) * self._rate_ppm // _PPM
        self._latest = max(own, self._latest)
        self.wrong_times += self._latest != now
        return Microseconds(self._latest)

    def compute_true_time(self, moment: int) -> int | None:
        """When this clock shows `moment`: as true time, 0 when that is past; None when it stands still before it."""
        if moment <= self._latest:
            return 0
        if not self._rate_ppm:
            return None
        return self._true_anchor - (self._own_anchor - moment) * _PPM // self._rate_ppm + 1


class Timers:
    """Of one node: each fires once at its deadline on the node's own clock, unless it is set again before."""

    def __init__(self, simulation: Simulation, node: int, on_fired: Callable[[Timer], None]) -> None:
        self._simulation = simulation
        self._node = node
        self._on_fired = on_fired
        self._pending: dict[Timer, tuple[int, Due | None]] = {}
        """deadline on the own clock, and when that is; None is never, as things are"""
        self._wakes: dict[Timer, Due] = {}
        """The event that will look at each timer, not later than it is due."""
        self.clock: LocalClock | None = None

    def read_clock(self) -> Microseconds:
        """What the node takes for the time."""
        now = self._simulation.now
        return now if self.clock is None else self.clock.read(now)

    def compute_true_time(self, moment: int) -> int | None:
        """When the node's clock shows `moment`; None is never, as things are."""
        return moment if self.clock is None else self.clock.compute_true_time(moment)

    def set_clock(self, skew_microseconds: int, drift: float) -> None:
        if self.clock is None:
            self.clock = LocalClock()
            self.clock.read(self._simulation.now)
        self.clock.set(self._simulation.now, skew_microseconds, drift)
        for timer, (deadline, _) in list(self._pending.items()):
            self.set(timer, deadline)

    def set(self, timer: Timer, deadline: int) -> None:
        """A timer is set anew in every view and fires in hardly any. So one event stands for it: when that comes and
        the deadline has moved on, it is put back to where the deadline is by now.
        """
        simulation = self._simulation
        at = deadline if self.clock is None else self.clock.compute_true_time(deadline)
        if at is None:
            self._pending[timer] = (deadline, None)
            return
        due = (Microseconds(max(at, simulation.now)), simulation.draw_tie(), simulation.next_sequence())
        self._pending[timer] = (deadline, due)
        wake = self._wakes.get(timer)
        if wake is None or due < wake:
            self._put(timer, due)

    def on_crash(self) -> None:
        """None of them fires any more, and the next process reads the clock anew."""
        self._pending.clear()
        if self.clock is not None:
            self.clock.restart()

    def _put(self, timer: Timer, due: Due) -> None:
        self._wakes[timer] = due
        tag = make_tag(KIND_TIMER, self._node, _TIMER_NUMBERS[timer])
        heappush(self._simulation.heap, (*due, self._wake, (timer, due), tag))

    def _wake(self, argument: tuple[Timer, Due]) -> None:
        timer, wake = argument
        if self._wakes.get(timer) is not wake:  # an earlier one has taken its place
            return
        del self._wakes[timer]
        _, due = self._pending.get(timer, (0, None))
        if due is wake:
            del self._pending[timer]
            self._on_fired(timer)
        elif due is not None:
            self._put(timer, due)
