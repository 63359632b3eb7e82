"""How long a view may take (L1). The pacemaker never decides that a view is over: certificates do (R1).

The recent view duration is measured from the arrival of the proposal to the QC, so neither an idle leader nor a slow
one stretches anybody's timer. It follows an increase at once by half and a decrease slowly, as a round-trip estimator
does: a timer that is too short costs a view, one that is too long costs waiting only when a leader fails.
"""

from consensus.parameters import ConsensusParameters
from consensus.types import Microseconds, View

_RISE_DIVISOR = 2
_FALL_DIVISOR = 8
_BACKOFF_STEPS_MAX = 32
"""Beyond this the timer is at its ceiling whatever the back-off is; bounds the arithmetic."""


class Pacemaker:
    """The current view of one replica and the length of its timer. Times in microseconds."""

    def __init__(self, parameters: ConsensusParameters, view: View) -> None:
        self._parameters = parameters
        self.view = view
        self.deadline = Microseconds(0)
        self.consecutive_timeouts = 0
        self._recent_view_duration = 0
        self._proposal_at: Microseconds | None = None

    def inherit(self, former: "Pacemaker") -> None:
        """A view of this epoch takes as long as one of the epoch before."""
        self._recent_view_duration = former._recent_view_duration

    def enter(self, view: View, now: Microseconds, *, timed_out: bool) -> None:
        """A new view has begun; unless the last one timed out, its duration is a sample."""
        if not timed_out and self._proposal_at is not None and view == self.view + 1:
            self._learn(now - self._proposal_at)
        self.view = view
        self._proposal_at = None

    def on_proposal(self, now: Microseconds) -> None:
        """The proposal of the current view is here."""
        self._proposal_at = now

    def on_timeout(self) -> None:
        """This replica has timed out in the current view."""
        self.consecutive_timeouts += 1

    def on_decide(self) -> None:
        self.consecutive_timeouts = 0

    def compute_timeout(self) -> Microseconds:
        """L1: clamp(multiple of the recent view duration, floor, ceiling) × back-off^(consecutive timeouts), capped."""
        parameters = self._parameters
        base = max(parameters.timeout_floor, parameters.timeout_multiple * self._recent_view_duration)
        if self.consecutive_timeouts:
            steps = min(self.consecutive_timeouts, _BACKOFF_STEPS_MAX)
            base = base * parameters.backoff_percent**steps // 100**steps
        return Microseconds(min(base, parameters.timeout_ceiling))

    def start_view_timer(self, now: Microseconds) -> Microseconds:
        """Deadline of a view that begins now; an idle leader may hold its proposal back that long (L6)."""
        self.deadline = Microseconds(now + self._parameters.idle_interval + self.compute_timeout())
        return self.deadline

    def shorten_view_timer(self, now: Microseconds) -> bool:
        """The leader has work (L6): it gets no idle time from now on. False when the deadline is nearer anyway."""
        deadline = now + self.compute_timeout()
        if deadline >= self.deadline:
            return False
        self.deadline = Microseconds(deadline)
        return True

    def start_repeat_timer(self, now: Microseconds) -> Microseconds:
        """When to repeat a TimeoutVote (R7)."""
        self.deadline = Microseconds(now + self.compute_timeout())
        return self.deadline

    def _learn(self, sample: int) -> None:
        difference = sample - self._recent_view_duration
        self._recent_view_duration += difference // (_RISE_DIVISOR if difference > 0 else _FALL_DIVISOR)
