"""Every connection on its own.

anycorn 0.20 runs all connections in one nursery, and an exception in one of them ends all: every client's answer, and
every reader's stream. Clients can bring one about, for example by sending more right after a WebSocket's handshake than
a message may have: while the server refuses it, the application accepts, and one of the two is out of turn.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import anycorn.run
import structlog
from anycorn.tcp_server import tcp_server_handler
from h11 import ProtocolError as HttpError
from wsproto.utilities import ProtocolError as WebSocketError

log = structlog.get_logger("api")


def guard_connections() -> None:
    """From now on no connection of an anycorn in this process ends another one. May be called again."""
    vars(anycorn.run)["tcp_server_handler"] = _make_guarded


def _make_guarded(*arguments: Any) -> Callable[[Any], Awaitable[None]]:
    serve = tcp_server_handler(*arguments)

    async def serve_guarded(stream: Any) -> None:
        try:
            await serve(stream)
        except* (HttpError, WebSocketError) as errors:
            log.debug("client broke the protocol", error=repr(errors.exceptions[0]))
        except* Exception:
            log.exception("connection failed")

    return serve_guarded
