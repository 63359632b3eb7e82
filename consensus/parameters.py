"""What a network fixes for its consensus. Every field stands in the network file, see `sequencer.config`."""

from dataclasses import dataclass

from consensus.types import Microseconds


@dataclass(frozen=True, slots=True)
class ConsensusParameters:
    """Durations in microseconds, sizes in bytes. Raises `ValueError` for a set that cannot work."""

    timeout_floor: Microseconds = Microseconds(300_000)
    """Shortest view timer. Far above a loopback view (5 ms), so that a busy machine does not look like a dead
    leader.
    """
    timeout_ceiling: Microseconds = Microseconds(10_000_000)
    """Longest view timer, back-off included."""
    timeout_multiple: int = 4
    """View timer in recent view durations: room for a leader that is slower than the last ones."""
    backoff_percent: int = 150
    """Each view that ended by timeout since the last decide makes the timer this much longer."""
    idle_interval: Microseconds = Microseconds(500_000)
    """How long a leader without transactions waits before it proposes an empty leaf (L6)."""
    fetch_interval: Microseconds = Microseconds(100_000)
    """How long a missing leaf may be on its way before it is asked for, and then asked for again elsewhere (L3)."""
    payload_bytes_max: int = 2 * 1024 * 1024
    """Largest payload that a leader may propose."""
    clock_skew_max: Microseconds = Microseconds(5_000_000)
    """How far a leaf's timestamp may lie ahead of a voter's clock (R3b)."""
    view_window: int = 64
    """Votes for views further ahead than this are dropped, and votes for views further back forgotten (L4)."""

    def __post_init__(self) -> None:
        if not 0 < self.timeout_floor <= self.timeout_ceiling:
            raise ValueError("timeout_floor must be positive and at most timeout_ceiling")
        if self.timeout_multiple < 1 or self.backoff_percent < 100:
            raise ValueError("timeout_multiple must be at least 1 and backoff_percent at least 100")
        if self.idle_interval < 0 or self.fetch_interval <= 0 or self.clock_skew_max < 0:
            raise ValueError("intervals must not be negative, and fetch_interval must be positive")
        if self.payload_bytes_max < 1 or self.view_window < 2:
            raise ValueError("payload_bytes_max must be at least 1 and view_window at least 2")
