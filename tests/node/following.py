"""Clients of streams over real sockets that do one thing at a time, so that a test can stop in the middle."""

import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import h11
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage

from sequencer.ports import Address

BLOCKS = "/v1/stream/blocks"
VIEWS = "/v1/stream/views"
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class StreamedEvent:
    """What both wires say."""

    type: str
    id: int | None
    data: Any


class Follower:
    """Server-sent events, one after the other."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._text = ""
        self.head: h11.Response | None = None
        self.comments = 0

    async def ask(self, target: str, headers: Mapping[str, str]) -> None:
        request = h11.Request(method="GET", target=target, headers=[("Host", "n0"), *headers.items()])
        await self._stream.send_all((self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b""))
        event = await self._read()
        assert isinstance(event, h11.Response), event
        self.head = event

    async def next(self) -> StreamedEvent | None:
        """None at the end of the response."""
        while True:
            block, is_whole, rest = self._text.partition("\n\n")
            if is_whole:
                self._text = rest
                fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
                self.comments += block.startswith(":")
                if "data" in fields:
                    id_ = int(fields["id"]) if "id" in fields else None
                    return StreamedEvent(fields["event"], id_, json.loads(fields["data"]))
                continue
            event = await self._read()
            if isinstance(event, h11.EndOfMessage):
                assert not self._text, f"an event was cut: {self._text[:100]}"
                return None
            assert isinstance(event, h11.Data), event
            self._text += bytes(event.data).decode()

    async def _read(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._stream.receive_some())
        return event


class WebSocketFollower:
    """The same over WebSocket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._connection = Connection(ConnectionType.CLIENT)
        self._events: deque[Any] = deque()
        self._parts: list[str] = []
        self.close_code: int | None = None

    async def shake_hands(self, target: str) -> None:
        await self._stream.send_all(make_upgrade(target))
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await self._stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 101"), answer
        rest = answer.partition(b"\r\n\r\n")[2]
        if rest:
            self._feed(rest)

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def next(self) -> StreamedEvent | None:
        """None when the server has closed, with `close_code`."""
        while True:
            while not self._events:
                self._feed(await self._stream.receive_some())
            match self._events.popleft():
                case TextMessage(data=data, message_finished=is_whole):
                    self._parts.append(data)
                    if is_whole:
                        message = json.loads("".join(self._parts))
                        self._parts.clear()
                        return StreamedEvent(message["type"], message["id"], message["data"])
                case CloseConnection(code=code):
                    self.close_code = int(code)
                    return None
                case other:
                    raise AssertionError(f"the server has sent {other}")

    def _feed(self, data: bytes) -> None:
        self._connection.receive_data(data or None)
        self._events += self._connection.events()


@asynccontextmanager
async def connect(address: Address) -> AsyncIterator[trio.SocketStream]:
    with trio.fail_after(PATIENCE_SECONDS):
        async with await trio.open_tcp_stream(*address) as stream:
            yield stream


@asynccontextmanager
async def follow(address: Address, query: str = "", *, path: str = BLOCKS, **headers: str) -> AsyncIterator[Follower]:
    """Underscores in the names of headers are hyphens."""
    async with connect(address) as stream:
        follower = Follower(stream)
        await follower.ask(path + query, {name.replace("_", "-"): value for name, value in headers.items()})
        yield follower


@asynccontextmanager
async def follow_over_websocket(
    address: Address, query: str = "", *, path: str = BLOCKS
) -> AsyncIterator[WebSocketFollower]:
    async with connect(address) as stream:
        follower = WebSocketFollower(stream)
        await follower.shake_hands(path + query)
        yield follower


async def take(follower: Follower | WebSocketFollower, count: int) -> list[dict[str, Any]]:
    """So many blocks, and nothing else."""
    blocks: list[dict[str, Any]] = []
    while len(blocks) < count:
        event = await follower.next()
        assert event is not None
        assert (event.type, event.id) == ("block", event.data["height"])
        blocks.append(event.data)
    return blocks


def make_upgrade(target: str = BLOCKS) -> bytes:
    return (
        f"GET {target} HTTP/1.1\r\nHost: n0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()
