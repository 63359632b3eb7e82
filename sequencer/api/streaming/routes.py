"""The addresses of the streams, what may be asked of them, and how many clients may."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from msgspec import Struct
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from sequencer.api.blocks import NAMESPACE, Blocks
from sequencer.api.finding import make_not_found
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, choice, integer, parse_integer, seconds
from sequencer.api.problems import BAD_PARAMETER, BLOCK_NOT_FOUND, SHUTTING_DOWN, TOO_MANY_STREAMS, Problem
from sequencer.api.route import Answer, Route
from sequencer.api.streaming.feed import BlockFeed, BlockSelection, Feed
from sequencer.api.streaming.frames import FrameCache
from sequencer.api.streaming.outlets import EVENT_STREAM, EventStream, Room, serve_websocket
from sequencer.api.streaming.pump import Pump
from sequencer.api.streaming.reader import LAG_SECONDS_DEFAULT, LAG_SECONDS_MAX, OnLag, Outlet, Reader, Wish
from sequencer.api.streaming.view_feed import ViewFeed
from sequencer.api.views import Views
from sequencer.directory import Directory
from sequencer.schema.blocks import BlockJson, TransactionForm
from sequencer.schema.fields import HEIGHT_MAX
from sequencer.schema.streams import ClosingJson, LaggingJson
from sequencer.schema.views import ViewJson

STREAMS_MAX: Final = 2048
"""Readers at a time. Each costs 30 KiB here and a descriptor; all together wait a second for a block at most."""

LAST_EVENT_ID: Final = "Last-Event-ID"

_FORMS: Final[tuple[TransactionForm, ...]] = ("full", "hashes", "none")
_ON_LAG: Final[tuple[OnLag, ...]] = ("continue", "skip", "close")

_FORM: Final = choice("transactions", "What to show of each block's transactions.", _FORMS, default="none")
_FROM_HEIGHT: Final = integer(
    "from",
    "Height of the first block, 0 for the whole chain; the next one to come when it is absent. The header "
    f"{LAST_EVENT_ID} wins over it.",
    default=None,
    least=0,
    most=HEIGHT_MAX,
    example=1,
)
_FROM_VIEW: Final = integer(
    "from",
    "Number of the first view, as far back as the node remembers; the one under way when it is absent. The header "
    f"{LAST_EVENT_ID} wins over it.",
    default=None,
    least=0,
    most=HEIGHT_MAX,
    example=1,
)
_LAG_POLICY: Final = choice(
    "on_lag",
    "What to do once this reader was up to date and has fallen behind: continue with everything, skip to the latest, "
    "or close the stream. It is told in each case.",
    _ON_LAG,
    default="continue",
)
_LAG: Final = seconds(
    "lag_s",
    "Seconds within which this reader takes what is ready for it, or else has fallen behind.",
    default=LAG_SECONDS_DEFAULT,
    most=LAG_SECONDS_MAX,
)

_DESCRIPTION: Final = """\
Server-sent events, or the same over WebSocket: an upgrade at this address gets each event as one message, \
`{{"type": "{event}", "id": 17, "data": {{…}}}}`.

- `{event}`: `data` is {data}, `id` {id}. {order}.
- `lagging`: this reader was up to date, and has not taken within `lag_s` what was ready for it. It says how far \
behind that is, and what was skipped, if anything was: by default nothing ever is, for what is due is read again from \
where it is kept.
- `closing`: the last event, when the node goes down or `on_lag=close` says so. It says where to go on.

