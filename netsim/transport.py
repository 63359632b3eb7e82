"""The simulator's links under full nodes: a transport for Trio, to be run on `trio.testing.MockClock`.

Frames are opaque here and reach the receiver after the link's delay, or not at all. A transport that ends takes its
connections with it: its peers hear of it one delay later, as they would from a killed process's kernel. No other module
of netsim knows Trio, and this one knows no node: whoever joins says how its inbox items are made.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Generic, TypeVar

import trio

from consensus.types import ValidatorId
from netsim.network import Link, Network

Item = TypeVar("Item")

IN_FLIGHT_BYTES_MAX = 64 * 1024 * 1024
"""On the way from one sender to one receiver: thirty of the largest payloads. A full outbox drops what exceeds it."""

RECONNECT_SECONDS = 0.1
"""How often a transport tries the peers that it is not connected to; matters only after a cut."""

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Makers(Generic[Item]):
    """How a node's inbox items are made."""

    delivery: Callable[[ValidatorId, tuple[bytes, ...]], Item]
    lost: Callable[[ValidatorId], Item]
    found: Callable[[ValidatorId], Item]


@dataclass(frozen=True, slots=True, order=True)
class _Arrival:
    at: int
    sequence: int
    peer: ValidatorId
    frame: bytes | None
    """None for the end or the beginning of a connection."""
    is_found: bool = False


class Hub(Generic[Item]):
    """Where the transports of one network meet. `validators` stand at the positions of `network`, in this order.

    Two transports are connected while both run and each has the other among its peers.
    """

    def __init__(self, network: Network, validators: Sequence[ValidatorId], makers: Makers[Item]) -> None:
        self._network = network
        self._positions = {validator: position for position, validator in enumerate(validators)}
        self._makers = makers
        self._up: dict[ValidatorId, SimulatedTransport[Item]] = {}
        self._next_sequence = count().__next__

    def make_transport(self, validator: ValidatorId) -> "SimulatedTransport[Item]":
        """One for each life of a node: a node that starts again gets another."""
        return SimulatedTransport(self, validator, self._makers)

    def add(self, validator: ValidatorId) -> None:
        """A newcomer, at a new position of the network. Raises `ValueError` for one that is here already."""
        if validator in self._positions:
            raise ValueError(f"validator {validator} is on this network already")
        self._positions[validator] = self._network.add_node()

    def get_peers(self, transport: "SimulatedTransport[Item]") -> list[ValidatorId]:
        """Those that it would be connected to if they ran and wanted it too."""
        return [other for other in self._positions if other != transport.validator and transport.wants(other)]

    def enter(self, transport: "SimulatedTransport[Item]") -> None:
        if transport.validator in self._up:
            raise RuntimeError(f"validator {transport.validator} runs a transport already; end that one first")
        self._up[transport.validator] = transport

    def leave(self, transport: "SimulatedTransport[Item]") -> None:
        del self._up[transport.validator]
        for peer, other in self._up.items():
            if not self._get_link(transport.validator, peer).is_cut:
                self._end(other, transport.validator)

    def connect(self, transport: "SimulatedTransport[Item]") -> None:
        """Towards every running peer that both directions of the link reach."""
        for peer in self.get_peers(transport):
            other = self._up.get(peer)
            if other is None or not other.wants(transport.validator):
                continue
            there, back = self._get_link(transport.validator, peer), self._get_link(peer, transport.validator)
            if there.is_cut or back.is_cut:
                continue
            if transport.expect(peer):
                self._notify(back, transport, peer, is_found=True)
            if other.expect(transport.validator):
                self._notify(there, other, transport.validator, is_found=True)

    def disconnect(self, transport: "SimulatedTransport[Item]", peer: ValidatorId) -> None:
        """It ends its connection with this peer; the peer hears of it unless the way there is cut."""
        self._end(transport, peer)
        other = self._up.get(peer)
        if other is not None and not self._get_link(transport.validator, peer).is_cut:
            self._end(other, transport.validator)

    def carry(self, source: ValidatorId, to: ValidatorId, frame: bytes) -> None:
        other = self._up.get(to)
        if other is None or source not in other.expected:
            return
        for at in self._get_link(source, to).transmit(_now(), len(frame)):
            other.push(_Arrival(at, self._next_sequence(), source, frame))

    def _end(self, receiver: "SimulatedTransport[Item]", peer: ValidatorId) -> None:
        """A connection ends once."""
        if peer in receiver.expected and peer not in receiver.ending:
            receiver.ending.add(peer)
            self._notify(self._get_link(peer, receiver.validator), receiver, peer, is_found=False)

    def _notify(self, link: Link, receiver: "SimulatedTransport[Item]", peer: ValidatorId, *, is_found: bool) -> None:
        at = link.latest_arrival = max(_now() + link.sample_delay(), link.latest_arrival + 1)
        receiver.push(_Arrival(at, self._next_sequence(), peer, None, is_found))

    def _get_link(self, source: ValidatorId, destination: ValidatorId) -> Link:
        return self._network.links[self._positions[source]][self._positions[destination]]


