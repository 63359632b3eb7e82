"""`sequencer init`: make a network with its keys, and a folder per node that `sequencer start` runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sequencer.cli.output import OutputFormat, OutputOption
from sequencer.failures import CommandError, ExitCode
from sequencer.home import BASE_PORT, DEFAULT_STAKE, Home, HomePlan, create_home
from sequencer.network_config import ConsensusSection, TransactionsSection, load_network

NODES_DEFAULT = 4
"""The least number that outlives one dead node."""


def init(
    home: Annotated[
        Path, typer.Option(help="Folder to make. It must not exist yet, or be empty.", envvar="SEQUENCER_HOME")
    ] = Path("sequencer-home"),
    nodes: Annotated[int | None, typer.Option(help="Number of nodes; 4 unless --stakes says otherwise.")] = None,
    stakes: Annotated[
        str | None, typer.Option(help="Stake per node, for example 400,300,200,100. Equal stakes when left out.")
    ] = None,
    base_port: Annotated[
        int, typer.Option(help="Node i listens for peers on this port + i, and for HTTP 100 above that.")
    ] = BASE_PORT,
    host: Annotated[str, typer.Option(help="Address that all nodes of this home listen on.")] = "127.0.0.1",
    name: Annotated[str, typer.Option(help="Name of the network.")] = "local",
    like: Annotated[
        Path | None, typer.Option(help="Network file to take the sections [consensus] and [transactions] from.")
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Make a network: its file, a secret key per node (readable by you only) and one folder per node.

    Nothing is ever overwritten. Give --home to `devnet` to run all nodes, or a node's folder to `start` to run one.
    """
    # Keys and databases load libsodium and SQLite, which `--help` has no use for.
    from sequencer.databases import create_database

    plan = _make_plan(nodes, stakes, base_port, host, name, like)
    made = create_home(home, plan, create_database)
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(describe_home(made), indent=2))
    else:
        _print_table(made)
        typer.echo(f"\nRun all nodes here:  sequencer devnet --home {home}", err=True)
        typer.echo(f"Run one of them:     sequencer start {made.nodes[0].folder}", err=True)


def describe_home(home: Home) -> dict[str, object]:
    """What `-o json` prints: names, addresses and paths, no secrets."""
    return {
        "home": str(home.path),
        "network": home.network.name,
        "network_id": home.network.network_id.hex(),
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
    nodes: int | None, stakes: str | None, base_port: int, host: str, name: str, like: Path | None
) -> HomePlan:
    model = load_network(like) if like is not None else None
    try:
        return HomePlan(
            stakes=_parse_stakes(nodes, stakes),
            name=name,
            host=host,
            base_port=base_port,
            consensus=model.consensus if model else ConsensusSection(),
            transactions=model.transactions if model else TransactionsSection(),
        )
    except ValueError as error:
        raise CommandError(f"cannot plan this network: {error}", ExitCode.USAGE) from error


def _parse_stakes(nodes: int | None, stakes: str | None) -> tuple[int, ...]:
    if stakes is None:
        return (DEFAULT_STAKE,) * (NODES_DEFAULT if nodes is None else nodes)
    try:
        parsed = tuple(int(stake) for stake in stakes.split(","))
    except ValueError as error:
        raise ValueError(f'--stakes takes whole numbers with commas between them, not "{stakes}"') from error
    if nodes is not None and nodes != len(parsed):
        raise ValueError(f"--nodes {nodes} and the {len(parsed)} entries of --stakes contradict each other; give one")
    return parsed


def _print_table(home: Home) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"network {home.network.name}, id {home.network.network_id.hex()[:16]}…", title_justify="left")
    for column in ("node", "stake", "peers at", "API", "folder"):
        table.add_column(column, overflow="fold")
    for node in home.nodes:
        stake = home.network.validator(node.config.validator).stake
        table.add_row(
            node.config.validator, f"{stake:,}", node.config.listen, f"http://{node.config.api}", str(node.folder)
        )
    Console().print(table)
