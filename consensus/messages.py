"""Everything that crosses the wire between replicas, and its strict codec (section 2, P4).

One MessagePack array per message, first element the tag. `decode` accepts exactly the bytes that `encode` makes: no
unknown field, no trailing byte, no longer form of a number, no other order.
"""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from consensus.certificates import FinalityCertificate, QuorumCertificate, TimeoutCertificate
from consensus.errors import InvalidMessage
from consensus.evidence import Evidence
from consensus.leaf import EpochProof, Leaf
from consensus.operations import Operation
from consensus.promises import Promise
from consensus.types import (
    WireCommitment,
    WireCount,
    WireEpoch,
    WireHeight,
    WireSignature,
    WireValidatorId,
    WireView,
)

RANGE_BLOCKS_MAX = 512
"""Blocks in one answer to a range request; the answer is bounded in bytes as well, this bounds the objects."""
SNAPSHOT_BYTES_MAX = 8 * 1024 * 1024
"""Encoded ledger state: a thousand validators with their accounts and four tables take half a MiB."""
RANGE_PATH_MAX = 2048
"""Leaves between the last block of an answer and the leaf that its FC certifies."""
FORWARD_TRANSACTIONS_MAX = 65_536
"""Transactions in one forwarded batch."""


class _Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    pass


class QuorumProposal(_Message, frozen=True, tag=1):
    """The leader of `leaf.view` proposes it; `signature` is over the leaf's commitment."""

    leaf: Leaf
    payload: bytes
    signature: WireSignature


class QuorumVote(_Message, frozen=True, tag=2):
    epoch: WireEpoch
    view: WireView
    leaf: WireCommitment
    voter: WireValidatorId
    signature: WireSignature


class FinalizeVote(_Message, frozen=True, tag=3):
    epoch: WireEpoch
    view: WireView
    leaf: WireCommitment
    voter: WireValidatorId
    signature: WireSignature


class TimeoutVote(_Message, frozen=True, tag=4):
    """`high_qc_view` is signed and never changes for a view; `high_qc` may be newer by the time of a repetition
    (R7).
    """

    epoch: WireEpoch
    view: WireView
    high_qc_view: WireView
    voter: WireValidatorId
    signature: WireSignature
    high_qc: QuorumCertificate
    entry_tc: TimeoutCertificate | None


class StatusRequest(_Message, frozen=True, tag=5):
    """Sent after a start: "this is where I am, what have I missed?"."""

    epoch: WireEpoch
    view: WireView


class StatusResponse(_Message, frozen=True, tag=6):
    """The highest certificates that a replica knows: the answer to a peer that is behind (L3)."""

    high_qc: QuorumCertificate
    fc: FinalityCertificate | None
    entry_tc: TimeoutCertificate | None


class LeafRequest(_Message, frozen=True, tag=7):
    leaf: WireCommitment


class LeafResponse(_Message, frozen=True, tag=8):
    leaf: Leaf
    payload: bytes


class RangeRequest(_Message, frozen=True, tag=9):
    """Decided blocks from this height on, please."""

    from_height: WireHeight


class RangeResponse(_Message, frozen=True, tag=10):
    """Consecutive decided blocks, and the proof: the leaves from the last block on to the one that `fc` certifies
    (L5).
    """

    blocks: Annotated[tuple[LeafResponse, ...], Meta(min_length=1, max_length=RANGE_BLOCKS_MAX)]
    path: Annotated[tuple[Leaf, ...], Meta(max_length=RANGE_PATH_MAX)]
    fc: FinalityCertificate


class TransactionForward(_Message, frozen=True, tag=11):
    """Transactions that a node accepted, on their way to a leader. Of no interest to the replica."""

    transactions: Annotated[tuple[bytes, ...], Meta(max_length=FORWARD_TRANSACTIONS_MAX)]


class EvidenceNotice(_Message, frozen=True, tag=12):
    """An offence that the sender has noticed or heard of (J4); kept until it stands in a leaf."""

    evidence: Evidence


class OperationNotice(_Message, frozen=True, tag=13):
    """A stake operation on its way to the leaders (J5)."""

    operation: Operation


class EpochEnd(_Message, frozen=True, tag=14):
    """T2: this epoch is over. Broadcast once by whoever learns it, and the answer to every later message of it."""

    epoch: WireEpoch
    proof: EpochProof


class SnapshotRequest(_Message, frozen=True, tag=15):
    """T5: what does the ledger hold at the end of this epoch?"""

    epoch: WireEpoch


class Snapshot(_Message, frozen=True, tag=16):
    """T5: the end of an epoch, for a node that has no block of it.

    `last` is the epoch's last leaf and `parent` its parent; `ledger` is the encoded state after the parent, to which
    `last.ledger` commits, so the state at the beginning of the next epoch can be computed and nothing need be believed.
    """

    proof: EpochProof
    parent: Leaf
    last: Leaf
    ledger: Annotated[bytes, Meta(max_length=SNAPSHOT_BYTES_MAX)]


class ProposalEcho(_Message, frozen=True, tag=17):
    """To somebody who voted for another leaf in this view: the leader signed this one too, as far as the sender knows.

    A leader that tells different leaves to different validators is found out although nobody got two proposals (E1).
    """

    epoch: WireEpoch
    view: WireView
    leaf: WireCommitment
    proposer: WireValidatorId
    signature: WireSignature


class PromiseRequest(_Message, frozen=True, tag=18):
    """Will you, the next leader, promise to include this? Of no interest to the replica. `number` is the asker's."""

    number: WireCount
    transaction: bytes
    beneficiary: Annotated[bytes, Meta(max_length=96)]


class PromiseResponse(_Message, frozen=True, tag=19):
    """The promise, or in a few words why there is none."""

    number: WireCount
    promise: Promise | None
    refusal: Annotated[str, Meta(max_length=200)]


Vote: TypeAlias = QuorumVote | FinalizeVote
SingleMessage: TypeAlias = (
    QuorumProposal
    | TimeoutVote
    | StatusRequest
    | StatusResponse
    | LeafResponse
    | RangeResponse
    | EvidenceNotice
    | OperationNotice
    | EpochEnd
    | Snapshot
    | ProposalEcho
)
"""What is seldom enough to be checked whole on arrival; votes are not."""
ReplicaMessage: TypeAlias = SingleMessage | Vote
"""What a replica handles."""
StorageRequest: TypeAlias = LeafRequest | RangeRequest | SnapshotRequest
"""What is answered from storage, see `consensus.catchup.answer`."""
NodeMessage: TypeAlias = TransactionForward | PromiseRequest | PromiseResponse
"""What nodes say to each other about transactions, before any leaf has them."""
Message: TypeAlias = ReplicaMessage | StorageRequest | NodeMessage

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)

encode = _encoder.encode


def decode(frame: bytes) -> Message:
    """Raises `InvalidMessage` ("malformed" or "non_canonical") for anything that `encode` would not have made."""
    try:
        message = _decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage("malformed", str(error)) from error
    if _encoder.encode(message) != frame:
        raise InvalidMessage("non_canonical", f"{type(message).__name__} in another form than its only one")
    return message
