"""`sequencer chaos kill-leader`, `kill`, `pause`, `resume`, `partition`, `delay`, `heal`, `status`: break a devnet that
runs, from another terminal.

Processes are found by the database that they hold open in the devnet's home, frozen ones too. Links can be broken only
when the devnet was started with --chaos, which leads them through proxies. What is done goes into the fault log of the
home, which all nodes show.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sequencer.cli.output import OutputFormat, OutputOption, print_json, print_rows, talk
from sequencer.cli.status import DEFAULT_HOME
from sequencer.failures import CommandError, ExitCode

if TYPE_CHECKING:
    from sequencer.config import LoadedNode
    from sequencer.fault_log import FaultLog
    from sequencer.home import Home
    from sequencer.schema.faults import Fault
    from sequencer.schema.status import StatusJson

LEADER: Final = "leader"
WATCH_SECONDS: Final = 30.0
"""For the next decide. When it has not come by then, too much stake is gone."""
WATCH_INTERVAL_SECONDS: Final = 0.01

HomeOption = Annotated[Path, typer.Option(help="The home of the running devnet.", envvar="SEQUENCER_HOME")]
NodeArgument = Annotated[str, typer.Argument(metavar="NODE", help="A node's name, or `leader`.")]
ForOption = Annotated[float | None, typer.Option("--for", help="Seconds after which it ends by itself.", min=0.1)]


# Processes


def kill_leader(home: HomeOption = DEFAULT_HOME) -> None:
    """Kill whoever leads now (SIGKILL), and tell how long the others stood still. The devnet starts it again."""
    _kill(LEADER, home, by="chaos kill-leader")


def kill(node: NodeArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Kill a node's process (SIGKILL). A devnet starts it again after 5 s, unless it runs with --no-restart."""
    _kill(node, home, by="chaos kill")


def _kill(node: str, home: Path, by: str) -> None:
    from sequencer.fault_log import KILL

    loaded = _load(home)
    chosen, before = _choose(loaded, node)
    name = chosen.config.validator
    with _noting(home, KILL, [name], by):
        pid = _signal(chosen, signal.SIGKILL)
    talk(f"{name} is killed (process {pid}), in view {before.view:,} at height {before.height:,}")
    _watch_next_decide(loaded, name, before)


def pause(node: NodeArgument, home: HomeOption = DEFAULT_HOME, for_seconds: ForOption = None) -> None:
    """Freeze a node's process (SIGSTOP): its connections stay, so only timers tell the others."""
    from sequencer.fault_log import PAUSE

    loaded = _load(home)
    chosen, before = _choose(loaded, node)
    name = chosen.config.validator
    with _noting(home, PAUSE, [name], "chaos pause", for_seconds):
        pid = _signal(chosen, signal.SIGSTOP)
    talk(f"{name} is frozen (process {pid}), in view {before.view:,} at height {before.height:,}")
    if for_seconds is None:
        talk(f"`sequencer chaos resume {name}{_option(home)}` lets it go on")
        return
    try:
        time.sleep(for_seconds)
    finally:
        _signal(chosen, signal.SIGCONT)
        _note_unpaused(home, name)
        talk(f"{name} goes on")


def resume(
    node: Annotated[str, typer.Argument(metavar="NODE", help="A node's name.")], home: HomeOption = DEFAULT_HOME
) -> None:
    """Let a frozen node go on (SIGCONT)."""
    chosen = _find_node(_load(home), node)
    _signal(chosen, signal.SIGCONT)
    _note_unpaused(home, node)
    talk(f"{node} goes on")


# Links


def partition(
    groups: Annotated[
        list[str],
        typer.Argument(help="Nodes that still hear each other: n0,n1 n2,n3. One group is cut off from the rest."),
    ],
    home: HomeOption = DEFAULT_HOME,
    for_seconds: ForOption = None,
    one_way: Annotated[
        bool, typer.Option("--one-way", help="Of one group: the rest does not hear it, and it hears everyone.")
    ] = False,
) -> None:
    """Cut the links between groups of nodes. Connections look alive: only timers tell."""
    from sequencer.chaos.control import Impose
    from sequencer.chaos.links import list_pairs, list_parted
    from sequencer.fault_log import PARTITION

    names = _ask_names(home)
    parts = [_parse_nodes(group, names) for group in groups]
    named = [name for part in parts for name in part]
    if len(set(named)) < len(named):
        raise CommandError("a node can be in one group only", ExitCode.USAGE)
    rest = [name for name in names if name not in named]
    if one_way:
        if len(parts) != 1 or not rest:
            raise CommandError("--one-way is about one group, and about others that are left", ExitCode.USAGE)
        pairs = list_pairs(named, rest, both_ways=False)
    else:
        parts += [rest] if rest else []
        pairs = list_parted(names, parts)
    if not pairs:
        raise CommandError("that leaves everyone together: name fewer nodes, or more groups", ExitCode.USAGE)
    what = f"{','.join(named)} not heard" if one_way else " | ".join(",".join(part) for part in parts)
    with _noting(home, PARTITION, named, f"chaos partition {what}", for_seconds):
        _order(home, Impose(f"partition {what}", tuple(pairs), is_cut=True, for_seconds=for_seconds))


