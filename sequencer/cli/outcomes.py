"""How the outcome of a scenario is shown and kept: lines for people, JSON, a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sequencer.cli.output import OutputFormat, make_console, print_json, print_rows
from sequencer.failures import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsim.scenario import Outcome

STYLES: Final = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}


def choose_code(outcomes: "Sequence[Outcome]") -> ExitCode:
    verdicts = {outcome.verdict.value for outcome in outcomes}
    if "fail" in verdicts:
        return ExitCode.FAILED
    return ExitCode.INCONCLUSIVE if verdicts != {"pass"} else ExitCode.OK


def append_json(outcome: "Outcome", path: Path) -> None:
    """One more line of the file, timeline included."""
    import msgspec

    with path.open("ab") as file:
        file.write(msgspec.json.encode(to_builtins(outcome, with_timeline=True)) + b"\n")


def write_page(outcome: "Outcome", path: Path) -> None:
    """The report of one run, as a page that needs nothing else."""
    from netsim.page import render_page

    path.write_text(render_page(outcome), encoding="utf-8")


def to_builtins(outcome: "Outcome", *, with_timeline: bool) -> dict[str, object]:
    import msgspec

    built: dict[str, object] = msgspec.to_builtins(outcome)
    if not with_timeline:
        del built["timeline"]
    return built | {
        "verdict": outcome.verdict.value,
        "safety_verdict": outcome.safety_verdict.value,
        "liveness_verdict": outcome.liveness_verdict.value,
    }


def show_outcomes(outcomes: "Sequence[Outcome]", output: OutputFormat) -> None:
    """On stdout: one in full; of several those that did not pass, and a row for each scenario."""
    if output is OutputFormat.JSON:
        print_json({"runs": [to_builtins(outcome, with_timeline=False) for outcome in outcomes]})
        return
    for outcome in outcomes:
        if len(outcomes) == 1 or outcome.verdict.value != "pass":
            _show_one(outcome)
    if len(outcomes) > 1:
        _show_all(outcomes)


def _show_one(outcome: "Outcome") -> None:
    from rich.text import Text

    from sequencer.chaos.injector import describe_fault

    console = make_console(is_talk=False)
    for title, verdict, lines in (
        ("safety", outcome.safety_verdict.value, outcome.safety),
        ("liveness", outcome.liveness_verdict.value, outcome.liveness),
    ):
        console.print(Text.assemble(f"\n{title}: ", (verdict, STYLES[verdict])))
        width = max((len(line.verdict.value) for line in lines), default=0)
        for line in lines:
            style = STYLES[line.verdict.value]
            told = f"{line.what}: {line.detail}" if line.detail else line.what
            console.print(Text.assemble("  ", (f"{line.verdict.value:{width}}", style), "  ", told))
    if outcome.faults:
        console.print("\nfaults")
        print_rows(
            ("fault", "from s", "to s", "bites", "predicted"),
            [
                (
                    describe_fault(fault.kind, fault.nodes, outcome.scenario.cluster.nodes),
                    round(fault.start_seconds, 2),
                    round(fault.end_seconds, 2),
                    fault.bites,
                    fault.predicted,
                )
                for fault in outcome.faults
            ],
        )
    console.print()
    verdict = outcome.verdict.value
    console.print(Text.assemble("verdict: ", (verdict, STYLES[verdict]), f"  {_describe(outcome)}"))
    if verdict != "pass":
        console.print(f"again: {outcome.replay}")


def _describe(outcome: "Outcome") -> str:
    """The figures that matter most, in one line."""
    figures = outcome.figures
    parts = []
    if outcome.predicted:
        parts.append(f"predicted {outcome.predicted}, observed {outcome.observed}")
    for name, what in (
        ("new_leader_seconds_max", "new leader"),
        ("first_decide_seconds", "first decide after healing"),
    ):
        if name in figures:
            parts.append(f"{what} {figures[name]:.2f} s")
    if "transactions_lost" in figures:
        parts.append(f"transactions lost {figures['transactions_lost']:.0f}")
    parts.append(f"{outcome.seconds:.0f} s")
    return "; ".join(parts)


def sum_up(outcome: "Outcome") -> str:
    return f"{outcome.scenario.name}, seed {outcome.scenario.seed}: {outcome.verdict.value}; {_describe(outcome)}"


def _show_all(outcomes: "Sequence[Outcome]") -> None:
    """A row per scenario, the worst of its runs."""
    rows = []
    for name in dict.fromkeys(outcome.scenario.name for outcome in outcomes):
        runs = [outcome for outcome in outcomes if outcome.scenario.name == name]
        counts = {verdict: sum(outcome.verdict.value == verdict for outcome in runs) for verdict in STYLES}
        rows.append(
            (
                name,
                ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count),
                _find_worst(runs, "new_leader_seconds_max"),
                _find_worst(runs, "first_decide_seconds"),
                sum(map(_count_final, runs)),
                int(sum(outcome.figures.get("transactions_lost", 0) for outcome in runs)),
            )
        )
    # What fits 80 columns: at the most seconds to a new leader and to the first decide after healing, transactions.
    columns = ("scenario", "verdicts", "leader s", "decide s", "final", "lost")
    print_rows(columns, rows)
    minutes = sum(outcome.seconds for outcome in outcomes) / 60
    unsafe = sum(outcome.safety_verdict.value == "fail" for outcome in outcomes)
    lost = sum(int(outcome.figures.get("transactions_lost", 0)) for outcome in outcomes)
    print(
        f"\n{len(outcomes)} runs, {minutes:.1f} minutes under chaos: {unsafe} with a violation of safety, "
        f"{lost} acknowledged transactions lost"
    )


def _count_final(outcome: "Outcome") -> int:
    """Transactions that clients were told of, or on the simulator those that were submitted in time and decided."""
    figures = outcome.figures
    decided = figures.get("transactions_submitted", 0) - figures.get("transactions_lost", 0)
    return int(figures.get("transactions_acknowledged", decided))


def _find_worst(runs: "Sequence[Outcome]", figure: str) -> float | None:
    known = [outcome.figures[figure] for outcome in runs if figure in outcome.figures]
    return round(max(known), 2) if known else None
