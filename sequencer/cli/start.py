"""`sequencer start`: one node in this process, made to be run by a supervisor such as systemd."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sequencer.config import LoadedNode


class Durability(StrEnum):
    """What a vote survives before it leaves the node."""

    FSYNC = "fsync"
    OS = "os"


def start(
    folder: Annotated[Path, typer.Argument(help="The node's folder, or its node.toml.", metavar="FOLDER")],
    listen: Annotated[str | None, typer.Option(help="Where peers reach this node, host:port.")] = None,
    api: Annotated[str | None, typer.Option(help="Where HTTP clients reach this node, host:port.")] = None,
    peers: Annotated[str | None, typer.Option(help="Where the others listen: n1=host:port,n2=host:port.")] = None,
    durability: Annotated[
        Durability | None, typer.Option(help="fsync: a vote survives loss of power. os: only the end of the process.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run one node until SIGTERM or Ctrl-C, which drain it. Logs go to stderr, as JSON off a terminal.

    Settings come from flags, else from the environment (SEQUENCER_LISTEN, …), else from node.toml, else from defaults.
    """
    from sequencer.config import load_node
    from sequencer.logs import configure_logging

    flags = {
        "listen": listen,
        "api": api,
        "peers": peers,
        "durability": durability.value if durability else None,
        "log_level": log_level,
    }
    loaded = load_node(folder, flags=flags)
    configure_logging(loaded.config.log_level, names=loaded.network.names, node=loaded.config.validator)
    import trio

    trio.run(_run, loaded)


async def _run(loaded: "LoadedNode") -> None:
    import trio

    from sequencer.process import run_node
    from sequencer.supervisor import keep_watchdog, notify

    async with trio.open_nursery() as nursery:

        async def run(*, task_status: "trio.TaskStatus[None]") -> None:
            await run_node(loaded, task_status=task_status)
            nursery.cancel_scope.cancel()

        await nursery.start(run)
        notify(f"READY=1\nSTATUS={loaded.config.validator} listens on {loaded.config.listen}")
        nursery.start_soon(keep_watchdog)
