"""Campaigns: a seed is a whole scenario, a campaign is many of them in any order, and a failing one becomes small."""

import subprocess
import sys
from collections import Counter
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from netsim.scenario.faults import Clog, Cut, Degrade, Fault, Kill, Pause, Trigger, get_kind
from netsim.scenario.files import format_scenario, parse_scenario
from netsim.scenario.marks import MARKS
from netsim.scenario.model import Heal, Scenario, Settings, Shape
from netsim.scenario.outcome import Verdict
from netsim.scenario.targets import parse_name
from netsim.swarm import campaign as campaigns
from netsim.swarm.campaign import FLOORS, Campaign, SeedResult, run_campaign
from netsim.swarm.draws import CLASSES
from netsim.swarm.scenarios import SIZES, sample_scenario
from netsim.swarm.shrink import shrink

SEEDS = range(600)


def test_a_seed_draws_the_same_scenario_in_every_process() -> None:
    program = (
        "from netsim.swarm.scenarios import sample_scenario\n"
        "from netsim.scenario.files import format_scenario\n"
        "import hashlib\n"
        "print(hashlib.sha256(''.join(format_scenario(sample_scenario(s)) for s in range(50)).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_what_is_drawn_covers_everything_and_can_be_written_down() -> None:
    """Sizes, classes of faults, triggers and behaviours; and never more liars than there may be."""
    kinds: Counter[str] = Counter()
    sizes: Counter[int] = Counter()
    triggers: Counter[str] = Counter()
    behaviours: Counter[str] = Counter()
    for seed in SEEDS:
        scenario = sample_scenario(seed)
        assert parse_scenario(format_scenario(scenario), "text") == scenario
        shape = scenario.cluster
        sizes[shape.nodes] += 1
        kinds.update(get_kind(fault) for fault in scenario.fault)
        triggers.update(
            name
            for fault in scenario.fault
            for name in ("seconds", "height", "view", "event")
            if getattr(fault.at, name) is not None
        )
        behaviours.update(shape.byzantine.values())
        stakes = shape.stakes or (1,) * shape.nodes
        forgetful = [fault for fault in scenario.fault if getattr(fault, "mode", None) == "old_snapshot"]
        lying = {*shape.byzantine, *(fault.target for fault in forgetful if hasattr(fault, "target"))}
        assert 3 * sum(stakes[parse_name(name, shape.nodes) or 0] for name in lying) < sum(stakes)
    assert set(sizes) == set(SIZES)
    assert len(kinds) == len(set(CLASSES))
    assert set(triggers) == {"seconds", "height", "view", "event"}
    assert len(behaviours) > 8


def test_the_size_can_be_fixed() -> None:
    assert {sample_scenario(seed, nodes=7).cluster.nodes for seed in range(20)} == {7}


def test_floors_are_about_marks_that_there_are() -> None:
    assert set(FLOORS) <= set(MARKS)


# Campaigns, with results that are made up


def make_result(seed: int, nodes: int | None = None) -> SeedResult:
    verdict = Verdict.FAIL if seed % 10 == 7 else Verdict.INCONCLUSIVE if seed % 10 == 5 else Verdict.PASS
    return SeedResult(
        seed=seed,
        verdict=verdict,
        failures=() if verdict is Verdict.PASS else ("agreement (fail): two blocks",),
        kinds=("kill",),
        nodes=nodes or 4,
        marks=dict.fromkeys(FLOORS, 20),
        virtual_seconds=2.0,
        is_felt=True,
        audit_hash="",
    )


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "run_seed", make_result)


@pytest.mark.usefixtures("made_up")
def test_a_campaign_adds_up_every_seed_once() -> None:
    seen: list[int] = []
    with ThreadPoolExecutor(3) as executor:
        campaign = run_campaign(
            10, 30, executor, workers=3, nodes=5, on_result=lambda campaign, result: seen.append(result.seed)
        )
    assert sorted(seen) == list(range(10, 40))
    assert campaign.seeds == 30
    assert campaign.verdicts == {"pass": 24, "fail": 3, "inconclusive": 3}
    assert campaign.sizes == {5: 30}
    assert campaign.virtual_seconds == 60.0
    assert sorted(result.seed for result in campaign.failed) == [17, 27, 37]
    assert sorted(result.seed for result in campaign.inconclusive) == [15, 25, 35]
    assert campaign.find_low_floors() == []


def test_a_seed_that_the_simulator_cannot_run_has_failed_and_the_campaign_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(seed: int, nodes: int | None = None) -> SeedResult:
        if seed == 2:
            raise ZeroDivisionError("by accident")
        return msgspec.structs.replace(make_result(seed), verdict=Verdict.PASS)

    monkeypatch.setattr(campaigns, "run_seed", run)
    campaign = run_campaign(0, 5, Inline(), workers=1)
    assert campaign.verdicts == {"pass": 4, "fail": 1}
    assert campaign.failed[0].failures == ("simulator: ZeroDivisionError: by accident",)


class Inline(Executor):
    """Runs a task when it is handed out."""

    def __init__(self) -> None:
        self.handed_out = 0

    def submit(self, call, /, *arguments, **keywords):  # type: ignore[no-untyped-def]
        self.handed_out += 1
        future: Future[object] = Future()
        future.set_result(call(*arguments, **keywords))
        return future


