"""What both clients know of streams: where one stands, what an event says, how long to wait before the next attempt."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Generic, TypeVar

import httpx
import httpx_sse
import msgspec

from sequencer.client.errors import UnexpectedAnswer
from sequencer.client.exchange import UNREADABLE
from sequencer.schema.blocks import BlockJson, TransactionForm
from sequencer.schema.streams import LaggingJson
from sequencer.schema.views import ViewJson

Item = TypeVar("Item")

EVENT_STREAM: Final = "text/event-stream"
QUIET_SECONDS_MAX: Final = 45.0
"""Without a word the connection is dead: a node sends a comment when there is nothing to say for 15 s."""
PAUSE_SECONDS: Final = 0.05
PAUSE_SECONDS_MAX: Final = 5.0
"""Between two attempts to connect when no node is there; doubled each time."""


class Elsewhere(Exception):
    """This node cannot go on with the stream; another one may."""


class Stream(ABC, Generic[Item]):
    """One reader's place in a stream, kept while connections and nodes come and go. `start` None: what comes next."""

    path: ClassVar[str]
    event: ClassVar[str]

    def __init__(self, shape: type[Item], start: int | None, query: Mapping[str, object]) -> None:
        self.start = start
        self._shape = shape
        self._query = query
        self._failures = 0

    @abstractmethod
    def take(self, item: Item) -> bool:
        """Note how far this leads; False for what was seen already. Raises `Elsewhere` when something is left out."""

    def make_arguments(self, base_url: str, timeout_seconds: float) -> dict[str, Any]:
        """Of one connection, as httpx takes them."""
        query = {**self._query, "from": self.start}
        return {
            "method": "GET",
            "url": base_url + self.path,
            "params": {name: str(value) for name, value in query.items() if value is not None},
            "headers": {"Accept": EVENT_STREAM, "Cache-Control": "no-store"},
            "timeout": httpx.Timeout(timeout_seconds, read=max(timeout_seconds, QUIET_SECONDS_MAX)),
        }

    def read(self, url: str, event: httpx_sse.ServerSentEvent) -> Item | None:
        """What an event brings; None for one about the stream itself, and for what was seen already.

        Raises `Elsewhere` when the node ends the stream or has a gap in it, `UnexpectedAnswer` for what is unreadable.
        """
        try:
            if event.event == self.event:
                item = msgspec.json.decode(event.data, type=self._shape)
                if not self.take(item):
                    return None
                self._failures = 0
                return item
            if event.event == "lagging" and msgspec.json.decode(event.data, type=LaggingJson).skipped is not None:
                raise Elsewhere
        except UNREADABLE as error:
            raise UnexpectedAnswer(url, f"an event {event.event!r}: {error}") from error
        if event.event == "closing":
            raise Elsewhere
        return None

    def compute_pause(self, nodes: int) -> float:
        """Seconds to wait after another failure: nothing until every node has had its turn, then ever longer."""
        self._failures += 1
        rounds = self._failures // nodes
        return min(PAUSE_SECONDS * 2 ** min(rounds, 16), PAUSE_SECONDS_MAX) if rounds else 0.0


class BlockStream(Stream[BlockJson]):
    """Every block once, in order, without a gap."""

    path = "/v1/stream/blocks"
    event = "block"

    def __init__(
        self, start: int, *, transactions: TransactionForm | None = None, namespace: int | None = None
    ) -> None:
        super().__init__(BlockJson, start, {"transactions": transactions, "namespace": namespace})
        self._next = start

    def take(self, item: BlockJson) -> bool:
        if item.height < self._next:
            return False
        if item.height > self._next:
            raise Elsewhere
        self.start = self._next = item.height + 1
        return True


class ViewStream(Stream[ViewJson]):
    """Views as a node sees them: each may come again with more in it, and some are left out."""

    path = "/v1/stream/views"
    event = "view"

    def __init__(self, start: int | None) -> None:
        super().__init__(ViewJson, start, {})

    def take(self, item: ViewJson) -> bool:
        self.start = max(item.view, self.start or 0)
        return True
