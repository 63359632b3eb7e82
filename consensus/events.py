"""What can happen to a replica. Nothing else changes it.

Every event is handled together with the time at which it happened, so the core needs no clock.
"""

from enum import Enum
from typing import TypeAlias

import msgspec

from consensus.evidence import Evidence
from consensus.leaf import BeaconResult
from consensus.operations import Operation
from consensus.types import Commitment, Epoch, ValidatorId, View
from consensus.validation import Item


class Timer(Enum):
    """The two timers of a replica. Setting one again replaces it."""

    VIEW = "view"
    FETCH = "fetch"

    __hash__ = object.__hash__
    """Members are singletons; an enum's own hash is computed from the name each time."""


class Started(msgspec.Struct, frozen=True, gc=False):
    """The first event of a process, after a fresh start or a restart from its record."""


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message that validation let through, from a validator whose identity the transport has proven."""

    sender: ValidatorId
    item: Item


class TimerFired(msgspec.Struct, frozen=True, gc=False):
    """The deadline of the last `SetTimer` for this timer has passed. A stale one does no harm."""

    timer: Timer


class PeerLost(msgspec.Struct, frozen=True, gc=False):
    """The transport lost its connection to this validator (L2)."""

    validator: ValidatorId


class PayloadBuilt(msgspec.Struct, frozen=True, gc=False):
    """The answer to `BuildPayload`; ignored when its view is over."""

    view: View
    parent: Commitment
    payload: bytes


class PayloadReady(msgspec.Struct, frozen=True, gc=False):
    """The answer to `CheckPayload`: the application has looked at the payload of this leaf."""

    leaf: Commitment
    accepted: bool


class TransactionsWaiting(msgspec.Struct, frozen=True, gc=False):
    """This node holds transactions that no undecided block has, so an honest leader has no reason to stay idle (L6)."""


class BeaconComputed(msgspec.Struct, frozen=True, gc=False):
    """The answer to `ComputeBeacon` (T4); ignored when its epoch is over."""

    epoch: Epoch
    result: BeaconResult


class OperationSubmitted(msgspec.Struct, frozen=True, gc=False):
    """A stake operation came in at this node (J5): it is passed on to the others until a leaf has it."""

    operation: Operation


class EvidenceFound(msgspec.Struct, frozen=True, gc=False):
    """This node has noticed an offence outside of the protocol's messages: a promise that was broken."""

    evidence: Evidence


LocalEvent: TypeAlias = (
    Started
    | TimerFired
    | PeerLost
    | PayloadBuilt
    | PayloadReady
    | TransactionsWaiting
    | BeaconComputed
    | OperationSubmitted
    | EvidenceFound
)
Event: TypeAlias = Received | LocalEvent
