"""The way into a devnet that runs: proxies in a thread of its process, and a socket in its home that takes orders.

One JSON object a line, one answer per request, as between a cluster and its fork server. The socket belongs to the user
who runs the devnet, like everything else in the home. What an order did lasts until it is healed, or for its time.
"""

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final, Self, TypeAlias

import msgspec
import trio

from sequencer.chaos.impairment import Impairment
from sequencer.chaos.proxy import Pair, Proxies
from sequencer.failures import CommandError, ExitCode
from sequencer.local_cluster.home import CHAOS_SOCKET
from sequencer.ports import Address

START_SECONDS: Final = 10.0
"""For all links to listen."""
ANSWER_SECONDS: Final = 5.0
REQUEST_BYTES_MAX: Final = 65_536
PATH_BYTES_MAX: Final = 100
"""Of a socket's address, as far as all systems go; a longer path is reached through its folder."""


class Impose(msgspec.Struct, frozen=True, tag=True):
    """Answered by `Done`. `what` is the order in words; pairs are (source, destination)."""

    what: str
    pairs: tuple[Pair, ...]
    is_cut: bool = False
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    for_seconds: float | None = None


class Heal(msgspec.Struct, frozen=True, tag=True):
    """Answered by `State`, as it was before."""


class Look(msgspec.Struct, frozen=True, tag=True):
    """Answered by `State`."""


Request: TypeAlias = Impose | Heal | Look


class Order(msgspec.Struct, frozen=True):
    """Something that is on. `bites`: chunks and connections that met it."""

    what: str
    links: int
    bites: int


class State(msgspec.Struct, frozen=True, tag=True):
    nodes: tuple[str, ...]
    orders: tuple[Order, ...]


class Done(msgspec.Struct, frozen=True, tag=True):
    """The order is on."""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """Nothing has changed."""

    reason: str


Reply: TypeAlias = State | Done | Refused


class ChaosThread:
    """Proxies between the nodes of a devnet, and its socket. A context manager; nodes must be started after it.

    `listen` says where each node really listens. Leaving it ends every connection between the nodes.
    """

    def __init__(self, home: Path, listen: Mapping[str, Address]) -> None:
        self._path = home / CHAOS_SOCKET
        self._proxies = Proxies(listen, Random())  # noqa: S311 - draws delays, no keys
        self._names = tuple(listen)
        self._orders: dict[Impairment, tuple[str, int]] = {}
        self._started = threading.Event()
        self._scope = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run_thread, name="chaos")

    def peer_settings(self) -> dict[str, dict[str, str]]:
        return self._proxies.peer_settings()

    def check(self) -> None:
        """Raises what has ended the thread, if anything has: without it no node reaches another."""
        if self._error is not None:
            raise CommandError(f"the proxies between the nodes have ended: {self._error!r}", ExitCode.INTERNAL)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait(START_SECONDS)
        self.check()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._token is not None and self._thread.is_alive():
            self._token.run_sync_soon(self._scope.cancel)
        self._thread.join()

    def _run_thread(self) -> None:
        try:
            trio.run(self._run)
        except BaseException as error:
            self._error = error
        finally:
            self._started.set()

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as self._nursery:
                await self._nursery.start(self._proxies.run)
                with _listen(self._path) as listening:
                    self._nursery.start_soon(trio.serve_listeners, self._serve, [trio.SocketListener(listening)])
                    self._started.set()
                    await trio.sleep_forever()

    async def _serve(self, stream: trio.SocketStream) -> None:
        with trio.move_on_after(ANSWER_SECONDS):
            line = b""
            while not line.endswith(b"\n") and len(line) < REQUEST_BYTES_MAX:
                chunk = await stream.receive_some(REQUEST_BYTES_MAX)
                if not chunk:
                    return
                line += bytes(chunk)
            try:
                reply = self._handle(msgspec.json.decode(line, type=Request))
            except msgspec.DecodeError as error:
                reply = Refused(str(error))
            await stream.send_all(msgspec.json.encode(reply) + b"\n")

    def _handle(self, request: Request) -> Reply:
        match request:
            case Impose():
                return self._impose(request)
            case Heal():
                before = self._describe()
                self._proxies.heal()
                self._orders.clear()
                return before
            case Look():
                return self._describe()

    def _impose(self, request: Impose) -> Done | Refused:
        unknown = sorted({name for pair in request.pairs for name in pair} - set(self._names))
        if unknown:
            reason = f"{', '.join(unknown)} has joined since, and its links lead past the proxies"
            return Refused(f"{reason}. Start the devnet again to have them go through")
        impairment = Impairment(
            is_cut=request.is_cut, delay_seconds=request.delay_ms / 1000, jitter_seconds=request.jitter_ms / 1000
        )
        self._proxies.impose(request.pairs, impairment)
        self._orders[impairment] = (request.what, len(request.pairs))
        if request.for_seconds is not None:
            self._nursery.start_soon(self._lift_later, impairment, request.for_seconds)
        return Done()

    async def _lift_later(self, impairment: Impairment, seconds: float) -> None:
        await trio.sleep(seconds)
        self._proxies.lift(impairment)
        self._orders.pop(impairment, None)

    def _describe(self) -> State:
        return State(
            self._names,
            tuple(Order(what, links, impairment.bites) for impairment, (what, links) in self._orders.items()),
        )


def ask(home: Path, request: Request) -> Reply:
    """Send an order to the devnet that runs from this home. Raises `CommandError`: unreachable when none with proxies
    does.
    """
    path = home / CHAOS_SOCKET
    try:
        with _reach(path) as reachable, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(reachable)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            with connection.makefile("rb") as answer:
                reply: Reply = msgspec.json.decode(answer.readline(), type=Reply)
    except TimeoutError as error:
        raise CommandError(
            f"the devnet in {home} does not answer within {ANSWER_SECONDS:g} s. Its terminal says why; then try again"
        ) from error
    except (OSError, msgspec.DecodeError) as error:
        raise CommandError(
            f"no devnet with proxies between its nodes runs from {home}: start one with `sequencer devnet --chaos`, or "
            "name its --home",
            ExitCode.UNREACHABLE,
        ) from error
    if isinstance(reply, Refused):
        raise CommandError(reply.reason)
    return reply


@contextmanager
def _listen(path: Path) -> Iterator[trio.socket.SocketType]:
    path.unlink(missing_ok=True)  # of a devnet that was killed: the home is locked, so nobody listens there
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain, _reach(path) as reachable:
        plain.bind(reachable)
        path.chmod(0o600)
        plain.listen()
        try:
            yield trio.socket.from_stdlib_socket(plain)
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def _reach(path: Path) -> Iterator[str]:
    """An address for a socket at this path, however long the path is."""
    if len(os.fsencode(path)) <= PATH_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
