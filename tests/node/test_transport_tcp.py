"""The transport on real sockets: who is found and lost, and that no peer can do more than lose its own connection."""

import os
import socket
import struct
from contextlib import suppress
from dataclasses import replace

import pytest
import trio
import trio.testing

from consensus.types import ValidatorId
from sequencer.ports import Address, PortUnavailableError
from sequencer.transport import Delivery, Found, Lost
from sequencer.transport.framing import FRAME_BYTES_MAX, encode_frame
from sequencer.transport.handshake import accept, dial
from sequencer.transport.outbox import OFFLINE_LIMIT
from sequencer.transport.tcp import HELLO_PENDING_MIN, HELLO_SECONDS, TcpTransport
from tests.node.mesh import LOOPBACK, Keyring, Mesh, fail_instead_of_hanging, hold

watchdog = pytest.fixture(autouse=True)(fail_instead_of_hanging)

N0, N1, N2 = ValidatorId(0), ValidatorId(1), ValidatorId(2)


async def test_everyone_hears_everyone_under_its_proven_name(nursery: trio.Nursery) -> None:
    stations = await Mesh(nursery).start_all()
    for number, station in enumerate(stations):
        station.transport.broadcast(b"from n%d" % number)
    for number, station in enumerate(stations):
        heard = await station.read_frames(2)
        assert sorted(heard) == [(peer, b"from n%d" % peer) for peer in (N0, N1, N2) if peer != number]
        assert station.transport.connected == {N0, N1, N2} - {number}


async def test_frames_of_every_size_arrive_whole_and_in_order(nursery: trio.Nursery) -> None:
    n0, n1 = await Mesh(nursery, nodes=2).start_all()
    frames = [os.urandom(size) for size in (1, 2 * 1024 * 1024, 17, 65_537, 300, 1_500_000, 1)]
    for frame in frames:
        n0.transport.send(N1, frame)
    assert await n1.read_frames(len(frames)) == [(N0, frame) for frame in frames]


async def test_a_burst_is_one_write_and_one_delivery(nursery: trio.Nursery) -> None:
    n0, n1 = await Mesh(nursery, nodes=2).start_all()
    for number in range(100):
        n0.transport.send(N1, bytes([number + 1]))
    item = await n1.inbox.receive()
    assert item == Delivery(N0, tuple(bytes([number + 1]) for number in range(100)))


async def test_bytes_and_frames_are_counted_on_both_sides(nursery: trio.Nursery) -> None:
    n0, n1 = await Mesh(nursery, nodes=2).start_all()
    n0.transport.send(N1, b"12345")
    n0.transport.send(N1, b"678")
    await n1.read_frames(2)
    sent, received = n0.transport.counters[N1], n1.transport.counters[N0]
    assert (received.frames_in, received.bytes_in) == (2, 16)
    assert (sent.frames_out, sent.bytes_out, sent.connections) == (2, 16, 1)


