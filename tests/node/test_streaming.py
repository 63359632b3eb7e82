"""Readers of streams without sockets, on virtual time: who writes when, what lagging means, what is kept."""

import json
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sequencer.api.streaming.frames import FrameCache, Wire, encode_event
from sequencer.api.streaming.pump import BURST_SECONDS, GROUP_READERS, QUIET_SECONDS, SHARE, WRITE_SECONDS, Pump
from sequencer.api.streaming.reader import STEP_BYTES, OnLag, Reader, Wish


class Numbers:
    """A feed of numbers, each with some filling."""

    event = "number"
    repeats = False

    def __init__(self, latest: int = 0, filling: int = 0) -> None:
        self.latest = latest
        self.first = 0
        self.filling = filling
        self.rendered: list[int] = []
        self._news = trio.lowlevel.ParkingLot()

    def find(self, id_: int) -> int:
        return id_

    def get_id(self, number: int) -> int:
        return number

    def seek(self, number: int) -> int:
        return max(number, self.first)

    def render(self, number: int, selection: Hashable) -> bytes:
        self.rendered.append(number)
        return json.dumps({"number": number, "filling": "x" * self.filling}).encode()

    async def wait_news(self) -> None:
        await self._news.park()

    def grow(self, count: int = 1) -> None:
        self.latest += count
        self._news.unpark_all()


class Client:
    """An outlet that remembers, and stops taking anything when a test says so."""

    def __init__(self, wire: Wire = "websocket") -> None:
        self.wire: Wire = wire
        self.may_split = wire == "sse"
        self.parts: list[bytes] = []
        self.times: list[float] = []
        self.beats = 0
        self.is_taking = trio.Event()
        self.is_taking.set()

    async def write(self, parts: list[bytes]) -> None:
        await self.is_taking.wait()
        self.parts += parts
        self.times.append(trio.current_time())

    async def beat(self) -> None:
        self.beats += 1

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(part) for part in self.parts]

    @property
    def numbers(self) -> list[int]:
        return [message["id"] for message in self.messages if message["type"] == "number"]

    def find(self, kind: str) -> list[dict[str, Any]]:
        return [message["data"] for message in self.messages if message["type"] == kind]


@dataclass
class World:
    """A feed that readers follow."""

    nursery: trio.Nursery
    feed: Numbers
    pump: Pump
    frames: FrameCache
    closing: trio.Event
    ended: list[str] = field(default_factory=list)

    def follow(
        self,
        start: int,
        *,
        on_lag: OnLag = "continue",
        lag: int = 10,
        wire: Wire = "websocket",
        client: Client | None = None,
    ) -> Client:
        client = client or Client(wire)
        reader = Reader(self.pump, self.frames, self.feed, Wish(start, None, on_lag, lag), client)

        async def run() -> None:
            self.ended.append(await reader.run())

        self.nursery.start_soon(run)
        return client


@asynccontextmanager
async def open_world(feed: Numbers, *, frames_bytes_max: int = 1_000_000) -> AsyncIterator[World]:
    pump, closing = Pump(), trio.Event()
    pump.add(feed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run, closing)
        yield World(nursery, feed, pump, FrameCache(frames_bytes_max), closing)
        nursery.cancel_scope.cancel()


async def settle() -> None:
    """Until everybody waits for news or for a client: the pump rests for less than this."""
    for _ in range(3):
        await trio.sleep(QUIET_SECONDS / 4)
        await wait_all_tasks_blocked()


async def test_a_reader_gets_everything_from_its_start_and_what_comes(autojump_clock: MockClock) -> None:
    async with open_world(Numbers(latest=500)) as world:
        old, new = world.follow(17), world.follow(501)
        await settle()
        world.feed.grow()
        await wait_all_tasks_blocked()
        world.feed.grow(2)
        await settle()
        assert old.numbers == list(range(17, 504))
        assert new.numbers == [501, 502, 503]


async def test_a_start_that_is_not_reached_yet_is_waited_for(autojump_clock: MockClock) -> None:
    """A reader comes from a node that is further than this one: it must get nothing twice."""
    async with open_world(Numbers(latest=5)) as world:
        client = world.follow(8)
        world.feed.grow()
        await settle()
        assert client.numbers == []
        world.feed.grow(3)
        await settle()
        assert client.numbers == [8, 9]


async def test_many_readers_cost_one_encode_and_one_wake_up(autojump_clock: MockClock) -> None:
    async with open_world(Numbers()) as world:
        clients = [world.follow(1) for _ in range(200)]
        await settle()
        world.feed.grow()
        await settle()
        world.feed.grow()
        await settle()
        assert all(client.numbers == [1, 2] for client in clients)
        assert world.feed.rendered == [1, 2]


