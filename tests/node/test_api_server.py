"""The API on a real socket: what clients, the operating system and the node's end do to it."""

import contextlib
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import httpx
import msgpack
import pytest
import trio
from structlog.testing import capture_logs
from structlog.typing import EventDict
from trio.testing import MockClock

from sequencer.api.body import BODY_SECONDS_MAX, DISCARD_BYTES_MAX
from sequencer.api.server import open_listener
from sequencer.ports import Address, PortUnavailableError
from tests.node.api_world import MSGPACK, Served, open_served, open_world

PATIENCE_SECONDS = 30
"""For what must happen, however slow the machine; a test that needs it has failed."""

Logs: TypeAlias = list[EventDict]

UPGRADE_TO_WEBSOCKET = (
    b"GET /livez HTTP/1.1\r\nHost: n0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def make_head(length: int, query: str = "") -> bytes:
    return (
        f"POST /v1/transactions/batch{query} HTTP/1.1\r\nHost: n0\r\nContent-Type: {MSGPACK}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


_BODY = msgpack.packb(b"a transaction")
WAITING_REQUEST = make_head(len(_BODY), "?wait=finalized&timeout_s=300") + _BODY


@pytest.fixture
async def stuck(tmp_path: Path) -> AsyncIterator[Served]:
    async with open_served(tmp_path, validators=2) as served:
        yield served


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as lines:
        yield lines


@pytest.fixture
async def deciding(tmp_path: Path) -> AsyncIterator[Served]:
    async with open_served(tmp_path, validators=1) as served:
        yield served


def make_client(served: Served) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://{served.address}", timeout=PATIENCE_SECONDS)


@contextlib.asynccontextmanager
async def connect(served: Served) -> AsyncIterator[trio.SocketStream]:
    with trio.fail_after(PATIENCE_SECONDS):
        async with await trio.open_tcp_stream(*served.address) as stream:
            yield stream


async def read_to_end(stream: trio.SocketStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def eventually(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a server that knows no tests
            await trio.sleep(0.001)


async def wait_until_pending(served: Served, transactions: int) -> None:
    await eventually(lambda: served.node.status().mempool_transactions == transactions)


def count_tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def test_a_busy_port_is_named_with_its_owner() -> None:
    with open_listener(Address("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(PortUnavailableError) as busy:
            open_listener(Address("127.0.0.1", port))
    assert str(port) in str(busy.value)
    assert str(os.getpid()) in str(busy.value)


async def test_a_batch_of_a_mebibyte_goes_through_a_socket_to_finality(deciding: Served) -> None:
    transactions = [number.to_bytes(2, "big") * 256 for number in range(900)]
    async with make_client(deciding) as client:
        response = await client.post(
            "/v1/transactions/batch?wait=finalized",
            content=b"".join(map(msgpack.packb, transactions)),
            headers={"Content-Type": MSGPACK},
        )
        assert response.status_code == 200
        assert response.json()["accepted"] == 900
        assert (await client.get("/readyz")).status_code == 200


async def test_a_connection_is_kept_and_answers_come_in_order(deciding: Served) -> None:
    async with connect(deciding) as stream:
        await stream.send_all(b"GET /v1/blocks/0 HTTP/1.1\r\nHost: n0\r\n\r\n")
        await stream.send_all(b"GET /livez HTTP/1.1\r\nHost: n0\r\nConnection: close\r\n\r\n")
        answers = await read_to_end(stream)
    assert answers.count(b"HTTP/1.1 200") == 2
    assert answers.index(b'"height":0') < answers.index(b'"alive"')


async def test_a_client_that_goes_away_while_it_waits_leaves_nothing_but_its_transaction(
    stuck: Served, logs: Logs
) -> None:
    tasks = count_tasks()
    async with connect(stuck) as stream:
        await stream.send_all(WAITING_REQUEST)
        await wait_until_pending(stuck, 1)
        assert count_tasks() > tasks
    await eventually(lambda: count_tasks() == tasks)
    assert stuck.node.status().mempool_transactions == 1
    assert not [line for line in logs if line["log_level"] in ("warning", "error", "critical")]


async def test_a_client_that_goes_away_within_its_body_submits_nothing(stuck: Served, logs: Logs) -> None:
    tasks = count_tasks()
    async with connect(stuck) as stream:
        await stream.send_all(make_head(1000) + msgpack.packb(b"a transaction"))
        await eventually(lambda: count_tasks() > tasks)
    await eventually(lambda: count_tasks() == tasks)
    assert stuck.node.status().mempool_transactions == 0
    assert not [line for line in logs if line["log_level"] in ("warning", "error", "critical")]


async def test_going_down_answers_who_waits_closes_idle_connections_and_takes_no_new_ones(stuck: Served) -> None:
    async with connect(stuck) as waiting, connect(stuck) as idle:
        await waiting.send_all(WAITING_REQUEST)
        await wait_until_pending(stuck, 1)
        stuck.closing.set()
        answer = await read_to_end(waiting)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b'"shutting_down"' in answer
        assert await read_to_end(idle) == b""
        await stuck.ended.wait()
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream(*stuck.address)


async def test_cancelled_it_ends_at_once_and_without_an_error(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_served(tmp_path, validators=2) as served, connect(served) as stream:
            await stream.send_all(WAITING_REQUEST)
            await wait_until_pending(served, 1)
    assert not served.ended.is_set()


async def test_a_body_above_the_limit_is_refused_and_its_sender_hears_it(stuck: Served) -> None:
    body = bytes(6 * 1024 * 1024)
    async with connect(stuck) as stream:
        await stream.send_all(make_head(len(body)) + body)
        answer = await read_to_end(stream)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"bytes_max":4194304' in answer


async def test_a_body_that_says_it_is_huge_is_refused_before_it_is_sent(stuck: Served) -> None:
    async with connect(stuck) as stream:
        await stream.send_all(make_head(DISCARD_BYTES_MAX + 1))
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 413")


async def test_a_body_without_a_length_is_cut_off_where_even_forgetting_it_ends(stuck: Served) -> None:
    head = make_head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    async with connect(stuck) as stream:
        await stream.send_all(head)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(chunk * (2 * DISCARD_BYTES_MAX // 0x100000))


async def test_a_body_that_stops_arriving_is_given_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    async def trickle() -> AsyncIterator[bytes]:
        yield msgpack.packb(b"a transaction")
        await trio.sleep_forever()

    async with open_world(tmp_path, validators=2) as world:
        started = trio.current_time()
        response = await world.client.post(
            "/v1/transactions/batch", content=trickle(), headers={"Content-Type": MSGPACK}
        )
        assert response.status_code == 408
        assert response.json()["code"] == "body_timeout"
        assert trio.current_time() - started == pytest.approx(BODY_SECONDS_MAX, abs=1)
        assert world.node.status().mempool_transactions == 0


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff" * 100 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"POST /v1/transactions HTTP/1.1\r\nHost: n0\r\nContent-Length: -1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
        UPGRADE_TO_WEBSOCKET + b"\xff\xff\xff",
    ],
    ids=["noise", "headers", "host", "length", "http2", "websocket"],
)
async def test_garbage_ends_its_connection_and_no_other(stuck: Served, garbage: bytes) -> None:
    async with make_client(stuck) as client:
        assert (await client.get("/livez")).status_code == 200
        async with connect(stuck) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(garbage)
                await stream.send_eof()
                assert b"HTTP/1.1 200" not in await read_to_end(stream)
        assert (await client.get("/livez")).status_code == 200


@contextlib.contextmanager
def few_descriptors(spare: int) -> Iterator[None]:
    """So few that the process can open only this many more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as next_one:
        lowest_free = next_one.fileno()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + spare, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_process_without_descriptors_left_answers_again_when_it_has_some(deciding: Served, logs: Logs) -> None:
    """A failed accept ends the server; the node goes on, and so does the server after a moment."""
    with few_descriptors(1):
        client = await trio.open_tcp_stream(*deciding.address)  # takes the last one, so it cannot be accepted
        await eventually(lambda: "HTTP server failed, starting again" in [line["event"] for line in logs])
    await client.aclose()
    async with make_client(deciding) as http:
        assert (await http.get("/livez")).status_code == 200
        response = await http.post(
            "/v1/transactions?wait=finalized", content=b"x", headers={"Content-Type": "application/octet-stream"}
        )
        assert response.status_code == 200
