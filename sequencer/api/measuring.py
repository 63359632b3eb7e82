"""Counts what clients ask, how it was answered and how long that took, for the metrics."""

from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sequencer.metrics.clients import Clients

STREAMS: Final = "/v1/stream/"
WAITING: Final = b"wait="
"""In the query of a request that is answered when its transaction is final."""


class Measured:
    """Around the whole application, so that refusals and defects are counted too."""

    def __init__(self, app: ASGIApp, clients: Clients) -> None:
        self._app = app
        self._clients = clients

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        is_stream = scope["path"].startswith(STREAMS)
        status: int | None = None
        readers = 0

        async def send_counted(message: Message) -> None:
            nonlocal status, readers
            match message["type"]:
                case "http.response.start" | "websocket.http.response.start":
                    status = message["status"]
                    readers = int(is_stream and status == 200)
                case "websocket.accept":
                    status, readers = 200, 1
                case _:
                    await send(message)
                    return
            if readers:
                self._clients.stream_readers.inc()
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            if readers:
                self._clients.stream_readers.dec()
            is_short = not is_stream and WAITING not in scope["query_string"]
            seconds = perf_counter() - started if is_short and status is not None else None
            self._clients.on_request(scope.get("method", "GET"), status, seconds)
