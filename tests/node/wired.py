"""The client of the command line, led to a node in this process without a socket."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trio

from sequencer.client.exchange import make_options
from tests.node.fake_node import FakeNode, make_client


def wire(monkeypatch: pytest.MonkeyPatch, find_node: Callable[[httpx.Request], FakeNode | None]) -> None:
    """Every request of a `Client` goes to the node that `find_node` names; None refuses the connection."""

    def answer(request: httpx.Request) -> httpx.Response:
        node = find_node(request)
        if node is None:
            raise httpx.ConnectError("connection refused")

        async def ask() -> httpx.Response:
            async with make_client(node) as client:
                target = request.url.raw_path.decode()
                response = await client.request(
                    request.method, target, content=request.content, headers=dict(request.headers)
                )
                return httpx.Response(response.status_code, headers=response.headers, content=response.content)

        return trio.run(ask)

    def make_wired(urls: Any, timeout_seconds: float, _transport: object) -> dict[str, Any]:
        return make_options(urls, timeout_seconds, httpx.MockTransport(answer))

    monkeypatch.setattr("sequencer.client.blocking.make_options", make_wired)
