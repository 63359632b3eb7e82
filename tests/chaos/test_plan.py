"""Which scenarios processes take, and what they do when they refuse one."""

from random import Random
from typing import get_args

import pytest

from netsim.scenario.faults import Cut, Degrade, Fault, Flap, Kill, Partition, Trigger
from netsim.scenario.files import parse_scenario
from netsim.scenario.model import Scenario, Settings, Shape
from sequencer.chaos.injector import describe_fault
from sequencer.chaos.links import draw_groups, list_pairs, list_parted, make_impairment
from sequencer.chaos.plan import _SIMULATOR_ONLY, check_supported, make_home_plan
from sequencer.chaos.stock import find_scenarios, list_stock
from sequencer.failures import CommandError, ExitCode
from sequencer.fault_log import KILL, PARTITION, PAUSE, SCENARIO_FAULTS
from sequencer.home import DEFAULT_STAKE

NOW = Trigger(seconds=0)
NAMES = ("n0", "n1", "n2", "n3")


def test_every_stock_scenario_can_run_on_processes() -> None:
    assert len(list_stock()) >= 7
    for _, scenario in find_scenarios(["all"]):
        check_supported(scenario)


def test_the_fault_log_has_a_word_for_every_fault_of_processes() -> None:
    """Metrics show each of them by its own name."""
    kinds = {kind.__struct_config__.tag for kind in get_args(Fault) if not issubclass(kind, _SIMULATOR_ONLY)}
    assert kinds == {*SCENARIO_FAULTS, KILL, PAUSE, PARTITION}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ('kind = "slow_disk"\ntarget = "n0"', "fault 1 (slow_disk) is about what happens inside"),
        ('kind = "clock"\ntarget = "n0"', "fault 1 (clock)"),
        ('kind = "drop_kinds"\nkinds = ["QuorumVote"]', "fault 1 (drop_kinds)"),
        ('kind = "kill"\ntarget = "n0"\nwhen = "pending_write"', 'has when = "pending_write"'),
        ('kind = "kill"\ntarget = "n0"\nagain = 2', "has again = 2"),
        ('kind = "degrade"\nduplication = 0.5', "which TCP does not"),
    ],
)
def test_what_only_the_simulator_knows_is_refused_before_anything_starts(fault: str, words: str) -> None:
    scenario = parse_scenario(f'name = "x"\n[[fault]]\nat = {{ seconds = 1.0 }}\n{fault}\n', "text")
    with pytest.raises(CommandError) as refusal:
        check_supported(scenario)
    assert words in str(refusal.value)
    assert "--runtime simulator" in str(refusal.value)
    assert refusal.value.exit_code is ExitCode.USAGE


def test_a_scenario_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(CommandError, match=r"there is no scenario .*leader-kills") as refusal:
        find_scenarios(["leader-kill"])
    assert refusal.value.exit_code is ExitCode.USAGE


def test_settings_and_stakes_reach_the_network_file() -> None:
    settings = Settings(timeout_floor_ms=400, primary_size=2, jail_after=9, epoch_blocks=16)
    plan = make_home_plan(Scenario(name="x", cluster=Shape(nodes=3, stakes=(3, 2, 1), settings=settings)), 10_000)
    assert plan.stakes == tuple(stake * DEFAULT_STAKE for stake in (3, 2, 1))
    assert plan.consensus.timeout_floor_ms == 400
    assert plan.leadership.primary_size == 2
    assert plan.slashing.jail_after == 9
    assert plan.epochs.epoch_blocks == 16


def test_settings_that_contradict_each_other_are_refused() -> None:
    shape = Shape(settings=Settings(timeout_floor_ms=400, timeout_ceiling_ms=300))
    with pytest.raises(CommandError, match="timeout_ceiling_ms"):
        make_home_plan(Scenario(name="x", cluster=shape), 10_000)


# Links


def test_a_one_way_fault_has_one_way_pairs() -> None:
    assert list_pairs(["n0"], NAMES, both_ways=False) == [("n0", "n1"), ("n0", "n2"), ("n0", "n3")]
    assert len(list_pairs(["n0"], NAMES, both_ways=True)) == 6


def test_a_partition_cuts_both_ways_between_groups_only() -> None:
    assert set(list_parted(NAMES, [["n0", "n1"], ["n2", "n3"]])) == {
        pair for one in ("n0", "n1") for other in ("n2", "n3") for pair in ((one, other), (other, one))
    }


@pytest.mark.parametrize(
    ("partition", "cut"),
    [
        (Partition(at=NOW, shape="isolate"), 6),
        (Partition(at=NOW, shape="halves"), 8),
        (Partition(at=NOW, shape="majority"), 6),
        (Partition(at=NOW, shape="ring"), 4),
        (Partition(at=NOW, shape="bridge"), 4),
    ],
)
def test_shapes_of_partitions_cut_as_many_links_as_they_should(partition: Partition, cut: int) -> None:
    groups = draw_groups(partition, NAMES, ["n3"], ["n0", "n1", "n2"], Random(1))
    assert len(list_parted(NAMES, groups)) == cut


def test_faults_of_links_become_impairments() -> None:
    degrade = make_impairment(Degrade(at=NOW, delay_ms=50, jitter_ms=5, loss=0.1, bandwidth_bytes_per_second=1000))
    assert degrade is not None
    assert (degrade.delay_seconds, degrade.jitter_seconds, degrade.stall_probability) == (0.05, 0.005, 0.1)
    assert degrade.bytes_per_second == 1000
    for cut in (make_impairment(Cut(at=NOW, source="n0")), make_impairment(Flap(at=NOW, source="n0"))):
        assert cut is not None
        assert cut.is_cut
    assert make_impairment(Kill(at=NOW, target="n0")) is None


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        (("n2",), "cut n2"),
        (NAMES, "cut all"),
        (("n0", ">", *NAMES), "cut n0 > all"),
        ((*NAMES, ">", *NAMES), "cut all > all"),
        (("n0", ">", "n0", "n1"), "cut n0 > n1"),
        (("n0", "|", "n1", "n2"), "cut n0 | n1 n2"),
    ],
)
def test_a_fault_is_told_shortly(nodes: tuple[str, ...], words: str) -> None:
    assert describe_fault("cut", nodes, len(NAMES)) == words