class SimulatedTransport(Generic[Item]):
    """One node's end. Structurally a `sequencer.transport.Transport`."""

    def __init__(self, hub: Hub[Item], validator: ValidatorId, makers: Makers[Item]) -> None:
        self._hub = hub
        self._makers = makers
        self.validator = validator
        self._peers: Container[ValidatorId] | None = None
        self._known: Container[ValidatorId] | None = None
        self.expected: set[ValidatorId] = set()
        """Peers with a connection, or with one that is being made."""
        self.ending: set[ValidatorId] = set()
        """Those of them whose connection has ended; word of it is on its way."""
        self._connected: set[ValidatorId] = set()
        self._arrivals: list[_Arrival] = []
        self._in_flight: dict[ValidatorId, int] = {}
        self._wake = trio.Event()
        self._must_connect = False
        self.dropped = 0
        """Frames to this node that exceeded `IN_FLIGHT_BYTES_MAX`."""

    @property
    def connected(self) -> frozenset[ValidatorId]:
        return frozenset(self._connected)

    def wants(self, peer: ValidatorId) -> bool:
        """Whether it is a peer, and one that could prove who it is."""
        return (self._peers is None or peer in self._peers) and (self._known is None or peer in self._known)

    def set_peers(self, peers: Iterable[ValidatorId]) -> None:
        """From now on, as a real transport would be told; until then everyone on the hub is one. Addresses mean
        nothing here. Raises `ValueError` when this validator is among them.
        """
        self._peers = frozenset(peers)
        if self.validator in self._peers:
            raise ValueError(f"validator {self.validator} is no peer of its own")
        for peer in sorted(self.expected - self._peers):
            self._hub.disconnect(self, peer)
        self._must_connect = True
        self._wake.set()

    def set_keys(self, keys: Iterable[ValidatorId]) -> None:
        """Who can prove its identity from now on; everyone until then. Nothing is signed here."""
        self._known = frozenset(keys)
        self._must_connect = True
        self._wake.set()

    def send(self, to: ValidatorId, frame: bytes) -> None:
        """A frame for a validator that is no peer is dropped."""
        if to in self._hub.get_peers(self):
            self._hub.carry(self.validator, to, frame)

    def broadcast(self, frame: bytes) -> None:
        for peer in self._hub.get_peers(self):
            self._hub.carry(self.validator, peer, frame)

    async def run(
        self, inbox: trio.MemorySendChannel[Item], *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Fill `inbox` until cancelled; the connections end with it."""
        self._hub.enter(self)
        try:
            task_status.started()
            while True:
                self._hub.connect(self)
                await self._wait_due()
                for item in self._take_due():
                    await inbox.send(item)
        finally:
            self._hub.leave(self)

    def expect(self, peer: ValidatorId) -> bool:
        """Whether a connection with this peer has to be made."""
        if peer in self.expected:
            return False
        self.expected.add(peer)
        return True

    def push(self, arrival: _Arrival) -> None:
        if arrival.frame is not None:
            in_flight = self._in_flight.get(arrival.peer, 0) + len(arrival.frame)
            if in_flight > IN_FLIGHT_BYTES_MAX:
                self.dropped += 1
                return
            self._in_flight[arrival.peer] = in_flight
        heappush(self._arrivals, arrival)
        self._wake.set()

    async def _wait_due(self) -> None:
        """Until something is due, or it is time to try the missing peers again."""
        self._must_connect = False
        missing = not self.expected.issuperset(self._hub.get_peers(self))
        retry_at = trio.current_time() + RECONNECT_SECONDS if missing else inf
        while not self._arrivals or self._arrivals[0].at > _now():
            self._wake = trio.Event()
            due = self._arrivals[0].at / _MICROSECONDS if self._arrivals else inf
            with trio.move_on_at(min(due, retry_at)):
                await self._wake.wait()
            if trio.current_time() >= retry_at or self._must_connect:
                return

    def _take_due(self) -> list[Item]:
        """What has arrived, the consecutive frames of one sender together as one read would give them."""
        items: list[Item] = []
        sender: ValidatorId | None = None
        frames: list[bytes] = []
        while self._arrivals and self._arrivals[0].at <= _now():
            arrival = heappop(self._arrivals)
            if frames and sender is not None and (arrival.frame is None or arrival.peer != sender):
                items.append(self._makers.delivery(sender, tuple(frames)))
                frames = []
            sender = arrival.peer
            if arrival.frame is not None:
                self._in_flight[sender] -= len(arrival.frame)
                frames.append(arrival.frame)
            elif arrival.is_found:
                self._connected.add(sender)
                items.append(self._makers.found(sender))
            else:
                self._connected.discard(sender)
                self.expected.discard(sender)
                self.ending.discard(sender)
                items.append(self._makers.lost(sender))
        if frames and sender is not None:
            items.append(self._makers.delivery(sender, tuple(frames)))
        return items


def _now() -> int:
    """Microseconds on Trio's clock."""
    return round(trio.current_time() * _MICROSECONDS)
