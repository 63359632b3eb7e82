"""What the proxy does to one direction between two nodes, and what it must not do to the other."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from sequencer.chaos.impairment import STALL_SECONDS, Impairment
from sequencer.chaos.proxy import PIPE_BYTES_MAX, Proxies
from sequencer.ports import Address

SECONDS = 20.0
"""Bound of what must happen."""
QUIET_SECONDS = 0.15
"""How long nothing may happen. Too short a look could only miss a failure, never make one."""
FORTH, BACK = ("a", "b"), ("b", "a")


class Wire:
    """`a` dials `b` through the proxy: both ends, and the proxies between."""

    def __init__(self, proxies: Proxies, accepted: "trio.MemoryReceiveChannel[trio.SocketStream]") -> None:
        self.proxies = proxies
        self._accepted = accepted
        self._dialled: list[trio.SocketStream] = []
        self.client: trio.SocketStream
        self.server: trio.SocketStream

    async def dial(self, pair: tuple[str, str] = FORTH) -> trio.SocketStream:
        address = self.proxies.address(*pair)
        self._dialled.append(await trio.open_tcp_stream(address.host, address.port))
        return self._dialled[-1]

    def close(self) -> None:
        for stream in self._dialled:
            stream.socket.close()

    async def open(self) -> None:
        self.client = await self.dial()
        with trio.fail_after(SECONDS):
            self.server = await self._accepted.receive()


@asynccontextmanager
async def open_wire() -> AsyncIterator[Wire]:
    send, receive = trio.open_memory_channel[trio.SocketStream](10)

    async def accept(stream: trio.SocketStream) -> None:
        await send.send(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, accept, listeners)
        port = listeners[0].socket.getsockname()[1]
        proxies = Proxies({"a": Address("127.0.0.1", 1), "b": Address("127.0.0.1", port)}, Random(1))
        await nursery.start(proxies.run)
        wire = Wire(proxies, receive)
        await wire.open()
        yield wire
        wire.close()
        nursery.cancel_scope.cancel()


async def read_exactly(stream: trio.SocketStream, length: int) -> bytes:
    data = b""
    with trio.fail_after(SECONDS):
        while len(data) < length:
            chunk = await stream.receive_some(length - len(data))
            assert chunk, f"ended after {len(data)} of {length} bytes"
            data += bytes(chunk)
    return data


async def is_silent(stream: trio.SocketStream) -> bool:
    with trio.move_on_after(QUIET_SECONDS):
        await stream.receive_some(1)
        return False
    return True


async def wait_end(stream: trio.SocketStream) -> str:
    """`reset`, or `closed`."""
    with trio.fail_after(SECONDS):
        try:
            while await stream.receive_some(65_536):
                pass
        except trio.BrokenResourceError:
            return "reset"
        return "closed"


async def wait_until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(SECONDS):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.005)


async def test_a_healthy_link_passes_every_byte_both_ways_and_the_end() -> None:
    async with open_wire() as wire:
        for source, sink in ((wire.client, wire.server), (wire.server, wire.client)):
            data = Random(2).randbytes(3_000_000)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(source.send_all, data)
                assert await read_exactly(sink, len(data)) == data
        await wire.client.aclose()
        assert await wait_end(wire.server) == "closed"
        assert not wire.proxies.counts


async def test_a_node_that_is_not_there_resets_the_dialler() -> None:
    async with open_wire() as wire:
        assert await wait_end(await wire.dial(BACK)) == "reset"


@pytest.mark.parametrize("pair", [FORTH, BACK])
async def test_a_delay_concerns_one_direction_and_keeps_the_order(pair: tuple[str, str]) -> None:
    async with open_wire() as wire:
        source, sink = (wire.client, wire.server) if pair == FORTH else (wire.server, wire.client)
        delay = Impairment(delay_seconds=0.2, jitter_seconds=0.02)
        wire.proxies.impose([pair], delay)
        started = trio.current_time()
        for number in range(10):
            await source.send_all(b"%d" % number)
            await trio.sleep(0.002)
        await sink.send_all(b"undisturbed")
        assert await read_exactly(source, 11) == b"undisturbed"
        assert await read_exactly(sink, 10) == b"0123456789"
        assert trio.current_time() - started >= 0.2
        assert delay.bites > 0
        # What is left in the pipe when the fault is lifted comes at once, and before what is sent later.
        wire.proxies.lift(delay)
        slow = Impairment(delay_seconds=3600)
        wire.proxies.impose([pair], slow)
        await source.send_all(b"early")
        await wait_until(lambda: slow.bites > 0)
        wire.proxies.lift(slow)
        await source.send_all(b"late")
        assert await read_exactly(sink, 9) == b"earlylate"


async def test_loss_is_a_stall() -> None:
    async with open_wire() as wire:
        lossy = Impairment(stall_probability=1.0)
        wire.proxies.impose([FORTH], lossy)
        started = trio.current_time()
        await wire.client.send_all(b"lost once")
        assert await read_exactly(wire.server, 9) == b"lost once"
        assert trio.current_time() - started >= STALL_SECONDS
        assert wire.proxies.counts["messages_lost"] == lossy.bites == 1


async def test_bandwidth_is_kept() -> None:
    async with open_wire() as wire:
        wire.proxies.impose([FORTH], Impairment(bytes_per_second=100_000))
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.client.send_all, bytes(40_000))
            await read_exactly(wire.server, 40_000)
        assert trio.current_time() - started >= 0.35


async def test_memory_is_bounded_and_a_slow_reader_slows_the_sender() -> None:
    async with open_wire() as wire:
        clog = Impairment(is_clogged=True)
        wire.proxies.impose([FORTH], clog)
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while sent < 256 * 2**20:
                await wire.client.send_all(bytes(2**20))
                sent += 2**20

        with trio.move_on_after(1.0):
            await flood()
        # What the pipe holds, and what the buffers of three sockets may.
        assert sent < 32 * 2**20
        assert clog.bites >= PIPE_BYTES_MAX // 65_536


async def test_a_clog_holds_and_then_lets_go_in_order() -> None:
    async with open_wire() as wire:
        clog = Impairment(is_clogged=True)
        wire.proxies.impose([FORTH], clog)
        for number in range(5):
            await wire.client.send_all(b"%d" % number)
        assert await is_silent(wire.server)
        await wire.server.send_all(b"back")
        assert await read_exactly(wire.client, 4) == b"back"
        wire.proxies.lift(clog)
        await wire.client.send_all(b"5")
        assert await read_exactly(wire.server, 6) == b"012345"


@pytest.mark.parametrize("pair", [FORTH, BACK])
async def test_a_cut_swallows_one_direction_and_resets_when_it_is_over(pair: tuple[str, str]) -> None:
    """Half-open: neither side is told anything, not even that the other has closed."""
    async with open_wire() as wire:
        source, sink = (wire.client, wire.server) if pair == FORTH else (wire.server, wire.client)
        cut = Impairment(is_cut=True)
        wire.proxies.impose([pair], cut)
        await source.send_all(b"into nothing")
        assert await is_silent(sink)
        await sink.send_all(b"still heard")
        assert await read_exactly(source, 11) == b"still heard"
        await source.aclose()
        assert await is_silent(sink)
        assert cut.bites == wire.proxies.counts["messages_cut"] >= 2
        wire.proxies.lift(cut)
        assert await wait_end(sink) == "reset"


async def test_what_nothing_was_lost_of_outlives_a_cut() -> None:
    async with open_wire() as wire:
        cut = Impairment(is_cut=True)
        wire.proxies.impose([FORTH], cut)
        assert await is_silent(wire.server)
        wire.proxies.lift(cut)
        await wire.client.send_all(b"as before")
        assert await read_exactly(wire.server, 9) == b"as before"
        assert cut.bites == 0


@pytest.mark.parametrize("pair", [FORTH, BACK])
async def test_who_dials_into_a_cut_waits_and_is_reset_when_it_is_over(pair: tuple[str, str]) -> None:
    async with open_wire() as wire:
        first = Impairment(is_cut=True)
        wire.proxies.impose([pair], first)
        stream = await wire.dial()
        await wait_until(lambda: first.bites > 0)
        assert await is_silent(stream)
        wire.proxies.lift(first)
        assert await wait_end(stream) == "reset"
        await wire.open()
        await wire.client.send_all(b"again")
        assert await read_exactly(wire.server, 5) == b"again"


async def test_two_cuts_are_over_when_the_second_is() -> None:
    async with open_wire() as wire:
        first, second = Impairment(is_cut=True), Impairment(is_cut=True)
        wire.proxies.impose([FORTH], first)
        wire.proxies.impose([FORTH, BACK], second)
        await wire.client.send_all(b"x")
        await wait_until(lambda: second.bites > 0)
        wire.proxies.lift(first)
        assert await is_silent(wire.client)
        wire.proxies.heal()
        assert await wait_end(wire.client) == "reset"
        assert wire.proxies.direction(*FORTH).is_clean
        assert wire.proxies.direction(*BACK).is_clean


@pytest.mark.parametrize("is_in_mid_frame", [True, False])
async def test_a_reset_is_noticed_by_both_sides(is_in_mid_frame: bool) -> None:
    async with open_wire() as wire:
        reset = Impairment()
        wire.proxies.break_connections([FORTH], reset)
        if is_in_mid_frame:
            await wire.client.send_all(bytes(1000))
        assert await wait_end(wire.client) == "reset"
        assert await wait_end(wire.server) == "reset"
        assert reset.bites == wire.proxies.counts["connections_reset"] == 1
        await wait_until(lambda: wire.proxies.open_connections == 0)


async def test_corruption_alters_bytes_one_way_and_loses_none() -> None:
    async with open_wire() as wire:
        corrupt = Impairment(corruption=1.0)
        wire.proxies.impose([FORTH], corrupt)
        await wire.client.send_all(bytes(1000))
        assert (await read_exactly(wire.server, 1000)).count(0) < 1000
        await wire.server.send_all(bytes(1000))
        assert await read_exactly(wire.client, 1000) == bytes(1000)
        assert corrupt.bites == wire.proxies.counts["messages_corrupted"] >= 1
