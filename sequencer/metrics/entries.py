"""What a metric says about itself, once: its page, docs/metrics.md and the tests read the same entry.

An entry makes the metric that it describes, so a metric cannot be without one. Names of counters stand here without
the `_total` that is shown.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

DURATION_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds. From one loopback view to the longest view timer with its back-off."""

FSYNC_BUCKETS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
"""Seconds. An idle NVMe commits in 0.2 ms, a contended disk in tens of milliseconds."""

LABEL_VALUES_MAX: Final = 64
"""Children of one metric whose label is not an enumeration here. Further values are counted as "other"."""

VALIDATORS_SHOWN_MAX: Final = 256
"""Validators with figures of their own: those with the most stake. Anybody can bond a new one, a page must end."""

OTHER: Final = "other"
"""Label of what is none of the values that are known."""

Kind: TypeAlias = Literal["gauge", "counter", "histogram", "info"]


@dataclass(frozen=True)
class Entry:
    """One metric. `help` is what it means, for HELP and the document; `look` is what to make of it, for the document.

    A metric is made once for each node.
    """

    name: str
    kind: Kind
    help: str
    look: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = DURATION_BUCKETS

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        return Gauge(self.name, self.help, self.labels, registry=registry)

    def counter(self, registry: CollectorRegistry) -> Counter:
        return Counter(self.name, self.help, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        return Histogram(self.name, self.help, self.labels, buckets=self.buckets, registry=registry)

    def bounded(self, registry: CollectorRegistry, values: Iterable[str] = ()) -> "BoundedCounter":
        """A counter with one label. The values that are known beforehand stand on the page from the start, at 0."""
        return BoundedCounter(self.counter(registry), values)

    def gauge_family(self, value: float | None = None) -> GaugeMetricFamily:
        """For what is read when somebody asks; with labels, its samples are added by the caller."""
        return GaugeMetricFamily(self.name, self.help, value, labels=self.labels if value is None else None)

    def counter_family(self) -> CounterMetricFamily:
        return CounterMetricFamily(self.name, self.help, labels=self.labels)

    @property
    def shown_name(self) -> str:
        """As a query names it; of a histogram without `_bucket`, `_sum` and `_count`."""
        return {"counter": f"{self.name}_total", "info": f"{self.name}_info"}.get(self.kind, self.name)


@dataclass(frozen=True)
class Section:
    """Entries about one subject, in the order in which the document shows them."""

    title: str
    entries: tuple[Entry, ...]


class BoundedCounter:
    """A counter with one label whose values are short stable words from elsewhere, at most `LABEL_VALUES_MAX`."""

    def __init__(self, counter: Counter, values: Iterable[str] = ()) -> None:
        self._counter = counter
        self._children: dict[str, Counter] = {value: counter.labels(value) for value in values}

    def inc(self, value: str, amount: int = 1) -> None:
        child = self._children.get(value)
        if child is None:
            child = self._make_child(value)
        child.inc(amount)

    def _make_child(self, value: str) -> Counter:
        if len(self._children) >= LABEL_VALUES_MAX:
            return self._counter.labels(OTHER)
        child = self._children[value] = self._counter.labels(value)
        return child
