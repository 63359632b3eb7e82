"""The transport over TCP: every node dials every peer, sends on what it dialled and receives on what it accepted.

- The dialler reads its connection too, for nothing but its end: a peer that was killed is noticed when its kernel
closes the socket, not when a timer runs out (L2).
- One wake-up of a writer is one write of everything that waits; one read is one `Delivery` of every frame in it.
- Whatever one peer does ends at most the connection that it came on. Each end is counted and logged with its reason.
- A full inbox stops the reading, so TCP slows the peer down. Outgoing frames never wait for anyone: see `outbox`.
"""

import os
import random
import socket
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

import structlog
import trio

from consensus.types import ValidatorId
from sequencer.ports import Address, explain_bind_error
from sequencer.transport import Delivery, Inbox, Item
from sequencer.transport.counters import DropLog, NoMetrics, PeerCounters, TransportMetrics
from sequencer.transport.framing import FRAME_BYTES_MAX, FrameError, FrameReader, plan_writes
from sequencer.transport.handshake import HandshakeError, Identity, accept, dial
from sequencer.transport.link import PeerLink, compute_retry_delay

READ_BYTES = 256 * 1024
"""One read. A full block of 2 MiB takes eight, a burst of votes one."""
UNSENT_BYTES = 1024 * 1024
"""How much written data the kernel may hold unsent. Trio's 16 KiB would wake the writer 128 times per block of 2
MiB."""
HELLO_SECONDS = 5.0
"""From the first packet to proven identities: six one-way trips and two signatures, at most a second around the
world."""
HELLO_PENDING_MIN = 64
"""Strangers that may be in the middle of a handshake at once, or twice the number of peers if that is more. The oldest
gives way: an honest peer needs milliseconds, so it is the slow ones that are cut off."""
SILENCE_SECONDS = 10
"""After this long without any answer from the peer's kernel, ours ends the connection: a cable was cut, a machine
lost."""

T = TypeVar("T")

_STREAM_ERRORS = (trio.BrokenResourceError, trio.ClosedResourceError)


