"""Everything at once, drawn from the seed: then all faults end and the chain must go on within bounded time."""

from random import Random

import pytest

from netsim.cluster import Cluster
from netsim.disk import DiskModel
from netsim.network import Exponential, LinkModel
from netsim.simulation import make_stream

CALM = LinkModel(Exponential(2_000))


def make_cluster(seed: int, random: Random) -> Cluster:
    nodes = random.choice([4, 4, 4, 5, 7])
    links = LinkModel(
        Exponential(random.randint(200, 20_000)),
        loss=random.choice([0.0, 0.0, 0.05, 0.2]),
        duplication=random.choice([0.0, 0.3]),
        reordering=random.choice([0.0, 0.3]),
    )
    stakes = [random.randint(1, 5) for _ in range(nodes)] if random.random() < 0.3 else None
    return Cluster(nodes, seed, links=links, stakes=stakes, disk=DiskModel(Exponential(random.choice([1, 300, 5_000]))))


def disturb(cluster: Cluster, random: Random) -> None:
    """One fault, or the end of one."""
    victim = random.choice(cluster.processes)
    match random.choice(["crash", "crash", "freeze", "isolate", "cut", "partition", "heal", "everyone"]):
        case "crash":
            (victim.crash if victim.is_alive else victim.restart)()
        case "freeze" if victim.is_alive:
            (victim.resume if victim.is_paused else victim.pause)()
        case "isolate":
            cluster.isolate(victim)
        case "cut":
            cluster.cut(victim, random.choice(cluster.processes))
        case "partition":
            half = random.sample(cluster.processes, len(cluster.processes) // 2)
            cluster.partition(half, [process for process in cluster.processes if process not in half])
        case "heal":
            cluster.heal()
        case "everyone":
            for process in cluster.alive():
                process.crash()
            for process in cluster.processes:
                process.restart()
        case _:
            cluster.submit(50)  # a dead node cannot freeze; it gets work to do instead


@pytest.mark.parametrize("seed", range(100))
def test_after_any_chaos_the_chain_goes_on(seed: int) -> None:
    random = make_stream(seed, "parameters")
    cluster = make_cluster(seed, random)
    for _ in range(random.randint(4, 12)):
        cluster.run_for(random.random() * random.choice([0.01, 0.1, 1]))
        disturb(cluster, random)
    cluster.run_for(0.5)
    cluster.heal()
    cluster.network.set_model(CALM)
    for process in cluster.processes:
        if not process.is_alive:
            process.restart()
        if process.is_paused:
            process.resume()
    cluster.run_until(height=cluster.highest + 5, timeout_seconds=30)
