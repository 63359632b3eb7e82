"""What quorum arithmetic says of a moment: can the cluster decide at all?

Votes go to everyone and nobody passes them on, so a certificate forms where some node hears, and is heard by, enough
stake to decide. Whether leaders are slow or timers long is not asked: a prediction is about what is possible.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

NOT_VOTING: Final = frozenset({"abstain"})
"""Behaviours that never help a quorum. Others may, if only with certificates of their own."""


class Prediction(msgspec.Struct, frozen=True):
    stake: int
    """The most that is connected both ways with one node, its own included."""
    needed: int
    total: int

    @property
    def progress(self) -> Literal["live", "stalls"]:
        return "live" if self.stake >= self.needed else "stalls"

    def __str__(self) -> str:
        return f"{self.progress} ({self.stake} of {self.total} stake connected, {self.needed} needed)"


def predict(
    stakes: Sequence[int], votes: Callable[[int], bool], is_connected: Callable[[int, int], bool]
) -> Prediction:
    """`votes(node)`: it runs and takes part; `is_connected(a, b)`: what a sends arrives at b."""
    total = sum(stakes)
    voters = [node for node, stake in enumerate(stakes) if stake and votes(node)]

    def reach(center: int) -> int:
        return sum(
            stakes[node]
            for node in voters
            if node == center or (is_connected(center, node) and is_connected(node, center))
        )

    return Prediction(max(map(reach, voters), default=0), total * 2 // 3 + 1, total)
