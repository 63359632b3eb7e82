"""A TCP proxy per directed link: node i reaches node j through a port of its own, and what lies between can be broken.

A node sends on the connection that it dialled and receives on the one that it accepted, but the handshake and the end
of a connection go the other way on each. So a fault from i to j is kept by direction, not by connection: it concerns
what i writes on the connection that it dialled and what i answers on the one that j dialled.

- A healthy link passes every byte in order, and an end as an end, at once.
- Nothing is read that there is no room for, so a slow receiver slows the sender, as without a proxy.
- Bytes that a cut has swallowed cannot be made up for: the connection is reset when the cut is over, as a real one
is when TCP gives up, and the nodes dial anew.
"""

import socket
import struct
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from random import Random
from typing import Final

import trio

from sequencer.chaos.impairment import Direction, Impairment
from sequencer.ports import Address

CHUNK_BYTES: Final = 64 * 1024
PIPE_BYTES_MAX: Final = 1024 * 1024
"""Held of one direction of one connection: with 100 ms of delay still 10 MB/s."""
CONNECT_SECONDS: Final = 5.0
"""For the node behind; more than its peers give the whole handshake."""
BREAK_SECONDS: Final = 0.2
"""A connection that is to break within a frame breaks after this long when nobody sends one."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_STREAM_ERRORS = (trio.BrokenResourceError, trio.ClosedResourceError)

Pair = tuple[str, str]
"""Source and destination."""


class Proxies:
    """All links between these nodes. `nodes` says where each really listens."""

    def __init__(self, nodes: Mapping[str, Address], random: Random, *, host: str = "127.0.0.1") -> None:
        self._nodes = dict(nodes)
        self._host = host
        self.counts: Counter[str] = Counter()
        self._directions = {
            (source, destination): Direction(random, self.counts)
            for source in nodes
            for destination in nodes
            if source != destination
        }
        self._connections: set[_Connection] = set()
        self._addresses: dict[Pair, Address] = {}
        self._nursery: trio.Nursery | None = None

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return tuple(self._directions)

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    def direction(self, source: str, destination: str) -> Direction:
        return self._directions[source, destination]

    def address(self, source: str, destination: str) -> Address:
        """Where the source reaches the destination. Raises `KeyError` before `run` has started."""
        return self._addresses[source, destination]

    def peer_settings(self) -> dict[str, dict[str, str]]:
        """Settings by node name that make every node reach its peers through here."""
        return {
            source: {
                "peers": ",".join(
                    f"{destination}={self._addresses[source, destination]}"
                    for destination in self._nodes
                    if destination != source
                )
            }
            for source in self._nodes
        }

    # What can be done to the links

    def impose(self, pairs: Iterable[Pair], impairment: Impairment) -> None:
        for pair in pairs:
            self._directions[pair].impose(impairment)

    def lift(self, impairment: Impairment) -> None:
        """From wherever it lies. Connections that lost something in a cut which is over are reset."""
        for direction in self._directions.values():
            direction.lift(impairment)
        for connection in tuple(self._connections):
            connection.reset_if_maimed()

    def heal(self) -> None:
        """Lift everything."""
        imposed = {id(each): each for direction in self._directions.values() for each in direction.imposed}
        for impairment in imposed.values():
            self.lift(impairment)

    def break_connections(self, pairs: Iterable[Pair], impairment: Impairment) -> None:
        """The connections that carry these directions break, within a frame if there is one on its way."""
        if self._nursery is None:
            return
        wanted = {frozenset(pair) for pair in pairs}
        for connection in tuple(self._connections):
            if frozenset(connection.pair) in wanted and not connection.is_breaking:
                connection.is_breaking = True
                impairment.bites += 1
                self.counts["connections_reset"] += 1
                self._nursery.start_soon(connection.break_later)

    # How it runs

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started means that every link listens."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for pair in self._directions:
                listeners = await trio.open_tcp_listeners(0, host=self._host)
                self._addresses[pair] = Address(self._host, listeners[0].socket.getsockname()[1])
                nursery.start_soon(partial(trio.serve_listeners, partial(self._serve, pair), listeners))
            task_status.started()

    async def _serve(self, pair: Pair, client: trio.SocketStream) -> None:
        source, destination = pair
        connection = _Connection(
            pair, client, self._directions[source, destination], self._directions[destination, source]
        )
        self._connections.add(connection)
        try:
            await connection.run(partial(self._connect, destination))
        finally:
            self._connections.discard(connection)
            connection.close()

    async def _connect(self, destination: str) -> trio.SocketStream | None:
        address = self._nodes[destination]
        try:
            with trio.fail_after(CONNECT_SECONDS):
                return await trio.open_tcp_stream(address.host, address.port)
        except (OSError, trio.TooSlowError):
            return None


class _Connection:
    """One connection: the dialler's end, and the one to the node behind once it stands."""

    def __init__(self, pair: Pair, client: trio.SocketStream, forth: Direction, back: Direction) -> None:
        self.pair = pair
        self.is_breaking = False
        self._client = client
        self._server: trio.SocketStream | None = None
        self._forth, self._back = forth, back
        self._maimed: set[Direction] = set()
        """Directions in which something was swallowed."""
        self._scope = trio.CancelScope()
        self._closed = trio.Event()

    async def run(self, connect: Callable[[], Awaitable[trio.SocketStream | None]]) -> None:
        with self._scope:
            if self._forth.is_cut or self._back.is_cut:
                await self._be_nowhere()
                return
            self._server = await connect()
            if self._server is None:
                self.reset()
                return
            async with trio.open_nursery() as nursery:
                for direction, source, sink in (
                    (self._forth, self._client, self._server),
                    (self._back, self._server, self._client),
                ):
                    nursery.start_soon(_Pump(self, direction, source, sink).run)

    async def _be_nowhere(self) -> None:
        """No packet of this connection gets through: the dialler waits, until it or the cut ends."""
        for direction in (self._forth, self._back):
            if direction.swallow():
                self._maimed.add(direction)
        while await receive(self._client):
            self._forth.swallow()

    def maim(self, direction: Direction) -> None:
        self._maimed.add(direction)

    def reset_if_maimed(self) -> None:
        if self._maimed and not any(direction.is_cut for direction in self._maimed):
            self.reset()

    async def break_later(self) -> None:
        with trio.move_on_after(BREAK_SECONDS):
            await self._closed.wait()
        self.reset()

    def reset(self) -> None:
        """RST to both sides: what is not delivered yet is lost, and both notice."""
        for stream in (self._client, self._server):
            if stream is not None and stream.socket.fileno() >= 0:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.end()

    def end(self) -> None:
        self._scope.cancel()

    def close(self) -> None:
        for stream in (self._client, self._server):
            if stream is not None:
                stream.socket.close()
        self._closed.set()


