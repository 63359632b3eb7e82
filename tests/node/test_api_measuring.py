"""What clients ask is counted, with the answer and the time, whatever becomes of it."""

from typing import Any

import pytest
import trio
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from sequencer.api.measuring import Measured
from sequencer.metrics.clients import Clients
from tests.node.fake_node import FakeNode, make_client
from tests.node.test_metrics import read

REQUESTS = "sequencer_http_requests_total"
SECONDS = "sequencer_http_request_seconds_count"


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


async def test_answers_and_refusals_are_counted_apart(node: FakeNode) -> None:
    """Everything is on the page from the start, so that a rate has something to start from."""
    assert read(node.metrics, REQUESTS, method="POST", code="5xx") == 0
    async with make_client(node) as client:
        await client.get("/v1/status")
        await client.get("/v1/nothing")
        await client.delete("/v1/status")
    assert read(node.metrics, REQUESTS, method="GET", code="2xx") == 1
    assert read(node.metrics, REQUESTS, method="GET", code="4xx") == 1
    assert read(node.metrics, REQUESTS, method="other", code="4xx") == 1
    assert read(node.metrics, SECONDS, method="GET") == 2


class Bench:
    """An application that does what a test says, measured."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.clients = Clients(self.registry)
        self.script: list[Message] = []
        self.is_broken = False
        self.readers_seen: list[float] = []

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        for message in self.script:
            await send(message)
            self.readers_seen.append(self.get("sequencer_stream_readers"))
        if self.is_broken:
            raise RuntimeError("a defect")

    async def ask(self, path: str, query: bytes = b"", kind: str = "http") -> None:
        async def nothing(*_: Any) -> Any:
            await trio.lowlevel.checkpoint()

        scope = {"type": kind, "path": path, "query_string": query} | ({"method": "GET"} if kind == "http" else {})
        await Measured(self._app, self.clients)(scope, nothing, nothing)

    def get(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


START = {"type": "http.response.start", "status": 200}
BODY = {"type": "http.response.body"}


async def test_a_stream_is_a_reader_while_it_lasts_and_no_slow_request() -> None:
    bench = Bench()
    bench.script = [START, BODY]
    await bench.ask("/v1/stream/blocks")
    bench.script = [{"type": "websocket.accept"}, {"type": "websocket.send"}]
    await bench.ask("/v1/stream/blocks", kind="websocket")
    assert bench.readers_seen == [1, 1, 1, 1]
    assert bench.get("sequencer_stream_readers") == 0
    bench.script = [START | {"status": 503}, BODY]
    await bench.ask("/v1/stream/blocks")
    bench.script = [{"type": "websocket.http.response.start", "status": 503}]
    await bench.ask("/v1/stream/blocks", kind="websocket")
    assert bench.readers_seen[4:] == [0, 0, 0], "one that is refused reads nothing"
    assert bench.get(SECONDS, method="GET") == 0
    assert bench.get(REQUESTS, method="GET", code="2xx") == 2
    assert bench.get(REQUESTS, method="GET", code="5xx") == 2


async def test_a_wait_for_finality_is_no_slow_request() -> None:
    bench = Bench()
    bench.script = [START, BODY]
    await bench.ask("/v1/transactions", b"wait=finalized")
    assert bench.get(REQUESTS, method="GET", code="2xx") == 1
    assert bench.get(SECONDS, method="GET") == 0


async def test_what_ends_without_an_answer_is_counted_too() -> None:
    bench = Bench()
    bench.is_broken = True
    with pytest.raises(RuntimeError):
        await bench.ask("/v1/status")
    assert bench.get(REQUESTS, method="GET", code="none") == 1
    assert bench.get(SECONDS, method="GET") == 0
