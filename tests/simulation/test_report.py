"""Figures of a run, and the command that prints them."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from consensus.signatures.ed25519 import Ed25519
from netsim.checkers import Violation
from netsim.network import Constant, LinkModel
from netsim.report import SimulationSettings, run_simulation
from sequencer.cli.simulate import simulate


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(simulate)
    return app


def test_the_figures_are_those_of_the_protocol() -> None:
    """Three delays of 10 ms to finality, two to the next block, at every node."""
    progress: list[tuple[float, int]] = []
    settings = SimulationSettings(duration_seconds=2, links=LinkModel(Constant(10_000)))
    report = run_simulation(settings, lambda seconds, height: progress.append((seconds, height)))
    assert report.finality_p50_ms == pytest.approx(30, abs=0.1)
    assert report.finality_p99_ms == pytest.approx(30, abs=0.1)
    assert report.finality_mean_ms == pytest.approx(30, abs=0.1)
    assert report.block_interval_ms == pytest.approx(20, abs=0.1)
    assert 95 <= report.blocks <= 100
    assert report.transactions > 1_500
    assert (report.timeouts, report.views_timed_out, report.messages_lost) == (0, 0, 0)
    assert report.virtual_seconds == 2
    assert progress[-1] == (2.0, report.blocks)
    assert progress == sorted(progress)


def test_real_signatures_decide_the_same_heights() -> None:
    settings = SimulationSettings(duration_seconds=0.2, links=LinkModel(Constant(2_000)), scheme=Ed25519())
    simulated = run_simulation(SimulationSettings(duration_seconds=0.2, links=LinkModel(Constant(2_000))))
    report = run_simulation(settings)
    assert report.blocks == simulated.blocks > 30
    assert report.audit_hash != simulated.audit_hash


def test_a_run_without_a_decide_has_no_figures() -> None:
    report = run_simulation(SimulationSettings(duration_seconds=5, links=LinkModel(loss=1.0)))
    assert (report.blocks, report.finality_mean_ms, report.block_interval_ms) == (0, None, None)
    assert report.timeouts >= 4
    assert report.messages_lost > 0


@pytest.mark.parametrize(("field", "value"), [("nodes", 0), ("duration_seconds", 0.0), ("duration_seconds", -1.0)])
def test_a_run_that_cannot_be_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"must be positive|at least one"):
        SimulationSettings(**{field: value})  # type: ignore[arg-type]


def test_the_command_prints_json_on_stdout_and_the_same_for_the_same_seed(app: typer.Typer) -> None:
    arguments = ["--nodes", "4", "--duration", "0.5", "--seed", "7", "--jitter", "0.2", "-o", "json"]
    first, second = (CliRunner().invoke(app, arguments) for _ in range(2))
    assert first.exit_code == 0
    report = json.loads(first.stdout)
    assert report["seed"] == 7
    assert report["blocks"] > 0
    assert report["audit_hash"] == json.loads(second.stdout)["audit_hash"]
    assert first.stderr == ""


def test_the_command_prints_a_table(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["--duration", "0.2", "--signatures", "ed25519", "--sync-ms", "0.5"])
    assert result.exit_code == 0
    for word in ("blocks finalized", "finality, p99", "audit hash", "seed"):
        assert word in result.stdout


def test_the_command_explains_what_is_wrong(app: typer.Typer, tmp_path: Path) -> None:
    missing = CliRunner().invoke(app, ["--regions", str(tmp_path / "none.csv")])
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert "cannot read the region matrix" in missing.stderr
    stalled = CliRunner().invoke(app, ["--duration", "1", "--loss", "1"])
    assert stalled.exit_code == 1
    assert "Lower --loss" in stalled.stderr


def test_a_violation_fails_the_command_with_seed_and_hash(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    from consensus.stake_table import StakeTable

    monkeypatch.setattr(StakeTable, "success_threshold", property(lambda table: table.total // 2))
    result = CliRunner().invoke(app, ["--duration", "1", "--seed", "5"])
    assert result.exit_code == 1
    assert "an oracle found a violation: P2" in result.stderr
    assert "seed=5" in result.stderr
    with pytest.raises(Violation):
        run_simulation(SimulationSettings(duration_seconds=1))
