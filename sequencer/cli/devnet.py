"""`sequencer devnet`: a whole network on this machine with one command."""

import json
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from sequencer.cli.membership import add, remove
from sequencer.cli.output import make_console, make_table, talk
from sequencer.cli.start import Durability
from sequencer.cli.status import DEFAULT_HOME
from sequencer.failures import CommandError, ExitCode
from sequencer.ports import PortUnavailableError

if TYPE_CHECKING:
    from sequencer.chaos.control import ChaosThread
    from sequencer.fault_log import FaultLog
    from sequencer.home import Home, HomePlan
    from sequencer.local_cluster.cluster import LocalCluster
    from sequencer.network_config import NetworkConfig

READY_SECONDS = 60.0
"""Until all nodes have decided. 20 nodes take a few seconds on two cores; a slow machine gets its time."""
LINE_SECONDS = 1.0
PLAIN_LINE_SECONDS = 10.0
"""Off a terminal a line is kept for ever, so there are few."""
DRAIN_SECONDS = 10.0
"""Nodes finish open requests within 3 s, then close their databases."""
EPOCH_BLOCKS = 256
"""Two minutes on an idle devnet: somebody who adds a node does not want to wait for a thousand blocks twice."""
_TICK_SECONDS = 0.1


def devnet(
    context: typer.Context,
    home: Annotated[
        Path, typer.Option(help="Folder with all state; resumed when it exists.", envvar="SEQUENCER_HOME")
    ] = DEFAULT_HOME,
    nodes: Annotated[
        int | None, typer.Option("--nodes", "-n", help="Number of nodes.", min=1, show_default="4")
    ] = None,
    stakes: Annotated[
        str | None, typer.Option(help="Stake of each node: 400,300,200,100.", show_default="equal")
    ] = None,
    base_port: Annotated[
        int | None,
        typer.Option(help="Node i listens on this port + i, its API on + 100 + i.", show_default="27600"),
    ] = None,
    durability: Annotated[
        Durability | None,
        typer.Option(help="fsync: votes survive loss of power. os: only the end of processes.", show_default="fsync"),
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Delete the chain and the keys in --home, start over.")
    ] = False,
    epoch_blocks: Annotated[
        int | None,
        typer.Option(help="Blocks of an epoch: stake counts two epochs later.", min=4, show_default=str(EPOCH_BLOCKS)),
    ] = None,
    restart: Annotated[bool, typer.Option(help="Start a node that was killed again after 5 s.")] = True,
    live: Annotated[bool, typer.Option(help="Show the live line.")] = True,
    byzantine: Annotated[
        list[str] | None,
        typer.Option(
            help="Let a node break the protocol on purpose, with its own key: n3=equivocate. Repeatable.",
            metavar="NODE=BEHAVIOUR",
            show_default=False,
        ),
    ] = None,
    journal: Annotated[
        bool, typer.Option("--journal", help="Let every node keep a journal, for `sequencer check trace`.")
    ] = False,
    chaos: Annotated[
        bool, typer.Option("--chaos", help="Lead links through proxies, for `sequencer chaos partition` and `delay`.")
    ] = False,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write all URLs and process ids here, as JSON, when all nodes have decided.")
    ] = None,
) -> None:
    """Run a network of node processes on this machine. Ctrl-C drains it, a second Ctrl-C kills it."""
    if context.invoked_subcommand is not None:
        return
    from sequencer.local_cluster.owner import ForkServerProcess

    started = time.monotonic()
    if ready_file is not None:
        _clear_ready_file(ready_file)
    # The fork server imports the node while this process makes keys and draws tables.
    with _Interrupts() as interrupts, ForkServerProcess() as server:
        from sequencer.local_cluster.cluster import LocalCluster
        from sequencer.local_cluster.home import (
            compute_fault_settings,
            compute_journal_settings,
            compute_port_settings,
            lock_home,
            merge_settings,
            open_devnet,
        )

        made, is_new = open_devnet(home, _make_plan(nodes, stakes, base_port, epoch_blocks), reset=reset)
        _check_same(made, nodes, stakes)
        settings = merge_settings(
            {} if is_new or base_port is None else compute_port_settings(made, base_port),
            {node.config.validator: {"durability": durability.value} if durability else {} for node in made.nodes},
            compute_journal_settings(made) if journal else {},
            compute_fault_settings(made),
        )
        liars = _parse_byzantine(byzantine or (), made)
        with (
            lock_home(home),
            _open_proxies(made, settings, is_wanted=chaos) as proxies,
            LocalCluster(
                made,
                merge_settings(settings, proxies.peer_settings() if proxies else {}),
                server=server,
                byzantine=liars,
            ) as cluster,
        ):
            _start(cluster, is_new=is_new)
            _print_start(cluster, is_new=is_new, is_moved=not is_new and base_port is not None, has_proxies=chaos)
            _warn_of(liars, made)
            _wait_ready(cluster, interrupts, started)
            if ready_file is not None and not interrupts.count:
                write_ready_file(cluster, ready_file)
            check = proxies.check if proxies else _nothing
            _run(cluster, interrupts, check, is_live=live, is_restarting=restart)
            _drain(cluster, interrupts)


