"""From rows to what Starlette serves: one endpoint for each address, which knows every method that it takes."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketClose, WebSocketState

from sequencer.api.accepting import choose_media_type
from sequencer.api.origins import PREFLIGHT_HEADERS
from sequencer.api.parameters import Parameter, Query
from sequencer.api.problems import METHOD_NOT_ALLOWED, NOT_FOUND, Problem, render
from sequencer.api.route import Route, WebSocketHandler

_READERS: Final = ("GET", "HEAD")


class Endpoint:
    """Every method of one address. HEAD is GET without its body, OPTIONS says what there is."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_method: dict[str, Route] = {}
        for route in routes:
            if route.method in self._by_method:
                raise ValueError(f"two rows for {route.method} {route.path}")
            for method in _READERS if route.method == "GET" else (route.method,):
                self._by_method[method] = route
        self.methods = frozenset(self._by_method)
        self._allowed = ", ".join([*self._by_method, "OPTIONS"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # An instance, unlike a function, is not wrapped by the framework: it gets every method of the address.
        request = Request(scope, receive, send)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        route = self._by_method.get(request.method)
        if route is not None:
            if not route.is_probe:
                choose_media_type(request, route.media_types)
            return await route.handler(request, Query(request, route.known))
        allow = {"Allow": self._allowed}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=allow | PREFLIGHT_HEADERS)
        detail = f"{request.url.path} does not take {request.method}; it takes {self._allowed}."
        raise Problem(METHOD_NOT_ALLOWED, detail, headers=allow)


def make_routes(table: Iterable[Route]) -> list[BaseRoute]:
    """One endpoint for each address, in the order of the table: the first one that fits answers."""
    by_path: dict[str, list[Route]] = {}
    for route in table:
        by_path.setdefault(route.path, []).append(route)
    served: list[BaseRoute] = []
    for path, routes in by_path.items():
        served.append(StarletteRoute(path, Endpoint(routes)))
        for route in routes:
            if route.websocket is not None:
                served.append(WebSocketRoute(path, _make_upgrade(route.websocket, route.known)))
    return served


def make_fallback(table: Iterable[Route]) -> ASGIApp:
    """Answers for every address that is not served."""
    beginnings = ", ".join(dict.fromkeys(map(_get_beginning, table)))

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        raise Problem(
            NOT_FOUND,
            f"Nothing is served at {scope['path'][:200]}. Addresses begin with {beginnings}; "
            "GET /openapi.json describes all of them, /docs shows them.",
        )

    return refuse


def _get_beginning(route: Route) -> str:
    parts = route.path.split("/")
    return "/".join(parts[: 3 if parts[1] == "v1" else 2])


def _make_upgrade(
    handler: WebSocketHandler, known: Mapping[str, Parameter[Any]]
) -> Callable[[WebSocket], Awaitable[None]]:
    async def upgrade(websocket: WebSocket) -> None:
        """A problem before the handshake ends is answered as it would be over plain HTTP."""
        try:
            await handler(websocket, Query(websocket, known))
        except Problem as problem:
            if websocket.application_state is not WebSocketState.CONNECTING:
                raise
            await websocket.send_denial_response(render(problem))

    return upgrade