def delay(
    milliseconds: Annotated[float, typer.Argument(help="One way, for every byte.", min=0)],
    home: HomeOption = DEFAULT_HOME,
    jitter_ms: Annotated[float, typer.Option("--jitter", help="Mean of a random delay on top, ms.", min=0)] = 0.0,
    source: Annotated[str, typer.Option("--from", help="Only what these nodes send, n0,n1.")] = "all",
    destination: Annotated[str, typer.Option("--to", help="Only what these nodes are sent.")] = "all",
    for_seconds: ForOption = None,
) -> None:
    """Slow down links. Orders add up: two of 50 ms are 100 ms."""
    from sequencer.chaos.control import Impose
    from sequencer.chaos.links import list_pairs
    from sequencer.fault_log import DELAY

    names = _ask_names(home)
    pairs = list_pairs(_parse_nodes(source, names), _parse_nodes(destination, names), both_ways=False)
    # The narrower side is what was meant: what is slow from all to n2 is n2.
    targets = _parse_nodes(destination if source == "all" else source, names)
    what = f"delay {milliseconds:g} ms{f' + {jitter_ms:g} ms' if jitter_ms else ''} from {source} to {destination}"
    with _noting(home, DELAY, targets, f"chaos {what}", for_seconds):
        _order(home, Impose(what, tuple(pairs), delay_ms=milliseconds, jitter_ms=jitter_ms, for_seconds=for_seconds))


def heal(home: HomeOption = DEFAULT_HOME) -> None:
    """Undo everything: links are whole again, frozen nodes go on."""
    from sequencer.chaos.control import Heal, State, ask
    from sequencer.fault_log import LINK_FAULTS

    loaded = _load(home)
    for node in loaded.nodes:
        if _read_process(node)[1] == "frozen":
            _signal(node, signal.SIGCONT)
            _note_unpaused(home, node.config.validator)
            talk(f"{node.config.validator} goes on")
    try:
        reply = ask(home, Heal())
    except CommandError as error:
        if error.exit_code is not ExitCode.UNREACHABLE:
            raise
        talk("links are whole: this devnet runs without --chaos")
        return
    for order in reply.orders if isinstance(reply, State) else ():
        talk(f"over: {order.what}; {order.bites:,} chunks and connections met it")
    _note_end(home, lambda fault: fault.fault in LINK_FAULTS)
    talk("all links are whole")


def status(home: HomeOption = DEFAULT_HOME, output: OutputOption = OutputFormat.TABLE) -> None:
    """What is broken now: processes and links."""
    from sequencer.chaos.control import Look, State, ask

    loaded = _load(home)
    processes = [(node.config.validator, *_read_process(node)) for node in loaded.nodes]
    try:
        reply = ask(home, Look())
        orders = reply.orders if isinstance(reply, State) else ()
        has_proxies = True
    except CommandError as error:
        if error.exit_code is not ExitCode.UNREACHABLE:
            raise
        orders, has_proxies = (), False
    if output is OutputFormat.JSON:
        print_json(
            {
                "nodes": [{"name": name, "pid": pid, "state": state} for name, pid, state in processes],
                "proxies": has_proxies,
                "orders": [{"what": order.what, "links": order.links, "bites": order.bites} for order in orders],
            }
        )
        return
    print_rows(("node", "pid", "state"), processes)
    print()
    if orders:
        print_rows(("links", "directions", "bites"), [(order.what, order.links, order.bites) for order in orders])
    else:
        talk("all links are whole" if has_proxies else "links cannot be broken: this devnet runs without --chaos")


# The fault log


@contextmanager
def _noting(
    home: Path, fault: str, targets: Sequence[str], by: str, for_seconds: float | None = None
) -> Iterator[None]:
    """Write down what is done before it is done, so that whoever notices it finds it there; undo that if it fails.

    A log that cannot be written keeps nobody from breaking things.
    """
    log = _open_log(home)
    try:
        begun = log.begin(fault, targets, by, seconds=for_seconds)
    except OSError as error:
        talk(f"this is not written down: {log.path}: {error.strerror}")
        begun = None
    try:
        yield
    except BaseException:
        _note_end(home, lambda other: begun is not None and other.id == begun.id)
        raise


def _note_unpaused(home: Path, name: str) -> None:
    from sequencer.fault_log import PAUSE

    _note_end(home, lambda fault: fault.fault == PAUSE and name in fault.targets)


