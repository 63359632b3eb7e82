"""The simulated links under Trio, on virtual time: what a full node sees of its network."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
import trio.testing

from consensus.types import ValidatorId
from netsim.network import Constant, Exponential, LinkModel, Network
from netsim.transport import Hub, Makers, SimulatedTransport
from sequencer.transport import Delivery, Found, Item, Lost, Transport

NODES = 3
A, B, C, D = (ValidatorId(10 * node) for node in (1, 2, 3, 4))
MAKERS: Makers[Item] = Makers(Delivery, Lost, Found)


class Net:
    """A hub with its network, and a way to run a transport until its scope is cancelled."""

    def __init__(self, nursery: trio.Nursery, model: LinkModel) -> None:
        self._nursery = nursery
        self.network = Network(NODES, model, Random(3))
        self.hub: Hub[Item] = Hub(self.network, (A, B, C), MAKERS)

    async def start(
        self, validator: ValidatorId, inbox_size: float = 1_000
    ) -> tuple[SimulatedTransport[Item], trio.MemoryReceiveChannel[Item], trio.CancelScope]:
        transport = self.hub.make_transport(validator)
        send, receive = trio.open_memory_channel[Item](inbox_size)
        scope = trio.CancelScope()

        async def run(*, task_status: trio.TaskStatus[object]) -> None:
            with scope:
                await transport.run(send, task_status=task_status)

        await self._nursery.start(run)
        return transport, receive, scope


@asynccontextmanager
async def open_net(model: LinkModel) -> AsyncIterator[Net]:
    async with trio.open_nursery() as nursery:
        yield Net(nursery, model)
        nursery.cancel_scope.cancel()


async def take(inbox: trio.MemoryReceiveChannel[Item], count: int) -> list[Item]:
    with trio.fail_after(100):
        return [await inbox.receive() for _ in range(count)]


@pytest.fixture
def model() -> LinkModel:
    return LinkModel(Constant(5_000))


async def test_it_is_a_transport(autojump_clock: trio.testing.MockClock, model: LinkModel) -> None:
    async with open_net(model) as net:
        transport: Transport = (await net.start(A))[0]
        assert transport.connected == frozenset()


async def test_connections_are_found_and_frames_arrive_after_the_delay(
    autojump_clock: trio.testing.MockClock, model: LinkModel
) -> None:
    async with open_net(model) as net:
        a, inbox_a, _ = await net.start(A)
        b, inbox_b, _ = await net.start(B)
        assert await take(inbox_a, 1) == [Found(B)]
        assert await take(inbox_b, 1) == [Found(A)]
        assert a.connected == {B}
        assert b.connected == {A}
        start = trio.current_time()
        a.send(B, b"one")
        a.broadcast(b"two")
        frames = [item.frames for item in await take(inbox_b, 2) if isinstance(item, Delivery)]
        assert sum(frames, ()) == (b"one", b"two")
        assert trio.current_time() - start == pytest.approx(0.005, abs=1e-5)


async def test_frames_that_arrive_together_are_one_item(
    autojump_clock: trio.testing.MockClock, model: LinkModel
) -> None:
    async with open_net(model) as net:
        a, _, _ = await net.start(A)
        _, inbox_b, _ = await net.start(B, inbox_size=0)
        assert await take(inbox_b, 1) == [Found(A)]
        a.send(B, b"first")
        await trio.sleep(1)  # the reader is busy; the transport waits with this one in its hand
        a.send(B, b"second")
        a.send(B, b"third")
        await trio.sleep(1)
        assert await take(inbox_b, 2) == [Delivery(A, (b"first",)), Delivery(A, (b"second", b"third"))]


async def test_the_end_of_a_node_is_seen_and_its_return_too(
    autojump_clock: trio.testing.MockClock, model: LinkModel
) -> None:
    async with open_net(model) as net:
        _, inbox_a, _ = await net.start(A)
        b, _, scope_b = await net.start(B)
        assert await take(inbox_a, 1) == [Found(B)]
        b.send(A, b"last words")
        scope_b.cancel()
        assert await take(inbox_a, 2) == [Delivery(B, (b"last words",)), Lost(B)]
        again, inbox_b, _ = await net.start(B)
        assert await take(inbox_a, 1) == [Found(B)]
        assert await take(inbox_b, 1) == [Found(A)]
        again.send(A, b"back")
        assert await take(inbox_a, 1) == [Delivery(B, (b"back",))]


async def test_a_quick_restart_loses_and_finds_in_this_order(
    autojump_clock: trio.testing.MockClock, model: LinkModel
) -> None:
    async with open_net(model) as net:
        a, inbox_a, _ = await net.start(A)
        _, _, scope_b = await net.start(B)
        assert await take(inbox_a, 1) == [Found(B)]
        scope_b.cancel()
        await trio.testing.wait_all_tasks_blocked()
        await net.start(B)
        assert await take(inbox_a, 2) == [Lost(B), Found(B)]
        assert a.connected == {B}


async def test_frames_to_nobody_are_gone(autojump_clock: trio.testing.MockClock, model: LinkModel) -> None:
    async with open_net(model) as net:
        a, _, _ = await net.start(A)
        a.send(B, b"too early")
        a.broadcast(b"too early")
        await trio.sleep(1)
        _, inbox_b, _ = await net.start(B)
        a.send(B, b"in time")
        items = await take(inbox_b, 2)
        assert items == [Found(A), Delivery(A, (b"in time",))]
        a.send(ValidatorId(99), b"who?")
        await trio.sleep(1)
        with pytest.raises(trio.WouldBlock):
            inbox_b.receive_nowait()


async def test_a_cut_is_silent_and_heals(autojump_clock: trio.testing.MockClock, model: LinkModel) -> None:
    async with open_net(model) as net:
        a, inbox_a, _ = await net.start(A)
        b, inbox_b, _ = await net.start(B)
        await take(inbox_a, 1)
        await take(inbox_b, 1)
        net.network.cut(0, 1)
        a.send(B, b"lost")
        b.send(A, b"heard")
        assert await take(inbox_a, 1) == [Delivery(B, (b"heard",))]
        await trio.sleep(10)
        with pytest.raises(trio.WouldBlock):
            inbox_b.receive_nowait()
        assert a.connected == {B}
        net.network.heal()
        a.send(B, b"again")
        assert await take(inbox_b, 1) == [Delivery(A, (b"again",))]


async def test_who_starts_behind_a_cut_is_found_when_it_heals(
    autojump_clock: trio.testing.MockClock, model: LinkModel
) -> None:
    async with open_net(model) as net:
        net.network.isolate(2)
        _, inbox_a, _ = await net.start(A)
        c, _, _ = await net.start(C)
        await trio.sleep(5)
        assert c.connected == frozenset()
        net.network.heal()
        assert await take(inbox_a, 1) == [Found(C)]


async def test_what_a_slow_reader_may_have_on_the_way_is_bounded(
    autojump_clock: trio.testing.MockClock, model: LinkModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netsim.transport.IN_FLIGHT_BYTES_MAX", 1_000)
    async with open_net(model) as net:
        a, _, _ = await net.start(A)
        b, inbox_b, _ = await net.start(B)
        await take(inbox_b, 1)
        for _ in range(30):
            a.send(B, bytes(100))
        assert b.dropped == 20
        items = await take(inbox_b, 10)
        assert sum(len(item.frames) for item in items if isinstance(item, Delivery)) == 10


@pytest.mark.parametrize("make", [lambda: LinkModel(Exponential(5_000), loss=0.2), lambda: LinkModel(reordering=0.5)])
async def test_the_link_model_decides_what_arrives(
    autojump_clock: trio.testing.MockClock, make: Callable[[], LinkModel]
) -> None:
    async with open_net(make()) as net:
        a, _, _ = await net.start(A)
        _, inbox_b, _ = await net.start(B)
        await take(inbox_b, 1)
        sent = [number.to_bytes(2, "big") for number in range(400)]
        for frame in sent:
            a.send(B, frame)
            await trio.sleep(0.0002)
        await trio.sleep(1)
        received: list[bytes] = []
        while True:
            try:
                item = inbox_b.receive_nowait()
            except trio.WouldBlock:
                break
            assert isinstance(item, Delivery)
            received += item.frames
        assert set(received) <= set(sent)
        if make().loss:
            assert 250 < len(received) < 370
            assert received == sorted(received)
        else:
            assert len(received) == 400
            assert received != sorted(received)


async def test_one_validator_runs_one_transport(autojump_clock: trio.testing.MockClock, model: LinkModel) -> None:
    async with open_net(model) as net:
        await net.start(A)
        send, _ = trio.open_memory_channel[Item](1)
        with pytest.raises(RuntimeError, match="runs a transport already"):
            await net.hub.make_transport(A).run(send)


async def test_a_newcomer_joins_a_network_that_runs(autojump_clock: trio.testing.MockClock, model: LinkModel) -> None:
    async with open_net(model) as net:
        a, inbox_a, _ = await net.start(A)
        net.network.isolate(1)
        net.hub.add(D)
        with pytest.raises(ValueError, match="on this network already"):
            net.hub.add(D)
        d, inbox_d, _ = await net.start(D)
        assert await take(inbox_a, 1) == [Found(D)]
        assert await take(inbox_d, 1) == [Found(A)]
        d.send(A, b"new here")
        assert await take(inbox_a, 1) == [Delivery(D, (b"new here",))]
        assert a.connected == {D}


def test_links_of_a_newcomer_follow_the_network_and_leave_the_others_alone() -> None:
    def describe(source: int, destination: int) -> LinkModel:
        return LinkModel(Constant(10 * source + destination))

    network = Network(NODES, describe, Random(1))
    old = [list(row) for row in network.links]
    network.isolate(0)
    assert network.add_node() == NODES
    assert [row[:NODES] for row in network.links[:NODES]] == old
    assert [len(row) for row in network.links] == [NODES + 1] * (NODES + 1)
    assert network.links[NODES][1].model == describe(NODES, 1)
    assert network.links[1][NODES].model == describe(1, NODES)
    assert not network.links[0][NODES].is_cut
    network.isolate(NODES)
    assert network.links[NODES][1].is_cut
    network.set_model(LinkModel(Constant(7)))
    network.add_node()
    assert network.links[NODES + 1][0].model.latency == Constant(7)


async def test_both_sides_must_have_the_other_among_their_peers(
    autojump_clock: trio.testing.MockClock, model: LinkModel
) -> None:
    async with open_net(model) as net:
        a, inbox_a, _ = await net.start(A)
        a.set_peers([C])
        b, inbox_b, _ = await net.start(B)
        a.send(B, b"no peer")
        a.broadcast(b"no peer")
        await trio.sleep(10)
        assert a.connected == b.connected == frozenset()
        a.set_peers([B, C])
        assert await take(inbox_a, 1) == [Found(B)]
        assert await take(inbox_b, 1) == [Found(A)]
        with pytest.raises(ValueError, match="no peer of its own"):
            a.set_peers([A, B])


async def test_who_is_removed_is_lost_on_both_sides_once_and_may_come_back(
    autojump_clock: trio.testing.MockClock, model: LinkModel
) -> None:
    async with open_net(model) as net:
        a, inbox_a, _ = await net.start(A)
        b, inbox_b, _ = await net.start(B)
        await take(inbox_a, 1)
        await take(inbox_b, 1)
        b.send(A, b"on its way")
        for _ in range(3):
            a.set_peers([C])
            b.set_peers([C])
        assert await take(inbox_a, 2) == [Delivery(B, (b"on its way",)), Lost(B)]
        assert await take(inbox_b, 1) == [Lost(A)]
        await trio.sleep(10)
        for inbox in (inbox_a, inbox_b):
            with pytest.raises(trio.WouldBlock):
                inbox.receive_nowait()
        b.set_peers([A])
        await trio.sleep(10)
        assert a.connected == frozenset(), "one side alone is not enough"
        a.set_peers([B])
        assert await take(inbox_a, 1) == [Found(B)]
        assert await take(inbox_b, 1) == [Found(A)]


async def test_a_peer_without_a_key_is_not_let_in(autojump_clock: trio.testing.MockClock, model: LinkModel) -> None:
    async with open_net(model) as net:
        a, inbox_a, _ = await net.start(A)
        a.set_keys([A, C])
        await net.start(B)
        await trio.sleep(10)
        assert a.connected == frozenset()
        a.set_keys([A, B])
        assert await take(inbox_a, 1) == [Found(B)]
        a.set_keys([A])
        await trio.sleep(10)
        assert a.connected == {B}, "what stands has been proven"