def write_ready_file(cluster: "LocalCluster", path: Path) -> None:
    """Every URL and process id, put in place in one step, so that a reader never sees half of it."""
    processes = cluster.processes()
    content = {
        "home": str(cluster.home.path.absolute()),
        "network": cluster.home.network.name,
        "network_id": cluster.home.network.network_id.hex(),
        "pid": os.getpid(),
        "nodes": [
            {
                "name": name,
                "pid": processes[name].pid,
                "api": cluster.url(name),
                "page": f"{cluster.url(name)}/",
                "metrics": f"{cluster.url(name)}/metrics",
                "stake": _get_stake(cluster.home.network, name),
            }
            for name in cluster.names
        ],
    }
    partial = path.with_name(f"{path.name}.new")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _get_stake(network: "NetworkConfig", name: str) -> int | None:
    """What it began with; of a node that was added later the ledger tells."""
    return next((entry.stake for entry in network.validators if entry.name == name), None)


def _clear_ready_file(path: Path) -> None:
    """One of an earlier run would tell whoever waits for it that this one is ready."""
    if not path.parent.is_dir():
        raise CommandError(f"--ready-file {path}: there is no folder {path.parent}; make it first", ExitCode.USAGE)
    path.unlink(missing_ok=True)


class _Interrupts:
    """Counts the signals that ask for an end: one drains, two kill."""

    def __init__(self) -> None:
        self.count = 0
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: object) -> None:
        self.count += 1


def _make_plan(nodes: int | None, stakes: str | None, base_port: int | None, epoch_blocks: int | None) -> "HomePlan":
    from sequencer.home import BASE_PORT, HomePlan, parse_stakes
    from sequencer.local_cluster.home import DEVNET_NAME
    from sequencer.network_config import EpochsSection

    try:
        return HomePlan(
            stakes=parse_stakes(nodes, stakes),
            name=DEVNET_NAME,
            base_port=BASE_PORT if base_port is None else base_port,
            epochs=EpochsSection(epoch_blocks=epoch_blocks or EPOCH_BLOCKS),
        )
    except ValueError as error:
        raise CommandError(f"cannot plan this devnet: {error}", ExitCode.USAGE) from error


def _parse_byzantine(options: Sequence[str], home: "Home") -> Mapping[str, str]:
    if not options:
        return {}
    from sequencer.local_cluster.byzantine import parse_byzantine
    from sequencer.local_cluster.home import DEVNET_NAME

    if home.network.name != DEVNET_NAME:
        raise CommandError(
            f'--byzantine is for devnets, and {home.path} is the home of the network "{home.network.name}": '
            "its stake would be slashed. Name another folder with --home.",
            ExitCode.USAGE,
        )
    try:
        return parse_byzantine(options, [node.config.validator for node in home.nodes])
    except ValueError as error:
        raise CommandError(f"--byzantine: {error}", ExitCode.USAGE) from error


def _warn_of(liars: Mapping[str, str], home: "Home") -> None:
    for name, behaviour in liars.items():
        talk(f"WARNING: {name} breaks the protocol on purpose ({behaviour}); its log says so too")
    stakes = {entry.name: entry.stake for entry in home.network.validators}
    lying, total = sum(stakes[name] for name in liars), sum(stakes.values())
    if 3 * lying >= total:
        talk(f"WARNING: they hold {lying} of {total} stake, a third or more: nothing is promised to the others")


def _check_same(home: "Home", nodes: int | None, stakes: str | None) -> None:
    """A resumed home keeps its stake table: another one would be another network."""
    present = [entry.stake for entry in home.network.validators]
    if (nodes or len(present)) != len(present) or (stakes and list(map(int, stakes.split(","))) != present):
        raise CommandError(
            f"{home.path} holds a network of {len(present)} nodes with the stakes {','.join(map(str, present))}, and a "
            "network cannot change these. Leave --nodes and --stakes out to resume it, or start over with --reset."
        )


@contextmanager
def _open_proxies(
    home: "Home", settings: Mapping[str, Mapping[str, str]], *, is_wanted: bool
) -> Iterator["ChaosThread | None"]:
    """Only when asked for: every message between nodes takes a detour through this process then."""
    if not is_wanted:
        yield None
        return
    from sequencer.chaos.control import ChaosThread
    from sequencer.ports import parse_address

    names = {node.config.validator: node for node in home.nodes}
    listen = {name: settings.get(name, {}).get("listen") or node.config.listen for name, node in names.items()}
    with ChaosThread(home.path, {name: parse_address(address) for name, address in listen.items()}) as thread:
        yield thread


def _nothing() -> None:
    """No proxies, nothing that could end."""