class TcpTransport:
    """Implements `Transport`. `peers` holds the address of everyone else; it is looked up anew at each attempt to dial,
    until `set_peers` replaces it.

    `jitter` draws from [0, 1). Raises `ValueError` when this validator is among its peers.
    """

    def __init__(
        self,
        identity: Identity,
        listen: Address,
        peers: Mapping[ValidatorId, Address],
        *,
        metrics: TransportMetrics | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.listen = listen
        """The address listened on. A port of 0 becomes the real one when `run` has started."""
        self._identity = identity
        self._jitter = jitter
        self._drops = DropLog(metrics or NoMetrics())
        self._addresses: Mapping[ValidatorId, Address] = {}
        self._links: dict[ValidatorId, PeerLink] = {}
        self._counters: dict[ValidatorId, PeerCounters] = {}
        self._session: _Session | None = None
        self._greeting: dict[trio.CancelScope, None] = {}
        self._log = structlog.get_logger("transport")
        self.set_peers(peers)

    @property
    def connected(self) -> frozenset[ValidatorId]:
        return frozenset(peer for peer, link in self._links.items() if link.is_found)

    @property
    def counters(self) -> Mapping[ValidatorId, PeerCounters]:
        """Live counters of everyone who is or has been a peer."""
        return MappingProxyType(self._counters)

    def set_peers(self, peers: Mapping[ValidatorId, Address]) -> None:
        if self._identity.validator_id in peers:
            raise ValueError(f"validator {self._identity.validator_id} is no peer of its own")
        before, self._addresses = self._addresses, peers
        for peer in self._links.keys() - peers.keys():
            self._links.pop(peer).end()
        for peer in sorted(peers):
            link = self._links.get(peer)
            if link is None:
                counters = self._counters.setdefault(peer, PeerCounters())
                link = self._links[peer] = PeerLink(peer, self._drops, counters)
                if self._session is not None:
                    self._session.nursery.start_soon(self._keep_dialled, link, self._session)
            elif before[peer] != peers[peer]:
                link.redial()

    def set_keys(self, keys: Mapping[ValidatorId, frozenset[bytes]]) -> None:
        self._identity.keys.set_keys(keys)

    def send(self, to: ValidatorId, frame: bytes) -> None:
        link = self._links.get(to)
        if link is None:
            self._drops.drop("no_peer", None, to=to)
        else:
            self._put(link, frame)

    def broadcast(self, frame: bytes) -> None:
        for link in self._links.values():
            self._put(link, frame)

    async def run(self, inbox: Inbox, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Reports the address to `task_status`. Raises `PortUnavailableError` when it cannot
        listen."""
        listeners = await _open_listeners(self.listen)
        self.listen = Address(self.listen.host, listeners[0].socket.getsockname()[1])
        try:
            async with trio.open_nursery() as nursery:
                session = self._session = _Session(inbox, nursery)
                for link in self._links.values():
                    nursery.start_soon(self._keep_dialled, link, session)

                async def handle(stream: trio.SocketStream) -> None:
                    await self._serve_accepted(stream, session)

                nursery.start_soon(trio.serve_listeners, handle, listeners)
                task_status.started(self.listen)
        finally:
            self._session = None

    def _put(self, link: PeerLink, frame: bytes) -> None:
        if 0 < len(frame) <= FRAME_BYTES_MAX:
            link.outbox.put(frame)
        else:
            # Ours, and yet no reason to end the process: the peer asks again, elsewhere or for less.
            self._drops.drop("unsendable_frame", link.peer, bytes=len(frame), bytes_max=FRAME_BYTES_MAX)

    # The connection that we dial: writes.

    async def _keep_dialled(self, link: PeerLink, session: "_Session") -> None:
        """As long as it is a peer."""
        attempt = 0
        while self._links.get(link.peer) is link:
            link.start_attempt()
            stream: trio.SocketStream | None = None
            with link.open_scope():
                stream = await self._guard(self._connect(link.peer, attempt), link.peer)
            if stream is not None:
                attempt = 0
                async with stream:
                    await session.report(link.on_dialled())
                    await self._guard(self._serve_dialled(link, stream, session), link.peer)
                    await session.report(link.on_dialled_lost())
            has_shown_itself = await link.wait_retry(compute_retry_delay(attempt, self._jitter()))
            attempt = 0 if has_shown_itself else attempt + 1

    async def _serve_dialled(self, link: PeerLink, stream: trio.SocketStream, session: "_Session") -> None:
        """Write until the connection ends."""
        address = _get_remote(stream)
        self._log.info("peer_connected", peer=link.peer, address=address)
        async with trio.open_nursery() as nursery:
            with link.open_scope() as connection:
                nursery.start_soon(self._write, link, stream, connection)
                await self._watch(link.peer, stream)
            # Before anything else: the writer's end takes the scheduler another round.
            await session.report(link.on_dialled_lost())
            nursery.cancel_scope.cancel()
        self._log.info("peer_disconnected", peer=link.peer, address=address)

    async def _connect(self, peer: ValidatorId, attempt: int) -> trio.SocketStream | None:
        address = self._addresses[peer]
        stream: trio.SocketStream | None = None
        is_welcome = False
        try:
            with trio.fail_after(HELLO_SECONDS):
                stream = await trio.open_tcp_stream(address.host, address.port)
                _configure(stream)
                await dial(stream, self._identity, peer)
            is_welcome = True
        except (OSError, trio.TooSlowError, *_STREAM_ERRORS) as error:
            # Once per outage: a peer that is down is dialled again and again.
            log = self._log.debug if attempt else self._log.info
            log("peer_unreachable", peer=peer, address=str(address), error=_describe(error))
        except (HandshakeError, FrameError) as error:
            self._drops.drop(error.reason, peer, address=str(address), detail=f"{address} {error.detail}")
        finally:
            if stream is not None and not is_welcome:
                await trio.aclose_forcefully(stream)
        return stream if is_welcome else None

    async def _write(self, link: PeerLink, stream: trio.abc.SendStream, connection: trio.CancelScope) -> None:
        counters = link.counters
        try:
            while True:
                frames = await link.outbox.take_all()
                for buffer in plan_writes(frames):
                    await stream.send_all(buffer)
                    counters.bytes_out += len(buffer)
                counters.frames_out += len(frames)
        except _STREAM_ERRORS:
            # The watcher sees the end as well, unless only our direction is broken.
            connection.cancel()

    async def _watch(self, peer: ValidatorId, stream: trio.abc.ReceiveStream) -> None:
        """Returns when the connection has ended. A peer that speaks on it breaks the rules."""
        try:
            if await stream.receive_some(1):
                self._drops.drop("unexpected_data", peer, detail="sent data on the connection that it was dialled on")
        except _STREAM_ERRORS:
            return

    # The connection that a peer dials: reads.

    async def _serve_accepted(self, stream: trio.SocketStream, session: "_Session") -> None:
        async with stream:
            peer = await self._guard(self._greet(stream), None)
            if peer is None:
                return
            link = self._links.get(peer)
            if link is None:
                return  # it was a peer when it was welcomed
            connection = trio.CancelScope()
            await session.report(link.on_accepted(connection))
            with connection:
                await self._guard(self._read(link, stream, session), peer)
            await session.report(link.on_accepted_lost(connection))

    async def _greet(self, stream: trio.SocketStream) -> ValidatorId | None:
        _configure(stream)
        address = _get_remote(stream)
        with trio.move_on_after(HELLO_SECONDS) as deadline:
            self._greeting[deadline] = None
            if len(self._greeting) > max(HELLO_PENDING_MIN, 2 * len(self._links)):
                oldest = next(iter(self._greeting))
                del self._greeting[oldest]
                oldest.cancel()
            try:
                return await accept(stream, self._identity, self._links)
            except (HandshakeError, FrameError) as error:
                self._drops.drop(error.reason, None, address=address, detail=f"{address} {error.detail}")
                return None
            except _STREAM_ERRORS:
                self._drops.drop("hung_up", None, address=address)
                return None
            finally:
                self._greeting.pop(deadline, None)
        is_late = trio.current_time() >= deadline.deadline
        self._drops.drop("hello_timeout" if is_late else "hello_flood", None, address=address)
        return None

    async def _read(self, link: PeerLink, stream: trio.abc.ReceiveStream, session: "_Session") -> None:
        reader, counters = FrameReader(FRAME_BYTES_MAX), link.counters
        while True:
            try:
                chunk = await stream.receive_some(READ_BYTES)
                frames = reader.feed(bytes(chunk))
            except _STREAM_ERRORS:
                return
            except FrameError as error:
                self._drops.drop(error.reason, link.peer, detail=error.detail)
                return
            if not chunk:
                return
            counters.bytes_in += len(chunk)
            if frames:
                counters.frames_in += len(frames)
                await session.report(Delivery(link.peer, tuple(frames)))

    async def _guard(self, work: Awaitable[T], peer: ValidatorId | None) -> T | None:
        """Whatever goes wrong with one peer stays with it: an error that nobody foresaw ends its connection, not the
        node."""
        try:
            return await work
        except Exception:
            self._log.exception("connection_failed", peer=peer)
            self._drops.drop("internal_error", peer)
            return None


class _Session:
    """One run of the transport: where items go, and how it ends when nobody takes them any more."""

    def __init__(self, inbox: Inbox, nursery: trio.Nursery) -> None:
        self._inbox = inbox
        self.nursery = nursery

    async def report(self, item: Item | None) -> None:
        if item is None:
            return
        try:
            await self._inbox.send(item)
        except _STREAM_ERRORS:
            self.nursery.cancel_scope.cancel()
            await trio.lowlevel.checkpoint()


async def _open_listeners(address: Address) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(address.port, host=address.host)
    except OSError as error:
        raise explain_bind_error(address, error) from error


def _configure(stream: trio.SocketStream) -> None:
    """Small frames at once, large ones in few steps, and an end when the other machine is gone without a word."""
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Not every system knows these; without them a silent end is noticed later.
    for name, value in (
        ("TCP_NOTSENT_LOWAT", UNSENT_BYTES),
        ("TCP_KEEPIDLE", SILENCE_SECONDS // 2),
        ("TCP_KEEPINTVL", 1),
        ("TCP_KEEPCNT", SILENCE_SECONDS // 2),
        ("TCP_USER_TIMEOUT", SILENCE_SECONDS * 1000),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            stream.setsockopt(socket.IPPROTO_TCP, option, value)


def _describe(error: Exception) -> str:
    """Trio tries every address of a name and says only that all of them failed: the last reason is inside."""
    inner = error.__cause__
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[-1]
    reason = inner or error
    if isinstance(reason, OSError) and reason.errno is not None and reason.errno > 0:
        return os.strerror(reason.errno)
    return str(reason) or type(reason).__name__


def _get_remote(stream: trio.SocketStream) -> str:
    try:
        host, port = stream.socket.getpeername()[:2]
    except OSError:
        return "unknown"
    return str(Address(host, port))
