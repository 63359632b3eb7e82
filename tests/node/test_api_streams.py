"""Streams on real sockets: nothing missed and nothing twice, whoever reads beside, and whatever clients send."""

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from sequencer.api.limits import MESSAGE_BYTES_MAX
from sequencer.api.streaming import routes
from tests.node.api_world import Served, open_served
from tests.node.following import (
    BLOCKS,
    PATIENCE_SECONDS,
    VIEWS,
    Follower,
    WebSocketFollower,
    connect,
    follow,
    follow_over_websocket,
    make_upgrade,
    take,
)
from tests.node.test_api_server import Logs, count_tasks, eventually, logs, make_client, read_to_end
from tests.node.test_api_status import assert_problem

__all__ = ["logs"]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """One validator, which decides whatever it is given at once, and an empty block now and then."""
    async with open_served(tmp_path, validators=1) as served:
        yield served


async def submit(served: Served, *transactions: bytes, namespace: int = 0) -> None:
    """Each in a block of its own."""
    async with make_client(served) as client:
        for transaction in transactions:
            response = await client.post(
                f"/v1/transactions?wait=finalized&namespace={namespace}",
                content=transaction,
                headers={"Content-Type": "application/octet-stream"},
            )
            assert response.status_code == 200


def list_complaints(logs: Logs) -> Logs:
    return [line for line in logs if line["log_level"] in ("warning", "error", "critical")]


@pytest.mark.parametrize("form", ["none", "hashes", "full"])
async def test_a_stream_shows_what_a_range_shows_from_the_first_block_and_as_it_comes(
    served: Served, form: str
) -> None:
    await submit(served, b"one", b"two", b"three")
    async with follow(served.address, f"?from=0&transactions={form}") as follower:
        blocks = await take(follower, 4)
        await submit(served, b"four")
        blocks += await take(follower, 1)
    async with make_client(served) as client:
        shown = (await client.get(f"/v1/blocks?from=0&limit=5&transactions={form}")).json()
    assert blocks == shown["blocks"]
    assert any(block["payload_bytes"] for block in blocks)


async def test_a_reader_of_a_namespace_gets_every_block_and_of_each_its_own_transactions(served: Served) -> None:
    """Two rollups share the chain. One that follows its own namespace sees by the empty blocks that it missed none."""
    async with follow(served.address, "?from=1&namespace=7") as mine, follow(served.address, "?from=1") as all_blocks:
        for namespace, transaction in ((7, b"mine"), (8, b"theirs"), (7, b"mine too")):
            await submit(served, transaction, namespace=namespace)
        latest = served.node.storage.latest_height
        shown, everything = await take(mine, latest), await take(all_blocks, latest)
    assert [block["hash"] for block in shown] == [block["hash"] for block in everything]
    assert any(not block["transactions"] for block in shown)
    assert [each for block in shown for each in block["transactions"]] == [
        "0x" + b"mine".hex(),
        "0x" + b"mine too".hex(),
    ]
    async with follow(served.address, "?from=1&namespace=8&transactions=hashes") as theirs:
        (hash_,) = [each for block in await take(theirs, latest) for each in block["transactions"]]
    assert len(hash_) == 66


async def test_by_default_a_stream_begins_with_the_next_block(served: Served) -> None:
    await submit(served, b"before")
    latest = served.node.storage.latest_height
    async with follow(served.address) as follower:
        await submit(served, b"after")
        (block,) = await take(follower, 1)
    # An empty block may have come before the reader did.
    assert block["height"] in (latest + 1, latest + 2)


async def test_a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice(served: Served) -> None:
    """It reads a few blocks, goes away, and says what it had last, as browsers do; then the parameter counts for
    nothing.
    """
    heights: list[int] = []
    await submit(served, b"one", b"two", b"three")
    for number in range(4):
        headers = {"Last_Event_ID": str(heights[-1])} if heights else {}
        async with follow(served.address, "?from=0", **headers) as follower:
            await submit(served, b"transaction %d" % number)
            heights += [block["height"] for block in await take(follower, 1 + number % 2)]
    assert heights == list(range(6))


async def test_websocket_says_the_same_as_sse(served: Served) -> None:
    await submit(served, b"one", b"two")
    query = "?from=1&transactions=full"
    async with follow(served.address, query) as follower, follow_over_websocket(served.address, query) as other:
        await submit(served, b"three")
        blocks = await take(follower, 3)
        assert await take(other, 3) == blocks
    assert [block["height"] for block in blocks] == [1, 2, 3]


