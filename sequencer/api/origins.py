"""Pages of other origins may use the API from a browser (CORS), see docs/adr/0018-any-page-may-ask.md.

Nothing here is guarded by a cookie or by where a request comes from, so a page learns and does nothing that its
visitor's terminal could not. What would carry a credential is never allowed.
"""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PREFLIGHT_SECONDS: Final = 86_400
"""For which a browser remembers the answer; most cap it at two hours."""

PREFLIGHT_HEADERS: Final = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Allow-Headers": "Accept, Content-Type, Last-Event-ID",
    "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
}

_ANY_ORIGIN: Final = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"allow, retry-after")]


class AnyOrigin:
    """Says with every answer, problems included, that a page of any origin may read it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_open(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_ANY_ORIGIN]
            await send(message)

        await self._app(scope, receive, send_open)
