"""What a network fixes for its leadership. Every field stands in the network file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeadershipParameters:
    """Raises `ValueError` for a set that cannot work."""

    primary_size: int = 0
    """Validators that lead in normal mode; 0 is all that are not in the fallback committee."""
    fallback_size: int = 0
    """Validators that take over when the primary committee fails; 0 is a third of all, at least one."""
    bench_after: int = 2
    """Own slots missed in a row that cost a validator its next turns (S3)."""
    bench_doublings_max: int = 6
    """The bench lasts 2^j turns, j counting benchings in a row up to this: a dead validator is tried every 64 turns."""
    fallback_after: int = 3
    """Views skipped in a row after which the fallback committee leads (S4): one more than a single dead leader
    costs.
    """
    handback_after: int = 16
    """Leaves without a skipped view after which the primary committee leads again (S5)."""
    handback_doublings_max: int = 6
    """Each relapse doubles that term, up to this many times (hold-down)."""

    def __post_init__(self) -> None:
        if min(self.primary_size, self.fallback_size) < 0:
            raise ValueError("committee sizes must not be negative; 0 lets the network choose")
        if min(self.bench_after, self.fallback_after, self.handback_after) < 1:
            raise ValueError("bench_after, fallback_after and handback_after must be at least 1")
        if not (0 <= self.bench_doublings_max <= 16 and 0 <= self.handback_doublings_max <= 16):
            raise ValueError("doublings must be between 0 and 16")