async def take_views(follower: Follower | WebSocketFollower, until: int) -> list[dict[str, Any]]:
    """Every event up to the first one that says that this view is decided."""
    events: list[dict[str, Any]] = []
    while True:
        event = await follower.next()
        assert event is not None
        assert (event.type, event.id) == ("view", event.data["view"])
        events.append(event.data)
        if event.data["view"] == until and event.data["outcome"] == "decided":
            return events


async def test_views_are_told_when_they_begin_and_end_and_what_came_of_them(served: Served) -> None:
    """A view may begin and end between two turns of a reader, which then hears of its end alone."""
    await submit(served, b"one")
    current = served.node.status().view
    async with follow(served.address, path=VIEWS) as follower:
        await submit(served, b"two", b"three")
        events = await take_views(follower, current + 1)
        while events[-1]["outcome"] != "open":
            event = await follower.next()
            assert event is not None
            events.append(event.data)
    assert all(event["view"] >= current for event in events)
    assert events[-1]["ended_ms"] is None
    last = {event["view"]: event for event in events}[current + 1]
    assert last["ended_ms"] >= last["started_ms"]
    async with make_client(served) as client:
        shown = (await client.get(f"/v1/views/{current + 1}")).json()
    assert shown.keys() == last.keys()
    assert (shown["proposal"], shown["leader"], shown["outcome"]) == (last["proposal"], last["leader"], "decided")


async def test_old_views_are_told_once_as_they_are_and_a_reader_comes_back_to_its_last_one(served: Served) -> None:
    await submit(served, b"one", b"two", b"three")
    async with follow(served.address, "?from=2", path=VIEWS) as follower:
        views = [event["view"] for event in await take_views(follower, 3)]
    assert views == [2, 3]
    async with follow(served.address, path=VIEWS, Last_Event_ID="2") as follower:
        assert [event["view"] for event in await take_views(follower, 3)] == [2, 3]
    async with follow_over_websocket(served.address, "?from=2", path=VIEWS) as other:
        assert [event["view"] for event in await take_views(other, 3)] == [2, 3]


async def test_a_node_that_goes_down_says_so_and_where_to_go_on(served: Served) -> None:
    """Both readers hear it at once, then their connections end in order."""
    async with follow(served.address) as follower, follow_over_websocket(served.address, "?from=0") as other:
        await submit(served, b"one")
        last = {reader: (await take(reader, 1))[-1]["height"] for reader in (follower, other)}
        served.closing.set()
        for reader in (follower, other):
            while (event := await reader.next()) is not None and event.type == "block":
                last[reader] = event.data["height"]
            assert event is not None
            assert (event.type, event.id) == ("closing", None)
            assert event.data == {"reason": "shutting_down", "next": last[reader] + 1}
            assert await reader.next() is None
        assert other.close_code == 1001
        await served.ended.wait()


async def test_a_reader_that_takes_nothing_harms_nobody(served: Served) -> None:
    """Its blocks are megabytes, of which the node writes what fits into the system's buffers, while another one reads
    all of them.
    """
    await submit(served, *(bytes([number]) * 100_000 for number in range(16)))
    query = "?from=0&transactions=full"
    with trio.socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await stalled.connect(served.address)
        await stalled.send(f"GET {BLOCKS}{query} HTTP/1.1\r\nHost: n0\r\n\r\n".encode())
        async with follow(served.address, query) as follower:
            blocks = await take(follower, 17)
            assert sum(len(json.dumps(block)) for block in blocks) > 3_000_000
            await submit(served, b"one more")
            await take(follower, 1)
        # What is on its way to the stalled one now, and its last event, is all that it gets.
        served.closing.set()
        sent = b""
        while chunk := await stalled.recv(65_536):
            sent += chunk
    assert b"event: closing" in sent
    assert len(sent) < 800_000


async def test_a_reader_that_goes_away_leaves_nothing(served: Served, logs: Logs) -> None:
    tasks = count_tasks()
    async with follow(served.address, "?from=0") as follower, follow_over_websocket(served.address, "?from=0") as other:
        await take(follower, 1)
        await take(other, 1)
        assert count_tasks() > tasks
    await eventually(lambda: count_tasks() == tasks)
    assert not list_complaints(logs)


