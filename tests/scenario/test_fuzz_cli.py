"""`sequencer fuzz` as somebody types it: a campaign, a replay, and a failing scenario made small."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from netsim.scenario.files import read_scenario
from netsim.scenario.model import Shape
from netsim.scenario.simulated import run_scenario
from netsim.swarm import campaign as campaigns
from netsim.swarm.campaign import FLOORS_FROM_SEEDS, Campaign, SeedResult, run_seed
from netsim.swarm.fixture import Fixture, read_fixture
from netsim.swarm.scenarios import sample_scenario
from sequencer.cli.fuzz import _end
from sequencer.cli.main import app
from sequencer.failures import CommandError, ExitCode
from tests.scenario.test_swarm import make_result

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.json"))
FAILING = """
name = "one-is-cut-off"
story = "It says that four nodes stop when one of them is cut off, which is wrong."
chaos_seconds = 5.0

[cluster]
nodes = 5
jitter_ms = 1.0
delay_ms = 20.0
byzantine = { n4 = "silent" }

[cluster.settings]
epoch_blocks = 16

[[fault]]
kind = "cut"
source = "n0"
at = { seconds = 0.1 }
for_seconds = 3.0

[[fault]]
kind = "burst"
transactions = 20
at = { seconds = 0.2 }

[expect]
during = "stalls"
"""


def run(*arguments: object, code: int = 0) -> str:
    """What is printed. An error that is expected to be told has its code from `main`, which is not asked here."""
    result = CliRunner().invoke(app, ["fuzz", *map(str, arguments)])
    ended = result.exception.exit_code if isinstance(result.exception, CommandError) else result.exit_code
    assert ended == code, f"{result.output}{result.exception}"
    return result.stdout


def test_a_campaign_tells_what_it_has_reached(tmp_path: Path) -> None:
    told = json.loads(run("--seeds", 6, "--first", 3, "--jobs", 1, "--out", tmp_path, "-o", "json"))
    assert told["seeds"] == 6
    assert told["failed"] == []
    assert told["verdicts"] == {"pass": 6}
    assert sum(told["nodes"].values()) == 6
    assert told["marks"]["decides"] > 30
    assert told["virtual_hours"] > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_campaign_keeps_and_tells_what_it_has_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*_: object, on_result: Callable[[Campaign, SeedResult], None], **__: object) -> Campaign:
        campaign = Campaign()
        for result in map(make_result, (6, 7)):
            campaign.add(result)
            on_result(campaign, result)
        raise KeyboardInterrupt

    monkeypatch.setattr(campaigns, "run_campaign", break_off)
    told = json.loads(run("--out", tmp_path, "-o", "json", code=ExitCode.INTERRUPTED))
    assert (told["seeds"], [failed["seed"] for failed in told["failed"]]) == (2, [7])
    assert read_scenario(tmp_path / "seed-7.toml") == sample_scenario(7)


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_campaign_that_has_reached_nothing_is_no_success_however_it_ended(is_whole: bool) -> None:
    campaign = Campaign()
    for _ in range(FLOORS_FROM_SEEDS):
        campaign.add(msgspec.structs.replace(make_result(1), marks={}))
    with pytest.raises(CommandError, match="has not reached what it must") as told:
        _end(campaign, is_whole=is_whole)
    assert told.value.exit_code is ExitCode.INCONCLUSIVE


def test_a_campaign_runs_on_a_dask_cluster(tmp_path: Path) -> None:
    """The same seeds, on workers that somebody else has started."""
    from distributed import LocalCluster

    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=1, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        scheduler = cluster.scheduler_address
        told = json.loads(run("--seeds", 4, "--first", 3, "--scheduler", scheduler, "--out", tmp_path, "-o", "json"))
    own = [run_seed(seed) for seed in range(3, 7)]
    assert told["seeds"] == 4
    assert told["marks"]["decides"] == sum(result.marks["decides"] for result in own)


def test_no_dask_cluster_is_told_with_what_to_do() -> None:
    result = CliRunner().invoke(app, ["fuzz", "--scheduler", "tcp://127.0.0.1:9"])
    assert "Start one with: dask scheduler" in str(result.exception)


def test_a_seed_is_replayed_to_the_same_hash(tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    (told,) = json.loads(run("replay", 11, "-o", "json", "--report", page))["runs"]
    assert told["audit_hash"] == run_seed(11).audit_hash
    assert told["scenario"]["seed"] == 11
    assert "agreement" in run("replay", 11).lower()
    assert page.read_text().count("<svg") >= 3


def test_a_failing_scenario_becomes_a_small_file_and_a_fixture(tmp_path: Path) -> None:
    file = tmp_path / "cut.toml"
    file.write_text(FAILING)
    run("replay", file, code=1)
    run("shrink", file, "--out", tmp_path, "--runs", 60)
    small = read_scenario(tmp_path / "one-is-cut-off-small.toml")
    assert small.fault == (), "the faults have nothing to do with it"
    assert small.cluster == Shape(nodes=4, delay_ms=20.0)
    assert 2.0 <= small.chaos_seconds < 5.0
    outcome = run_scenario(small)
    fixture = read_fixture(tmp_path / "one-is-cut-off-small.json")
    assert isinstance(fixture, Fixture)
    assert fixture.scenario == small
    assert fixture.audit_hash == outcome.audit_hash
    assert "the height grew" in fixture.failures[0]


def test_what_does_not_fail_is_not_made_smaller(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["fuzz", "shrink", "11", "--out", str(tmp_path)])
    assert "does not fail" in str(result.exception)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_what_failed_once_passes_now(path: Path) -> None:
    outcome = run_scenario(read_fixture(path).scenario)
    lines = [line for line in (*outcome.safety, *outcome.liveness) if line.verdict == "fail"]
    assert not lines
