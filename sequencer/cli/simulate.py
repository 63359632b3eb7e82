"""`sequencer simulate`: many nodes, one thread, virtual time, every oracle on."""

from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from sequencer.cli.output import OutputFormat, OutputOption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from consensus.signatures import SignatureScheme
    from netsim.network import LinkModels
    from netsim.report import SimulationReport, SimulationSettings

EXIT_FAILED = 1
EXIT_USAGE = 2

_STALLED = (
    "nothing was finalized: the messages were lost or too slow for the simulated time. "
    "Lower --loss or --latency-ms, or raise --duration"
)


class Signatures(StrEnum):
    """`simulated` costs next to nothing, `ed25519` is what real networks run."""

    SIMULATED = "simulated"
    ED25519 = "ed25519"


def simulate(
    nodes: Annotated[int, typer.Option("--nodes", "-n", min=1, max=1000, help="Validators, of equal stake.")] = 4,
    duration: Annotated[float, typer.Option(help="Virtual seconds.", min=0.001)] = 10.0,
    seed: Annotated[int, typer.Option(help="Draws everything; the same seed gives the same audit hash.")] = 1,
    regions: Annotated[
        Path | None, typer.Option(help="CSV of round-trip times (ms); nodes are spread evenly over its regions.")
    ] = None,
    latency_ms: Annotated[float, typer.Option(help="One-way delay between nodes, without --regions.", min=0)] = 1.0,
    jitter: Annotated[
        float, typer.Option(help="Sigma of the lognormal spread of delays: 0.1 is calm, 0.5 troubled.", min=0, max=2)
    ] = 0.0,
    loss: Annotated[float, typer.Option(help="Share of messages lost.", min=0, max=1)] = 0.0,
    sync_ms: Annotated[float, typer.Option(help="How long a disk sync takes.", min=0)] = 0.0,
    rate: Annotated[int, typer.Option(help="Transactions per second.", min=0)] = 1000,
    signatures: Annotated[Signatures, typer.Option(help="Signature scheme.")] = Signatures.SIMULATED,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Run a whole network on virtual time and report what it decided, how fast, and the hash that replays it."""
    from netsim.checkers import Violation
    from netsim.disk import DiskModel
    from netsim.network import Constant
    from netsim.report import SimulationSettings, run_simulation

    settings = SimulationSettings(
        nodes=nodes,
        duration_seconds=duration,
        seed=seed,
        links=_make_links(regions, latency_ms, jitter, loss),
        disk=DiskModel(Constant(round(sync_ms * 1000))),
        transactions_per_second=rate,
        scheme=_make_scheme(signatures),
    )
    with _progress(settings) as on_progress:
        try:
            report = run_simulation(settings, on_progress)
        except Violation as violation:
            notes = "\n".join(getattr(violation, "__notes__", ()))
            _fail(f"an oracle found a violation: {violation}\n{notes}", EXIT_FAILED)
    _show(report, output)
    if report.blocks == 0:
        _fail(_STALLED, EXIT_FAILED)


def _make_links(regions: Path | None, latency_ms: float, jitter: float, loss: float) -> "LinkModels":
    from netsim.network import Constant, LinkModel, LogNormal
    from netsim.wan import RegionError, read_regions

    if regions is not None:
        try:
            return read_regions(regions).make_links(jitter=jitter, loss=loss)
        except RegionError as error:
            _fail(str(error), EXIT_USAGE)
    delay = round(latency_ms * 1000)
    return LinkModel(LogNormal(delay, jitter) if jitter else Constant(delay), loss=loss)


def _make_scheme(signatures: Signatures) -> "SignatureScheme":
    from consensus.signatures.ed25519 import Ed25519
    from consensus.signatures.simulated import Simulated

    return Ed25519() if signatures is Signatures.ED25519 else Simulated()


@contextmanager
def _progress(settings: "SimulationSettings") -> "Iterator[Callable[[float, int], None] | None]":
    """A bar on stderr while it is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("simulating {task.fields[nodes]} nodes"),
        BarColumn(),
        TextColumn("{task.completed:.1f} of {task.total:.0f} virtual s, height {task.fields[height]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=settings.duration_seconds, nodes=settings.nodes, height=0)
        yield lambda elapsed, height: progress.update(task, completed=elapsed, height=height)


def _show(report: "SimulationReport", output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        from dataclasses import asdict

        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(asdict(report)), indent=2).decode())
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report.nodes} nodes, {report.virtual_seconds:g} virtual seconds", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in _describe(report):
        table.add_row(name, value)
    Console(soft_wrap=True).print(table)


def _describe(report: "SimulationReport") -> list[tuple[str, str]]:
    return [
        ("blocks finalized", f"{report.blocks:,}"),
        ("transactions finalized", f"{report.transactions:,}"),
        ("block interval", _milliseconds(report.block_interval_ms)),
        ("finality, mean", _milliseconds(report.finality_mean_ms)),
        ("finality, p50", _milliseconds(report.finality_p50_ms)),
        ("finality, p99", _milliseconds(report.finality_p99_ms)),
        ("views", f"{report.views:,}"),
        ("views timed out", f"{report.views_timed_out:,}"),
        ("timeouts of nodes", f"{report.timeouts:,}"),
        ("messages delivered", f"{report.deliveries:,}"),
        ("messages lost", f"{report.messages_lost:,}"),
        ("real time", f"{report.real_seconds:.1f} s"),
        ("seed", str(report.seed)),
        ("audit hash", report.audit_hash),
    ]


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} ms"


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)
