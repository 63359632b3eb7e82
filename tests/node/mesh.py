"""Real transports on loopback, or one of them against hand-made peers."""

import signal
from collections.abc import Iterator, Mapping
from functools import partial
from types import FrameType

import trio

from consensus.safety import prove_identity
from consensus.signatures import Signer
from consensus.types import ValidatorId
from sequencer.keys import generate_key
from sequencer.network_config import EpochsSection, LeadershipSection, NetworkConfig, ValidatorConfig
from sequencer.ports import Address
from sequencer.transport import Delivery, Found, Item, Lost
from sequencer.transport.handshake import Identity, KeyDirectory
from sequencer.transport.tcp import TcpTransport

LOOPBACK = Address("127.0.0.1", 0)
HANG_SECONDS = 60
"""Only a test that waits for what never comes lasts this long."""


def fail_instead_of_hanging() -> Iterator[None]:
    """Body of a fixture: where the test's time stands still, no deadline inside it could end a wait that is in vain."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"waited {HANG_SECONDS} s for something that never came")

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


class Keyring:
    """A network of n0, n1, … whose secrets the tests hold."""

    def __init__(
        self,
        nodes: int = 3,
        name: str = "test",
        *,
        stake: int = 1,
        primary_size: int | None = None,
        epoch_blocks: int = EpochsSection().epoch_blocks,
    ) -> None:
        """All of them lead, unless `primary_size` says how many."""
        self.signers = [generate_key() for _ in range(nodes)]
        self.network = NetworkConfig(
            name=name,
            genesis_time_ms=0,
            leadership=LeadershipSection(primary_size=nodes if primary_size is None else primary_size),
            epochs=EpochsSection(epoch_blocks=epoch_blocks, beacon_difficulty=1600),
            validators=tuple(
                ValidatorConfig(id=ValidatorId(i), name=f"n{i}", public_key=signer.public_key.hex(), stake=stake)
                for i, signer in enumerate(self.signers)
            ),
        )
        self.context = self.network.context()

    @property
    def keys(self) -> dict[ValidatorId, frozenset[bytes]]:
        """What everyone may prove its identity with."""
        return {ValidatorId(number): frozenset({signer.public_key}) for number, signer in enumerate(self.signers)}

    def identity(self, number: int, signer: Signer | None = None) -> Identity:
        """Proven as a node proves its own, with its key or another one; it knows every validator of the network."""
        context = self.context
        prove = partial(prove_identity, signer or self.signers[number], context.network_id)
        return Identity(context.network_id, context.scheme, ValidatorId(number), prove, KeyDirectory(self.keys))


class DropRecorder:
    """Implements `TransportMetrics`; tests wait for a reason."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._changed = trio.Event()

    def on_drop(self, reason: str, peer: ValidatorId | None, count: int) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + count
        self._changed.set()
        self._changed = trio.Event()

    async def wait(self, reason: str, count: int = 1) -> None:
        while self.counts.get(reason, 0) < count:
            await self._changed.wait()


class AddressBook:
    """Where everyone listens, filled in as transports start. Nobody listens on port 1."""

    def __init__(self, nodes: int) -> None:
        self.addresses = {ValidatorId(i): Address("127.0.0.1", 1) for i in range(nodes)}

    def of_others(self, number: int) -> Mapping[ValidatorId, Address]:
        return _Others(self.addresses, ValidatorId(number))


class _Others(Mapping[ValidatorId, Address]):
    def __init__(self, addresses: Mapping[ValidatorId, Address], own: ValidatorId) -> None:
        self._addresses, self._own = addresses, own

    def __getitem__(self, peer: ValidatorId) -> Address:
        if peer == self._own:
            raise KeyError(peer)
        return self._addresses[peer]

    def __iter__(self) -> Iterator[ValidatorId]:
        return (peer for peer in self._addresses if peer != self._own)

    def __len__(self) -> int:
        return len(self._addresses) - 1


class Station:
    """One running transport with its inbox."""

    def __init__(self, transport: TcpTransport, inbox: trio.MemoryReceiveChannel[Item], drops: DropRecorder) -> None:
        self.transport = transport
        self.inbox = inbox
        self.drops = drops
        self.scope = trio.CancelScope()
        self.ended = trio.Event()

    async def stop(self) -> None:
        """Its sockets are closed when this returns, as when the process is killed."""
        self.scope.cancel()
        await self.ended.wait()

    async def read_frames(self, count: int) -> list[tuple[ValidatorId, bytes]]:
        """That many frames or more, with their senders. What else arrives meanwhile is left out."""
        frames: list[tuple[ValidatorId, bytes]] = []
        while len(frames) < count:
            item = await self.inbox.receive()
            if isinstance(item, Delivery):
                frames += [(item.sender, frame) for frame in item.frames]
        return frames

    async def wait_found(self, *peers: int) -> None:
        await self._wait(Found, peers)

    async def wait_lost(self, *peers: int) -> None:
        await self._wait(Lost, peers)

    async def _wait(self, kind: type[Found] | type[Lost], peers: tuple[int, ...]) -> None:
        missing = set(peers)
        while missing:
            item = await self.inbox.receive()
            if isinstance(item, kind):
                missing.discard(item.peer)


class Mesh:
    """Starts stations in a nursery of the test."""

    def __init__(self, nursery: trio.Nursery, nodes: int = 3, keyring: Keyring | None = None) -> None:
        self.keyring = keyring or Keyring(nodes)
        self.book = AddressBook(nodes)
        self._nursery = nursery

    async def start(
        self,
        number: int,
        *,
        inbox_items: float = 1024,
        listen: Address = LOOPBACK,
        identity: Identity | None = None,
        peers: Mapping[ValidatorId, Address] | None = None,
    ) -> Station:
        """Its peers are all others, unless told."""
        drops = DropRecorder()
        transport = TcpTransport(
            identity or self.keyring.identity(number),
            listen,
            self.book.of_others(number) if peers is None else peers,
            metrics=drops,
        )
        send_inbox, receive_inbox = trio.open_memory_channel[Item](inbox_items)
        station = Station(transport, receive_inbox, drops)

        async def run(task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED) -> None:
            with station.scope:
                await transport.run(send_inbox, task_status=task_status)
            station.ended.set()

        self.book.addresses[ValidatorId(number)] = await self._nursery.start(run)
        return station

    async def start_all(self) -> list[Station]:
        """Everyone, and everyone has found everyone."""
        numbers = range(len(self.book.addresses))
        stations = [await self.start(number) for number in numbers]
        for number, station in enumerate(stations):
            await station.wait_found(*(peer for peer in numbers if peer != number))
        return stations

    async def connect(self, number: int) -> trio.SocketStream:
        """A bare connection to a station, by nobody in particular."""
        address = self.book.addresses[ValidatorId(number)]
        stream = await trio.open_tcp_stream(address.host, address.port)
        self._nursery.start_soon(hold, stream)
        return stream


async def hold(stream: trio.SocketStream) -> None:
    """Close the stream at the end of the test."""
    try:
        await trio.sleep_forever()
    finally:
        stream.socket.close()
