"""`sequencer twins`: every leader, every split, and a validator that runs twice; on all cores."""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sequencer.cli.output import OutputFormat, OutputOption, make_console, print_json, print_rows, talk
from sequencer.cli.workers import open_workers
from sequencer.failures import CommandError, ExitCode

if TYPE_CHECKING:
    from netsim.twins.campaign import Chunk, Summary
    from netsim.twins.space import Space

SAMPLE: Final = 1000
VIOLATIONS_MAX: Final = 10
"""A campaign that has found so many stops: one is enough to work on."""
_QUEUED_PER_JOB: Final = 2
"""Chunks handed out beyond the running ones, so that nobody waits."""


def twins(
    everything: Annotated[
        bool, typer.Option("--all", help="Every scenario, one of each class that symmetry makes the same.")
    ] = False,
    sample: Annotated[int | None, typer.Option(min=1, help="Draw so many scenarios.", show_default=str(SAMPLE))] = None,
    replay: Annotated[int | None, typer.Option(min=0, help="Run this scenario, and tell what happens in it.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the sample, and the order of simultaneous events.")] = 0,
    views: Annotated[int, typer.Option(min=1, max=100, help="Views that a scenario sets up; then all is whole.")] = 3,
    pairs: Annotated[int, typer.Option("--twins", min=0, max=10, help="Validators that run twice.")] = 1,
    validators: Annotated[
        int | None, typer.Option(min=1, max=31, help="How many there are.", show_default="3 per twin, and 1")
    ] = None,
    sets: Annotated[int, typer.Option(min=2, max=5, help="Most sets that a view is split into.")] = 2,
    whole: Annotated[bool, typer.Option("--whole", help="A view may also stay in one piece.")] = False,
    phases: Annotated[
        bool, typer.Option("--phases", help="Split proposals, quorum votes, finalize votes and timeouts each anew.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Processes.", show_default="all cores")
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Split the network by view while a validator runs twice; then heal it, and demand decides. All oracles are on.

    Ends with 0 when nothing was violated, with 1 otherwise and a command that replays what was found.
    """
    from netsim.twins.campaign import draw_sample, make_chunks
    from netsim.twins.space import Space
    from netsim.twins.symmetry import make_classes

    if sum((everything, sample is not None, replay is not None)) > 1:
        raise CommandError("choose one of --all, --sample and --replay", ExitCode.USAGE)
    try:
        space = Space(3 * pairs + 1 if validators is None else validators, pairs, views, sets, whole, phases)
        if replay is not None:
            _replay(space, replay, seed)
            return
        count = SAMPLE if sample is None else sample
        scenarios = list(make_classes(space)) if everything else list(draw_sample(space, seed, count))
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error
    with _progress(len(scenarios)) as on_progress:
        summary = run_campaign(space, seed, list(make_chunks(scenarios)), jobs or os.cpu_count() or 1, on_progress)
    unreached = summary.find_unreached(space)
    _show(space, summary, output)
    _judge(space, seed, summary, unreached)


def run_campaign(
    space: "Space", seed: int, chunks: Sequence["Chunk"], jobs: int, on_progress: Callable[["Summary"], None]
) -> "Summary":
    """All chunks on so many processes, or here when it is one; the order in which they end changes nothing but that of
    the violations, which are sorted. Stops early with `VIOLATIONS_MAX` of them.
    """
    from netsim.twins.campaign import Summary

    summary = Summary()
    for part in _run_here(space, seed, chunks) if jobs == 1 else _run_on_processes(space, seed, chunks, jobs):
        summary.merge(part)
        on_progress(summary)
        if len(summary.violations) >= VIOLATIONS_MAX:
            break
    summary.violations.sort(key=lambda verdict: verdict.number)
    return summary


def _run_here(space: "Space", seed: int, chunks: Sequence["Chunk"]) -> Iterator["Summary"]:
    from netsim.twins.campaign import run_chunk

    for chunk in chunks:
        yield run_chunk(space, seed, chunk)


def _run_on_processes(space: "Space", seed: int, chunks: Sequence["Chunk"], jobs: int) -> Iterator["Summary"]:
    from netsim.twins.campaign import Summary, run_chunk

    left = iter(chunks)
    pending: set[Future[Summary]] = set()
    with open_workers(jobs) as executor:
        while True:
            room = jobs * (1 + _QUEUED_PER_JOB) - len(pending)
            pending |= {executor.submit(run_chunk, space, seed, chunk) for chunk in islice(left, room)}
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def _replay(space: "Space", number: int, seed: int) -> None:
    from netsim.twins.space import describe
    from netsim.twins.trial import Trial

    trial = Trial(space, number, seed, tell=typer.echo)
    for line in describe(space, space.make_scenario(number)):
        typer.echo(line)
    verdict = trial.run()
    typer.echo(f"decided up to height {verdict.decides}; audit hash {trial.simulation.audit_hash}")
    if verdict.violation is not None:
        raise CommandError(f"an oracle found a violation: {verdict.violation}")


@contextmanager
def _progress(scenarios: int) -> Iterator[Callable[["Summary"], None]]:
    """A bar on stderr while that is a terminal."""
    console = make_console(is_talk=True)
    if not console.is_terminal:
        yield lambda _summary: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("scenarios"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[violations]} violations"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=scenarios, violations=0)
        yield lambda summary: progress.update(task, completed=summary.scenarios, violations=len(summary.violations))


def _show(space: "Space", summary: "Summary", output: OutputFormat) -> None:
    figures = asdict(summary)
    violations = figures.pop("violations")
    if output is OutputFormat.JSON:
        print_json({**asdict(space), "total": space.total, **figures, "violations": violations})
        return
    rows = [("scenarios there are", space.total), ("run", summary.scenarios)]
    if summary.members != summary.scenarios:
        rows.append(("which stand for", summary.members))
    rows += [
        ("blocks decided", summary.decides),
        ("views given up", summary.timeouts),
        ("most after the heal, by one node", summary.timeouts_healed_max),
        ("deliveries kept apart", summary.kept_apart),
        ("equivocations of twins", summary.equivocations),
        ("offences proven", summary.evidence),
        ("violations", len(violations)),
    ]
    print_rows(("twins", "count"), [(name, f"{count:,}") for name, count in rows])


def _judge(space: "Space", seed: int, summary: "Summary", unreached: Sequence[str]) -> None:
    if summary.violations:
        for verdict in summary.violations[:VIOLATIONS_MAX]:
            talk(f"scenario {verdict.number}: {verdict.violation}")
        command = shlex.join(_make_command(space, seed, summary.violations[0].number))
        raise CommandError(f"scenarios with a violation: {len(summary.violations)}. Replay the first: {command}")
    if unreached:
        raise CommandError(f"nothing was violated, but this campaign never saw any {', '.join(unreached)}")


def _make_command(space: "Space", seed: int, number: int) -> list[str]:
    """Every option that makes this space and no other."""
    sizes = {
        "replay": number,
        "seed": seed,
        "views": space.views,
        "twins": space.twins,
        "validators": space.validators,
        "sets": space.sets_max,
    }
    options = [part for name, value in sizes.items() for part in (f"--{name}", str(value))]
    flags = [flag for flag, is_set in (("--whole", space.may_be_whole), ("--phases", space.by_phase)) if is_set]
    return ["sequencer", "twins", *options, *flags]
