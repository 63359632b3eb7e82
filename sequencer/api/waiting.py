"""Waiting for finality on behalf of a client.

It ends with the last transaction, with the first that expires, with the client's patience, when the client goes away,
or when the node goes down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import trio
from starlette.requests import Request
from starlette.types import Receive

from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, seconds
from sequencer.api.problems import BAD_PARAMETER, Problem

WAIT_SECONDS_DEFAULT: Final = 30.0
WAIT_SECONDS_MAX: Final = 300
"""The mempool forgets what is older by default; proxies give up long before."""


TIMEOUT: Final = seconds(
    "timeout_s",
    "How long to wait for finality, in seconds. Only with wait=finalized.",
    default=WAIT_SECONDS_DEFAULT,
    most=WAIT_SECONDS_MAX,
)


class Ended(Enum):
    """Why a wait is over."""

    FINALIZED = "finalized"
    EXPIRED = "expired"
    TOO_LATE = "too late"
    CLIENT_GONE = "client gone"
    CLOSING = "closing"


@dataclass(frozen=True, slots=True)
class Wait:
    """What a client asked for with `?wait=finalized&timeout_s=30`."""

    is_wanted: bool
    seconds: float

    @classmethod
    def read(cls, query: Query, *, is_wanted: bool) -> "Wait":
        """Raises `Problem` when a time is given for which nothing would wait."""
        if not is_wanted and TIMEOUT in query:
            raise Problem(BAD_PARAMETER, "timeout_s means nothing without wait=finalized.", parameter="timeout_s")
        return cls(is_wanted, query.read(TIMEOUT))


async def wait_finalized(
    node: NodeView, hashes: Sequence[bytes], request: Request, closing: trio.Event, seconds: float
) -> Ended:
    """The body of `request` has been read. Nothing of the wait is left when this returns."""
    ended = Ended.TOO_LATE
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:

            def end(reason: Ended) -> None:
                nonlocal ended
                ended = reason
                nursery.cancel_scope.cancel()

            async def watch_client(receive: Receive) -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                end(Ended.CLIENT_GONE)

            async def watch_closing() -> None:
                await closing.wait()
                end(Ended.CLOSING)

            nursery.start_soon(watch_client, request.receive)
            nursery.start_soon(watch_closing)
            end(Ended.FINALIZED if await node.wait_finalized(hashes) else Ended.EXPIRED)
    return ended
