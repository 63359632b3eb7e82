"""`sequencer fuzz`: scenarios drawn by the thousand, and what to do with one that fails."""

import os
import shlex
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sequencer.cli.outcomes import choose_code, show_outcomes, write_page
from sequencer.cli.output import OutputFormat, OutputOption, make_console, print_json, print_rows, talk
from sequencer.cli.workers import open_workers
from sequencer.failures import CommandError, ExitCode

if TYPE_CHECKING:
    from netsim.scenario.model import Scenario
    from netsim.swarm.campaign import Campaign, SeedResult

DEFAULT_OUT: Final = Path("fuzz")
FAILED_KEPT_MAX: Final = 20
"""Failing seeds that are written down; more of them tell nothing new, and all are counted."""
PLAIN_LINE_SECONDS: Final = 30.0
"""Off a terminal a line is kept for ever, so there are few."""
_HOUR: Final = 3600

OutOption = Annotated[Path, typer.Option(help="Folder for scenarios that fail.")]
SubjectArgument = Annotated[str, typer.Argument(metavar="SEED|FILE", help="A seed of a campaign, or a scenario file.")]

fuzz_app = typer.Typer(
    invoke_without_command=True,
    help="Run many drawn scenarios on the simulator, every oracle on. Each seed draws everything: size, stakes, liars, "
    "faults and their rates.",
    epilog="A failing seed is kept with the commands that replay it and that make it small.",
)


@fuzz_app.callback()
def fuzz(
    context: typer.Context,
    seeds: Annotated[int, typer.Option(min=1, help="How many.")] = 500,
    first: Annotated[int, typer.Option(min=0, help="The first of them; the others follow.")] = 1,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Processes.", show_default="cores")] = None,
    nodes: Annotated[int | None, typer.Option(min=4, max=50, help="Fix the size.", show_default="4 to 10")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Stop when this much time is over.")] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failing seed.")] = False,
    scheduler: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:PORT", help="Run on the workers of this Dask cluster instead.")
    ] = None,
    out: OutOption = DEFAULT_OUT,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    if context.invoked_subcommand is not None:
        return
    from netsim.swarm.campaign import Campaign, run_campaign

    started = time.monotonic()
    campaign, is_interrupted = Campaign(), False

    def on_result(so_far: "Campaign", result: "SeedResult") -> None:
        nonlocal campaign
        campaign = so_far
        if so_far.failed and so_far.failed[-1] is result and len(so_far.failed) <= FAILED_KEPT_MAX:
            _keep_failed(result, nodes, out)
        show(so_far, result)

    def is_over(campaign: "Campaign") -> bool:
        is_late = minutes is not None and time.monotonic() - started > minutes * 60
        return is_late or (fail_fast and bool(campaign.failed))

    workers = jobs or os.cpu_count() or 1
    try:
        with _open_executor(workers, scheduler) as executor, _show_progress(seeds) as show:
            campaign = run_campaign(
                first, seeds, executor, workers=workers, nodes=nodes, is_over=is_over, on_result=on_result
            )
    except KeyboardInterrupt:
        is_interrupted = True
    seconds = time.monotonic() - started
    _print_summary(campaign, seconds, output)
    _tell_failed(campaign, out)
    if is_interrupted:
        talk(f"interrupted after {campaign.seeds:,} seeds")
        raise typer.Exit(ExitCode.INTERRUPTED)
    _end(campaign, is_whole=campaign.seeds == seeds)


