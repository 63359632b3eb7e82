"""Reading the body of a request: its media type, its bounds, its end."""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Final

import trio
from starlette.requests import Request

from sequencer.api.parameters import parse_integer
from sequencer.api.problems import BODY_TIMEOUT, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, Problem

BODY_SECONDS_MAX: Final = 60
"""For the whole body to arrive: 4 MiB over a line of 0.6 Mbit/s. Keeps a client that trickles from holding memory."""

DISCARD_BYTES_MAX: Final = 32 * 1024 * 1024
"""A body that is too large is read up to here and forgotten, so that its sender hears why; a larger one is cut off."""


def read_media_type(request: Request, supported: Mapping[str, object]) -> str:
    """The body's media type, without parameters. Raises `Problem` unless it is one of `supported`."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise Problem(
            UNSUPPORTED_MEDIA_TYPE, f"Content-Encoding {encoding!r} is not read here; send the body as it is."
        )
    given = request.headers.get("content-type", "")
    media_type = given.partition(";")[0].strip().lower()
    if media_type not in supported:
        said = f"Content-Type is {given!r}" if given else "There is no Content-Type header"
        raise Problem(
            UNSUPPORTED_MEDIA_TYPE,
            f"{said}; send {' or '.join(supported)}.",
            headers={"Accept": ", ".join(supported)},
        )
    return media_type


async def read_body(request: Request, bytes_max: int, hint: str) -> bytes:
    """The whole body. Raises `Problem` when it exceeds `bytes_max` or takes too long to arrive.

    `starlette.requests.ClientDisconnect` when the client goes away before the end.
    """
    declared = parse_integer(request.headers.get("content-length", ""))
    if declared is not None and declared > DISCARD_BYTES_MAX:
        raise _too_large(f"The body has {declared} bytes", bytes_max, hint)
    chunks: list[bytes] = []
    size = 0
    with trio.move_on_after(BODY_SECONDS_MAX) as scope:
        async with aclosing(request.stream()) as stream:
            async for chunk in stream:
                size += len(chunk)
                if size > DISCARD_BYTES_MAX:
                    break
                if size <= bytes_max:
                    chunks.append(chunk)
                else:
                    # Read on, but keep nothing: an answer that overtakes the body is lost in the reset that follows it.
                    chunks.clear()
    if scope.cancelled_caught:
        raise Problem(
            BODY_TIMEOUT,
            f"{size} bytes arrived within {BODY_SECONDS_MAX} s and then no end. Send a smaller body.",
            headers={"Connection": "close"},
        )
    if size > bytes_max:
        raise _too_large(f"The body has {'more than ' * (size > DISCARD_BYTES_MAX)}{size} bytes", bytes_max, hint)
    return b"".join(chunks)


def _too_large(what: str, bytes_max: int, hint: str) -> Problem:
    return Problem(
        BODY_TOO_LARGE,
        f"{what}; at most {bytes_max} are read here. {hint}",
        headers={"Connection": "close"},
        bytes_max=bytes_max,
    )
