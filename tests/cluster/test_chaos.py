"""Scenarios on real processes, from the command line: what they show, and how they end."""

import json
import shutil
from pathlib import Path

import pytest

from sequencer.failures import ExitCode
from sequencer.fault_log import FaultLog
from sequencer.local_cluster.home import FAULTS_FILE, TARGETS_FILE
from tests.cluster.test_cli import run

pytestmark = pytest.mark.cluster

SCENARIO = """
name = "short"
story = "One node is cut off and comes back; then whoever leads is killed."
chaos_seconds = 20.0

[cluster]
nodes = 4

[load]
transactions_per_second = 50

[[fault]]
kind = "partition"
shape = "isolate"
target = "n3"
at = { seconds = 0.0 }
for_seconds = 2.5

[[fault]]
kind = "oversize"
transactions = 20
at = { seconds = 0.2 }

[[fault]]
kind = "slow_readers"
readers = 30
at = { seconds = 0.4 }
for_seconds = 2.0

[[fault]]
kind = "kill"
target = "leader"
at = { seconds = 3.0 }
for_seconds = 0.3

[expect]
during = "live"
decide_within_seconds = 30.0
evidence = []
"""
FLOORS = "floors = { decides = 5, restarts = 1, messages_cut = 1 }"


def test_a_partition_and_a_leader_kill_are_survived_and_judged(tmp_path: Path) -> None:
    """The whole way: proxies, faults, healing, and every line of the verdict."""
    file, lines = tmp_path / "short.toml", tmp_path / "outcomes.jsonl"
    file.write_text(SCENARIO + FLOORS)
    result = run("chaos", "run", file, "--home", tmp_path / "homes", "--json", lines, "-o", "json")
    assert result.returncode == ExitCode.OK, result.stdout + result.stderr
    (outcome,) = json.loads(result.stdout)["runs"]
    assert (outcome["verdict"], outcome["runtime"]) == ("pass", "processes")
    judged = {line["what"]: line for line in outcome["safety"] + outcome["liveness"]}
    assert {"agreement", "ledger", "acknowledged transactions", "evidence", "trace rules", "flat memory"} <= set(judged)
    bites = {fault["kind"]: fault["bites"] for fault in outcome["faults"]}
    assert all(bites.values())
    assert set(bites) == {"partition", "oversize", "slow_readers", "kill"}
    assert (bites["oversize"], bites["slow_readers"]) == (4 * 20, 4 * 30)
    assert outcome["figures"]["transactions_acknowledged"] > 0
    assert outcome["figures"]["transactions_lost"] == 0
    assert outcome["figures"]["new_leader_seconds_max"] > 0
    assert json.loads(lines.read_text())["timeline"]["decides"]
    assert "kill n" in result.stderr
    home = tmp_path / "homes" / "short-1"
    assert list(home.glob("n*/node.log")), "--home keeps the logs"
    log = FaultLog(home / FAULTS_FILE)
    assert {fault.fault for fault in log.read()} == set(bites), "nodes could tell what was done to them"
    assert log.read_active() == ()
    assert all(fault.targets and fault.by.startswith("chaos run: ") for fault in log.read())
    assert len(json.loads((home / TARGETS_FILE).read_text())) == 4


def test_a_run_whose_expectations_are_not_met_fails_and_keeps_its_logs(tmp_path: Path) -> None:
    """No fault at all; one node stays dead, which is not enough to stop the others."""
    file = tmp_path / "quiet.toml"
    file.write_text(
        'name = "quiet"\nchaos_seconds = 0.5\n[expect]\nevidence = ["n3"]\nfloors = { restarts = 1 }\n'
        '[load]\ntransactions_per_second = 20\n[heal]\ncore = "quorum"\n'
    )
    result = run("chaos", "run", file)
    # That nobody is accused though n3 should be is a failure, which weighs more than what was not reached.
    assert result.returncode == ExitCode.FAILED, result.stdout + result.stderr
    shown = " ".join(result.stdout.split())
    assert "accused: nobody; expected: n3" in shown
    assert "not reached: 0 restarts of 1" in shown
    assert "verdict: fail" in shown
    assert "dead for good" in result.stderr
    kept = Path(result.stderr.split("are kept in ")[1].strip())
    assert list(kept.glob("n*/node.log"))
    shutil.rmtree(kept)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = 'x'\n[[fault]]\nkind = 'slow_disk'\ntarget = 'n0'\nat = { seconds = 1.0 }\n", "--runtime simulator"),
        ("name = 'x'\nfaults = 3\n", "faults"),
    ],
)
def test_a_scenario_that_cannot_run_is_a_matter_of_usage(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "x.toml"
    file.write_text(text)
    result = run("chaos", "run", file)
    assert result.returncode == ExitCode.USAGE
    assert words in result.stderr
    file.write_text("name = 'x'\n[[fault]]\nkind = 'oversize'\nat = { seconds = 1.0 }\n")
    for command in (("chaos", "run", file, "--runtime", "simulator"), ("fuzz", "replay", file)):
        simulated = run(*command)
        assert simulated.returncode == ExitCode.USAGE
        assert "fault 1 (oversize). It has no clients" in simulated.stderr
    absent = run("fuzz", "replay", tmp_path / "absent.toml")
    assert (absent.returncode, "cannot read the scenario" in absent.stderr) == (ExitCode.USAGE, True)
    unknown = run("chaos", "run", "no-such-thing")
    assert unknown.returncode == ExitCode.USAGE
    assert "leader-kills" in unknown.stderr
