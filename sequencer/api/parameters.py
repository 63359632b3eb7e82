"""Reading what a request says: query parameters, media types, the body. What is not understood is refused by name."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Final

import trio
from starlette.requests import Request

from sequencer.api.encoding import JSON_MEDIA_TYPE
from sequencer.api.problems import (
    BAD_PARAMETER,
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    NOT_ACCEPTABLE,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
)

BODY_SECONDS_MAX: Final = 60
"""For the whole body to arrive: 4 MiB over a line of 0.6 Mbit/s. Keeps a client that trickles from holding memory."""

DISCARD_BYTES_MAX: Final = 32 * 1024 * 1024
"""A body that is too large is read up to here and forgotten, so that its sender hears why; a larger one is cut off."""

RAW_MEDIA_TYPES: Final = ("application/octet-stream", "application/vnd.msgpack")
"""Of canonical encodings and of payloads, which are MessagePack and may be asked for as plain bytes too."""


class Query:
    """The query parameters of one request; each may stand once, unknown ones are refused."""

    def __init__(self, request: Request, allowed: frozenset[str] = frozenset()) -> None:
        self._values: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            if name not in allowed:
                known = f"It takes {', '.join(sorted(allowed))}." if allowed else "It takes none."
                raise _bad_parameter(name, f"{request.url.path} does not know the parameter {name!r}. {known}")
            if name in self._values:
                raise _bad_parameter(name, f"The parameter {name!r} stands twice; give it once.")
            self._values[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def read_text(self, name: str, default: str) -> str:
        return self._values.get(name, default)

    def read_choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        value = self._values.get(name, default)
        if value not in choices:
            raise _bad_parameter(name, f"{name}={value!r} is not one of {', '.join(choices)}.")
        return value

    def read_flag(self, name: str) -> bool:
        """`true` or `false`; false when it is not given."""
        return self.read_choice(name, ("true", "false"), "false") == "true"

    def read_integer(self, name: str, default: int, *, least: int, most: int) -> int:
        text = self._values.get(name)
        if text is None:
            return default
        value = parse_integer(text)
        if value is None or not least <= value <= most:
            raise _bad_parameter(name, f"{name}={text!r} is not a whole number from {least} to {most}.")
        return value

    def read_seconds(self, name: str, default: float, *, most: float) -> float:
        """A positive number of seconds."""
        text = self._values.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 < value <= most:
            raise _bad_parameter(name, f"{name}={text!r} is not a number of seconds above 0 and up to {most:g}.")
        return value


def parse_integer(text: str) -> int | None:
    """At most 19 plain decimal digits -> integer, else None: no sign, no blanks, no other scripts' digits."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    return int(text)


def _bad_parameter(name: str, detail: str) -> Problem:
    return Problem(BAD_PARAMETER, detail, parameter=name)


def check_accepts_json(request: Request) -> None:
    """Raises `Problem` when the client says that it cannot read JSON."""
    choose_media_type(request, (JSON_MEDIA_TYPE,))


def choose_media_type(request: Request, offered: Sequence[str]) -> str:
    """The first of these that the client says it accepts; without a word, the first. Raises `Problem` for none."""
    accept = request.headers.get("accept")
    if accept is None:
        return offered[0]
    ranges = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    for media_type in offered:
        if not ranges.isdisjoint((media_type, f"{media_type.partition('/')[0]}/*", "*/*")):
            return media_type
    raise Problem(NOT_ACCEPTABLE, f"The answer is {' or '.join(offered)}, your Accept header says {accept!r}.")


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
