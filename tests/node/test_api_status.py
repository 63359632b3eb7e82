"""What a node says about itself, and how anything that is not served is refused."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from sequencer.api import problems
from sequencer.api.app import make_app
from sequencer.api.problems import Kind
from tests.node.api_world import World, open_world


@pytest.fixture
async def deciding(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path, validators=1) as world:
        yield world


@pytest.fixture
async def stuck(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path, validators=2) as world:
        yield world


async def test_status_tells_where_the_node_stands(deciding: World) -> None:
    final = (await deciding.post_one(b"a transaction", "?wait=finalized")).json()
    status = await deciding.get("/v1/status")
    assert status["network"] == "test"
    assert status["network_id"] == "0x" + deciding.node.network.network_id.hex()
    assert status["validator"] == status["leader"] == "n0"
    assert status["height"] >= final["height"]
    assert status["view"] > status["decided_view"] >= 1
    assert status["high_qc_view"] >= status["decided_view"]
    assert status["behind"] is False
    assert status["ready"] is True
    assert status["peers"] == []
    assert status["validators"] == 1
    assert status["mempool"] == {"transactions": 0, "bytes": 0}
    assert status["uptime_s"] >= 0


async def test_status_shows_what_is_pending(stuck: World) -> None:
    await stuck.post_one(b"1234567890")
    status = await stuck.get("/v1/status")
    assert status["mempool"] == {"transactions": 1, "bytes": 14}, "each with its namespace"
    assert status["height"] == 0
    assert status["ready"] is False


async def test_a_node_is_alive_before_it_is_ready(stuck: World) -> None:
    assert (await stuck.get("/livez"))["status"] == "alive"
    response = await stuck.client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["code"] == "not_ready"
    assert stuck.node.is_ready() is not None
    assert str(stuck.node.is_ready()) in response.json()["detail"]
    assert "Retry-After" in response.headers


async def test_a_node_that_has_decided_is_ready(deciding: World) -> None:
    await deciding.post_one(b"a transaction", "?wait=finalized")
    assert (await deciding.get("/readyz"))["status"] == "ready"


async def test_metrics_show_what_the_node_did(deciding: World) -> None:
    await deciding.post_batch([b"one", b"two"], "?wait=finalized")
    response = await deciding.client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
        if not sample.labels
    }
    assert samples["sequencer_decided_transactions_total"] == 2
    assert samples["sequencer_decided_height"] >= 1
    assert samples["sequencer_decided_height"] == samples["sequencer_decided_blocks_total"]
    assert samples["sequencer_mempool_transactions"] == 0


async def test_metrics_come_as_openmetrics_to_who_asks(deciding: World) -> None:
    response = await deciding.client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Every error has the same shape, whoever raised it."""
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["code"] == code
    assert body["type"] == f"urn:sequencer:problem:{code}"
    assert body["title"]
    assert body["detail"].endswith(".")
    return body


@pytest.mark.parametrize("path", ["/web", "/web/", "/v1", "/v2/status", "/v1/status/", "/v1/blocks/1/2", "/metrics/"])
async def test_an_unknown_address_is_a_problem_that_names_the_known_ones(stuck: World, path: str) -> None:
    body = assert_problem(await stuck.client.get(path), 404, "not_found")
    assert path in body["detail"]
    assert "/v1/transactions" in body["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/v1/transactions", "POST"), ("POST", "/v1/status", "GET"), ("DELETE", "/v1/blocks/1", "GET")],
)
async def test_another_method_is_a_problem_that_names_the_right_one(
    stuck: World, method: str, path: str, allowed: str
) -> None:
    response = await stuck.client.request(method, path)
    body = assert_problem(response, 405, "method_not_allowed")
    assert allowed in response.headers["Allow"]
    assert allowed in body["detail"]


async def test_a_client_that_takes_no_json_is_told_so(stuck: World) -> None:
    assert_problem(await stuck.client.get("/v1/status", headers={"Accept": "text/html"}), 406, "not_acceptable")
    for accept in ("*/*", "application/json;q=0.5, text/html", "application/*"):
        assert (await stuck.client.get("/v1/status", headers={"Accept": accept})).status_code == 200


async def test_a_parameter_where_none_is_taken_is_refused(stuck: World) -> None:
    body = assert_problem(await stuck.client.get("/v1/status?verbose=1"), 400, "bad_parameter")
    assert body["parameter"] == "verbose"


async def test_a_defect_is_a_problem_without_its_traceback(stuck: World) -> None:
    class Broken(type(stuck.node)):  # type: ignore[misc]
        """A node whose status cannot be computed."""

        def status(self) -> None:
            raise ZeroDivisionError("secret detail")

    broken = Broken.__new__(Broken)
    broken.__dict__ = stuck.node.__dict__
    transport = httpx.ASGITransport(make_app(broken, trio.Event()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        response = await client.get("/v1/status")
    assert_problem(response, 500, "internal")
    assert "secret" not in response.text


def test_codes_are_unique_and_fit_a_program() -> None:
    kinds = [value for value in vars(problems).values() if isinstance(value, Kind)]
    codes = [kind.code for kind in kinds]
    assert len(set(codes)) == len(codes) >= 15
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)
    assert {400, 404, 405, 406, 408, 409, 413, 415, 429, 500, 503, 504} == {kind.status for kind in kinds}
