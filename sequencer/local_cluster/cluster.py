"""A cluster of real node processes on this machine, for whoever wants to run one or to break one."""

import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from sequencer.client import ApiProblem, Client, Unreachable
from sequencer.config import NODE_FILE, load_node
from sequencer.failures import CommandError, ExitCode
from sequencer.home import Home, find_joined
from sequencer.local_cluster.owner import ForkServerProcess
from sequencer.local_cluster.protocol import (
    ListNodes,
    NodeProcess,
    Nodes,
    Refused,
    Signalled,
    SignalNode,
    StartNode,
)
from sequencer.ports import Address, check_ports_free, parse_address

T = TypeVar("T")

LOG_FILE: Final = "node.log"
POLL_SECONDS: Final = 0.02
"""Between two looks at a condition: short beside what is waited for, cheap beside a node's work."""
STOP_SECONDS: Final = 10.0
"""How long a node may take to drain. It has open requests finish for 3 s, then closes its database."""


class NodeEnded(CommandError):
    """A node that should run has ended by itself. The text carries its reason."""

    def __init__(self, process: NodeProcess, log: str) -> None:
        reason = process.message or f"{describe_exit(process)}; its log may tell more: {log}"
        code = process.exit_code or 0
        super().__init__(f"node {process.name} has ended: {reason}", ExitCode(code) if code > 0 else ExitCode.FAILED)
        self.process = process


