"""What one node has done, as values: its journal, for oracles that were not there when it happened.

A journal holds what the rules are about: what the node signed and sent, which views it entered and gave up, what it
decided and why, and which epochs it began. Payloads are left out; their commitments stand in the leaves. It is no part
of the protocol: nothing reads it back into a replica.
"""

from typing import Final, TypeAlias

import msgspec

from consensus.certificates import FinalityCertificate
from consensus.effects import BeginEpoch, Broadcast, Decide, Effect, EnteredView, Report, Send, TimedOut
from consensus.epochs import EpochStart
from consensus.errors import InvalidMessage
from consensus.evidence import Evidence
from consensus.leaf import Block, EpochProof, Leaf
from consensus.ledger import Ledger, LedgerState
from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote, TimeoutVote
from consensus.safety import SafetyRecord
from consensus.types import Microseconds, ValidatorId, View

TRACE_VERSION: Final = 1

Signed: TypeAlias = QuorumProposal | QuorumVote | FinalizeVote | TimeoutVote
"""What a validator can contradict itself with. A proposal stands here without its payload."""


class _Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    at: Microseconds
    """The node's clock, microseconds since the Unix epoch."""


class Opened(_Record, frozen=True, tag=0):
    """The first record of a file: who writes it. A process that starts again begins another file."""

    version: int
    network_id: bytes
    validator_id: ValidatorId


class Began(_Record, frozen=True, tag=1):
    """The process has started from this record, with this leaf decided last."""

    record: SafetyRecord
    tip: Leaf


class Said(_Record, frozen=True, tag=2):
    """This left the node, after its write (R8)."""

    to: ValidatorId | None
    """None: everyone."""
    message: Signed


class Heard(_Record, frozen=True, tag=3):
    """Something signed has come from a peer and is valid by itself."""

    sender: ValidatorId
    kind: str
    view: View


class Entered(_Record, frozen=True, tag=4):
    view: View
    timed_out: bool
    """The view before ended by a TC."""


class GaveUp(_Record, frozen=True, tag=5):
    view: View
    cause: str


class Decided(_Record, frozen=True, tag=6):
    """These leaves, oldest first, are final by this FC."""

    leaves: tuple[Leaf, ...]
    fc: FinalityCertificate


class EpochBegan(_Record, frozen=True, tag=7):
    """The epoch of `ledger` has begun after the leaf `last`; written again by each process that starts in it."""

    last: Leaf
    proof: EpochProof
    before: LedgerState
    ledger: LedgerState

    @property
    def start(self) -> EpochStart:
        return EpochStart(Block(self.last, b""), self.proof, Ledger(self.before), Ledger(self.ledger))


class Accused(_Record, frozen=True, tag=8):
    evidence: Evidence


Record: TypeAlias = Opened | Began | Said | Heard | Entered | GaveUp | Decided | EpochBegan | Accused

encode_record = msgspec.msgpack.Encoder().encode
_decoder: Final[msgspec.msgpack.Decoder[Record]] = msgspec.msgpack.Decoder(Record)


def decode_record(data: bytes) -> Record:
    """Raises `InvalidMessage` ("bad_trace") for anything that is no record of this version."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage("bad_trace", f"a record cannot be read: {error}") from error


def describe_effect(effect: Effect, at: Microseconds) -> Record | None:
    """What a journal keeps of something that leaves a node after its write; None for everything else."""
    match effect:
        case Broadcast(message):
            return _describe_message(message, None, at)
        case Send(to, message):
            return _describe_message(message, to, at)
        case EnteredView(view, _, timed_out):
            return Entered(at, view, timed_out)
        case TimedOut(view, cause):
            return GaveUp(at, view, cause)
        case Decide(blocks, fc):
            return Decided(at, tuple(block.leaf for block in blocks), fc)
        case BeginEpoch(start):
            return describe_epoch(start, at)
        case Report(evidence):
            return Accused(at, evidence)
        case _:
            return None


def describe_epoch(start: EpochStart, at: Microseconds) -> EpochBegan:
    return EpochBegan(at, start.block.leaf, start.proof, start.before.state, start.ledger.state)


def _describe_message(message: Message, to: ValidatorId | None, at: Microseconds) -> Said | None:
    match message:
        case QuorumProposal():
            return Said(at, to, msgspec.structs.replace(message, payload=b""))
        case QuorumVote() | FinalizeVote() | TimeoutVote():
            return Said(at, to, message)
        case _:
            return None