class _Pump:
    """One direction of one connection. Either the reader or the writer sends, never both."""

    def __init__(
        self, connection: _Connection, direction: Direction, source: trio.SocketStream, sink: trio.SocketStream
    ) -> None:
        self._connection = connection
        self._direction = direction
        self._source, self._sink = source, sink
        self._queue: deque[tuple[float, bytes]] = deque()
        """(when due, chunk); an empty chunk is the end of the stream."""
        self._queued_bytes = 0
        self._is_writing = False
        self._is_sink_gone = False
        self._wake_up = trio.Event()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            await self._read()

    async def _read(self) -> None:
        direction = self._direction
        while True:
            chunk = await receive(self._source)
            if direction.swallow():
                self._connection.maim(direction)
            elif self._connection.is_breaking and chunk:
                await self._send(chunk[: max(1, len(chunk) // 2)])
                self._connection.reset()
            elif direction.is_clean and not self._queue and not self._is_writing:
                await self._pass(chunk)
            else:
                await self._put(chunk)
            if not chunk:
                return

    async def _put(self, chunk: bytes) -> None:
        # What would be due before those ahead of it waits for them: the order is that of the queue.
        due = self._direction.schedule(len(chunk), trio.current_time())
        self._queue.append((due, self._direction.corrupt(chunk) if chunk else chunk))
        self._queued_bytes += len(chunk)
        self._notify()
        while self._queued_bytes > PIPE_BYTES_MAX:
            await self._wait()

    async def _write(self) -> None:
        while True:
            while not self._queue:
                await self._wait()
            due, chunk = self._queue[0]
            await self._wait_due(due)
            self._is_writing = True
            self._queue.popleft()
            self._queued_bytes -= len(chunk)
            await self._pass(chunk)
            self._is_writing = False
            self._notify()

    async def _wait_due(self, due: float) -> None:
        """Until then, or until nothing is wrong with the direction any more."""
        while not self._direction.is_clean:
            if not self._direction.is_clogged and trio.current_time() >= due:
                return
            with trio.move_on_at(float("inf") if self._direction.is_clogged else due):
                await self._direction.wait_change()

    async def _pass(self, chunk: bytes) -> None:
        if chunk:
            await self._send(chunk)
        else:
            self._connection.end()

    async def _send(self, chunk: bytes) -> None:
        if self._is_sink_gone:
            return  # its end is on its way through the other direction, which tells the source
        try:
            await self._sink.send_all(chunk)
        except _STREAM_ERRORS:
            self._is_sink_gone = True

    def _notify(self) -> None:
        self._wake_up.set()
        self._wake_up = trio.Event()

    async def _wait(self) -> None:
        await self._wake_up.wait()


async def receive(stream: trio.SocketStream) -> bytes:
    """A chunk; empty when the stream has ended, in whatever way."""
    try:
        return bytes(await stream.receive_some(CHUNK_BYTES))
    except _STREAM_ERRORS:
        return b""
