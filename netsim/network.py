"""Links: how long a message is on its way, and what may happen to it there.

A link is one direction between two nodes. It behaves like a TCP connection as long as nothing else is asked for: what
was sent first arrives first. Loss, duplication and reordering are worse than TCP, on purpose.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import exp, log
from random import Random
from typing import Any, Protocol, TypeAlias

from consensus.types import Microseconds


class Latency(Protocol):
    """One-way delay of one message."""

    def sample(self, random: Random) -> int:
        """Microseconds, never negative."""
        ...


@dataclass(frozen=True, slots=True)
class Constant:
    microseconds: int

    def sample(self, random: Random) -> int:
        return self.microseconds


@dataclass(frozen=True, slots=True)
class Uniform:
    """Evenly between the two, both included."""

    low_microseconds: int
    high_microseconds: int

    def sample(self, random: Random) -> int:
        return random.randint(self.low_microseconds, self.high_microseconds)


@dataclass(frozen=True, slots=True)
class Exponential:
    """At least `floor_microseconds`, and on average `mean_microseconds`: a queue somewhere on the way."""

    mean_microseconds: int
    floor_microseconds: int = 0

    def sample(self, random: Random) -> int:
        return self.floor_microseconds + round(
            -log(1.0 - random.random()) * (self.mean_microseconds - self.floor_microseconds)
        )


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Half of the messages take longer than the median; `sigma` 0.1 is a calm wide-area route, 0.5 a troubled one."""

    median_microseconds: int
    sigma: float

    def sample(self, random: Random) -> int:
        return round(self.median_microseconds * exp(random.gauss(0.0, self.sigma)))


REORDERING_STRETCH = 4
"""A reordered message takes up to this many further delays of its link: enough for several others to overtake it."""


@dataclass(frozen=True, slots=True)
class LinkModel:
    """Probabilities are per message. Raises `ValueError` for one that is none."""

    latency: Latency = Constant(1_000)
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    bandwidth_bytes_per_second: int | None = None
    """None is unlimited. A message waits until those before it have left."""
    queue_bytes_max: int | None = None
    """What may wait for the bandwidth; None is unlimited. What does not fit is lost."""

    def __post_init__(self) -> None:
        for name in ("loss", "duplication", "reordering"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}, but a probability lies between 0 and 1")
        if self.bandwidth_bytes_per_second is not None and self.bandwidth_bytes_per_second <= 0:
            raise ValueError(f"bandwidth_bytes_per_second is {self.bandwidth_bytes_per_second}, it must be positive")
        if self.queue_bytes_max is not None and self.queue_bytes_max <= 0:
            raise ValueError(f"queue_bytes_max is {self.queue_bytes_max}, it must be positive")

    @property
    def is_plain(self) -> bool:
        """Whether every message arrives, once, after its latency."""
        return self.loss == self.duplication == self.reordering == 0 and self.bandwidth_bytes_per_second is None


@dataclass(slots=True)
class LinkCounters:
    """What happened to the messages of a whole network; lets a scenario show that its faults have bitten."""

    lost: int = 0
    cut: int = 0
    duplicated: int = 0
    reordered: int = 0
    clogged: int = 0
    corrupted: int = 0
    resets: int = 0
    """Connections that broke between two living processes."""


@dataclass(slots=True, eq=False)
class Hindrance:
    """What one fault does to the messages of the links that it is on, and how often it did. Others may be there too."""

    cuts: bool = False
    """Nothing passes. May change while it is on: see `Link.refresh`."""
    clogs: bool = False
    """What is sent is held until this is lifted."""
    model: LinkModel | None = None
    """Takes the place of the link's own; of several the last one does."""
    kinds: frozenset[str] = frozenset()
    """Messages of these classes are lost with the probability that follows."""
    kinds_probability: float = 0.0
    corruption: float = 0.0
    """Probability that a byte of a message is altered."""
    bites: int = 0
    """Messages that it has done something to."""