async def test_there_is_room_for_so_many_readers_and_no_more(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes when it is full hears it, over WebSocket too. A place is free again when its reader has left."""
    monkeypatch.setattr(routes, "STREAMS_MAX", 2)
    async with make_client(served) as client:
        async with follow(served.address, "?from=0") as follower, follow_over_websocket(served.address) as _:
            await take(follower, 1)
            refused = await client.get(BLOCKS)
            assert_problem(refused, 503, "too_many_streams")
            assert refused.json()["streams_max"] == 2
            async with connect(served.address) as stream:
                await stream.send_all(make_upgrade())
                answer = await read_to_end(stream)
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"too_many_streams" in answer
        with trio.fail_after(PATIENCE_SECONDS):
            while (await client.head(BLOCKS)).status_code == 503:  # noqa: ASYNC110 - a server that knows no tests
                await trio.sleep(0.01)


async def test_what_cannot_be_understood_is_refused(served: Served) -> None:
    cases: list[tuple[str, dict[str, str]]] = [
        ("?from=-1", {}),
        ("?from=latest", {}),
        ("?transactions=some", {}),
        ("?on_lag=wait", {}),
        ("?lag_s=0", {}),
        ("?form=1", {}),
        ("?namespace=-1", {}),
        ("?from=1", {"Last-Event-ID": "abc"}),
        ("", {"Last-Event-ID": str(2**63)}),
    ]
    async with make_client(served) as client:
        for query, headers in cases:
            assert_problem(await client.get(BLOCKS + query, headers=headers), 400, "bad_parameter")
        assert_problem(await client.get(BLOCKS, headers={"Accept": "text/html"}), 406, "not_acceptable")


def open_frames(data: bytes) -> list[Any]:
    """What a client that has shaken hands makes of these bytes."""
    connection = Connection(ConnectionType.CLIENT)
    connection.receive_data(data)
    return list(connection.events())


def make_frames(*events: Any) -> bytes:
    connection = Connection(ConnectionType.CLIENT)
    return b"".join(map(connection.send, events))


LONG = MESSAGE_BYTES_MAX // 3 + 1
GARBAGE = [
    b"\xff\xff\xff",
    b"\x81\x05hello",
    b"GET / HTTP/1.1\r\nHost: n0\r\n\r\n",
    b"\x82\xff" + (2**62).to_bytes(8, "big") + bytes(4),
    b"\x89\xfe\x01\x00" + bytes(260),
    b"\x81\x82" + bytes(4) + b"\xff\xfe",
    b"\xf1\x80" + bytes(4),
    b"\x88\x81" + bytes(5),
    b"\x80\x80" + bytes(4),
    make_frames(BytesMessage(bytes(3 * LONG))),
    make_frames(*(TextMessage("x" * LONG, message_finished=False) for _ in range(3))),
    make_frames(CloseConnection(1000)) * 2 + make_frames(Ping()),
    *(Random(seed).randbytes(300) for seed in range(12)),
]
"""Unmasked, of no known kind, of a length that nobody has, not UTF-8, of a close that says too little, in pieces of
nothing, too long at once and in pieces, after the end, and noise.
"""


async def test_garbage_after_the_upgrade_ends_its_connection_and_no_other(served: Served, logs: Logs) -> None:
    """Also when it arrives together with the handshake. The server under the API must not fail over any of it."""
    async with follow_over_websocket(served.address, "?from=0") as reader:
        for garbage in GARBAGE:
            for sent in ([make_upgrade(), garbage], [make_upgrade() + garbage]):
                async with connect(served.address) as stream:
                    for data in sent:
                        await stream.send_all(data)
                    await stream.send_eof()
                    await read_to_end(stream)
        await take(reader, 1)
        await submit(served, b"a transaction")
        await take(reader, 1)
    assert not list_complaints(logs)


async def test_a_client_may_greet_and_ping_and_is_answered(served: Served) -> None:
    said = make_frames(TextMessage("hello"), Ping(b"are you there"), CloseConnection(1000))
    async with connect(served.address) as stream:
        await stream.send_all(make_upgrade() + said)
        head, _, rest = (await read_to_end(stream)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    answers = open_frames(rest)
    assert "are you there" in [bytes(answer.payload).decode() for answer in answers if isinstance(answer, Pong)]
    assert isinstance(answers[-1], CloseConnection)


async def test_a_message_that_is_too_long_is_said_to_be(served: Served) -> None:
    async with follow_over_websocket(served.address, "?from=0") as reader:
        await take(reader, 1)
        await reader.send(make_frames(TextMessage("x" * 3 * LONG)))
        while await reader.next() is not None:
            pass
    assert reader.close_code == 1009


async def test_nothing_else_takes_an_upgrade(served: Served) -> None:
    async with connect(served.address) as stream:
        await stream.send_all(make_upgrade("/v1/status"))
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 403")


async def test_a_page_of_another_origin_may_follow_and_nobody_keeps_what_it_reads(served: Served) -> None:
    async with follow(served.address, Origin="https://rollup.example") as follower:
        assert follower.head is not None
        headers = {name.decode().title(): value.decode() for name, value in follower.head.headers}
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Content-Type"].startswith("text/event-stream")
    assert headers["Cache-Control"] == "no-store"
    assert "Content-Length" not in headers
    async with make_client(served) as client:
        assert (await client.head(BLOCKS)).headers["Content-Type"] == headers["Content-Type"]
