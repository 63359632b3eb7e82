"""From one process to the others: codec, validation, links.

A message is encoded and decoded once, however many receive it, so that one in a non-canonical form cannot slip by; and
it is validated once, because validation is stateless and would say the same at every receiver.
"""

from collections.abc import Callable, Collection, Sequence
from heapq import heapify, heappush
from random import Random
from typing import TypeAlias

import msgspec

from consensus.context import EpochContext
from consensus.errors import InvalidMessage
from consensus.events import PeerLost, Received
from consensus.messages import (
    FinalizeVote,
    LeafRequest,
    Message,
    PromiseRequest,
    PromiseResponse,
    QuorumVote,
    RangeRequest,
    SnapshotRequest,
    StorageRequest,
    TransactionForward,
    Vote,
    decode,
    encode,
)
from consensus.types import Epoch, Microseconds, ValidatorId
from consensus.validation import Foreign, MessageValidator, get_epoch
from netsim.network import Link, Network
from netsim.observer import Audience, Observer
from netsim.simulation import Entry, Simulation, make_tag

KIND_MESSAGE = 1
KIND_PEER_LOST = 2

GENUINE_VOTES_MAX = 65_536
"""Votes whose signature check is remembered; a view of 100 nodes makes 200."""


GenuineVotes: TypeAlias = dict[int, tuple[Vote, bool]]
"""By the vote's object id; holding the vote itself keeps that id from being used again."""