class Link:
    """One direction between two nodes, with the state that ordering and bandwidth need."""

    __slots__ = (
        "_base",
        "_busy_until",
        "_counters",
        "_is_cut_off",
        "_random",
        "fixed_delay",
        "held",
        "hindrances",
        "is_cut",
        "latest_arrival",
        "model",
    )

    def __init__(self, model: LinkModel, random: Random, counters: LinkCounters) -> None:
        self._random = random
        self._counters = counters
        self._busy_until = 0
        self._is_cut_off = False
        self.latest_arrival = 0
        self.hindrances: tuple[Hindrance, ...] = ()
        self.held: list[Any] = []
        """What a clog holds back, in the order in which it was sent; for the wire to keep and to release."""
        self.set_model(model)

    def set_model(self, model: LinkModel) -> None:
        self._base = model
        self.refresh()

    def set_cut(self, is_cut: bool) -> None:
        """What is on its way still arrives; what is sent while the link is cut does not."""
        self._is_cut_off = is_cut
        self.refresh()

    def hinder(self, hindrance: Hindrance) -> None:
        self.hindrances = (*self.hindrances, hindrance)
        self.refresh()

    def lift(self, hindrance: Hindrance) -> None:
        """Nothing happens when it is not there."""
        self.hindrances = tuple(other for other in self.hindrances if other is not hindrance)
        self.refresh()

    @property
    def is_clogged(self) -> bool:
        return any(hindrance.clogs for hindrance in self.hindrances)

    def refresh(self) -> None:
        """After a change of what is on it.

        `fixed_delay` is set when an arrival needs no draw at all, so that a caller can add it up by itself.
        """
        models = [hindrance.model for hindrance in self.hindrances if hindrance.model is not None]
        self.model = model = models[-1] if models else self._base
        self.is_cut = self._is_cut_off or any(hindrance.cuts for hindrance in self.hindrances)
        self.fixed_delay: int | None = None
        if model.is_plain and not self.is_cut and not self.hindrances and isinstance(model.latency, Constant):
            self.fixed_delay = model.latency.microseconds

    def transmit(self, now: int, size: int) -> tuple[Microseconds, ...]:
        """Arrival times of one message of `size` bytes: none when it is lost, two when it is duplicated."""
        model, random = self.model, self._random
        if self.is_cut:
            self._counters.cut += 1
            return ()
        departure = now
        if model.bandwidth_bytes_per_second is not None:
            start = max(now, self._busy_until)
            waiting = (start - now) * model.bandwidth_bytes_per_second // 1_000_000
            if model.queue_bytes_max is not None and waiting + size > model.queue_bytes_max:
                self._counters.lost += 1
                return ()
            departure = self._busy_until = start + size * 1_000_000 // model.bandwidth_bytes_per_second
        if model.loss and random.random() < model.loss:
            self._counters.lost += 1
            return ()
        arrival = self._arrive(departure)
        if model.duplication and random.random() < model.duplication:
            self._counters.duplicated += 1
            return (arrival, self._arrive(departure))
        return (arrival,)

    def sample_delay(self) -> int:
        """Delay of a bare packet: a connection's end, which is retransmitted until it arrives."""
        return self.model.latency.sample(self._random)

    def _arrive(self, departure: int) -> Microseconds:
        model, random = self.model, self._random
        arrival = departure + model.latency.sample(random)
        if model.reordering and random.random() < model.reordering:
            self._counters.reordered += 1
            return Microseconds(arrival + random.randint(0, REORDERING_STRETCH * (arrival - departure)))
        # One microsecond apart, because events at the same time are put into a random order.
        arrival = max(arrival, self.latest_arrival + 1)
        self.latest_arrival = arrival
        return Microseconds(arrival)


LinkModels: TypeAlias = LinkModel | Callable[[int, int], LinkModel]
"""One model for all links, or one for each (source, destination)."""


class Network:
    """All links between `nodes` nodes, by position."""

    def __init__(self, nodes: int, models: LinkModels, random: Random) -> None:
        self.nodes = nodes
        self.counters = LinkCounters()
        self._models = models
        self._random = random
        self.links = [[self._make_link(source, destination) for destination in range(nodes)] for source in range(nodes)]

    def add_node(self) -> int:
        """One more node, at the position that is returned. Its links are whole, whatever else is cut."""
        node = self.nodes
        for source, row in enumerate(self.links):
            row.append(self._make_link(source, node))
        self.links.append([self._make_link(node, destination) for destination in range(node + 1)])
        self.nodes += 1
        return node

    def _make_link(self, source: int, destination: int) -> Link:
        models = self._models
        model = models if isinstance(models, LinkModel) else models(source, destination)
        return Link(model, self._random, self.counters)

    def set_model(self, model: LinkModel) -> None:
        """The same model for all links, from now on."""
        self._models = model
        for row in self.links:
            for link in row:
                link.set_model(model)

    def cut(self, source: int, destination: int) -> None:
        """One way only: what `source` sends does not reach `destination`, the other direction works."""
        self.links[source][destination].set_cut(True)

    def partition(self, *groups: Iterable[int]) -> None:
        """Cut both ways between the groups; a node that no group names reaches nobody. Replaces earlier cuts."""
        group_of = {node: number for number, group in enumerate(groups) for node in group}
        for source, row in enumerate(self.links):
            for destination, link in enumerate(row):
                together = source in group_of and group_of[source] == group_of.get(destination)
                link.set_cut(not together)

    def isolate(self, node: int) -> None:
        """Cut everything to and from one node, on top of earlier cuts."""
        for other in range(self.nodes):
            if other != node:
                self.cut(node, other)
                self.cut(other, node)

    def heal(self) -> None:
        """End all cuts. The link models stay."""
        for row in self.links:
            for link in row:
                link.set_cut(False)
