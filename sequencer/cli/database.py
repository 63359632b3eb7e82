"""`sequencer database create`: the first life of a key on a machine other than the one where it was made."""

from pathlib import Path
from typing import Annotated

import typer

from sequencer.cli.output import talk
from sequencer.failures import CommandError, ExitCode

database_app = typer.Typer(no_args_is_help=True, help="What a node's key has signed, on its disk.")


@database_app.callback()
def _database() -> None:
    """What a node's key has signed, on its disk."""


@database_app.command()
def create(
    folder: Annotated[Path, typer.Argument(help="The node's folder, or its node.toml.", metavar="FOLDER")],
    never_signed: Annotated[
        bool, typer.Option("--never-signed", help="You are sure: nothing has ever been signed with this key.")
    ] = False,
) -> None:
    """Make the database of a key that has never signed, once in its life.

    `sequencer init` makes one with each key. This is for keys that come to machines without their databases, such as
    the secrets of containers. A second database for one key lets it contradict what it signed before, and that costs
    its stake; a database that is there is never touched.
    """
    if not never_signed:
        raise CommandError(
            "a new database forgets what the key has signed, and signing twice costs its stake. If the key has never "
            "signed anything, say so with --never-signed; if its database was lost, the validator needs a new key: "
            "`sequencer stake rotate-key`",
            ExitCode.UNSAFE,
        )
    from sequencer.config import load_node
    from sequencer.databases import create_database
    from sequencer.process import load_signers

    loaded = load_node(folder)
    load_signers(loaded, loaded.network.context().genesis_ledger)  # it is this validator's key, or this ends here
    create_database(loaded)
    talk(f"{loaded.database_path} is made for {loaded.config.validator}; start it with: sequencer start {folder}")
