"""Listening: the application on anycorn, with limits, and an end that lets requests finish."""

import socket
from typing import Final, cast

import anycorn
import anycorn.logging
import anycorn.typing
import structlog
import trio
from starlette.types import ASGIApp, Receive, Scope, Send

from sequencer.api.app import make_app
from sequencer.api.guard import guard_connections
from sequencer.api.limits import HEAD_BYTES_MAX, MESSAGE_BYTES_MAX, STALLED_SECONDS_MAX
from sequencer.api.node_view import NodeView
from sequencer.api.streaming.pump import Pump
from sequencer.fault_log import FaultLog
from sequencer.ports import Address, explain_bind_error

GRACE_SECONDS: Final = 3
"""For requests under way when the node goes down. Waits for finality are answered at once, so this is transfer time."""

KEEP_ALIVE_SECONDS: Final = 5
"""An idle connection, and one whose request head does not arrive, is closed after this. Short, because anycorn keeps
the descriptor of an idle connection for so long even when the client has closed it."""

UNSENT_BYTES_MAX: Final = 128 * 1024
"""What the kernel takes of an answer before it can be sent. Without this bound it would keep megabytes for each reader
of a stream that does not keep up; what is on its way on a long line is not counted."""

BACKLOG: Final = 512
"""Connections that wait to be accepted: one burst of clients during a long turn."""

REQUESTS_PER_CONNECTION_MAX: Final = 2**31
"""A load generator keeps its connection: nothing is gained by closing it after some number of requests."""

RESTART_SECONDS: Final = 1
"""After a failure of the server: long enough for descriptors to come back, short enough for a client that retries."""

log = structlog.get_logger("api")


class _Log(anycorn.logging.Logger):
    """What the server has to say, in the node's own log. Malformed requests are the clients' affair: debug."""

    async def info(self, message: str, *args: object, **_: object) -> None:
        log.debug(_fill(message, args))

    async def warning(self, message: str, *args: object, **_: object) -> None:
        log.warning(_fill(message, args))

    async def exception(self, message: str, *args: object, **_: object) -> None:
        log.exception(_fill(message, args))


def _fill(message: str, args: tuple[object, ...]) -> str:
    return message % args if args else message


def open_listener(address: Address) -> socket.socket:
    """A bound TCP socket, so that a busy port is known before anything else starts. Raises `PortUnavailableError`."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # All are inherited by every connection that is accepted.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_SECONDS_MAX * 1000)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise explain_bind_error(address, error) from error
    return listener


async def serve_api(
    node: NodeView,
    listener: socket.socket,
    *,
    closing: trio.Event,
    fault_log: FaultLog | None = None,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answers on `listener`, which it owns, until `closing` is set; then ends within `GRACE_SECONDS`.

    Reports the address, with the port that the system chose when 0 was asked for. Cancelled, it ends at once. In both
    cases a client that takes nothing of its answer can hold it up, for `STALLED_SECONDS_MAX`: anycorn shields its
    writes.
    """
    with listener:
        pump = Pump()
        app = _Application(make_app(node, closing, fault_log, pump))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump.run, closing)
            task_status.started(Address(*listener.getsockname()[:2]))
            await _listen(app, listener, closing)


async def _listen(app: "_Application", listener: socket.socket, closing: trio.Event) -> None:
    framework = cast("anycorn.typing.ASGIFramework", app)
    guard_connections()
    while not closing.is_set():
        try:
            await anycorn.serve(framework, make_config(listener), shutdown_trigger=closing.wait, mode="asgi")
        except Exception:
            # A failed accept (no descriptors left) ends the server, but must not end the node: consensus goes on, and
            # the socket is still here.
            log.exception("HTTP server failed, starting again", after_seconds=RESTART_SECONDS)
            await trio.sleep(RESTART_SECONDS)


class _Application:
    """The routes without the framework's start and end, which mistakes a cancellation for a failure of the latter."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})


def make_config(listener: socket.socket) -> anycorn.Config:
    """HTTP/1.1 and HTTP/2 on plain TCP; a request is not logged, a failure is."""
    config = anycorn.Config()
    config.bind = [f"fd://{listener.dup().detach()}"]
    config.backlog = BACKLOG
    config.logger_class = _Log
    config.errorlog = None
    config.graceful_timeout = GRACE_SECONDS
    config.h11_max_incomplete_size = HEAD_BYTES_MAX
    config.h2_max_header_list_size = HEAD_BYTES_MAX
    config.include_server_header = False
    config.keep_alive_max_requests = REQUESTS_PER_CONNECTION_MAX
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.websocket_max_message_size = MESSAGE_BYTES_MAX
    # Every reader would have its own copy of each block compressed, in the node's one thread.
    config.websocket_permessage_deflate = False
    return config