async def test_a_peer_whose_sockets_close_is_lost_at_once_and_once(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    # Time stands still: only the closed sockets can tell.
    n0, n1, n2 = await Mesh(nursery).start_all()
    await n1.stop()
    assert await n0.inbox.receive() == Lost(N1)
    assert await n2.inbox.receive() == Lost(N1)
    assert n0.transport.connected == {N2}
    # The end of its other connection is no news: the next thing heard is a frame.
    n2.transport.send(N0, b"still here")
    assert await n0.inbox.receive() == Delivery(N2, (b"still here",))


async def test_a_peer_that_comes_back_is_dialled_at_once_because_it_dials(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    # Time stands still: no retry timer can fire, so only the peer's own call brings the way back.
    mesh = Mesh(nursery, nodes=2)
    n0, n1 = await mesh.start_all()
    await n1.stop()
    await n0.wait_lost(N1)
    await trio.testing.wait_all_tasks_blocked()
    again = await mesh.start(1)
    await n0.wait_found(N1)
    await again.wait_found(N0)
    n0.transport.send(N1, b"welcome back")
    assert await again.read_frames(1) == [(N0, b"welcome back")]


async def test_a_peer_that_cannot_dial_is_retried_until_it_listens(nursery: trio.Nursery) -> None:
    # n1 only listens: its address book leads nowhere, so the way to it must come from n0's own attempts.
    mesh = Mesh(nursery, nodes=2)
    n0 = await mesh.start(0)
    mesh.book.addresses[N0] = Address("127.0.0.1", 1)
    await mesh.start(1)
    await n0.wait_found(N1)


async def test_a_peer_that_is_away_gets_the_newest_frames_when_it_is_back(nursery: trio.Nursery) -> None:
    mesh = Mesh(nursery, nodes=2)
    n0 = await mesh.start(0)
    for number in range(OFFLINE_LIMIT.frames + 10):
        n0.transport.send(N1, number.to_bytes(4, "big"))
    n1 = await mesh.start(1)
    heard = await n1.read_frames(OFFLINE_LIMIT.frames)
    assert [int.from_bytes(frame, "big") for _, frame in heard] == list(range(10, OFFLINE_LIMIT.frames + 10))
    assert n0.drops.counts["outbox_offline"] == n0.transport.counters[N1].frames_dropped == 10


async def test_a_full_inbox_slows_the_sender_and_loses_nothing(nursery: trio.Nursery) -> None:
    mesh = Mesh(nursery, nodes=2)
    n0, n1 = await mesh.start(0), await mesh.start(1, inbox_items=0)
    # Found is the first item that n1 has nobody to take, so n1 reads nothing yet.
    await n0.wait_found(N1)
    frames = [number.to_bytes(4, "big") * 4096 for number in range(1, 1500)]
    for frame in frames:
        n0.transport.send(N1, frame)
    assert await n1.read_frames(len(frames)) == [(N0, frame) for frame in frames]
    assert n0.transport.counters[N1].frames_dropped == 0


async def test_a_reader_that_stalls_costs_the_oldest_frames_not_memory(nursery: trio.Nursery) -> None:
    mesh = Mesh(nursery, nodes=2)
    n0, _ = await mesh.start(0), await mesh.start(1, inbox_items=0)
    await n0.wait_found(N1)
    frame = bytes(1024 * 1024)
    for _ in range(100):
        n0.transport.send(N1, frame)
    assert n0.drops.counts["outbox_full"] == n0.transport.counters[N1].frames_dropped == 100 - 32


async def test_a_second_connection_of_a_validator_replaces_the_first(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    # n1 is played by hand: two connections, of which n0 must keep the newer.
    mesh = Mesh(nursery, nodes=2)
    n0 = await mesh.start(0)
    older, newer = await mesh.connect(0), await mesh.connect(0)
    await dial(older, mesh.keyring.identity(1), N0)
    await dial(newer, mesh.keyring.identity(1), N0)
    assert await older.receive_some() == b""
    await newer.send_all(encode_frame(b"the newer"))
    assert await n0.inbox.receive() == Delivery(N1, (b"the newer",))


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "oversized_frame"),
        (struct.pack(">I", 2**31), "oversized_frame"),
        (bytes(4), "empty_frame"),
        (encode_frame(b"not msgpack \xc1"), "malformed_hello"),
        (b"", "hung_up"),
    ],
    ids=["http", "lying length", "empty frame", "garbage", "nothing"],
)
async def test_strangers_are_cut_off_and_counted_while_the_mesh_goes_on(
    nursery: trio.Nursery, sent: bytes, reason: str
) -> None:
    mesh = Mesh(nursery, nodes=2)
    n0, n1 = await mesh.start_all()
    stranger = await mesh.connect(0)
    await stranger.send_all(sent)
    await stranger.send_eof()
    await n0.drops.wait(reason)
    n1.transport.send(N0, b"unharmed")
    assert await n0.read_frames(1) == [(N1, b"unharmed")]