async def test_a_crowd_gets_no_more_than_its_share_of_the_thread(autojump_clock: MockClock) -> None:
    """With more readers than can be served at once they are woken in groups, with rests between.

    Time stands still in this test while anybody works, so all that passes is rest.
    """
    readers = 1000
    async with open_world(Numbers()) as world:
        clients = [world.follow(1) for _ in range(readers)]
        await settle()
        started = trio.current_time()
        world.feed.grow()
        await settle()
        delays = sorted(client.times[-1] - started for client in clients)
        assert delays[GROUP_READERS - 1] == 0
        assert delays[-1] > 0.9 * (readers * WRITE_SECONDS - BURST_SECONDS) / SHARE
        assert len(set(delays)) > readers / GROUP_READERS / 2


async def test_a_stalled_reader_slows_nobody_and_holds_nothing(autojump_clock: MockClock) -> None:
    """One client takes nothing while thousands of events pass.

    Nothing is encoded or kept for it meanwhile; then it gets all of them.
    """
    async with open_world(Numbers(filling=1000), frames_bytes_max=50_000) as world:
        stalled, quick = world.follow(1, wire="websocket"), world.follow(1)
        await settle()
        stalled.is_taking = trio.Event()
        for _ in range(30):
            world.feed.grow(100)
            await trio.sleep(1)
        await settle()
        assert quick.numbers == list(range(1, 3_001))
        assert stalled.parts == []
        assert world.feed.rendered == list(range(1, 3_001))
        assert world.frames.bytes <= 50_000
        stalled.is_taking.set()
        await trio.sleep(100)
        assert stalled.numbers == list(range(1, 3_001))
        (lagging,) = stalled.find("lagging")
        first = lagging["next"]
        assert lagging == {"behind": 3_001 - first, "latest": 3_000, "next": first, "skipped": None}


async def test_someone_who_reads_old_events_does_not_lag(autojump_clock: MockClock) -> None:
    async with open_world(Numbers(latest=5000)) as world:
        clients = [world.follow(0, on_lag=policy, lag=1) for policy in ("continue", "skip", "close")]
        await trio.sleep(60)
        assert all(client.numbers == list(range(5001)) for client in clients)
        assert not any(client.find("lagging") for client in clients)
        assert not world.ended


async def stall(world: World, client: Client, seconds: float) -> None:
    """The client is busy with one event for so long, while another one comes in each second."""
    await settle()
    client.is_taking = trio.Event()
    world.feed.grow()
    for _ in range(int(seconds)):
        await trio.sleep(1)
        world.feed.grow()
    client.is_taking.set()
    await settle()


async def test_a_reader_within_its_bound_is_not_bothered(autojump_clock: MockClock) -> None:
    async with open_world(Numbers()) as world:
        client = world.follow(1, on_lag="close", lag=10)
        await stall(world, client, 9)
        assert client.numbers == list(range(1, 11))
        await stall(world, client, 9)
        assert client.numbers == list(range(1, 21))
        assert not client.find("lagging")


async def test_a_burst_is_nobody_s_lag(autojump_clock: MockClock) -> None:
    """The node catches up and decides thousands of blocks at once; its readers take them as they come."""
    async with open_world(Numbers()) as world:
        client = world.follow(1, on_lag="skip", lag=10)
        await settle()
        world.feed.grow(5000)
        await settle()
        assert client.numbers == list(range(1, 5001))
        assert not client.find("lagging")


async def test_a_slow_reader_lags_though_it_takes_something_all_the_time(autojump_clock: MockClock) -> None:
    """Each write takes a second, and each second brings two events of which one fits into a write."""
    async with open_world(Numbers(filling=STEP_BYTES)) as world:
        client = world.follow(1, lag=10)
        await settle()

        async def write_slowly(parts: list[bytes]) -> None:
            await trio.sleep(1)
            client.parts += parts

        client.write = write_slowly  # type: ignore[method-assign]
        for _ in range(60):
            world.feed.grow(2)
            await trio.sleep(1)
        (lagging,) = client.find("lagging")
        assert 20 <= lagging["behind"] <= 40
        assert client.numbers == list(range(1, client.numbers[-1] + 1))


async def test_a_reader_that_skips_is_told_what_and_goes_on_with_the_latest(autojump_clock: MockClock) -> None:
    async with open_world(Numbers()) as world:
        client = world.follow(1, on_lag="skip", lag=10)
        await stall(world, client, 50)
        assert client.numbers == [1, 51]
        expected = {"behind": 50, "latest": 51, "next": 51, "skipped": {"first": 2, "last": 50}}
        assert client.find("lagging") == [expected]
        await stall(world, client, 9)
        assert client.numbers == [1, *range(51, 62)]
        await stall(world, client, 12)
        assert client.find("lagging")[1]["skipped"] == {"first": 63, "last": 73}
        assert client.numbers[-2:] == [62, 74]


