"""Validators come and go while the transport runs, on real sockets, and no connection of the others notices."""

import pytest
import trio
import trio.testing

from consensus.types import ValidatorId
from sequencer.keys import generate_key
from sequencer.ports import Address
from sequencer.transport import Delivery, Found, Lost
from sequencer.transport.handshake import HandshakeError, accept, dial
from tests.node.mesh import Mesh, Station, fail_instead_of_hanging

watchdog = pytest.fixture(autouse=True)(fail_instead_of_hanging)

N0, N1, N2 = ValidatorId(0), ValidatorId(1), ValidatorId(2)
NOWHERE = Address("127.0.0.1", 1)


def address_of(station: Station) -> Address:
    return station.transport.listen


async def start_two_and_a_newcomer(mesh: Mesh) -> list[Station]:
    """n0 and n1 have found each other; n2 runs, and none of them knows of it."""
    n0, n1, n2 = [await mesh.start(number, peers={}) for number in range(3)]
    n0.transport.set_peers({N1: address_of(n1)})
    n1.transport.set_peers({N0: address_of(n0)})
    await n0.wait_found(N1)
    await n1.wait_found(N0)
    return [n0, n1, n2]


async def test_a_newcomer_is_dialled_and_let_in_while_everyone_runs(nursery: trio.Nursery) -> None:
    n0, n1, n2 = await start_two_and_a_newcomer(Mesh(nursery))
    n2.transport.send(N0, b"too early")
    n0.transport.set_peers({N1: address_of(n1), N2: address_of(n2)})
    n2.transport.set_peers({N0: address_of(n0)})
    await n2.wait_found(N0)
    await n0.wait_found(N2)
    n0.transport.broadcast(b"hello, both of you")
    assert await n1.read_frames(1) == [(N0, b"hello, both of you")]
    assert await n2.read_frames(1) == [(N0, b"hello, both of you")]
    assert n0.transport.connected == {N1, N2}
    assert n1.transport.connected == {N0}
    assert n0.transport.counters[N1].connections == 1, "nobody else's connection was touched"


async def test_who_leaves_is_lost_on_both_sides_and_not_let_in_again(nursery: trio.Nursery) -> None:
    mesh = Mesh(nursery)
    n0, n1, n2 = await mesh.start_all()
    n0.transport.set_peers({N1: address_of(n1)})
    assert await n0.inbox.receive() == Lost(N2)
    assert n0.transport.connected == {N1}
    await n2.wait_lost(N0)
    # It dials at once, and is told why it may not come in.
    await n2.drops.wait("refused")
    assert n0.drops.counts["unknown_validator"] >= 1
    n0.transport.send(N2, b"to nobody")
    assert n0.drops.counts["no_peer"] == 1
    n0.transport.broadcast(b"to those who are left")
    assert await n1.read_frames(1) == [(N0, b"to those who are left")]
    assert n2.transport.counters[N0].bytes_in == 0


async def test_who_left_may_come_back(nursery: trio.Nursery) -> None:
    n0, n1 = await Mesh(nursery, nodes=2).start_all()
    n0.transport.set_peers({})
    assert await n0.inbox.receive() == Lost(N1)
    await n1.wait_lost(N0)
    n0.transport.set_peers({N1: address_of(n1)})
    await n0.wait_found(N1)
    await n1.wait_found(N0)
    n1.transport.send(N0, b"back again")
    assert await n0.inbox.receive() == Delivery(N1, (b"back again",))
    assert n0.transport.counters[N1].connections == 2, "counted on, as metrics never fall"


async def test_the_same_peers_again_change_nothing(nursery: trio.Nursery) -> None:
    n0, n1 = await Mesh(nursery, nodes=2).start_all()
    for _ in range(3):
        n0.transport.set_peers({N1: address_of(n1)})
    n1.transport.send(N0, b"as before")
    assert await n0.inbox.receive() == Delivery(N1, (b"as before",))
    assert n0.transport.counters[N1].connections == 1


