"""`sequencer dashboards export`: Prometheus and Grafana for a network, out of the installed package."""

from pathlib import Path
from typing import Annotated

import typer

from sequencer.cli.output import OutputFormat, OutputOption, print_json, print_rows, talk
from sequencer.cli.status import DEFAULT_HOME

dashboards_app = typer.Typer(no_args_is_help=True, help="Prometheus and Grafana for a network.")


@dashboards_app.callback()
def dashboards() -> None:
    """Prometheus and Grafana for a network."""


@dashboards_app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")] = Path("monitoring"),
    home: Annotated[
        Path, typer.Option(help="The devnet to look at; it keeps the list of its nodes.", envvar="SEQUENCER_HOME")
    ] = DEFAULT_HOME,
    targets: Annotated[
        Path | None,
        typer.Option(
            help="Another file with the nodes, in the format of Prometheus' file_sd.",
            show_default="prometheus/targets.json in the home",
        ),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Write Prometheus' configuration with rules and alerts, and Grafana's provisioning with all dashboards."""
    from sequencer.dashboards.export import CONFIG_FILE, GRAFANA
    from sequencer.dashboards.export import export as write
    from sequencer.local_cluster.home import TARGETS_FILE

    chosen = targets or home / TARGETS_FILE
    written = write(folder, chosen)
    if output is OutputFormat.JSON:
        print_json(
            {"folder": str(folder.absolute()), "targets": str(chosen.absolute()), "files": list(map(str, written))}
        )
        return
    print_rows(("file",), [(str(folder / file),) for file in written])
    if not chosen.exists():
        talk(f"{chosen} is not there yet: `sequencer devnet` writes it when it starts")
    talk(f"prometheus --config.file={folder / CONFIG_FILE}")
    talk(
        f"PROMETHEUS_URL=http://127.0.0.1:9090 GF_PATHS_PROVISIONING={(folder / GRAFANA / 'provisioning').absolute()} "
        "grafana server"
    )