def _note_end(home: Path, is_over: "Callable[[Fault], bool]") -> None:
    log = _open_log(home)
    try:
        log.end(is_over)
    except OSError as error:
        talk(f"this is not written down: {log.path}: {error.strerror}")


def _open_log(home: Path) -> "FaultLog":
    from sequencer.fault_log import FaultLog
    from sequencer.local_cluster.home import FAULTS_FILE

    return FaultLog(home / FAULTS_FILE)


# How a devnet is found, and what runs of it


def _load(home: Path) -> "Home":
    from sequencer.home import load_home

    return load_home(home)


def _find_node(home: "Home", name: str) -> "LoadedNode":
    for node in home.nodes:
        if node.config.validator == name:
            return node
    names = ", ".join(node.config.validator for node in home.nodes)
    raise CommandError(f'there is no node "{name}" in {home.path}; there are {names}', ExitCode.USAGE)


def _choose(home: "Home", name: str) -> "tuple[LoadedNode, StatusJson]":
    """The node, and the status of whoever is furthest ahead at this moment."""
    if name != LEADER:
        chosen = _find_node(home, name)
        return chosen, _ask_furthest(home)
    before = _ask_furthest(home)
    if before.leader is None:
        raise CommandError("the nodes do not know at this moment who leads; try again")
    return _find_node(home, before.leader), before


def _ask_furthest(home: "Home") -> "StatusJson":
    answers = [answer for answer in map(_ask_status, home.nodes) if answer is not None]
    if not answers:
        raise CommandError(
            f"no node of {home.path} answers. Does its devnet run? One that was started with --base-port listens "
            "elsewhere than its home says",
            ExitCode.UNREACHABLE,
        )
    return max(answers, key=lambda answer: (answer.view, answer.height))


def _ask_status(node: "LoadedNode") -> "StatusJson | None":
    from sequencer.client import ApiProblem, Client, Unreachable

    with Client(f"http://{node.config.api}", timeout_seconds=0.5) as client:
        try:
            return client.status()
        except (Unreachable, ApiProblem):
            return None


def _read_process(node: "LoadedNode") -> tuple[int | None, str]:
    """Its process and whether that runs, is frozen, or is not there."""
    from sequencer.chaos.resources import find_holder, is_stopped

    pid = find_holder(node.database_path)
    if pid is None:
        return None, "gone"
    return pid, "frozen" if is_stopped(pid) else "running"


def _signal(node: "LoadedNode", number: signal.Signals) -> int:
    pid, state = _read_process(node)
    if pid is None:
        raise CommandError(f"{node.config.validator} is {state}: no process has {node.database_path} open")
    os.kill(pid, number)
    return pid


def _watch_next_decide(home: "Home", hit: str, before: "StatusJson") -> None:
    """How long it took from now to the decide of a later view by somebody else."""
    others = [node for node in home.nodes if node.config.validator != hit]
    started = time.monotonic()
    while time.monotonic() - started < WATCH_SECONDS:
        for answer in map(_ask_status, others):
            if answer is not None and answer.decided_view > before.view:
                seconds = time.monotonic() - started
                talk(
                    f"the others have decided height {answer.height:,} in view {answer.decided_view:,} after "
                    f"{seconds * 1000:.0f} ms"
                )
                return
        time.sleep(WATCH_INTERVAL_SECONDS)
    raise CommandError(f"nothing was decided for {WATCH_SECONDS:g} s: too little stake is left", ExitCode.INCONCLUSIVE)


def _ask_names(home: Path) -> tuple[str, ...]:
    from sequencer.chaos.control import Look, State, ask

    reply = ask(home, Look())
    return reply.nodes if isinstance(reply, State) else ()


def _parse_nodes(text: str, names: Sequence[str]) -> list[str]:
    chosen = list(names) if text == "all" else text.split(",")
    for name in chosen:
        if name not in names:
            raise CommandError(f'there is no node "{name}"; there are {", ".join(names)}', ExitCode.USAGE)
    return chosen


def _order(home: Path, request: Any) -> None:
    from sequencer.chaos.control import ask

    ask(home, request)
    end = f"for {request.for_seconds:g} s" if request.for_seconds else f"until `sequencer chaos heal{_option(home)}`"
    talk(f"{request.what}, {end}")


def _option(home: Path) -> str:
    import shlex

    return "" if home == DEFAULT_HOME else f" --home {shlex.quote(str(home))}"


COMMANDS: Final[Iterable[tuple[str, Any]]] = (
    ("kill-leader", kill_leader),
    ("kill", kill),
    ("pause", pause),
    ("resume", resume),
    ("partition", partition),
    ("delay", delay),
    ("heal", heal),
    ("status", status),
)
