"""Scenario files: what can be said in them, and what is said of a wrong one."""

from pathlib import Path
from random import Random

import pytest

from netsim.scenario.faults import Cut, Kill, Trigger, get_kind
from netsim.scenario.files import ScenarioError, format_scenario, parse_scenario, read_scenario, write_scenario
from netsim.scenario.model import Scenario, Shape
from netsim.scenario.outcome import Line, Outcome, Verdict
from netsim.scenario.targets import resolve_target

TEXT = """
name = "leader-kills"
story = "Five leaders in a row."
seed = 7

[cluster]
nodes = 4
byzantine = { n3 = "silent" }

[cluster.settings]
epoch_blocks = 16

[[fault]]
kind = "kill"
target = "leader"
at = { height = 5 }
for_seconds = 2.5
repeat = 5

[[fault]]
kind = "cut"
source = "n0,n1"
at = { event = "timeout", after_seconds = 0.5 }

[expect]
floors = { decides = 5 }
"""
STOCK = (
    "all-killed",
    "flapping-link",
    "leader-kills",
    "majority-pause",
    "one-way-partition-of-the-leader",
    "primary-committee-killed",
    "rolling-restart",
)
FOLDER = Path(__file__).parent.parent.parent / "configs" / "scenarios"


def test_a_scenario_is_read_and_written_back_as_the_same(tmp_path: Path) -> None:
    scenario = parse_scenario(TEXT, "text")
    kill, cut = scenario.fault
    assert isinstance(kill, Kill)
    assert kill.at == Trigger(height=5)
    assert isinstance(cut, Cut)
    assert cut.destination == "all"
    assert [get_kind(fault) for fault in scenario.fault] == ["kill", "cut"]
    write_scenario(tmp_path / "again.toml", scenario)
    assert read_scenario(tmp_path / "again.toml") == scenario
    assert "jitter_ms" not in format_scenario(scenario)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('target = "leader"', 'target = "boss"', '"boss" is neither a node (n0 to n3) nor a role'),
        ('target = "leader"', 'target = "n4"', '"n4" is neither a node'),
        ('kind = "kill"', 'kind = "kil"', "Invalid value 'kil'"),
        ("{ height = 5 }", "{ height = 5, view = 3 }", "got height and view"),
        ("{ height = 5 }", "{ after_seconds = 3 }", "got none"),
        ("repeat = 5", "repeats = 5", "unknown field `repeats`"),
        ('n3 = "silent"', 'n3 = "rude"', 'no behaviour "rude"'),
        ('n3 = "silent"', 'n9 = "silent"', 'no node "n9"'),
        ("nodes = 4", "nodes = 4\nstakes = [1, 2]", "2 stakes for 4 nodes"),
        ("decides = 5", "glory = 5", 'no mark "glory"'),
        ("seed = 7", "seed = ", "not valid TOML"),
    ],
)
def test_a_wrong_scenario_says_what_is_wrong(old: str, new: str, told: str) -> None:
    assert old in TEXT
    with pytest.raises(ScenarioError, match="text") as caught:
        parse_scenario(TEXT.replace(old, new), "text")
    assert told in str(caught.value)


@pytest.mark.parametrize("name", STOCK)
def test_a_stock_scenario_says_what_must_come_of_it(name: str) -> None:
    """It bears its file's name, tells a story, and cannot pass without having shown anything."""
    scenario = read_scenario(FOLDER / f"{name}.toml")
    assert scenario.name == name
    assert len(scenario.story) > 100
    assert scenario.fault
    assert scenario.expect.floors["decides"] > 0


def test_all_stock_scenarios_are_known_here() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.toml")) == sorted(STOCK)


def test_a_missing_file_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"cannot read the scenario .*nothing\.toml: No such file"):
        read_scenario(tmp_path / "nothing.toml")


class Five:
    """Five nodes, of which the last has no stake yet."""

    stakes = (4, 3, 2, 1, 0)
    leader = 1
    next_leader = 2
    primary = (1, 2)
    fallback = (0,)


@pytest.mark.parametrize(
    ("target", "nodes"),
    [
        ("leader", [1]),
        ("n4,leader,n0", [0, 1, 4]),
        ("next-leader", [2]),
        ("backups", [0, 2, 3]),
        ("primary,fallback", [0, 1, 2]),
        ("all", [0, 1, 2, 3, 4]),
    ],
)
def test_a_role_is_whoever_has_it(target: str, nodes: list[int]) -> None:
    assert resolve_target(target, Five(), Random(1)) == nodes


def test_drawn_roles_are_counted_in_stake() -> None:
    """Of a stake of 10, 3 may fail, 4 is too much and 7 decides."""
    for seed in range(50):
        held = {
            role: sum(Five.stakes[node] for node in resolve_target(role, Five(), Random(seed)))
            for role in ("f", "f+1", "quorum", "random")
        }
        assert 0 < held["f"] <= 3
        assert held["f+1"] >= 4
        assert held["quorum"] >= 7
        assert held["random"] > 0
        assert len(resolve_target("minority", Five(), Random(seed))) == 1
        assert len(resolve_target("majority", Five(), Random(seed))) == 3


def test_the_verdict_is_the_worst_of_its_lines() -> None:
    lines = {verdict: Line(what="x", verdict=verdict) for verdict in Verdict}
    scenario = Scenario(name="x", cluster=Shape(nodes=1))

    def judge(safety: list[Verdict], liveness: list[Verdict]) -> Verdict:
        return Outcome(
            scenario=scenario,
            runtime="simulator",
            safety=tuple(lines[verdict] for verdict in safety),
            liveness=tuple(lines[verdict] for verdict in liveness),
        ).verdict

    assert judge([Verdict.PASS], [Verdict.PASS]) is Verdict.PASS
    assert judge([Verdict.PASS], [Verdict.INCONCLUSIVE]) is Verdict.INCONCLUSIVE
    assert judge([Verdict.FAIL], [Verdict.INCONCLUSIVE]) is Verdict.FAIL
    assert judge([], []) is Verdict.INCONCLUSIVE
