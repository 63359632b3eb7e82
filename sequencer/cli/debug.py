"""`sequencer debug bundle`: all that helps to find out what ails a network, in one file and without its secrets."""

import time
from pathlib import Path
from typing import Annotated

import typer

from sequencer.cli.output import talk
from sequencer.cli.status import DEFAULT_HOME, resolve_urls
from sequencer.failures import CommandError

debug_app = typer.Typer(no_args_is_help=True, help="Find out what ails a node.")


@debug_app.callback()
def _debug() -> None:
    """Find out what ails a node."""


@debug_app.command()
def bundle(
    url: Annotated[
        list[str] | None, typer.Option(help="A node's API; give it several times for several.", envvar="SEQUENCER_URL")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="All nodes of this home.", envvar="SEQUENCER_HOME", show_default="./devnet")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write.", show_default="./sequencer-debug-TIME.tar.gz"),
    ] = None,
) -> None:
    """Put into one file what somebody needs who is to find out what ails a network.

    Of each node: settings, status, the last views, metrics, ledger, the end of its log and of its journal, what its
    tasks wait for, limits and sizes. Never a key, never a database. A manifest says what is in it and what is not.
    Nodes of a home that do not run are looked at on disk. With --url alone it ends with 4 when no node answers.
    """
    from sequencer.client import Unreachable
    from sequencer.debug.bundle import gather, write_bundle
    from sequencer.debug.items import Collection
    from sequencer.home import load_home
    from sequencer.survey import Place

    places = [Place(name, address) for name, address in resolve_urls(url, home)]
    folder = home or (DEFAULT_HOME if not url and (DEFAULT_HOME / "network.toml").exists() else None)
    loaded = load_home(folder) if folder is not None and not url else None
    collection = Collection()
    errors = gather(places, loaded, collection)
    silent = {name: reason for name, reason in errors.items() if reason is not None}
    if loaded is None and len(silent) == len(errors):
        raise Unreachable(", ".join(place.url for place in places), "; ".join(sorted(set(silent.values()))))
    path = output or Path(time.strftime("sequencer-debug-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime()))
    try:
        size = write_bundle(path, collection)
    except FileExistsError as error:
        raise CommandError(f"{path} exists already; name another file with -o") from error
    for name, reason in silent.items():
        talk(f"{name} does not answer: {reason}")
    talk(f"{len(collection.items)} files, {size / 1e6:.1f} MB; manifest.json in it says what they are")
    print(path)