async def test_a_reader_that_wants_to_be_let_go_is_told_where_to_go_on(autojump_clock: MockClock) -> None:
    async with open_world(Numbers()) as world:
        client = world.follow(1, on_lag="close", lag=10)
        await stall(world, client, 50)
        assert client.numbers == [1]
        assert client.find("lagging") == [{"behind": 50, "latest": 51, "next": 2, "skipped": None}]
        assert client.find("closing") == [{"reason": "lagging", "next": 2}]
        assert world.ended == ["lagging"]


async def test_a_reader_that_continues_is_told_once_each_time(autojump_clock: MockClock) -> None:
    async with open_world(Numbers()) as world:
        client = world.follow(1, lag=10)
        await stall(world, client, 50)
        await stall(world, client, 50)
        assert client.numbers == list(range(1, 103))
        assert [lagging["next"] for lagging in client.find("lagging")] == [2, 53]


async def test_what_was_forgotten_is_said_to_be_missing(autojump_clock: MockClock) -> None:
    """Views are kept for a while only. Whoever comes late hears which ones are gone."""
    async with open_world(Numbers(latest=100)) as world:
        world.feed.first = 60
        client = world.follow(50)
        await settle()
        assert client.messages[0]["type"] == "lagging"
        assert client.find("lagging") == [
            {"behind": 51, "latest": 100, "next": 60, "skipped": {"first": 50, "last": 59}}
        ]
        assert client.numbers == list(range(60, 101))


async def test_silence_is_broken(autojump_clock: MockClock) -> None:
    """A client hears from an idle node, so it knows a dead one when there is one."""
    async with open_world(Numbers()) as world:
        client = world.follow(1)
        await trio.sleep(QUIET_SECONDS * 3.5)
        assert client.beats == 3
        assert client.parts == []


async def test_everybody_hears_that_the_node_goes_down_and_where_to_go_on(autojump_clock: MockClock) -> None:
    """Readers that are up to date, one in the middle of the chain, and a crowd that waits for its turn."""
    async with open_world(Numbers(latest=20_000, filling=1000)) as world:
        live, old = world.follow(20_001), world.follow(0)
        crowd = [world.follow(20_001) for _ in range(500)]
        await trio.sleep(0.01)
        world.feed.grow()
        await trio.sleep(0.01)
        world.closing.set()
        await wait_all_tasks_blocked()
        for client in (live, old, *crowd):
            (closing,) = client.find("closing")
            last = client.numbers[-1] if client.numbers else 20_000
            assert closing == {"reason": "shutting_down", "next": last + 1}
            assert client.messages[-1]["type"] == "closing"
        assert world.ended == ["shutting_down"] * 502
        assert len(old.numbers) < 20_000
        assert any(not client.numbers for client in crowd)


async def test_a_large_event_goes_in_parts_and_is_never_cut(autojump_clock: MockClock) -> None:
    """Over SSE an event may take many turns; even the end of the node waits for its last part."""
    async with open_world(Numbers(latest=1000, filling=10 * STEP_BYTES), frames_bytes_max=1) as world:
        client = world.follow(1, wire="sse")
        while len(client.parts) % 11 != 5:  # noqa: ASYNC110 - the reader knows no tests
            await trio.sleep(0.001)
        world.closing.set()
        await wait_all_tasks_blocked()
        *events, closing, rest = b"".join(client.parts).decode().split("\n\n")
        assert max(map(len, client.parts)) == STEP_BYTES
        for number, event in enumerate(events, 1):
            id_, name, data = event.split("\n")
            assert (id_, name) == (f"id: {number}", "event: number")
            assert json.loads(data.removeprefix("data: "))["number"] == number
        assert 1 <= len(events) < 1000
        assert json.loads(closing.removeprefix("event: closing\ndata: "))["next"] == len(events) + 1
        assert rest == ""


def test_an_event_has_the_same_content_on_both_wires() -> None:
    data = b'{"a":1}'
    assert encode_event("sse", "block", 7, data) == b'id: 7\nevent: block\ndata: {"a":1}\n\n'
    assert encode_event("sse", "closing", None, data) == b'event: closing\ndata: {"a":1}\n\n'
    assert json.loads(encode_event("websocket", "block", 7, data)) == {"type": "block", "id": 7, "data": {"a": 1}}
    assert json.loads(encode_event("websocket", "closing", None, data))["id"] is None


def test_frames_are_kept_within_their_bound_and_the_least_used_go_first() -> None:
    frames = FrameCache(bytes_max=30)
    for key in (1, 2, 3, 1, 4):
        frames.get(key, lambda: b"0123456789")
    assert frames.encoded == 4
    frames.get(1, lambda: pytest.fail("it was used lately"))
    frames.get(2, lambda: b"0123456789")
    assert frames.encoded == 5
    frames.get("large", lambda: bytes(100))
    assert frames.bytes == 100
