"""`sequencer explore`: every order of events in a few views, with the real rules, and whether one of them breaks a
promise.
"""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from sequencer.cli.output import OutputFormat, OutputOption, make_console, print_json, print_rows
from sequencer.failures import CommandError, ExitCode

if TYPE_CHECKING:
    from netsim.explorer.model import Model
    from netsim.explorer.search import Findings, OnProgress

_REPORT_SECONDS = 10.0
"""Between two lines of progress where there is no terminal."""


def explore(
    views: Annotated[int, typer.Option(help="Views to explore.", min=1, max=8)] = 3,
    leaves: Annotated[int, typer.Option(help="Different leaves that may get votes in one view.", min=1, max=4)] = 1,
    honest: Annotated[int, typer.Option(help="Honest validators, of equal stake.", min=1, max=4)] = 3,
    byzantine: Annotated[int, typer.Option(help="Byzantine validators, which co-sign everything.", min=0)] = 1,
    honest_view: Annotated[
        list[int] | None, typer.Option(help="A view that an honest validator leads; may be repeated.")
    ] = None,
    states_max: Annotated[int | None, typer.Option(help="Stop after so many states.", min=1)] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so many seconds.", min=0)] = None,
    width: Annotated[
        int | None,
        typer.Option(
            help="Follow only so many states per step, the likeliest ones: finds sooner, proves nothing.", min=1
        ),
    ] = None,
    liveness_every: Annotated[
        int, typer.Option(help="Follow a calm continuation from every so many-th state.", min=1)
    ] = 20,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Search every order of events for a broken promise, and tell the shortest story that leads to one.

    Ends with 0 when everything was looked at and holds, 1 when a promise is broken or something that must be possible
    was not reached, 3 when a bound ended the search before.
    """
    from netsim.explorer.model import Model
    from netsim.explorer.search import Explorer
    from netsim.explorer.story import tell

    try:
        model = Model(views, leaves, honest, byzantine, frozenset(honest_view or ()))
    except ValueError as error:
        raise CommandError(f"{error}.", ExitCode.USAGE) from error
    explorer = Explorer(model, liveness_every=liveness_every)
    findings = explorer.run(states_max, _make_progress(seconds), width)
    story = tell(explorer, findings.path)
    _show(model, findings, story, output)
    _end(model, findings)


def _make_progress(seconds: float | None) -> "OnProgress":
    """Tells on stderr how far it is, and when time is up."""
    began = told = time.monotonic()
    console = make_console(is_talk=True)
    every = 0.5 if console.is_terminal else _REPORT_SECONDS

    def on_progress(findings: "Findings", waiting: int) -> bool:
        nonlocal told
        now = time.monotonic()
        if now - told >= every:
            told = now
            line = f"step {findings.depth}: {findings.states:,} states, {waiting:,} found for the next step"
            console.print(line, end="\r" if console.is_terminal else "\n")
        return seconds is not None and now - began >= seconds

    return on_progress


def _show(model: "Model", findings: "Findings", story: list[str], output: OutputFormat) -> None:
    breach = findings.breach
    if output is OutputFormat.JSON:
        print_json(
            {
                "model": {
                    "views": model.views,
                    "leaves": model.leaves,
                    "honest": model.honest,
                    "byzantine": model.byzantine,
                    "honest_views": sorted(model.honest_views),
                },
                "complete": findings.is_complete,
                "states": findings.states,
                "transitions": findings.transitions,
                "steps": findings.depth,
                "local_states": findings.local_states,
                "leaves": findings.leaves,
                "continuations": findings.continuations,
                "reached": dict(sorted(findings.witnesses.items())),
                "missing": list(findings.missing),
                "breach": None if breach is None else {"rule": breach.rule, "detail": breach.detail, "story": story},
            }
        )
        return
    rows: list[tuple[str, object]] = [
        ("states, up to names", f"{findings.states:,}"),
        ("transitions", f"{findings.transitions:,}"),
        ("steps", findings.depth),
        ("states of one validator", f"{findings.local_states:,}"),
        ("leaves", findings.leaves),
        ("calm continuations followed", f"{findings.continuations:,}"),
        ("everything looked at", "yes" if findings.is_complete else "no"),
    ]
    rows += [(f"reached: {name}", f"in {steps} steps") for name, steps in findings.witnesses.items()]
    rows += [(f"not reached: {name}", None) for name in findings.missing]
    print_rows(("explored", ""), rows)
    for number, line in enumerate(story, start=1):
        print(f"{number:3}. {line}")


def _end(model: "Model", findings: "Findings") -> None:
    """Whatever is not a clean and complete search ends with its exit code."""
    if findings.breach is not None:
        raise CommandError(f"{findings.breach.rule} does not hold: {findings.breach.detail}")
    if not findings.is_complete:
        raise CommandError(
            "nothing is broken as far as it was looked at, but not all was; raise --seconds, --states-max or --width",
            ExitCode.INCONCLUSIVE,
        )
    if findings.missing and not model.honest_views:
        raise CommandError(f"the search proves nothing, it did not reach: {', '.join(findings.missing)}")
