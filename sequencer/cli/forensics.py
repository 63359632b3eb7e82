"""`sequencer forensics`: do the databases of some nodes contradict each other, and whose fault is it?"""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from sequencer.cli.output import OutputFormat, OutputOption, print_json, print_rows, talk
from sequencer.failures import CommandError, ExitCode

_COLUMNS: Final = ("validator", "rule", "epoch", "view", "stake", "offence")


def forensics(
    places: Annotated[
        list[Path], typer.Argument(help="Homes, folders of nodes, or databases. Copies will do; nodes may be running.")
    ],
    network: Annotated[
        Path | None, typer.Option(help="Network file of databases that lie alone.", show_default="the one beside them")
    ] = None,
    from_height: Annotated[
        int | None,
        typer.Option(min=1, help="Look at the chain from here on.", show_default="10000 blocks below the fork"),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the proofs to this file, as MessagePack.")] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Look for a fork, and for validators that broke the rules. Ends with 0 when there is neither, with 1 otherwise."""
    # Reading databases and checking signatures is more than most commands need.
    import msgspec

    from sequencer.forensics import find_databases, investigate
    from sequencer.storage import StorageError
    from sequencer.storage.archive import Archive

    config, paths = find_databases(places, network)
    with ExitStack() as stack:
        try:
            archives = [stack.enter_context(Archive(path)) for path in paths]
            investigation = investigate(archives, config, from_height)
        except StorageError as error:  # what a node must not do with such a database is of no interest here
            raise CommandError(str(error)) from error
        report = investigation.describe()
    if save is not None:
        save.write_bytes(msgspec.msgpack.encode(investigation.found))
    if output is OutputFormat.JSON:
        print_json(report)
    elif report["offences"]:
        print_rows(_COLUMNS, ([offence[column] for column in _COLUMNS] for offence in report["offences"]))
    _explain(report)
    if report["fork"] or report["offences"]:
        raise typer.Exit(ExitCode.FAILED)


def _explain(report: dict[str, Any]) -> None:
    if report["fork"] is None:
        talk(f"no fork: the chains of {len(report['databases'])} databases agree as far as they go")
    else:
        sides = " | ".join(", ".join(side["databases"]) for side in report["fork"]["sides"])
        talk(f"fork at height {report['fork']['height']}: {sides}")
    for epoch in report["epochs"]:
        talk(
            f"epoch {epoch['epoch']}: offenders have {epoch['offending_stake']} of {epoch['total_stake']} stake; "
            f"a fork takes {epoch['one_honest_threshold']}"
        )
    if not report["offences"]:
        talk(f"no offence from height {report['from_height']} on")