async def test_a_peer_that_moves_is_dialled_at_its_new_address(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    # Time stands still: no retry timer can fire.
    mesh = Mesh(nursery, nodes=2)
    n0, old = await mesh.start_all()
    n0.transport.set_peers({N1: address_of(old)})
    await old.stop()
    await n0.wait_lost(N1)
    await trio.testing.wait_all_tasks_blocked()
    mesh.book.addresses[N0] = NOWHERE  # so that only n0 can dial
    moved = await mesh.start(1)
    n0.transport.set_peers({N1: address_of(moved)})
    await n0.wait_found(N1)
    n0.transport.send(N1, b"found you")
    assert await moved.read_frames(1) == [(N0, b"found you")]


async def test_an_address_that_changes_ends_the_connection_to_the_old_one(nursery: trio.Nursery) -> None:
    n0, n1, n2 = await Mesh(nursery).start_all()
    n0.transport.set_peers({N1: NOWHERE, N2: address_of(n2)})
    assert await n0.inbox.receive() == Lost(N1)
    assert n0.transport.connected == {N2}
    n0.transport.set_peers({N1: address_of(n1), N2: address_of(n2)})
    assert await n0.inbox.receive() == Found(N1)


async def test_peers_may_be_set_before_and_after_the_transport_runs(nursery: trio.Nursery) -> None:
    mesh = Mesh(nursery, nodes=2)
    n1 = await mesh.start(1)
    n0 = await mesh.start(0)
    await n0.wait_found(N1)
    await n0.stop()
    n0.transport.set_peers({})
    n0.transport.set_peers({N1: address_of(n1)})
    assert n0.transport.connected == frozenset()


async def test_a_peer_without_a_listed_key_is_not_believed_until_it_has_one(nursery: trio.Nursery) -> None:
    mesh = Mesh(nursery, nodes=2)
    n0 = await mesh.start(0)
    n0.transport.set_keys({N0: mesh.keyring.keys[N0]})
    n1 = await mesh.start(1)
    await n1.drops.wait("refused")
    assert n0.drops.counts["unknown_validator"] >= 1
    n0.transport.set_keys(mesh.keyring.keys)
    await n0.wait_found(N1)
    await n1.wait_found(N0)


async def test_a_rotated_key_is_accepted_beside_the_old_one_and_then_alone(nursery: trio.Nursery) -> None:
    mesh = Mesh(nursery, nodes=2)
    old, new = mesh.keyring.signers[1], generate_key()
    n0, n1 = await mesh.start_all()
    keys = mesh.keyring.keys
    n0.transport.set_keys({**keys, N1: frozenset({old.public_key, new.public_key})})
    await n1.stop()
    await n0.wait_lost(N1)
    again = await mesh.start(1, identity=mesh.keyring.identity(1, new))
    await again.wait_found(N0)
    await n0.wait_found(N1)
    # The rotation is over. The connection that stands has been proven; the old key opens none any more.
    n0.transport.set_keys({**keys, N1: frozenset({new.public_key})})
    again.transport.send(N0, b"still here")
    assert await n0.read_frames(1) == [(N1, b"still here")]
    with pytest.raises(HandshakeError, match="refuses this node: bad_proof"):
        await dial(await mesh.connect(0), mesh.keyring.identity(1, old), N0)


async def test_what_is_reported_of_who_leaves_waits_for_room_in_the_inbox(nursery: trio.Nursery) -> None:
    # n1 is played by hand, and n0 has nobody to take what it reports.
    mesh = Mesh(nursery, nodes=2)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listeners[0].socket.getsockname()
    n0 = await mesh.start(0, inbox_items=0, peers={N1: Address(host, port)})
    async with await listeners[0].accept() as stream:
        await accept(stream, mesh.keyring.identity(1))
        while not n0.transport.connected:
            await trio.testing.wait_all_tasks_blocked()
        n0.transport.set_peers({})
        assert await n0.inbox.receive() == Found(N1)
        assert await n0.inbox.receive() == Lost(N1)
        assert await stream.receive_some() == b""
    await listeners[0].aclose()
