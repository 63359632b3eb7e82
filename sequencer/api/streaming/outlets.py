"""How events leave: as a response of server-sent events, or as messages over a WebSocket. One task per client writes,
another one waits for the client to go away and ends the first.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Final, TypeAlias

import trio
from h11 import LocalProtocolError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from trio.lowlevel import ParkingLot

from sequencer.api.streaming.frames import Wire
from sequencer.api.streaming.reader import STEP_BYTES, Outlet, Reader, Reason

EVENT_STREAM: Final = "text/event-stream"
RETRY_MS: Final = 1000
"""After which a browser connects again: what a node needs to come back, or its clients to find another one."""

LARGE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of large messages that are on their way at once, all readers together. A message cannot be written in parts, so each
is in memory as often as there are readers to which it is being written; they take turns.
"""

_CLOSE_CODES: Final[Mapping[Reason, int]] = {"shutting_down": 1001, "lagging": 1013}
"""Going away (RFC 6455), and try again later (from the registry that it began)."""

_HEADERS: Final = {
    # Also for proxies that would keep what they have until they have more of it.
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}

OpenReader: TypeAlias = Callable[[Outlet], AbstractContextManager[Reader]]


class EventStream(Response):
    """Server-sent events, until the client goes away or the reader ends."""

    media_type = EVENT_STREAM

    def __init__(self, open_reader: OpenReader) -> None:
        super().__init__(headers=_HEADERS, media_type=EVENT_STREAM)
        self._open_reader = open_reader
        # There is no length to tell, but the one of nothing was.
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            outlet = _EventOutlet(send)
            await outlet.write([b"retry: %d\n\n" % RETRY_MS])
            with self._open_reader(outlet) as reader:
                if await _run_until_gone(reader, receive, "http.disconnect") is None:
                    return  # an end that nobody reads would make the server wait for the client's next request
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _EventOutlet:
    wire: Wire = "sse"
    may_split = True

    def __init__(self, send: Send) -> None:
        self._send = send

    async def write(self, parts: list[bytes]) -> None:
        await self._send({"type": "http.response.body", "body": b"".join(parts), "more_body": True})

    async def beat(self) -> None:
        await self.write([b":\n\n"])


class Room:
    """Bounds what is in memory for clients that take their time."""

    def __init__(self, bytes_max: int = LARGE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._held = 0
        self._waiting = ParkingLot()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """One that is larger than all the room waits until it is alone."""
        while self._held and self._held + size > self._bytes_max:
            await self._waiting.park()
        self._held += size
        try:
            yield
        finally:
            self._held -= size
            self._waiting.unpark_all()


class _MessageOutlet:
    wire: Wire = "websocket"
    may_split = False

    def __init__(self, websocket: WebSocket, room: Room) -> None:
        self._websocket = websocket
        self._room = room

    async def write(self, parts: list[bytes]) -> None:
        for part in parts:
            if len(part) > STEP_BYTES:
                async with self._room.hold(len(part)):
                    await self._websocket.send({"type": "websocket.send", "text": part.decode()})
            else:
                await self._websocket.send({"type": "websocket.send", "text": part.decode()})

    async def beat(self) -> None:
        await self.write([b'{"type":"heartbeat","id":null,"data":null}'])


async def serve_websocket(websocket: WebSocket, open_reader: OpenReader, room: Room) -> None:
    """Like `EventStream`. What the client says is not listened to; the server bounds it and answers its pings."""
    try:
        await websocket.accept()
    except LocalProtocolError:
        # More came before the handshake's end than the server keeps: it has refused meanwhile.
        return
    with open_reader(_MessageOutlet(websocket, room)) as reader:
        reason = await _run_until_gone(reader, websocket.receive, "websocket.disconnect")
    if reason is not None:
        await websocket.close(_CLOSE_CODES[reason], reason)


async def _run_until_gone(reader: Reader, receive: Receive, farewell: str) -> Reason | None:
    """Why the reader ended, or None when its client did. `farewell` is the message that says so."""
    reason: Reason | None = None
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            while (await receive())["type"] != farewell:
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        reason = await reader.run()
        nursery.cancel_scope.cancel()
    return reason
