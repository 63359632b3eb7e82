"""`sequencer twins`: what it counts, what it finds, and the command that shows it again."""

import json
import shlex
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from sequencer.cli.twins import twins
from sequencer.failures import CommandError, ExitCode


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(twins)
    return app


def invoke(app: typer.Typer, options: str) -> str:
    """What goes to stdout. Raises what the command raises."""
    return CliRunner().invoke(app, shlex.split(options), catch_exceptions=False, standalone_mode=False).stdout


def count(app: typer.Typer, options: str) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(invoke(app, f"{options} -o json"))
    return figures


def test_all_means_one_of_each_class(app: typer.Typer) -> None:
    """One view: sixty scenarios, and in the figures the classes that stand for them."""
    figures = count(app, "--all --views 1 --jobs 1")
    assert (figures["total"], figures["members"]) == (60, 60)
    assert figures["scenarios"] < 20
    assert figures["violations"] == []
    assert "60" in invoke(app, "--all --views 1 --jobs 1")


def test_processes_change_nothing(app: typer.Typer) -> None:
    """Several chunks each; the sum is the same in any order."""
    alone, together = (count(app, f"--sample 120 --seed 5 --phases --jobs {jobs}") for jobs in (1, 2))
    assert alone == together
    assert alone["scenarios"] == 120
    assert min(alone[name] for name in ("decides", "timeouts", "equivocations", "evidence", "kept_apart")) > 0


def test_what_was_found_is_replayed_by_the_command_that_comes_with_it(app: typer.Typer) -> None:
    """Two of four run twice, which is one too many: exit code 1, and the fork is told event by event."""
    with pytest.raises(CommandError) as found:
        invoke(app, "--sample 300 --validators 4 --twins 2 --jobs 1")
    assert found.value.exit_code == ExitCode.FAILED
    command = str(found.value).partition("sequencer twins ")[2]
    assert command.startswith("--replay ")
    result = CliRunner().invoke(app, shlex.split(command))
    assert isinstance(result.exception, CommandError)
    assert "agreement" in str(result.exception)
    lines = result.stdout.splitlines()
    assert [line[:8] for line in lines[:3]] == ["view 1: ", "view 2: ", "view 3: "]
    decided = {line.split()[-4] for line in lines if "decides" in line}
    assert len(decided) == 2, "the two blocks at one height"


def test_a_scenario_that_is_well_is_told_too(app: typer.Typer) -> None:
    told = invoke(app, "--replay 123456")
    assert "A' " in told
    assert "decided up to height" in told


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--all --sample 5", "choose one"),
        ("--all --phases", "draw a sample"),
        ("--replay 216000", "numbered from 0 to 215999"),
        ("--twins 5 --validators 4", "5 twins among 4"),
    ],
)
def test_what_makes_no_sense_is_refused(app: typer.Typer, options: str, complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint) as refused:
        invoke(app, options)
    assert refused.value.exit_code == ExitCode.USAGE
