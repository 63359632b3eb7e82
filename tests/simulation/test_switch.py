"""The lead changes hands while everything fails: no fork, and the chain goes on (S3 to S6).

The campaign draws a scenario from each seed: partitions, one-way cuts, kills and restarts around the switch, liars and
twins below a third of the stake, epochs that end in the middle of it. `SEEDS=20000` runs more of them than the 2,000 of
the test suite, `FIRST_SEED=4711 SEEDS=1` one of them again; both go with `pytest -n 2 tests/simulation/test_switch.py`.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import pytest

from consensus.effects import LedgerChanges
from consensus.ledger import EpochParameters, LeadershipParameters, Ledger, LedgerParameters
from consensus.ledger.changes import FallbackActivated, FallbackEnded
from consensus.types import Microseconds, ValidatorId
from netsim.byzantine.behaviours import BEHAVIOURS
from netsim.byzantine.twins import Twins
from netsim.cluster import Cluster
from netsim.network import Exponential, LinkModel
from netsim.observer import Observer
from netsim.process import Process
from netsim.simulation import make_stream
from netsim.workload import Workload

SEEDS = int(os.environ.get("SEEDS", "2000"))
FIRST_SEED = int(os.environ.get("FIRST_SEED", "0"))
BATCH = 50
"""Seeds in one test: enough to keep the bookkeeping small, few enough to spread over cores."""
CALM = LinkModel(Exponential(2_000))
DANGEROUS = ("equivocate", "propose_stale", "propose_stale", "vote_unjustified", "double_vote", "forget", "do_anything")
LONG_EPOCHS = EpochParameters(epoch_blocks=100_000, beacon_difficulty=16, beacon_checkpoints=4)
SHORT_EPOCHS = EpochParameters(epoch_blocks=6, beacon_difficulty=16, beacon_checkpoints=4)


@dataclass
class Switches(Observer):
    """Who has the lead, as the first node sees it that decides so."""

    activated: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)

    def on_ledger(self, now: Microseconds, node: ValidatorId, ledger: Ledger, changes: LedgerChanges) -> None:
        for height, described in changes:
            for change in described:
                if isinstance(change, FallbackActivated):
                    self.activated.add(height)
                elif isinstance(change, FallbackEnded):
                    self.ended.add(height)


# The switch by itself


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("stakes", "primary_size", "fallback_after"),
    [((1,) * 7, 2, 3), ((3, 2, 2, 2, 2, 2, 1), 2, 2), ((1,) * 10, 3, 4)],
)
def test_s4_s5_a_primary_committee_that_dies_at_once_is_replaced_and_comes_back(
    stakes: tuple[int, ...], primary_size: int, fallback_after: int, seed: int
) -> None:
    leadership = LeadershipParameters(
        primary_size=primary_size, fallback_size=2, fallback_after=fallback_after, handback_after=6
    )
    switches = Switches()
    cluster = Cluster(len(stakes), seed, stakes=stakes, leadership=leadership, observers=(switches,))
    state = cluster.context.genesis_ledger.state
    cluster.run_until(height=5)
    for member in state.primary:
        cluster.node(member).crash()
    witness = cluster.alive()[0]
    start = witness.height
    cluster.run_until(lambda: witness.replica.chain.ledger.state.mode.is_fallback, timeout_seconds=30)
    (first,) = switches.activated
    leaf, parent = witness.disk.decided[first].leaf, witness.disk.decided[first - 1].leaf
    cluster.expect(leaf.view - parent.view - 1 >= fallback_after, f"{fallback_after} views were skipped")
    cluster.expect(first <= start + 2 * primary_size + 2, "not many dead leaders' turns were waited for")
    for member in state.primary:
        cluster.node(member).restart()
    cluster.run_until(lambda: not witness.replica.chain.ledger.state.mode.is_fallback, timeout_seconds=60)
    led = [block.leaf.proposer for block in witness.disk.decided[first + 1 : min(switches.ended) + 1]]
    cluster.expect(set(led) <= set(state.fallback), f"{state.fallback} led until then, {led} did")
    cluster.run_until(height=cluster.highest + 8, timeout_seconds=60)
    led = [block.leaf.proposer for block in witness.disk.decided[min(switches.ended) + 1 :]]
    cluster.expect(set(led) <= set(state.primary), f"{state.primary} lead again, {led} did")


@pytest.mark.parametrize("seed", range(5))
def test_s6_one_way_cuts_during_the_switch_fork_nothing(seed: int) -> None:
    """The primaries hear everything and reach nobody, then the other way round."""
    cluster = Cluster(7, seed, leadership=LeadershipParameters(primary_size=2, fallback_size=2, handback_after=4))
    primary = cluster.context.genesis_ledger.state.primary
    others = [process for process in cluster.processes if process.id not in primary]
    cluster.run_until(height=5)
    for is_outward in (True, False):
        for member in primary:
            for other in others:
                cluster.cut(*((member, other) if is_outward else (other, member)))
        cluster.run_until(lambda: others[0].replica.chain.ledger.state.mode.is_fallback, timeout_seconds=30)
        start = max(process.height for process in others)
        cluster.run_until(lambda start=start: min(p.height for p in others) >= start + 5, timeout_seconds=30)  # type: ignore[misc]
        cluster.heal()
        cluster.run_until(lambda: not others[0].replica.chain.ledger.state.mode.is_fallback, timeout_seconds=60)
        cluster.run_until(height=cluster.highest + 3, timeout_seconds=30)


@pytest.mark.parametrize("seed", range(10))
def test_s6_twins_in_the_primary_committee_fork_nothing(seed: int) -> None:
    """One primary runs twice, each half of the network sees another of the two, and the other primary dies."""
    leadership = LeadershipParameters(primary_size=2, fallback_size=2, handback_after=4)
    scout = Cluster(7, seed, leadership=leadership, start=False)
    twin, victim = scout.context.genesis_ledger.state.primary
    cluster = Cluster(7, seed, links=CALM, leadership=leadership, workload=Workload(50), byzantine={twin}, start=False)
    twins = Twins(cluster, twin)
    honest = [process for process in cluster.processes if process.id != twin]
    for process in (*cluster.processes, twins.second):
        process.start()
    halves = [process.id for process in honest[::2]], [process.id for process in honest[1::2]]
    twins.split(*halves)
    run_until(cluster, honest, 4)
    cluster.node(victim).crash()
    cluster.run_for(2)
    cluster.partition([*halves[0], twin], [*halves[1], twin])
    cluster.run_for(0.5)
    cluster.heal()
    cluster.node(victim).restart()
    run_until(cluster, honest, cluster.highest + 5)


def run_until(cluster: Cluster, processes: list[Process], height: int) -> None:
    """These, and not the liars, have decided this height."""
    cluster.run_until(lambda: all(process.height >= height for process in processes), timeout_seconds=120)


# Drawn scenarios


@dataclass
class Scenario:
    """A cluster, and what is left of its seed's random stream."""

    cluster: Cluster
    random: Random
    switches: Switches
    honest: list[Process]
    twins: Twins | None

    @property
    def processes(self) -> list[Process]:
        return [*self.cluster.processes, *([] if self.twins is None else [self.twins.second])]