class Request(msgspec.Struct, frozen=True, gc=False):
    """A message that a process answers from its disk."""

    sender: ValidatorId
    message: StorageRequest


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A message that validation did not let through."""

    sender: ValidatorId
    reason: str


Arrival: TypeAlias = Received | PeerLost | Request | Refused
"""What reaches a process from outside."""
Held: TypeAlias = tuple[Arrival, int]
"""Behind a clog: what will arrive, and its audit tag."""
OnFlight: TypeAlias = Callable[[ValidatorId, int, Message, Sequence[Microseconds]], None]
"""source, destination, message, when it arrives: never, once or twice."""


class SharedVotes(MessageValidator):
    """One node's own validator, which takes the result of a vote's signature check from the first node that made it.

    Everything else stays its own: what one node remembers as verified says nothing about what another has seen.
    """

    def __init__(self, context: EpochContext, genuine: GenuineVotes) -> None:
        super().__init__(context)
        self._genuine = genuine

    def is_genuine(self, vote: Vote) -> bool:
        known = self._genuine.get(id(vote))
        if known is not None and known[0] is vote:
            return known[1]
        if len(self._genuine) >= GENUINE_VOTES_MAX:
            self._genuine.clear()
        genuine = super().is_genuine(vote)
        self._genuine[id(vote)] = (vote, genuine)
        return genuine


class Wire:
    """Carries messages between the nodes of one simulation."""

    def __init__(
        self, simulation: Simulation, network: Network, context: EpochContext, observers: Sequence[Observer]
    ) -> None:
        self._simulation = simulation
        self._network = network
        self._validators = {context.epoch: MessageValidator(context)}
        self._audience = Audience.of(observers)
        nodes = range(network.nodes)
        self._others = [tuple(other for other in nodes if other != node) for node in nodes]
        self._receivers: list[Callable[[Arrival], None]] = []
        self._whims = simulation.streams["faults"]
        self.messages = 0
        self.deliveries = 0
        self.on_flight: OnFlight | None = None
        """Who wants to know how each message fares; only links that `Link.hinder` has slowed down tell."""

    def attach(self, receivers: Sequence[Callable[[Arrival], None]]) -> None:
        """By position of the nodes; before the first message."""
        self._receivers = list(receivers)

    def begin_epoch(self, context: EpochContext) -> None:
        """Some node is in this epoch: its messages can be validated now, once for all who receive them."""
        if context.epoch not in self._validators:
            self._validators[context.epoch] = MessageValidator(context)

    def send(self, source: ValidatorId, to: ValidatorId, message: Message) -> None:
        self._carry(source, (to,), message)

    def broadcast(self, source: ValidatorId, message: Message) -> None:
        """To everyone else."""
        self._carry(source, self._others[source], message)

    def break_connections(self, source: ValidatorId) -> None:
        """The operating system of a dead process closes its connections: each peer learns it one delay later.

        It arrives behind what was on its way. Across a cut nobody learns anything.
        """
        for destination, link in enumerate(self._network.links[source]):
            if destination != source and not link.is_cut:
                self._end_connection(source, destination, link)

    def reset(self, pairs: Collection[tuple[int, int]]) -> int:
        """These connections break: what is on its way is lost, and both sides notice. Returns how many were lost."""
        lost = 0
        directed = {pair for one, other in pairs for pair in ((one, other), (other, one))}
        heap = self._simulation.heap
        kept = [entry for entry in heap if self._find_pair(entry) not in directed]
        if len(kept) < len(heap):
            lost = len(heap) - len(kept)
            heap[:] = kept
            heapify(heap)
        for source, destination in sorted(directed):
            link = self._network.links[source][destination]
            lost += len(link.held)
            link.held.clear()
            if not link.is_cut:
                self._end_connection(ValidatorId(source), destination, link)
        self._network.counters.resets += len(directed) // 2
        self._network.counters.lost += lost
        return lost

    def unclog(self, source: int, destination: int) -> None:
        """What a clog has held back goes on its way, in the order in which it was sent."""
        simulation, link = self._simulation, self._network.links[source][destination]
        held, link.held = link.held, []
        for arrival, tag in held:
            at = max(simulation.now + link.sample_delay(), link.latest_arrival + 1)
            link.latest_arrival = at
            simulation.schedule(at, self._receivers[destination], arrival, tag)

    def _end_connection(self, source: ValidatorId, destination: int, link: Link) -> None:
        tag = make_tag(KIND_PEER_LOST, destination, source)
        if link.is_clogged:
            link.held.append((PeerLost(source), tag))
            return
        simulation = self._simulation
        at = max(simulation.now + link.sample_delay(), link.latest_arrival + 1)
        simulation.schedule(at, self._receivers[destination], PeerLost(source), tag)

    def _find_pair(self, entry: Entry) -> tuple[int, int] | None:
        """Whose message this event delivers, and to whom; None when it is something else."""
        tag, arrival = entry[5], entry[4]
        if tag >> 56 != KIND_MESSAGE or not isinstance(arrival, Received | Request | Refused):
            return None
        return arrival.sender, tag >> 40 & 0xFFFF

    def _carry(self, source: ValidatorId, destinations: Sequence[int], message: Message) -> None:
        simulation = self._simulation
        now = simulation.now
        self.messages += 1
        for hook in self._audience.on_send[type(message)]:
            hook(now, source, message)
        frame = encode(message)
        simulation.note(frame)
        arrival = self._judge(source, decode(frame))
        size = len(frame)
        heap, draw_tie, next_sequence = simulation.heap, simulation.draw_tie, simulation.next_sequence
        receivers, row = self._receivers, self._network.links[source]
        base_tag = make_tag(KIND_MESSAGE, 0, self.messages)
        for destination in destinations:
            link = row[destination]
            tag = base_tag | destination << 40
            if link.fixed_delay is not None:
                at = Microseconds(now + link.fixed_delay)
                if at <= link.latest_arrival:
                    at = Microseconds(link.latest_arrival + 1)
                link.latest_arrival = at
                self.deliveries += 1
                heappush(heap, (at, draw_tie(), next_sequence(), receivers[destination], arrival, tag))
                continue
            if link.hindrances:
                self._carry_hindered(source, destination, message, frame, arrival)
                continue
            times = link.transmit(now, size)
            self.deliveries += len(times)
            for time in times:
                heappush(heap, (time, draw_tie(), next_sequence(), receivers[destination], arrival, tag))

    def _carry_hindered(
        self, source: ValidatorId, destination: int, message: Message, frame: bytes, arrival: Arrival
    ) -> None:
        """One message on a link that some fault is on."""
        simulation, link, counters = self._simulation, self._network.links[source][destination], self._network.counters
        tag = make_tag(KIND_MESSAGE, destination, self.messages)
        times: tuple[Microseconds, ...] = ()
        kind = type(message).__name__
        is_clogged = False
        for hindrance in link.hindrances:
            if hindrance.cuts or hindrance.model is not None:
                hindrance.bites += 1
            elif hindrance.clogs:
                hindrance.bites += 1
                is_clogged = True
            elif kind in hindrance.kinds and self._whims.random() < hindrance.kinds_probability:
                hindrance.bites += 1
                counters.lost += 1
                break
            elif hindrance.corruption and self._whims.random() < hindrance.corruption:
                hindrance.bites += 1
                counters.corrupted += 1
                frame = _alter(frame, self._whims)
                arrival = self._judge_frame(source, frame)
        else:
            if is_clogged and not link.is_cut:
                counters.clogged += 1
                link.held.append((arrival, tag))
            else:
                times = link.transmit(simulation.now, len(frame))
        self.deliveries += len(times)
        for time in times:
            simulation.schedule(time, self._receivers[destination], arrival, tag)
        if self.on_flight is not None:
            self.on_flight(source, destination, message, times)

    def _judge_frame(self, source: ValidatorId, frame: bytes) -> Arrival:
        """Of bytes that nobody meant to send."""
        try:
            message = decode(frame)
        except InvalidMessage as error:
            return Refused(source, error.reason)
        return self._judge(source, message)

    def _judge(self, source: ValidatorId, message: Message) -> Arrival:
        match message:
            case QuorumVote() | FinalizeVote():  # most of what is sent
                epoch: Epoch | None = message.epoch
            case LeafRequest() | RangeRequest() | SnapshotRequest():
                return Request(source, message)
            case TransactionForward() | PromiseRequest() | PromiseResponse():
                return Refused(source, "simulated nodes share their transactions already")
            case _:
                epoch = get_epoch(message)
        if epoch is None:
            epoch = max(self._validators)
        validator = self._validators.get(epoch)
        if validator is None:
            return Received(source, Foreign(epoch, message))
        try:
            return Received(source, validator.validate(source, message))
        except InvalidMessage as error:
            return Refused(source, error.reason)


def _alter(frame: bytes, random: Random) -> bytes:
    """Another frame of the same length: one byte differs."""
    position = random.randrange(len(frame))
    other = frame[position] ^ random.randrange(1, 256)
    return frame[:position] + bytes([other]) + frame[position + 1 :]
