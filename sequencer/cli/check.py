"""`sequencer check`: `trace` plays the simulator's oracles to what real nodes have written down, `cluster` and `node`
look at running ones (`check_health`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from consensus.types import ValidatorId
from sequencer.cli.check_health import cluster, node
from sequencer.cli.output import OutputFormat, OutputOption, print_json, print_rows, talk
from sequencer.failures import CommandError, ExitCode

if TYPE_CHECKING:
    from netsim.trace import NodeJournal, TraceSummary
    from sequencer.network_config import NetworkConfig

_PATTERN: Final = "**/*.trace"

check_app = typer.Typer(no_args_is_help=True, help="Are nodes well, and did they keep the rules?")


@check_app.callback()
def check() -> None:
    """Are nodes well, and did they keep the rules?"""


check_app.command()(cluster)
check_app.command()(node)


@check_app.command()
def trace(
    folder: Annotated[Path, typer.Argument(help="A home, or any folder with journals somewhere in it.")],
    network: Annotated[
        Path | None, typer.Option(help="Their network file.", show_default="network.toml in that folder")
    ] = None,
    byzantine: Annotated[
        str, typer.Option(metavar="n3,n5", help="Nodes that broke the rules on purpose: only others are held to them.")
    ] = "",
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Play the journals of nodes to every oracle. Nodes keep one when `journal` is set: `sequencer devnet --journal`.

    Ends with 0 when every rule held, with 1 at the first that did not.
    """
    from netsim.checkers import Violation
    from netsim.trace import TraceError, check_trace, read_journals
    from sequencer.network_config import NETWORK_FILE, load_network

    config = load_network(network or folder / NETWORK_FILE)
    liars = _parse_names(byzantine, config)
    try:
        journals = read_journals(folder.glob(_PATTERN), config.network_id)
        if not journals:
            raise CommandError(
                f"there is no journal in {folder}. Nodes keep one when `journal` is set: `sequencer devnet --journal`",
                ExitCode.INCONCLUSIVE,
            )
        summary = check_trace(journals, config.context(), liars)
    except TraceError as error:
        raise CommandError(str(error)) from error
    except Violation as violation:
        notes = "; ".join(getattr(violation, "__notes__", ()))
        raise CommandError(f"a rule was broken: {violation}; {notes}") from violation
    _show(summary, journals, config, output)


def _parse_names(text: str, config: "NetworkConfig") -> set[ValidatorId]:
    names = {entry.name: entry.id for entry in config.validators}
    chosen = [name.strip() for name in text.split(",") if name.strip()]
    for name in chosen:
        if name not in names:
            raise CommandError(f'there is no validator "{name}"; there are {", ".join(names)}', ExitCode.USAGE)
    return {names[name] for name in chosen}


def _show(
    summary: "TraceSummary", journals: "Sequence[NodeJournal]", config: "NetworkConfig", output: OutputFormat
) -> None:
    names = {entry.id: entry.name for entry in config.validators}
    accused = sorted(names.get(validator, str(validator)) for validator in summary.accused)
    figures: dict[str, object] = {
        "nodes": summary.nodes,
        "processes": summary.processes,
        "seconds": round(summary.seconds, 3),
        "records": summary.records,
        "statements": summary.statements,
        "views": summary.views,
        "timeouts": summary.timeouts,
        "heights": summary.heights,
        "decides": summary.decides,
        "epochs": summary.epochs,
        "certificates": summary.certificates,
        "accused": accused,
        "torn": [str(file) for file in summary.torn],
    }
    if output is OutputFormat.JSON:
        print_json(figures)
        return
    print_rows(("what", "how much"), [(name, _format(value)) for name, value in figures.items() if name != "torn"])
    for file in summary.torn:
        talk(f"{file} ends within a record: its process was killed while it wrote")
    files = sum(len(journal.files) for journal in journals)
    talk(f"every rule held, over {files} journals of {summary.nodes} nodes")


def _format(value: object) -> str:
    match value:
        case list():
            return ", ".join(map(str, value)) or "nobody"
        case int():
            return f"{value:,}"
        case _:
            return str(value)
