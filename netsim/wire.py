"""From one process to the others: codec, validation, links.

A message is encoded and decoded once, however many receive it, so that one in a non-canonical form cannot slip by; and
it is validated once, because validation is stateless and would say the same at every receiver.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappush
from typing import TypeAlias

from consensus.context import EpochContext
from consensus.errors import InvalidMessage
from consensus.events import PeerLost, Received
from consensus.messages import (
    LeafRequest,
    Message,
    PromiseRequest,
    PromiseResponse,
    RangeRequest,
    SnapshotRequest,
    StorageRequest,
    TransactionForward,
    Vote,
    decode,
    encode,
)
from consensus.types import Microseconds, ValidatorId
from consensus.validation import Foreign, MessageValidator, get_epoch
from netsim.network import Network
from netsim.observer import Observer
from netsim.simulation import Simulation, make_tag

KIND_MESSAGE = 1
KIND_PEER_LOST = 2

GENUINE_VOTES_MAX = 65_536
"""Votes whose signature check is remembered; a view of 100 nodes makes 200."""


GenuineVotes: TypeAlias = dict[int, tuple[Vote, bool]]
"""By the vote's object id; holding the vote itself keeps that id from being used again."""


@dataclass(frozen=True, slots=True)
class Request:
    """A message that a process answers from its disk."""

    sender: ValidatorId
    message: StorageRequest


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that validation did not let through."""

    sender: ValidatorId
    reason: str


Arrival: TypeAlias = Received | PeerLost | Request | Refused
"""What reaches a process from outside."""


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
        self._observers = observers
        nodes = range(network.nodes)
        self._others = [tuple(other for other in nodes if other != node) for node in nodes]
        self._receivers: list[Callable[[Arrival], None]] = []
        self.messages = 0
        self.deliveries = 0

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
        simulation = self._simulation
        for destination, link in enumerate(self._network.links[source]):
            if destination == source or link.is_cut:
                continue
            at = max(simulation.now + link.sample_delay(), link.latest_arrival + 1)
            tag = make_tag(KIND_PEER_LOST, destination, source)
            simulation.schedule(at, self._receivers[destination], PeerLost(source), tag)

    def _carry(self, source: ValidatorId, destinations: Sequence[int], message: Message) -> None:
        simulation = self._simulation
        now = simulation.now
        self.messages += 1
        for observer in self._observers:
            observer.on_send(now, source, message)
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
                at = now + link.fixed_delay
                if at <= link.latest_arrival:
                    at = link.latest_arrival + 1
                link.latest_arrival = at
                times: tuple[Microseconds, ...] = (Microseconds(at),)
            else:
                times = link.transmit(now, size)
            self.deliveries += len(times)
            for time in times:
                heappush(heap, (time, draw_tie(), next_sequence(), receivers[destination], arrival, tag))

    def _judge(self, source: ValidatorId, message: Message) -> Arrival:
        if isinstance(message, LeafRequest | RangeRequest | SnapshotRequest):
            return Request(source, message)
        if isinstance(message, TransactionForward | PromiseRequest | PromiseResponse):
            return Refused(source, "simulated nodes share their transactions already")
        epoch = get_epoch(message)
        latest = max(self._validators)
        validator = self._validators.get(latest if epoch is None else epoch)
        if validator is None:
            return Received(source, Foreign(epoch or latest, message))
        try:
            return Received(source, validator.validate(source, message))
        except InvalidMessage as error:
            return Refused(source, error.reason)