@pytest.mark.usefixtures("made_up")
def test_a_campaign_stops_when_it_is_over() -> None:
    """What was handed out is counted, and nothing else is begun."""
    executor = Inline()
    campaign = run_campaign(0, 1_000_000, executor, workers=1, is_over=lambda campaign: bool(campaign.failed))
    assert campaign.failed
    assert campaign.seeds <= (executor.handed_out + 1) * campaigns.CHUNK_SEEDS
    assert executor.handed_out <= 2 * campaigns.TASKS_PER_WORKER


def test_a_campaign_that_has_reached_nothing_says_so() -> None:
    campaign = Campaign()
    for seed in range(1000):
        result = make_result(seed)
        campaign.add(msgspec.structs.replace(result, marks={**result.marks, "epochs": 0, "fallbacks": 0}))
    assert [line.partition(":")[0] for line in campaign.find_low_floors()] == ["epochs", "fallbacks"]
    unfelt = Campaign()
    for seed in range(1000):
        unfelt.add(msgspec.structs.replace(make_result(seed), is_felt=seed % 5 > 0))
    assert unfelt.find_low_floors() == ["faults felt: in 200 of 1,000 seeds nobody felt any"]
    few = Campaign()
    few.add(msgspec.structs.replace(make_result(1), marks={}))
    assert few.find_low_floors() == [], "one seed says nothing about an average"


# Shrinking, with scenarios that fail by decree


def make_scenario(faults: tuple[Fault, ...], **shape: object) -> Scenario:
    cluster = msgspec.structs.replace(Shape(nodes=10, jitter_ms=5.0, loss=0.1, sync_ms=2.0), **shape)
    return Scenario(name="big", cluster=cluster, fault=faults, chaos_seconds=8.0, heal=Heal(core="quorum"))


def at(seconds: float) -> Trigger:
    return Trigger(seconds=seconds, after_seconds=0.2)


MANY: tuple[Fault, ...] = (
    Degrade(at=at(0.1)),
    Kill(at=at(0.3), target="leader", for_seconds=0.8, repeat=4),
    Clog(at=at(0.4), source="random"),
    Cut(at=at(0.5), source="n0", for_seconds=1.0),
    Pause(at=at(0.6), target="f"),
    Degrade(at=at(0.7), loss=0.3),
)


def test_shrinking_keeps_what_it_takes_to_fail_and_nothing_else() -> None:
    def is_failing(scenario: Scenario) -> bool:
        kinds = [type(fault) for fault in scenario.fault]
        return Kill in kinds and Cut in kinds and scenario.cluster.loss > 0

    big = make_scenario(MANY, settings=Settings(epoch_blocks=8, bench_after=1), byzantine={"n7": "silent"})
    steps: list[Scenario] = []
    small = shrink(big, is_failing, on_step=lambda runs, scenario: steps.append(scenario))
    assert [type(fault) for fault in small.fault] == [Kill, Cut]
    kill = small.fault[0]
    assert kill.repeat == 1
    assert kill.at == Trigger(seconds=0.3)
    assert kill.for_seconds is not None
    assert kill.for_seconds <= 0.001
    assert small.cluster == Shape(nodes=4, loss=0.1)
    assert small.heal == Heal()
    assert small.chaos_seconds <= 0.1
    assert all(is_failing(scenario) for scenario in steps)
    assert steps[-1] == small


def test_shrinking_keeps_the_setting_that_it_takes() -> None:
    big = make_scenario(MANY, settings=Settings(epoch_blocks=8, bench_after=1), byzantine={"n7": "silent"})
    small = shrink(
        big,
        lambda scenario: scenario.cluster.settings.bench_after == 1 and "n7" in scenario.cluster.byzantine,
    )
    assert small.cluster == Shape(nodes=8, settings=Settings(bench_after=1), byzantine={"n7": "silent"})
    assert small.fault == ()


@pytest.mark.parametrize("stakes", [(), (3, 1, 1, 1, 1, 1, 1, 1)])
def test_shrinking_never_lets_liars_reach_a_third(stakes: tuple[int, ...]) -> None:
    """What more than a third can break would break by right, and hide what was found."""
    liars = {"n0": "silent", "n1": "silent"} if not stakes else {"n0": "silent"}
    tried: list[Shape] = []

    def is_failing(scenario: Scenario) -> bool:
        tried.append(scenario.cluster)
        return len(scenario.cluster.byzantine) == len(liars)

    big = Scenario(name="big", cluster=Shape(nodes=8, stakes=stakes, byzantine=liars))
    small = shrink(big, is_failing)
    for shape in tried:
        held = [(shape.stakes or (1,) * shape.nodes)[parse_name(name, shape.nodes) or 0] for name in shape.byzantine]
        assert 3 * sum(held) < (sum(shape.stakes) or shape.nodes)
    assert small.cluster == Shape(nodes=7 if not stakes else 4, byzantine=liars)
    too_many = Scenario(name="big", cluster=Shape(nodes=8, byzantine={f"n{node}": "silent" for node in range(3)}))
    assert shrink(too_many, lambda scenario: len(scenario.cluster.byzantine) == 3).cluster.nodes == 4, "as they are"


def test_shrinking_ends_with_its_budget() -> None:
    runs = 0

    def is_failing(scenario: Scenario) -> bool:
        nonlocal runs
        runs += 1
        return True

    shrink(make_scenario(MANY), is_failing, runs_max=5)
    assert runs == 5