@fuzz_app.command()
def replay(
    subject: SubjectArgument,
    nodes: Annotated[int | None, typer.Option(min=4, max=50, help="The --nodes of the campaign.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a page about the run.")] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Run one scenario again and tell all that was judged."""
    import msgspec

    from netsim.scenario.simulated import run_scenario

    outcome = run_scenario(_load(subject, nodes), timeline=report is not None)
    outcome = msgspec.structs.replace(outcome, replay=f"sequencer fuzz replay {shlex.quote(subject)}")
    if report is not None:
        write_page(outcome, report)
    show_outcomes([outcome], output)
    raise typer.Exit(choose_code([outcome]))


@fuzz_app.command()
def shrink(
    subject: SubjectArgument,
    nodes: Annotated[int | None, typer.Option(min=4, max=50, help="The --nodes of the campaign.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Smaller scenarios tried at the most.")] = 400,
    out: OutOption = DEFAULT_OUT,
) -> None:
    """Make a failing scenario small: fewer and shorter faults, fewer nodes, a calmer cluster; then write it down."""
    from netsim.scenario.files import write_scenario
    from netsim.scenario.simulated import run_scenario
    from netsim.swarm.campaign import get_failing_lines, is_failing
    from netsim.swarm.fixture import make_fixture, write_fixture
    from netsim.swarm.shrink import shrink as make_small

    scenario = _load(subject, nodes)
    failing = get_failing_lines(run_scenario(scenario))
    if not failing:
        raise CommandError(f"{scenario.name} does not fail, so there is nothing to make smaller", ExitCode.USAGE)
    talk(f"{scenario.name} fails in: {', '.join(failing)}. Making it small; Ctrl-C keeps what was reached")
    smallest = scenario

    def on_step(runs_done: int, smaller: "Scenario") -> None:
        nonlocal smallest
        smallest = smaller
        talk(f"run {runs_done}: {_describe_size(smaller)}")

    try:
        smallest = make_small(
            scenario, lambda candidate: is_failing(candidate, failing[0]), runs_max=runs, on_step=on_step
        )
    except KeyboardInterrupt:
        talk("stopped; what follows is the smallest one so far")
    out.mkdir(parents=True, exist_ok=True)
    file, fixture = out / f"{scenario.name}-small.toml", out / f"{scenario.name}-small.json"
    write_scenario(file, smallest)
    write_fixture(fixture, make_fixture(run_scenario(smallest)))
    print_rows(("what", "where"), [("scenario", str(file)), ("fixture", str(fixture))])
    talk(f"it has {_describe_size(smallest)}. See it again with: sequencer fuzz replay {file}")
    talk("Copy the fixture to tests/scenario/fixtures: the tests then hold that it passes.")


def _load(subject: str, nodes: int | None) -> "Scenario":
    from netsim.scenario.director import check_simulated
    from netsim.scenario.files import ScenarioError, read_scenario
    from netsim.swarm.scenarios import sample_scenario

    if subject.isascii() and subject.isdigit():
        return sample_scenario(int(subject), nodes)
    try:
        scenario = read_scenario(Path(subject))
        check_simulated(scenario)
    except ScenarioError as error:
        raise CommandError(f"{error}, or give a seed", ExitCode.USAGE) from error
    return scenario


@contextmanager
def _open_executor(jobs: int, scheduler: str | None) -> "Iterator[Executor]":
    if scheduler is None:
        with open_workers(jobs) as workers:
            yield workers
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise CommandError(
            "--scheduler needs Dask, which is not installed. Type: pip install 'sequencer[distributed]'", ExitCode.USAGE
        ) from error
    try:
        client = Client(scheduler, timeout="10s")  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise CommandError(
            f"no Dask scheduler answers at {scheduler}: {error}. Start one with: dask scheduler", ExitCode.UNREACHABLE
        ) from error
    with client:
        yield client.get_executor(pure=False)  # type: ignore[no-untyped-call]


@contextmanager
def _show_progress(seeds: int) -> "Iterator[Callable[[Campaign, SeedResult], None]]":
    """A bar on a terminal, a line now and then elsewhere; failing seeds are told at once."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = make_console(is_talk=True)
    columns = (
        TextColumn("seeds"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    told = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=seeds, failed=0)

        def on_result(campaign: "Campaign", result: "SeedResult") -> None:
            nonlocal told
            progress.update(task, completed=campaign.seeds, failed=len(campaign.failed))
            if campaign.failed and campaign.failed[-1] is result:
                console.print(f"seed {result.seed} failed: {result.failures[0]}", markup=False)
            if not console.is_terminal and time.monotonic() - told > PLAIN_LINE_SECONDS:
                told = time.monotonic()
                talk(f"{campaign.seeds:,} of {seeds:,} seeds, {len(campaign.failed)} failed")

        yield on_result


def _print_summary(campaign: "Campaign", seconds: float, output: OutputFormat) -> None:
    low = campaign.find_low_floors()
    if output is OutputFormat.JSON:
        print_json(
            {
                "seeds": campaign.seeds,
                "verdicts": dict(campaign.verdicts),
                "nodes": {str(size): count for size, count in sorted(campaign.sizes.items())},
                "faults": dict(campaign.kinds.most_common()),
                "marks": dict(sorted(campaign.marks.items())),
                "virtual_hours": round(campaign.virtual_seconds / _HOUR, 3),
                "seconds": round(seconds, 1),
                "failed": [{"seed": result.seed, "failures": result.failures} for result in campaign.failed],
                "inconclusive": [result.seed for result in campaign.inconclusive],
                "unfelt": campaign.unfelt,
                "low_floors": low,
            }
        )
        return
    rows: list[tuple[str, str]] = [
        ("seeds", f"{campaign.seeds:,}"),
        *((str(verdict), f"{count:,}") for verdict, count in sorted(campaign.verdicts.items())),
        ("nodes", ", ".join(f"{count:,} with {size}" for size, count in sorted(campaign.sizes.items()))),
        ("seeds whose faults nobody felt", f"{campaign.unfelt:,}"),
        ("virtual time", f"{campaign.virtual_seconds / _HOUR:,.2f} hours"),
        ("real time", f"{seconds:,.0f} s, {campaign.seeds / max(seconds, 1e-9):,.1f} seeds/s"),
    ]
    rows += [(mark.replace("_", " "), f"{count:,}") for mark, count in sorted(campaign.marks.items())]
    rows += [(f"seeds with {kind}", f"{count:,}") for kind, count in campaign.kinds.most_common()]
    print_rows(("what", "how much"), rows)
    for line in low:
        talk(f"too seldom: {line}")


def _name_failed(result: "SeedResult", out: Path) -> Path:
    return out / f"seed-{result.seed}.toml"


def _keep_failed(result: "SeedResult", nodes: int | None, out: Path) -> None:
    """As soon as it is known: a long campaign may be ended before its time."""
    from netsim.scenario.files import write_scenario
    from netsim.swarm.scenarios import sample_scenario

    out.mkdir(parents=True, exist_ok=True)
    write_scenario(_name_failed(result, out), sample_scenario(result.seed, nodes))


def _tell_failed(campaign: "Campaign", out: Path) -> None:
    for result in campaign.failed[:FAILED_KEPT_MAX]:
        file = _name_failed(result, out)
        talk(f"seed {result.seed}, {result.nodes} nodes: {result.failures[0]}")
        talk(f"  replay: sequencer fuzz replay {file}    make it small: sequencer fuzz shrink {file}")


def _end(campaign: "Campaign", *, is_whole: bool) -> None:
    if campaign.failed:
        raise CommandError(f"{len(campaign.failed)} of {campaign.seeds:,} seeds failed")
    if campaign.inconclusive:
        first = campaign.inconclusive[0]
        raise CommandError(
            f"{len(campaign.inconclusive)} seeds have shown nothing, the first is {first.seed}: {first.failures[0]}",
            ExitCode.INCONCLUSIVE,
        )
    if campaign.find_low_floors():
        raise CommandError("all seeds passed, but the campaign has not reached what it must", ExitCode.INCONCLUSIVE)
    if not is_whole:
        talk(f"time was up after {campaign.seeds:,} seeds; all of them passed")


def _describe_size(scenario: "Scenario") -> str:
    shape = scenario.cluster
    return (
        f"{len(scenario.fault)} faults, {shape.nodes} nodes, {len(shape.byzantine)} Byzantine, "
        f"{scenario.chaos_seconds:g} s of chaos"
    )