A reader that connects again with `Last-Event-ID`, as browsers do, or with `from`, to this node or to another one, \
{again}. When there is nothing to say for 15 s a comment comes, over WebSocket a message of type `heartbeat`. A \
client that takes nothing of what it is sent for 20 s is cut off.\
"""


def _describe_events(shape: type[Struct]) -> Answer:
    shapes = (shape, LaggingJson, ClosingJson)
    return Answer(shapes, "Events.", media_type=EVENT_STREAM, schema={"type": "string"})


class Streams:
    """The routes under /v1/stream."""

    def __init__(self, node: NodeView, directory: Directory, blocks: Blocks, views: Views, pump: Pump) -> None:
        self._node = node
        self._pump = pump
        self._frames = FrameCache()
        self._room = Room()
        self._blocks = BlockFeed(node, directory, blocks)
        self._views = ViewFeed(node, directory, views)
        pump.add(self._blocks)
        pump.add(self._views)
        self._open = 0

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/v1/stream/blocks",
                handler=self.blocks,
                websocket=self.blocks_over_websocket,
                name="streamBlocks",
                tag="Streams",
                summary="Finalized blocks as they come, from any height",
                description=_DESCRIPTION.format(
                    event="block",
                    data="a block as GET /v1/blocks shows it",
                    id="its height",
                    order="In ascending order, none twice and none left out",
                    again="misses nothing and gets nothing twice",
                ),
                parameters=(_FROM_HEIGHT, _FORM, NAMESPACE, _LAG_POLICY, _LAG),
                answers=(_describe_events(BlockJson),),
                problems=(BLOCK_NOT_FOUND, TOO_MANY_STREAMS, SHUTTING_DOWN),
            ),
            Route(
                method="GET",
                path="/v1/stream/views",
                handler=self.views,
                websocket=self.views_over_websocket,
                name="streamViews",
                tag="Streams",
                summary="Views as they begin, end and are decided",
                description=_DESCRIPTION.format(
                    event="view",
                    data="a view as GET /v1/views shows it at that moment",
                    id="its number",
                    order="When it begins, when it has ended, and again when its outcome changes after that: an event "
                    "replaces an earlier one of the same id. A view that the node was never in is left out",
                    again="begins with the view that it had last",
                ),
                parameters=(_FROM_VIEW, _LAG_POLICY, _LAG),
                answers=(_describe_events(ViewJson),),
                problems=(TOO_MANY_STREAMS, SHUTTING_DOWN),
            ),
        )

    async def blocks(self, request: Request, query: Query) -> Response:
        return self._respond(self._blocks, self._read_block_wish(request, query))

    async def blocks_over_websocket(self, websocket: WebSocket, query: Query) -> None:
        await self._serve(self._blocks, self._read_block_wish(websocket, query), websocket)

    def _read_block_wish(self, connection: HTTPConnection, query: Query) -> Wish:
        start = _read_start(connection, query.read(_FROM_HEIGHT), self._blocks, self._blocks.latest + 1)
        if start < self._blocks.first:
            raise make_not_found(self._node.storage, str(start))
        namespace = query.read(NAMESPACE)
        form = "full" if namespace is not None and _FORM not in query else query.read(_FORM)
        return Wish(start, BlockSelection(form, namespace), query.read(_LAG_POLICY), query.read(_LAG))

    async def views(self, request: Request, query: Query) -> Response:
        return self._respond(self._views, self._read_view_wish(request, query))

    async def views_over_websocket(self, websocket: WebSocket, query: Query) -> None:
        await self._serve(self._views, self._read_view_wish(websocket, query), websocket)

    def _read_view_wish(self, connection: HTTPConnection, query: Query) -> Wish:
        current = self._node.views.get_current()
        start = _read_start(connection, query.read(_FROM_VIEW), self._views, 0 if current is None else current.view)
        return Wish(start, None, query.read(_LAG_POLICY), query.read(_LAG))

    def _respond(self, feed: Feed, wish: Wish) -> Response:
        self._check_capacity()
        return EventStream(partial(self._open_reader, feed, wish))

    async def _serve(self, feed: Feed, wish: Wish, websocket: WebSocket) -> None:
        self._check_capacity()
        await serve_websocket(websocket, partial(self._open_reader, feed, wish), self._room)

    def _check_capacity(self) -> None:
        if self._pump.is_closing:
            raise Problem(SHUTTING_DOWN, "The node is going down and streams no more. Follow another node.")
        if self._open >= STREAMS_MAX:
            raise Problem(
                TOO_MANY_STREAMS,
                f"{self._open} streams are open here, and no more are served. Follow another node.",
                streams_max=STREAMS_MAX,
            )

    @contextmanager
    def _open_reader(self, feed: Feed, wish: Wish, outlet: Outlet) -> Iterator[Reader]:
        self._open += 1
        try:
            yield Reader(self._pump, self._frames, feed, wish, outlet)
        finally:
            self._open -= 1


def _read_start(connection: HTTPConnection, asked: int | None, feed: Feed, default: int) -> int:
    """Id of the first event that this client wants."""
    last = connection.headers.get(LAST_EVENT_ID)
    if last is None:
        return default if asked is None else asked
    number = parse_integer(last)
    if number is None or number >= HEIGHT_MAX:
        raise Problem(
            BAD_PARAMETER,
            f"{LAST_EVENT_ID}: {last[:80]!r} is not the id of an event of this stream, which is a whole number.",
            parameter=LAST_EVENT_ID,
        )
    return number if feed.repeats else number + 1