def _print_start(cluster: "LocalCluster", *, is_new: bool, is_moved: bool, has_proxies: bool) -> None:
    """`is_moved`: the nodes listen elsewhere than their files say, for this run, so the home does not lead to them."""
    network = cluster.home.network
    processes = cluster.processes()
    rows = [
        (name, _get_stake(network, name), cluster.url(name), f"{cluster.url(name)}/metrics", processes[name].pid)
        for name in cluster.names
    ]
    console = make_console(is_talk=True)
    console.print(f"\n[bold]{network.name}[/] in {cluster.home.path} ({'new' if is_new else 'resumed'})")
    console.print(make_table(("node", "stake", "API", "metrics", "pid"), rows))
    first, last = cluster.names[0], cluster.names[-1]
    way = f" --url {cluster.url(first)}" if is_moved else _home_option(cluster)
    console.print(
        f"Watch it in a browser: {cluster.url(first)}/\n"
        "Try in another terminal:\n"
        f"  sequencer watch{way}\n"
        f"  sequencer tx submit 0xc0ffee --wait=finalized --url {cluster.url(first)}\n"
        + (
            f"  kill -9 {processes[last].pid}    # {last} dies, the others go on\n"
            if is_moved
            else f"  sequencer chaos kill-leader{_home_option(cluster)}    # the others go on\n"
        )
        + (f"  sequencer chaos partition {last} --for 10{_home_option(cluster)}\n" if has_proxies else "")
    )


def _start(cluster: "LocalCluster", *, is_new: bool) -> None:
    from sequencer.home import remove_home
    from sequencer.local_cluster.home import find_base_port
    from sequencer.local_cluster.targets import write_targets

    try:
        cluster.start()
    except PortUnavailableError as error:
        free = find_base_port(len(cluster.names))
        if is_new:  # nothing has run, and the next attempt may want its files to name other ports
            remove_home(cluster.home.path)
        raise CommandError(f"{error}, for example with --base-port {free}") from error
    write_targets(cluster)


def _wait_ready(cluster: "LocalCluster", interrupts: _Interrupts, started: float) -> None:
    cluster.wait_ready(timeout_seconds=READY_SECONDS, is_given_up=lambda: interrupts.count > 0)
    if not interrupts.count:
        seconds = time.monotonic() - started
        talk(f"all {len(cluster.names)} nodes have decided, {seconds:.1f} s after the command; Ctrl-C ends them")


def _run(
    cluster: "LocalCluster",
    interrupts: _Interrupts,
    check: Callable[[], None],
    *,
    is_live: bool,
    is_restarting: bool,
) -> None:
    """Until somebody wants an end: show what goes on, and bring back who was killed. `check` raises what makes it
    senseless to go on.
    """
    from sequencer.fault_log import FaultLog
    from sequencer.local_cluster.home import FAULTS_FILE
    from sequencer.local_cluster.keeper import Keeper
    from sequencer.local_cluster.watch import Watcher

    watcher = Watcher(cluster)
    fault_log = FaultLog(cluster.home.path / FAULTS_FILE)
    keeper = Keeper(cluster, fault_log, is_restarting=is_restarting)
    with _open_line(is_live) as (show, line_seconds), _ending_faults(fault_log):
        next_line = 0.0
        while not interrupts.count:
            check()
            keeper.look()
            now = time.monotonic()
            if is_live and now >= next_line:
                next_line = now + line_seconds
                show(str(watcher.look() or "no node answers"))
            time.sleep(_TICK_SECONDS)


@contextmanager
def _ending_faults(fault_log: "FaultLog") -> Iterator[None]:
    """No fault outlives the devnet. One whose devnet was killed had no time to say so: then the next one does."""
    with suppress(OSError):
        fault_log.end()
    try:
        yield
    finally:
        with suppress(OSError):
            fault_log.end()


@contextmanager
def _open_line(is_live: bool) -> Iterator[tuple[Callable[[str], None], float]]:
    """How to show the state, and how often: one line that changes on a terminal, a line now and then elsewhere."""
    console = make_console(is_talk=True)
    if not (is_live and console.is_terminal):
        yield talk, PLAIN_LINE_SECONDS
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False, transient=True) as line:
        yield lambda text: line.update(text, refresh=True), LINE_SECONDS


def _drain(cluster: "LocalCluster", interrupts: _Interrupts) -> None:
    """Let the nodes finish what they are at; kill them when asked again."""
    talk("\rending the nodes; Ctrl-C again kills them")
    cluster.terminate(*cluster.running)
    deadline = time.monotonic() + DRAIN_SECONDS
    while cluster.running and interrupts.count < 2 and time.monotonic() < deadline:
        time.sleep(_TICK_SECONDS / 5)
    left = cluster.running
    if left:
        cluster.kill(*left)
        talk(f"{', '.join(left)} killed; nothing that was decided is lost")
        if interrupts.count >= 2:
            raise typer.Exit(ExitCode.INTERRUPTED)
    talk(f"ended; `sequencer devnet{_home_option(cluster)}` resumes the chain")


def _home_option(cluster: "LocalCluster") -> str:
    home = cluster.home.path
    return "" if home == DEFAULT_HOME else f" --home {shlex.quote(str(home))}"


devnet_app = typer.Typer(no_args_is_help=False)
devnet_app.callback(invoke_without_command=True)(devnet)
devnet_app.command()(add)
devnet_app.command()(remove)
