"""The served API against its own document: schemathesis makes up requests, right ones and wrong ones, and checks.

They come from the document alone, the same in every run. The application runs over a real node that decides everything.
"""

import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import suppress
from typing import Any

import msgpack
import pytest
import schemathesis
import trio
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.types import ASGIApp

from sequencer.api.app import make_app, make_table
from sequencer.api.openapi import write_document
from tests.node.api_world import open_node
from tests.node.fake_node import FakeNode
from tests.node.mesh import Keyring

EXAMPLES = 4
"""Of each operation and kind of data, besides the boundaries that are always tried."""

# 503 and 504 say "not now" and "not in time": a wait for 0.001 s ends so.
REFUSALS = ["400", "404", "405", "406", "409", "413", "415"]

Message = MutableMapping[str, Any]


class InTrio:
    """An application of a Trio run in another thread, for a caller that knows no Trio: one whole exchange at a time."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None
        self.token: trio.lowlevel.TrioToken | None = None

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            return
        sent = trio.from_thread.run(self._exchange, scope, await receive(), trio_token=self.token)
        for message in sent:
            await send(message)

    async def _exchange(self, scope: Message, request: Message) -> list[Message]:
        sent: list[Message] = []
        requests = [request]

        async def receive() -> Message:
            if not requests and not is_stream(sent):
                await trio.sleep_forever()
            # Of a stream its beginning is looked at: nobody reads on.
            return requests.pop() if requests else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        assert self.app is not None
        with trio.fail_after(60), suppress(Exception):  # a defect has been answered by then, and that is what counts
            await self.app(scope, receive, send)
        return [*sent, {"type": "http.response.body"}] if is_stream(sent) else sent


def is_stream(sent: list[Message]) -> bool:
    """Whether what was sent so far begins an answer without end."""
    return bool(sent) and any(value.startswith(b"text/event-stream") for _, value in sent[0].get("headers", ()))


SERVED = InTrio()


@pytest.fixture(scope="module", autouse=True)
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A node of a network of one in its own thread, for all requests of this file."""
    started = threading.Event()
    ended: list[trio.CancelScope] = []

    async def run() -> None:
        with trio.CancelScope() as scope:
            async with open_node(tmp_path_factory.mktemp("node"), Keyring(1)) as (node, _):
                SERVED.app, SERVED.token = make_app(node, trio.Event()), trio.lowlevel.current_trio_token()
                ended.append(scope)
                started.set()
                await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    assert started.wait(60)
    yield
    assert SERVED.token is not None
    trio.from_thread.run_sync(ended[0].cancel, trio_token=SERVED.token)
    thread.join()


@schemathesis.serializer("application/vnd.msgpack")
def pack(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Bins for bytes; anything that the document forbids stays what it is, and is no bin."""
    items = value if isinstance(value, list) else [[value]]
    return b"".join(msgpack.packb(getattr(item, "data", item), default=str) for item in items)


@schemathesis.serializer("application/x-ndjson")
def write_lines(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Texts as lines; anything else in brackets, lest a number be taken for digits."""
    items = value if isinstance(value, list) else [[value]]
    lines = (item if isinstance(item, str) else f"<{item}>" for item in items)
    return "\n".join(lines).encode(errors="replace")


def load_document() -> Any:
    config = SchemathesisConfig.from_dict(
        {
            "generation": {"deterministic": True, "max-examples": EXAMPLES},
            "checks": {
                "negative_data_rejection": {"expected-statuses": REFUSALS},
                "not_a_server_error": {"expected-statuses": [*REFUSALS, "2xx", "3xx", "503", "504"]},
            },
        }
    )
    document = write_document("1.2.3", make_table(FakeNode(), trio.Event()))
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.app = SERVED
    return schema


schema = load_document()


def says_more_than_its_schema(case: schemathesis.Case[Any]) -> bool:
    """What OpenAPI has no words for: parameters that mean something only beside another, an encoding of our own."""
    query = case.query or {}
    is_lonely = ("timeout_s" in query and query.get("wait") != "finalized") or (
        "beneficiary" in query and query.get("wait") != "soft"
    )
    is_encoded = case.media_type == "application/octet-stream" or (
        isinstance(case.body, dict) and bool({"operation", "operation_base64"} & set(case.body))
    )
    return is_lonely or (case.path == "/v1/operations" and is_encoded)


@schema.parametrize()  # type: ignore[untyped-decorator]
@settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
def test_the_api_does_what_its_document_says(case: schemathesis.Case[Any]) -> None:
    """No failure of the node, no status, media type, header or shape that is not described.

    What the document forbids is refused, and what it allows is taken.
    """
    excluded: list[Any] = [positive_data_acceptance] if says_more_than_its_schema(case) else []
    case.call_and_validate(excluded_checks=excluded)
