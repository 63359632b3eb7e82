"""`sequencer init`: make a network with its keys, and a folder per node that `sequencer start` runs."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sequencer.cli.output import OutputFormat, OutputOption, print_json, print_rows, talk
from sequencer.failures import CommandError, ExitCode
from sequencer.home import BASE_PORT, DEFAULT_TREASURY, Home, HomePlan, create_home, parse_stakes
from sequencer.network_config import load_network


def init(
    home: Annotated[
        Path, typer.Option(help="Folder to make. It must not exist yet, or be empty.", envvar="SEQUENCER_HOME")
    ] = Path("sequencer-home"),
    nodes: Annotated[int | None, typer.Option("--nodes", "-n", help="Number of nodes.", show_default="4")] = None,
    stakes: Annotated[
        str | None, typer.Option(help="Stake of each node: 400,300,200,100.", show_default="equal")
    ] = None,
    base_port: Annotated[int, typer.Option(help="Node i listens on this port + i, its API on + 100 + i.")] = BASE_PORT,
    host: Annotated[str, typer.Option(help="Address that all nodes of this home listen on.")] = "127.0.0.1",
    name: Annotated[str, typer.Option(help="Name of the network.")] = "local",
    like: Annotated[
        Path | None, typer.Option(help="Network file to take all sections from, but no keys, names and stakes.")
    ] = None,
    treasury: Annotated[
        int, typer.Option(help="Free tokens of an account whose key lies in the home: stake for newcomers.")
    ] = DEFAULT_TREASURY,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Make a network: its file, secret keys (readable by you only) and one folder per node.

    Nothing is ever overwritten. Give --home to `devnet` to run all nodes, or a node's folder to `start` to run one.
    """
    # Keys and databases load libsodium and SQLite, which `--help` has no use for.
    from sequencer.databases import create_database

    plan = _make_plan(nodes, stakes, base_port, host, name, like, treasury)
    made = create_home(home, plan, create_database)
    if output is OutputFormat.JSON:
        print_json(describe_home(made))
    else:
        _print_table(made)
        if made.treasury_path.exists():
            talk(f"\nFree tokens for newcomers: {treasury}, their key is {made.treasury_path}")
        talk(f"\nRun all nodes here:  sequencer devnet --home {shlex.quote(str(home))}")
        talk(f"Run one of them:     sequencer start {shlex.quote(str(made.nodes[0].folder))}")


def describe_home(home: Home) -> dict[str, object]:
    """What `-o json` prints: names, addresses and paths, no secrets."""
    return {
        "home": str(home.path),
        "network": home.network.name,
        "network_id": home.network.network_id.hex(),
        "accounts": {account.name: account.balance for account in home.network.accounts},
        "nodes": [
            {
                "name": node.config.validator,
                "stake": home.network.validator(node.config.validator).stake,
                "public_key": home.network.validator(node.config.validator).public_key,
                "listen": node.config.listen,
                "api": f"http://{node.config.api}",
                "folder": str(node.folder),
            }
            for node in home.nodes
        ],
    }


def _make_plan(
    nodes: int | None, stakes: str | None, base_port: int, host: str, name: str, like: Path | None, treasury: int
) -> HomePlan:
    model = load_network(like) if like is not None else None
    try:
        plan = HomePlan(
            stakes=parse_stakes(nodes, stakes), name=name, host=host, base_port=base_port, treasury=treasury
        )
        if model is None:
            return plan
        return replace(
            plan,
            consensus=model.consensus,
            leadership=model.leadership,
            slashing=model.slashing,
            epochs=model.epochs,
            transactions=model.transactions,
        )
    except ValueError as error:
        raise CommandError(f"cannot plan this network: {error}", ExitCode.USAGE) from error


def _print_table(home: Home) -> None:
    talk(f"network {home.network.name}, id {home.network.network_id.hex()}\n")
    rows = [
        (
            node.config.validator,
            home.network.validator(node.config.validator).stake,
            node.config.listen,
            f"http://{node.config.api}",
            node.folder,
        )
        for node in home.nodes
    ]
    print_rows(("node", "stake", "peers at", "API", "folder"), rows)