async def test_a_silent_stranger_has_until_the_deadline(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    mesh = Mesh(nursery, nodes=2)
    n0 = await mesh.start(0)
    stranger = await mesh.connect(0)
    await stranger.send_all(b"\0")
    await trio.testing.wait_all_tasks_blocked(0.01)
    mock_clock.jump(HELLO_SECONDS)
    assert await stranger.receive_some() == b""
    assert n0.drops.counts["hello_timeout"] == 1


async def test_too_many_strangers_push_out_their_oldest_and_no_peer(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    mesh = Mesh(nursery, nodes=2)
    n0 = await mesh.start(0)
    strangers = [await mesh.connect(0) for _ in range(HELLO_PENDING_MIN + 1)]
    assert await strangers[0].receive_some() == b""
    assert n0.drops.counts == {"hello_flood": 1}
    n1 = await mesh.start(1)
    await n1.wait_found(N0)


async def test_an_oversized_frame_costs_a_proven_peer_its_connection(nursery: trio.Nursery) -> None:
    mesh = Mesh(nursery)
    n0, n1 = await mesh.start(0), await mesh.start(1)
    await n0.wait_found(N1)
    stream = await mesh.connect(0)
    await dial(stream, mesh.keyring.identity(2), N0)
    await stream.send_all(struct.pack(">I", FRAME_BYTES_MAX + 1) + b"x" * 100)
    await n0.drops.wait("oversized_frame")
    # Closed with bytes unread or not: the peer sees a reset or an end.
    with suppress(trio.BrokenResourceError):
        assert await stream.receive_some() == b""
    n1.transport.send(N0, b"unharmed")
    assert await n0.read_frames(1) == [(N1, b"unharmed")]


async def test_a_peer_that_talks_on_the_wrong_connection_loses_it(nursery: trio.Nursery) -> None:
    mesh = Mesh(nursery, nodes=2)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listeners[0].socket.getsockname()
    mesh.book.addresses[N1] = Address(host, port)
    n0 = await mesh.start(0)
    stream = await listeners[0].accept()
    nursery.start_soon(hold, stream)
    assert await accept(stream, mesh.keyring.identity(1)) == N0
    assert await n0.inbox.receive() == Found(N1)
    await stream.send_all(encode_frame(b"this goes the other way"))
    assert await n0.inbox.receive() == Lost(N1)
    assert n0.drops.counts == {"unexpected_data": 1}
    await listeners[0].aclose()


async def test_a_failure_of_ours_stays_with_the_connection(nursery: trio.Nursery) -> None:
    def fail(_digest: bytes) -> bytes:
        raise RuntimeError("the key is gone")

    mesh = Mesh(nursery, nodes=2)
    n0 = await mesh.start(0, identity=replace(mesh.keyring.identity(0), prove=fail))
    n1 = await mesh.start(1)
    await n0.drops.wait("internal_error", 3)
    assert not n0.ended.is_set()
    assert n1.transport.connected == frozenset()


async def test_a_wrong_entry_in_the_address_book_is_refused_with_its_reason(nursery: trio.Nursery) -> None:
    mesh = Mesh(nursery)
    n2 = await mesh.start(2)
    mesh.book.addresses[N1] = n2.transport.listen
    n0 = await mesh.start(0)
    await n2.drops.wait("wrong_validator")
    await n0.drops.wait("refused")


async def test_a_frame_that_no_peer_would_take_is_dropped_here(nursery: trio.Nursery) -> None:
    n0, n1 = await Mesh(nursery, nodes=2).start_all()
    n0.transport.broadcast(bytes(FRAME_BYTES_MAX + 1))
    n0.transport.broadcast(b"")
    n0.transport.broadcast(b"fits")
    assert await n1.read_frames(1) == [(N0, b"fits")]
    assert n0.drops.counts == {"unsendable_frame": 2}


async def test_a_busy_port_names_the_port_and_its_owner() -> None:
    keyring = Keyring(1)
    with socket.socket() as holder:
        holder.bind(LOOPBACK)
        holder.listen()
        port = holder.getsockname()[1]
        transport = TcpTransport(keyring.identity(0), Address("127.0.0.1", port), {})
        with pytest.raises(PortUnavailableError, match=rf"127.0.0.1:{port}.* \(pid {os.getpid()}\)") as caught:
            await transport.run(trio.open_memory_channel[Delivery | Lost | Found](1)[0])
    assert caught.value.owner is not None
    assert caught.value.owner.pid == os.getpid()


async def test_the_transport_ends_when_nobody_reads_its_inbox_any_more(nursery: trio.Nursery) -> None:
    n0, n1 = await Mesh(nursery, nodes=2).start_all()
    n1.inbox.close()
    n0.transport.send(N1, b"too late")
    await n1.ended.wait()
    await n0.wait_lost(N1)


def test_nobody_is_a_peer_of_its_own() -> None:
    with pytest.raises(ValueError, match="validator 0 is no peer of its own"):
        TcpTransport(Keyring(2).identity(0), LOOPBACK, {N0: LOOPBACK, N1: LOOPBACK})