def make_scenario(seed: int) -> Scenario:
    random = make_stream(seed, "parameters")
    nodes = random.choice((4, 4, 4, 5, 5, 7))
    stakes = [random.randint(2, 4) for _ in range(nodes)] if random.random() < 0.3 else [1] * nodes
    leadership = LeadershipParameters(
        primary_size=random.randint(1, max(1, nodes // 3)),
        fallback_size=random.randint(1, 2),
        fallback_after=random.randint(1, 3),
        handback_after=random.randint(2, 4),
    )
    ledger = LedgerParameters(leadership, epochs=random.choice((LONG_EPOCHS, LONG_EPOCHS, SHORT_EPOCHS)))
    committees = Cluster(nodes, seed, stakes=stakes, ledger=ledger, start=False).context.genesis_ledger.state
    liars = draw_liars(stakes, committees.fallback, random)
    has_twins = bool(liars) and random.random() < 0.3
    twin = random.choice(liars) if has_twins else None
    byzantine = {liar: "withhold_votes" if liar == twin else draw_behaviour(random) for liar in liars}
    switches = Switches()
    links = LinkModel(Exponential(random.choice((15_000, 40_000))), loss=random.choice((0.0, 0.0, 0.02)))
    cluster = Cluster(
        nodes,
        seed,
        stakes=stakes,
        links=links,
        ledger=ledger,
        workload=Workload(50),
        byzantine=byzantine,
        lost_connections_seen=random.random() < 0.7,
        observers=(switches,),
        start=False,
    )
    twins = None if twin is None else Twins(cluster, twin)
    honest = [process for process in cluster.processes if process.id not in liars]
    scenario = Scenario(cluster, random, switches, honest, twins)
    for process in scenario.processes:
        process.start()
    return scenario


def draw_behaviour(random: Random) -> str:
    """The dangerous ones more often than those that only keep silent."""
    return random.choice(DANGEROUS if random.random() < 0.7 else list(BEHAVIOURS))


def draw_liars(stakes: list[int], fallback: Sequence[ValidatorId], random: Random) -> list[ValidatorId]:
    """Below a third of the stake; nobody in a third of the scenarios. Who takes over the lead can do most harm."""
    liars: list[ValidatorId] = []
    lying, total = 0, sum(stakes)
    order = random.sample(range(len(stakes)), len(stakes)) if random.random() < 0.67 else []
    if random.random() < 0.5:
        order.sort(key=lambda number: number not in fallback)
    for number in order:
        if 3 * (lying + stakes[number]) < total:
            liars.append(ValidatorId(number))
            lying += stakes[number]
    return liars


def disturb(scenario: Scenario) -> None:
    """One fault, or the end of one, aimed at those who have the lead."""
    cluster, random = scenario.cluster, scenario.random
    state = (
        max(cluster.processes, key=lambda process: process.height).disk.load().ledger or cluster.context.genesis_ledger
    )
    leading = list(state.state.fallback if state.state.mode.is_fallback else state.state.primary)
    rest = [process.id for process in cluster.processes if process.id not in leading]
    match random.choice(["kill", "kill", "revive", "partition", "mute", "deafen", "isolate", "heal", "split"]):
        case "kill":
            for member in leading:
                if cluster.node(member).is_alive:
                    cluster.node(member).crash()
        case "revive":
            revive(scenario)
        case "partition":
            some = random.sample(rest, random.randint(0, len(rest) // 2))
            cluster.partition([*leading, *some], [number for number in rest if number not in some])
        case "mute":
            for member in leading:
                for other in random.sample(rest, random.randint(1, len(rest))):
                    cluster.cut(member, other)
        case "deafen":
            for member in leading:
                for other in random.sample(rest, random.randint(1, len(rest))):
                    cluster.cut(other, member)
        case "isolate":
            cluster.isolate(random.choice(leading))
        case "split" if scenario.twins is not None:
            sides = [[process.id for process in cluster.processes if random.random() < 0.6] for _ in range(2)]
            scenario.twins.split(*sides)
        case _:
            cluster.heal()


def revive(scenario: Scenario) -> None:
    for process in scenario.processes:
        if not process.is_alive:
            process.restart()


def run_scenario(seed: int) -> Switches:
    scenario = make_scenario(seed)
    cluster, random = scenario.cluster, scenario.random
    for _ in range(random.randint(2, 5)):
        cluster.run_for(random.choice((0.1, 0.5, 1.2)) * random.random())
        disturb(scenario)
    cluster.run_for(random.random())
    cluster.heal()
    if scenario.twins is not None:
        everyone = range(len(cluster.processes))
        scenario.twins.split(everyone, everyone)
    revive(scenario)
    run_until(cluster, scenario.honest, cluster.highest + 4)
    check_agreement(scenario)
    return scenario.switches


def check_agreement(scenario: Scenario) -> None:
    """Whoever has decided the same height holds the same ledger and the same blocks."""
    chains = [process.disk.decided for process in scenario.honest]
    common = min(map(len, chains))
    blocks = {tuple(block.commitment for block in chain[:common]) for chain in chains}
    scenario.cluster.expect(len(blocks) == 1, "all honest nodes have decided the same blocks")
    ledgers: dict[int, set[bytes]] = {}
    for process in scenario.honest:
        ledgers.setdefault(process.height, set()).add(process.member.ledger.commitment)
    scenario.cluster.expect(all(len(one) == 1 for one in ledgers.values()), "they hold the same ledger")


@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + SEEDS, BATCH))
def test_s6_no_drawn_scenario_forks_the_chain_or_stops_it(first: int) -> None:
    seeds = range(first, min(first + BATCH, FIRST_SEED + SEEDS))
    seen = Counter[str]()
    for seed in seeds:
        switches = run_scenario(seed)
        seen["activated"] += bool(switches.activated)
        seen["ended"] += bool(switches.ended)
    if len(seeds) == BATCH:
        assert seen["activated"] >= BATCH // 3, f"the scenarios do too little: {seen}"
        assert seen["ended"] >= BATCH // 10, f"the scenarios do too little: {seen}"