class NotReached(CommandError):
    """What was waited for did not come in time."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"waited {seconds:g} s for {what}, in vain", ExitCode.INCONCLUSIVE)


class LocalCluster:
    """The nodes of one home. As a context manager it ends every process that it started, whatever happened.

    `settings` override node.toml, by node name. `server` may have been started before, so that it imports the node
    while its owner makes the home; the cluster closes it. `byzantine` says which nodes break the protocol, and how.
    Safe to use from several threads: requests take turns.
    """

    def __init__(
        self,
        home: Home,
        settings: Mapping[str, Mapping[str, str]] | None = None,
        *,
        server: ForkServerProcess | None = None,
        byzantine: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        self._settings = {name: dict(values) for name, values in (settings or {}).items()}
        self._nodes = {node.config.validator: node for node in home.nodes}
        self._byzantine = dict(byzantine or {})
        self._wanted: set[str] = set()
        self._server = server or ForkServerProcess()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    # What there is

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._nodes)

    @property
    def running(self) -> tuple[str, ...]:
        """Nodes whose process exists, paused ones included."""
        return tuple(process.name for process in self.processes().values() if process.is_running)

    def processes(self) -> dict[str, NodeProcess]:
        """The last process of each node that was ever started here."""
        reply = self._server.ask(ListNodes())
        if not isinstance(reply, Nodes):
            raise TypeError(f"asked for nodes, got {reply}")
        return {process.name: process for process in reply.processes}

    def pid(self, name: str) -> int:
        return self.processes()[name].pid

    def url(self, name: str) -> str:
        """Base URL of the node's API."""
        return f"http://{self._setting(name, 'api')}"

    def database_path(self, name: str) -> Path:
        return self._nodes[name].database_path

    def log_path(self, name: str) -> str:
        return str(self._nodes[name].folder / LOG_FILE)

    def client(self, name: str, *, timeout_seconds: float = 5.0) -> Client:
        return Client(self.url(name), timeout_seconds=timeout_seconds)

    def discover(self) -> tuple[str, ...]:
        """Take up nodes whose folders have appeared in the home since. Returns their names; none of them is started."""
        folders = find_joined(self.home.path, self.home.network)
        found = [load_node(folder, environ={}) for folder in folders if folder.name not in self._nodes]
        self._nodes.update((node.config.validator, node) for node in found)
        return tuple(node.config.validator for node in found)

    def find_gone(self) -> tuple[str, ...]:
        """Nodes whose settings have been taken away since: they have left the network."""
        return tuple(name for name, node in self._nodes.items() if not (node.folder / NODE_FILE).exists())

    def forget(self, name: str) -> None:
        """A node that has left and ended is no part of this cluster any more."""
        del self._nodes[name]

    # What can be done to a node

    def start(self, *names: str) -> None:
        """Start these nodes, or all. Returns when their processes exist; `wait_until` tells when they do something.

        Raises `PortUnavailableError` before anything starts.
        """
        names = names or self.names
        check_ports_free(address for name in names for address in self._addresses(name))
        for name in names:
            node = self._nodes[name]
            request = StartNode(
                name, str(node.folder), self.log_path(name), self._settings.get(name, {}), self._byzantine.get(name, "")
            )
            reply = self._server.ask(request)
            if isinstance(reply, Refused):
                raise CommandError(reply.reason)
            self._wanted.add(name)

    def stop(self, *names: str) -> None:
        """SIGTERM, and wait until the nodes have drained; what takes longer than `STOP_SECONDS` is killed."""
        names = names or self.running
        self.terminate(*names)
        deadline = time.monotonic() + STOP_SECONDS
        while set(names) & set(self.running):
            if time.monotonic() > deadline:
                self.kill(*names)
                return
            time.sleep(POLL_SECONDS)

    def terminate(self, *names: str) -> None:
        """SIGTERM, which drains these nodes, paused ones included. Returns at once."""
        self._wanted.difference_update(names)
        for name in names:
            self._signal(name, signal.SIGTERM)
            self._signal(name, signal.SIGCONT)

    def kill(self, *names: str) -> int:
        """SIGKILL, and wait until the processes are gone. Returns when the last signal was sent, monotonic ns."""
        self._wanted.difference_update(names)
        moments = [self._signal(name, signal.SIGKILL) for name in names]
        while set(names) & set(self.running):
            time.sleep(POLL_SECONDS / 10)
        return max(moments, default=0)

    def pause(self, name: str) -> int:
        """SIGSTOP: the process freezes, its connections stay. Returns when, monotonic ns."""
        return self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def restart(self, name: str) -> None:
        """Stop the node if it runs, then start it."""
        if name in self.running:
            self.stop(name)
        self.start(name)

    def close(self) -> None:
        """End every process of this cluster; nodes that do not end by themselves are killed."""
        self._wanted.clear()
        self._server.close()

    # What can be waited for

    def wait_until(
        self,
        condition: Callable[[], T],
        *,
        timeout_seconds: float,
        what: str,
        poll_seconds: float = POLL_SECONDS,
    ) -> T:
        """Ask until the answer is true, and return it.

        A condition may ask nodes: that one does not answer now counts as false. Raises `NotReached` when it takes too
        long, and `NodeEnded` as soon as a node ends that should run.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            with suppress(Unreachable, ApiProblem):
                answer = condition()
                if answer:
                    return answer
            self.check_running()
            if time.monotonic() > deadline:
                raise NotReached(what, timeout_seconds)
            time.sleep(poll_seconds)

    def wait_ready(self, *names: str, timeout_seconds: float, is_given_up: Callable[[], bool] = lambda: False) -> None:
        """Until these nodes, or all that should run, have decided and are not behind; or until `is_given_up`."""
        waiting = {name: self.client(name) for name in names or sorted(self._wanted)}

        def are_ready() -> bool:
            # One after the other: asking all of many nodes all the time would slow down what is waited for.
            while waiting:
                name, client = next(iter(waiting.items()))
                if not client.is_ready():
                    return False
                client.close()
                del waiting[name]
            return True

        self.wait_until(
            lambda: is_given_up() or are_ready(),
            timeout_seconds=timeout_seconds,
            what="the nodes to decide and to be up to date",
        )

    def check_running(self) -> None:
        """Raises `NodeEnded` for the first node that should run and does not."""
        for process in self.processes().values():
            if process.name in self._wanted and not process.is_running:
                raise NodeEnded(process, self.log_path(process.name))

    def _setting(self, name: str, key: str) -> str:
        return self._settings.get(name, {}).get(key) or str(getattr(self._nodes[name].config, key))

    def _addresses(self, name: str) -> Iterable[Address]:
        return parse_address(self._setting(name, "listen")), parse_address(self._setting(name, "api"))

    def _signal(self, name: str, number: signal.Signals) -> int:
        reply = self._server.ask(SignalNode(name, number))
        if not isinstance(reply, Signalled):
            raise CommandError(f"cannot send {number.name} to {name}: {reply}")
        return reply.monotonic_ns


def describe_exit(process: NodeProcess) -> str:
    """`killed by SIGKILL`, or `exit code 1`."""
    code = process.exit_code or 0
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
