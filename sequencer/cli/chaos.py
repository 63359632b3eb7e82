"""`sequencer chaos run`: scenarios on real processes or on the simulator, and what came of them."""

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from sequencer.cli.chaos_devnet import COMMANDS
from sequencer.cli.outcomes import append_json, choose_code, show_outcomes, sum_up, write_page
from sequencer.cli.output import OutputFormat, OutputOption, make_console, print_json, talk
from sequencer.failures import CommandError, ExitCode, explain_failure

if TYPE_CHECKING:
    from netsim.scenario import Outcome, Scenario
    from sequencer.chaos.runner import Talk


class Runtime(StrEnum):
    """`processes` are real nodes over loopback TCP; the simulator is deterministic, and knows faults of disks and
    clocks besides.
    """

    PROCESSES = "processes"
    SIMULATOR = "simulator"


def run(
    scenarios: Annotated[
        list[str], typer.Argument(help="Names of stock scenarios (`chaos list`), `all` of them, or paths of files.")
    ],
    runtime: Annotated[Runtime, typer.Option(help="What it is done to.")] = Runtime.PROCESSES,
    seed: Annotated[
        int | None,
        typer.Option(help="Draws targets and delays; every further round takes the next one.", show_default="theirs"),
    ] = None,
    repeat: Annotated[int, typer.Option(help="How many rounds of all these scenarios.", min=1)] = 1,
    minutes: Annotated[
        float | None, typer.Option(help="Go on with further rounds until this time is up.", min=0.01)
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Keep the homes of all runs, logs and journals included, in this folder.",
            show_default="those of failed runs, in a temporary one",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page for each run into this folder: NAME-SEED.html.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write each outcome, timeline included, as a line of this file.")
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Break a cluster as a scenario says, heal it, and judge what came of it.

    Ends with 0 when all runs passed, with 1 when one failed, with 3 when one has not shown what it was to show.
    """
    import msgspec

    from sequencer.chaos.stock import find_scenarios

    chosen = find_scenarios(scenarios)
    if runtime is Runtime.PROCESSES:
        from sequencer.chaos.plan import check_supported

        for _, scenario in chosen:
            check_supported(scenario)
    else:
        from netsim.scenario.director import check_simulated
        from netsim.scenario.files import ScenarioError

        try:
            for _, scenario in chosen:
                check_simulated(scenario)
        except ScenarioError as error:
            raise CommandError(str(error), ExitCode.USAGE) from error
    if json_file is not None:
        json_file.write_text("", encoding="utf-8")
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    is_interrupted = False
    try:
        for name, scenario in _plan_runs(chosen, seed, repeat, minutes):
            replay = shlex.join(_make_command(name, scenario.seed, runtime))
            is_new = scenario.name not in {outcome.scenario.name for outcome in outcomes}
            outcome = _run(scenario, runtime, home, is_story_told=is_new)
            outcomes.append(_keep(msgspec.structs.replace(outcome, replay=replay), json_file, report))
            if output is OutputFormat.TABLE and (repeat > 1 or minutes or len(chosen) > 1):
                talk(sum_up(outcomes[-1]))
    except BaseException as error:
        failure = explain_failure(error)
        if failure is None or failure.code is not ExitCode.INTERRUPTED:
            if outcomes:
                show_outcomes(outcomes, output)
            raise
        is_interrupted = True
    show_outcomes(outcomes, output)
    if is_interrupted:
        talk("interrupted; every process of the run has ended")
        raise typer.Exit(ExitCode.INTERRUPTED)
    raise typer.Exit(choose_code(outcomes))


def list_scenarios(output: OutputOption = OutputFormat.TABLE) -> None:
    """The stock scenarios: what each does, and to how many nodes."""
    from netsim.scenario import read_scenario
    from sequencer.chaos.stock import list_stock

    scenarios = [read_scenario(path) for path in list_stock().values()]
    if output is OutputFormat.JSON:
        print_json({"scenarios": [{"name": each.name, "story": " ".join(each.story.split())} for each in scenarios]})
        return
    for scenario in scenarios:
        print(f"{scenario.name} ({scenario.cluster.nodes} nodes, up to {scenario.chaos_seconds:g} s)")
        print(fill(" ".join(scenario.story.split()), 100, initial_indent="  ", subsequent_indent="  ") + "\n")


def _plan_runs(
    scenarios: "Sequence[tuple[str, Scenario]]", seed: int | None, repeat: int, minutes: float | None
) -> "Iterator[tuple[str, Scenario]]":
    """Round after round, each with seeds of its own. With `minutes` none begins once the time is up."""
    import msgspec

    deadline = time.monotonic() + 60 * (minutes or 0)
    number = 0
    while number < repeat or (minutes and time.monotonic() < deadline):
        for name, scenario in scenarios:
            if minutes and number and time.monotonic() >= deadline:
                return
            first = scenario.seed if seed is None else seed
            yield name, msgspec.structs.replace(scenario, seed=first + number)
        number += 1


def _make_command(name: str, seed: int, runtime: Runtime) -> list[str]:
    options = [] if runtime is Runtime.PROCESSES else ["--runtime", runtime.value]
    return ["sequencer", "chaos", "run", name, "--seed", str(seed), *options]


def _run(scenario: "Scenario", runtime: Runtime, home: Path | None, *, is_story_told: bool) -> "Outcome":
    if runtime is Runtime.SIMULATOR:
        from netsim.scenario.simulated import run_scenario as simulate

        return simulate(scenario, timeline=True)
    from sequencer.chaos.runner import run_scenario

    with _open_talk() as talking:
        story = " ".join(scenario.story.split()) if is_story_told else ""
        talking.tell(f"{scenario.name}, seed {scenario.seed}. {story}".strip())
        folder = None if home is None else _choose_folder(home, scenario)
        return run_scenario(scenario, home=folder, talk=talking)


def _keep(outcome: "Outcome", json_file: Path | None, report: Path | None) -> "Outcome":
    """Written as soon as it is over; without its timeline from then on, which is large."""
    import msgspec

    from netsim.scenario.outcome import Timeline

    if json_file is not None:
        append_json(outcome, json_file)
    if report is not None:
        write_page(outcome, report / f"{outcome.scenario.name}-{outcome.scenario.seed}.html")
    return msgspec.structs.replace(outcome, timeline=Timeline())


def _choose_folder(home: Path, scenario: "Scenario") -> Path:
    """`HOME/leader-kills-7`, or one with a number behind it when that has been there before."""
    home.mkdir(parents=True, exist_ok=True)
    names = (f"{scenario.name}-{scenario.seed}{f'-{number}' if number else ''}" for number in range(1_000_000))
    return next(folder for name in names if not (folder := home / name).exists())


@contextmanager
def _open_talk() -> "Iterator[Talk]":
    """Lines on stderr, and on a terminal a state below them."""
    from sequencer.chaos.runner import Talk

    console = make_console(is_talk=True)
    if not console.is_terminal:
        yield Talk(tell=talk)
        return
    from rich.live import Live
    from rich.text import Text

    with Live(console=console, auto_refresh=False, transient=True) as line:
        yield Talk(
            tell=lambda text: console.print(Text(text)),
            show=lambda state: line.update(Text(state, no_wrap=True, overflow="ellipsis"), refresh=True),
        )


chaos_app = typer.Typer(no_args_is_help=True, help="Break clusters on purpose, and see that they heal.")
chaos_app.command()(run)
chaos_app.command("list")(list_scenarios)
for _name, _command in COMMANDS:
    chaos_app.command(_name)(_command)


@chaos_app.callback()
def chaos() -> None:
    """Break clusters on purpose, and see that they heal."""
