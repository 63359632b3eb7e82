"""What people are shown of several runs."""

import msgspec
import pytest

from netsim.scenario.model import Scenario
from netsim.scenario.outcome import Line, Outcome, Verdict
from sequencer.cli.outcomes import show_outcomes
from sequencer.cli.output import OutputFormat


def test_of_several_runs_final_transactions_are_told_whatever_they_ran_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Clients acknowledge them on processes; the simulator knows what was submitted and what of it was not decided."""
    simulated = Outcome(
        scenario=Scenario(name="virtual"),
        runtime="simulator",
        safety=(Line(what="agreement", verdict=Verdict.PASS),),
        liveness=(Line(what="after healing", verdict=Verdict.PASS),),
        figures={"transactions_submitted": 1234.0, "transactions_lost": 4.0},
    )
    real = msgspec.structs.replace(
        simulated,
        scenario=Scenario(name="real"),
        runtime="processes",
        figures={"transactions_submitted": 999.0, "transactions_acknowledged": 888.0, "transactions_lost": 0.0},
    )
    show_outcomes([simulated, real, real], OutputFormat.TABLE)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    told = {row[0]: row[-2:] for row in rows if row and row[0] in ("virtual", "real")}
    assert told == {"virtual": ["1230", "4"], "real": ["1776", "0"]}
