"""What both clients know of streams: where one stands, what an event says, how long to wait before the next attempt."""

from dataclasses import dataclass
from typing import Any, Final

import httpx
import httpx_sse
import msgspec

from sequencer.client.errors import UnexpectedAnswer
from sequencer.schema.blocks import BlockJson, TransactionForm
from sequencer.schema.streams import LaggingJson

EVENT_STREAM: Final = "text/event-stream"
QUIET_SECONDS_MAX: Final = 45.0
"""Without a word the connection is dead: a node sends a comment when there is nothing to say for 15 s."""
PAUSE_SECONDS: Final = 0.05
PAUSE_SECONDS_MAX: Final = 5.0
"""Between two attempts to connect when no node is there; doubled each time."""


class Elsewhere(Exception):
    """This node cannot go on with the stream; another one may."""


@dataclass
class BlockStream:
    """One reader's place in the chain, kept while connections and nodes come and go."""

    next_height: int
    transactions: TransactionForm | None = None
    namespace: int | None = None
    failed_nodes: int = 0
    """In a row, since the last block."""

    def make_arguments(self, base_url: str, timeout_seconds: float) -> dict[str, Any]:
        """Of one connection, as httpx takes them."""
        query = {"from": self.next_height, "transactions": self.transactions, "namespace": self.namespace}
        return {
            "method": "GET",
            "url": f"{base_url}/v1/stream/blocks",
            "params": {name: str(value) for name, value in query.items() if value is not None},
            "headers": {"Accept": EVENT_STREAM, "Cache-Control": "no-store"},
            "timeout": httpx.Timeout(timeout_seconds, read=max(timeout_seconds, QUIET_SECONDS_MAX)),
        }

    def read(self, url: str, event: httpx_sse.ServerSentEvent) -> BlockJson | None:
        """The block of an event; None for one that is about the stream, and for a block that was seen already.

        Raises `Elsewhere` when the node ends the stream or has a gap in it, `UnexpectedAnswer` for what is unreadable.
        """
        try:
            match event.event:
                case "block":
                    return self._take(msgspec.json.decode(event.data, type=BlockJson))
                case "lagging" if msgspec.json.decode(event.data, type=LaggingJson).skipped is not None:
                    raise Elsewhere
                case "closing":
                    raise Elsewhere
                case _:
                    return None
        except msgspec.MsgspecError as error:
            raise UnexpectedAnswer(url, f"an event {event.event!r}: {error}") from error

    def compute_pause(self, nodes: int) -> float:
        """Seconds to wait after another failure: nothing until every node has had its turn, then ever longer."""
        self.failed_nodes += 1
        rounds = self.failed_nodes // nodes
        return min(PAUSE_SECONDS * 2 ** min(rounds, 16), PAUSE_SECONDS_MAX) if rounds else 0.0

    def _take(self, block: BlockJson) -> BlockJson | None:
        if block.height < self.next_height:
            return None
        if block.height > self.next_height:
            raise Elsewhere
        self.next_height = block.height + 1
        self.failed_nodes = 0
        return block
