"""Faults of links, on processes: who is cut off from whom, and what a fault means for a TCP stream."""

from collections.abc import Iterable, Iterator, Sequence
from random import Random

from netsim.scenario.faults import Clog, Corrupt, Cut, Degrade, Fault, Flap, Partition
from sequencer.chaos.impairment import Impairment
from sequencer.chaos.proxy import Pair


def make_impairment(fault: Fault) -> Impairment | None:
    """What the fault does to a direction; None when it is no fault of links that lasts."""
    match fault:
        case Degrade():
            return Impairment(
                delay_seconds=fault.delay_ms / 1000,
                jitter_seconds=fault.jitter_ms / 1000,
                stall_probability=fault.loss,
                bytes_per_second=fault.bandwidth_bytes_per_second,
            )
        case Cut() | Flap() | Partition():
            return Impairment(is_cut=True)
        case Clog():
            return Impairment(is_clogged=True)
        case Corrupt():
            return Impairment(corruption=fault.probability)
        case _:
            return None


def list_pairs(sources: Iterable[str], destinations: Iterable[str], *, both_ways: bool) -> list[Pair]:
    """Ordered, each once, nobody with itself."""
    one_way = {(source, destination) for source in sources for destination in destinations if source != destination}
    return sorted(one_way | ({(after, before) for before, after in one_way} if both_ways else set()))


def list_parted(names: Sequence[str], together: Iterable[Iterable[str]]) -> list[Pair]:
    """Pairs that share no group."""
    groups = [set(group) for group in together]
    return [
        (source, destination)
        for source in names
        for destination in names
        if source != destination and not any({source, destination} <= group for group in groups)
    ]


def draw_groups(
    partition: Partition, names: Sequence[str], chosen: Sequence[str], quorum: Sequence[str], random: Random
) -> list[list[str]]:
    """Who still hears whom: each group is of nodes that do. `chosen` is the partition's target, `quorum` is drawn."""

    def split(nodes: Sequence[str]) -> Iterator[list[str]]:
        half = set(random.sample(list(nodes), len(nodes) // 2))
        yield [name for name in nodes if name in half]
        yield [name for name in nodes if name not in half]

    match partition.shape:
        case "groups":
            raise ValueError("the groups of this partition are told, not drawn")
        case "halves":
            return list(split(names))
        case "isolate":
            return [*([name] for name in chosen), [name for name in names if name not in chosen]]
        case "majority":
            return [list(quorum), [name for name in names if name not in quorum]]
        case "ring":
            return [[name, names[(place + 1) % len(names)]] for place, name in enumerate(names)]
        case "bridge":
            return [[*side, *chosen] for side in split([name for name in names if name not in chosen])]
