"""Faults of links, in the simulator."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from netsim.network import Constant, Exponential, Hindrance, LinkModel
from netsim.scenario.faults import Clog, Corrupt, Cut, Degrade, DropKinds, Flap, Partition, Reset
from netsim.scenario.injection import F, Injection, name_nodes
from netsim.scenario.stage import Stage

Pair: TypeAlias = tuple[int, int]


def make_link_model(
    delay_ms: float,
    jitter_ms: float,
    *,
    loss: float = 0.0,
    duplication: float = 0.0,
    reordering: float = 0.0,
    bandwidth_bytes_per_second: int | None = None,
    queue_bytes_max: int | None = None,
) -> LinkModel:
    floor = round(delay_ms * 1000)
    latency = Exponential(floor + round(jitter_ms * 1000), floor) if jitter_ms else Constant(floor)
    return LinkModel(latency, loss, duplication, reordering, bandwidth_bytes_per_second, queue_bytes_max)


class _OnLinks(Injection[F]):
    """A hindrance on some links."""

    hindrance: Hindrance

    def __init__(self, stage: Stage, fault: F) -> None:
        super().__init__(stage, fault)
        self.pairs: list[Pair] = []

    def choose_links(self, source: str, destination: str, *, both_ways: bool) -> None:
        sources, destinations = self.stage.resolve(source), self.stage.resolve(destination)
        self.nodes = (*name_nodes(sources), ">", *name_nodes(node for node in destinations if [node] != sources))
        one_way = {(one, other) for one in sources for other in destinations if one != other}
        other_way = {(other, one) for one, other in one_way} if both_ways else set()
        self.pairs = sorted(one_way | other_way)

    def hinder(self, hindrance: Hindrance) -> None:
        self.hindrance = hindrance
        links = self.stage.cluster.network.links
        for source, destination in self.pairs:
            links[source][destination].hinder(hindrance)

    def end(self) -> None:
        links = self.stage.cluster.network.links
        for source, destination in self.pairs:
            links[source][destination].lift(self.hindrance)
        self.bites = self.hindrance.bites


class DegradeLinks(_OnLinks[Degrade]):
    def begin(self) -> None:
        fault = self.fault
        self.choose_links(fault.source, fault.destination, both_ways=fault.both_ways)
        model = make_link_model(
            fault.delay_ms,
            fault.jitter_ms,
            loss=fault.loss,
            duplication=fault.duplication,
            reordering=fault.reordering,
            bandwidth_bytes_per_second=fault.bandwidth_bytes_per_second,
            queue_bytes_max=fault.queue_bytes_max,
        )
        self.hinder(Hindrance(model=model))


class CutLinks(_OnLinks[Cut]):
    def begin(self) -> None:
        self.choose_links(self.fault.source, self.fault.destination, both_ways=self.fault.both_ways)
        self.hinder(Hindrance(cuts=True))


class FlapLinks(_OnLinks[Flap]):
    """Cut first."""

    def begin(self) -> None:
        self.choose_links(self.fault.source, self.fault.destination, both_ways=self.fault.both_ways)
        self.hinder(Hindrance(cuts=True))
        self.stage.flapping.add(self.hindrance)
        self.stage.later(self.fault.period_seconds / 2, self._turn)

    def end(self) -> None:
        super().end()
        self.stage.flapping.discard(self.hindrance)

    def _turn(self) -> None:
        if self.hindrance not in self.stage.flapping:
            return
        self.hindrance.cuts = not self.hindrance.cuts
        for source, destination in self.pairs:
            self.stage.cluster.network.links[source][destination].refresh()
        self.stage.later(self.fault.period_seconds / 2, self._turn)


class ClogLinks(_OnLinks[Clog]):
    def begin(self) -> None:
        self.choose_links(self.fault.source, self.fault.destination, both_ways=self.fault.both_ways)
        self.hinder(Hindrance(clogs=True))

    def end(self) -> None:
        super().end()
        network = self.stage.cluster.network
        for source, destination in self.pairs:
            if not network.links[source][destination].is_clogged:  # another clog may still be on it
                self.stage.cluster.wire.unclog(source, destination)


class DropOnLinks(_OnLinks[DropKinds]):
    def begin(self) -> None:
        self.choose_links(self.fault.source, self.fault.destination, both_ways=False)
        self.hinder(Hindrance(kinds=frozenset(self.fault.kinds), kinds_probability=self.fault.probability))


class CorruptOnLinks(_OnLinks[Corrupt]):
    def begin(self) -> None:
        self.choose_links(self.fault.source, self.fault.destination, both_ways=False)
        self.hinder(Hindrance(corruption=self.fault.probability))


class ResetLinks(_OnLinks[Reset]):
    """Over at once: the connections are made anew, and what follows arrives."""

    lasts = False

    def begin(self) -> None:
        self.choose_links(self.fault.source, self.fault.destination, both_ways=False)
        cluster = self.stage.cluster
        alive = [process.is_alive for process in cluster.processes]
        pairs = {(min(pair), max(pair)) for pair in self.pairs if alive[pair[0]] and alive[pair[1]]}
        cluster.wire.reset(pairs)
        self.bites = len(pairs)

    def end(self) -> None:
        """It has never been on."""


class PartitionLinks(_OnLinks[Partition]):
    def begin(self) -> None:
        nodes = range(len(self.stage.cluster.processes))
        together = self._choose_shape(nodes)
        self.pairs = [(one, other) for one in nodes for other in nodes if one != other and (one, other) not in together]
        self.hinder(Hindrance(cuts=True))

    def _choose_shape(self, nodes: Sequence[int]) -> set[Pair]:
        """Who still hears whom."""
        random, fault = self.stage.random, self.fault
        match fault.shape:
            case "groups":
                return self._join(
                    [sorted({n for part in group for n in self.stage.resolve(part)}) for group in fault.groups]
                )
            case "halves":
                half = random.sample(nodes, len(nodes) // 2)
                return self._join([half, [node for node in nodes if node not in half]])
            case "isolate":
                alone = self.stage.resolve(fault.target)
                return self._join([*([node] for node in alone), [node for node in nodes if node not in alone]])
            case "majority":
                quorum = self.stage.resolve("quorum")
                return self._join([quorum, [node for node in nodes if node not in quorum]])
            case "ring":
                self.nodes = name_nodes(nodes)
                ring = {(node, (node + 1) % len(nodes)) for node in nodes}
                return ring | {(other, one) for one, other in ring}
            case "bridge":
                shared = self.stage.resolve(fault.target)
                rest = [node for node in nodes if node not in shared]
                half = random.sample(rest, len(rest) // 2)
                sides = [half, [node for node in rest if node not in half]]
                self.nodes = (*name_nodes(sides[0]), "|", *name_nodes(shared), "|", *name_nodes(sides[1]))
                return self._list_pairs([[*side, *shared] for side in sides])

    def _join(self, groups: Sequence[Sequence[int]]) -> set[Pair]:
        self.nodes = tuple(part for group in groups for part in ("|", *name_nodes(sorted(group))))[1:]
        return self._list_pairs(groups)

    @staticmethod
    def _list_pairs(groups: Iterable[Sequence[int]]) -> set[Pair]:
        return {(one, other) for group in groups for one in group for other in group}
