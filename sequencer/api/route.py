"""What a route says of itself. From these rows the node serves, and from the same ones /openapi.json is written.

A handler gets the request and a `Query` that knows exactly the parameters of its row, so nothing can be read that is
not described, and nothing is served without a row.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from sequencer.api.parameters import Parameter, Query
from sequencer.api.problems import (
    BAD_BODY,
    BAD_PARAMETER,
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    INTERNAL,
    NOT_ACCEPTABLE,
    UNSUPPORTED_MEDIA_TYPE,
    Kind,
)

JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"
MSGPACK: Final = "application/vnd.msgpack"
RAW: Final = (OCTETS, MSGPACK)
"""Of canonical encodings and of payloads, which are MessagePack and may be asked for as plain bytes too."""

Tag: TypeAlias = Literal["Transactions", "Blocks", "Streams", "Consensus", "Ledger", "Stake", "Records", "Node"]
Handler: TypeAlias = Callable[[Request, Query], Awaitable[Response]]
WebSocketHandler: TypeAlias = Callable[[WebSocket, Query], Awaitable[None]]

TAGS: Final[Mapping[Tag, str]] = {
    "Transactions": "Submit transactions, wait for them to be final, ask where they stand.",
    "Blocks": "Finalized blocks: what the sequencer has ordered. They never change.",
    "Streams": "Blocks and views as they come, over server-sent events and WebSocket.",
    "Consensus": "Who leads, who led, and what became of each view.",
    "Ledger": "Epoch, mode, committees, money and accounts.",
    "Stake": "Validators, and the operations by which stake moves.",
    "Records": "What happened: changes, slashings, evidence, faults.",
    "Node": "How this node is, and what it serves.",
}


@dataclass(frozen=True, slots=True)
class PathParameter:
    """One `{name}` of a path. The handler parses it and raises the problem of its own kind."""

    name: str
    description: str
    schema: Mapping[str, Any]
    example: str | int


@dataclass(frozen=True, slots=True)
class Body:
    """One form in which a request may bring its body. JSON has one of some `shapes`, anything else a `schema`."""

    media_type: str
    description: str
    shapes: tuple[type[Struct], ...] = ()
    schema: Mapping[str, Any] | None = None
    example: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A success. JSON has one of some `shapes`, anything else a `schema`; where it has both, it is a stream of events
    of these shapes.
    """

    shapes: tuple[type[Struct], ...] = ()
    description: str = "The answer."
    status: int = 200
    media_type: str = JSON
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method at one address."""

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    websocket: WebSocketHandler | None = None
    """Answers an upgrade at the same address; the description says how."""
    name: str
    """Stable, in camelCase: operationId, and what generated clients call it."""
    tag: Tag
    summary: str
    description: str
    path_parameters: tuple[PathParameter, ...] = ()
    parameters: tuple[Parameter[Any], ...] = ()
    bodies: tuple[Body, ...] = ()
    answers: tuple[Answer, ...]
    problems: tuple[Kind, ...] = ()
    """Beyond those that every route may answer with."""
    is_probe: bool = False
    """Asked by machines: answers whatever the Accept header says."""

    @cached_property
    def known(self) -> Mapping[str, Parameter[Any]]:
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def media_types(self) -> tuple[str, ...]:
        """Forms of its success; the first one is for whoever does not say."""
        return tuple(dict.fromkeys(answer.media_type for answer in self.answers))

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """Every problem that it may answer with."""
        common = [BAD_PARAMETER, INTERNAL]
        if not self.is_probe:
            common.append(NOT_ACCEPTABLE)
        if self.bodies:
            common += [BAD_BODY, BODY_TIMEOUT, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE]
        return tuple(dict.fromkeys([*common, *self.problems]))
