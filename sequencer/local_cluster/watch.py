"""What a cluster does right now, read from its nodes' APIs: what the live line of a devnet shows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sequencer.client import ApiProblem, Client, Unreachable
from sequencer.local_cluster.cluster import LocalCluster
from sequencer.schema.status import StatusJson

ASK_SECONDS: Final = 0.5
"""A node that says nothing for so long is shown as not voting; the line must not stand still because of it."""
VIEWS_APART_MAX: Final = 2
"""Nodes that vote are at most so many views apart: one may have a certificate that is on its way to the other."""

_DECIDE_BUCKET = re.compile(r'^sequencer_proposal_to_decide_seconds_bucket\{.*?le="([^"]+)".*?\} (\S+)$', re.MULTILINE)
_TIMED_OUT = re.compile(r'^sequencer_views_total\{.*?outcome="timed_out".*?\} (\S+)$', re.MULTILINE)

Buckets = Sequence[tuple[float, float]]
"""(upper bound in seconds, how many decides took at most that), ascending."""


@dataclass(frozen=True)
class Snapshot:
    """One look at a cluster. `decide_p50_ms` is None when nothing was decided since the last look."""

    view: int
    height: int
    leader: str | None
    decide_p50_ms: float | None
    voting: int
    nodes: int
    timeouts: int

    def __str__(self) -> str:
        decide = f"{self.decide_p50_ms:.1f} ms" if self.decide_p50_ms is not None else "-"
        return (
            f"view {self.view:,}  height {self.height:,}  leader {self.leader or '?'}  decide p50 {decide}  "
            f"voting {self.voting}/{self.nodes}  timeouts {self.timeouts:,}"
        )


class Watcher:
    """Asks all nodes for their status, and one of them for its metrics. Belongs to one thread."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self._clients: dict[str, Client] = {}
        self._buckets: dict[str, Buckets] = {}
        self._timed_out = RunningTotal()

    def look(self) -> Snapshot | None:
        """None when no node answers. Nodes may have come or gone since the last look."""
        self._clients = {
            name: self._clients.get(name) or self._cluster.client(name, timeout_seconds=ASK_SECONDS)
            for name in self._cluster.names
        }
        answers = {name: answer for name, client in self._clients.items() if (answer := _ask(client)) is not None}
        if not answers:
            return None
        ahead = max(answers.values(), key=lambda answer: (answer.view, answer.height))
        voting = [
            answer for answer in answers.values() if not answer.behind and ahead.view - answer.view <= VIEWS_APART_MAX
        ]
        decide_p50_ms = self._read_metrics(ahead.validator)
        return Snapshot(
            view=ahead.view,
            height=max(answer.height for answer in answers.values()),
            leader=ahead.leader,
            decide_p50_ms=decide_p50_ms,
            voting=len(voting),
            nodes=len(self._clients),
            timeouts=int(self._timed_out.total),
        )

    def _read_metrics(self, name: str) -> float | None:
        try:
            page = self._clients[name].metrics()
        except (Unreachable, ApiProblem):
            return None
        buckets = [(float(bound), float(count)) for bound, count in _DECIDE_BUCKET.findall(page)]
        median = compute_median(self._buckets.get(name, ()), buckets)
        self._buckets[name] = buckets
        self._timed_out.note(name, sum(float(count) for count in _TIMED_OUT.findall(page)))
        return None if median is None else median * 1000


class RunningTotal:
    """Of a counter that all nodes keep alike, whichever of them was asked last: it never falls.

    A node that is started again begins at 0; from then on only what it counts is added.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self._last: tuple[str, float] | None = None

    def note(self, name: str, count: float) -> None:
        if self._last is not None and self._last[0] == name and self._last[1] <= count:
            self.total += count - self._last[1]
        else:
            self.total = max(self.total, count)
        self._last = (name, count)


def compute_median(before: Buckets, after: Buckets) -> float | None:
    """The median in seconds of what a histogram counted between two readings, linear within a bucket.

    None when it counted nothing, or only above its highest bound.
    """
    earlier = dict(before)
    counts = [(bound, count - earlier.get(bound, 0.0)) for bound, count in after]
    half = counts[-1][1] / 2 if counts else 0.0
    if half <= 0:
        return None
    lower, below = 0.0, 0.0
    for bound, count in counts:
        if count >= half:
            return None if bound == float("inf") else lower + (bound - lower) * (half - below) / (count - below)
        lower, below = bound, count
    return None


def _ask(client: Client) -> StatusJson | None:
    try:
        return client.status()
    except (Unreachable, ApiProblem):
        return None
