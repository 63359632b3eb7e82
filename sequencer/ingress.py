"""What a frame of a peer is, before anything acts on it: decoded, validated, and sent where it belongs.

Everything wrong with a frame ends here as an `InvalidMessage`; the node counts it and goes on (P4, L4).
"""

from typing import Protocol, TypeAlias

from consensus.events import Received
from consensus.messages import (
    LeafRequest,
    NodeMessage,
    PromiseRequest,
    PromiseResponse,
    RangeRequest,
    ReplicaMessage,
    SnapshotRequest,
    StorageRequest,
    TransactionForward,
    decode,
)
from consensus.types import ValidatorId
from consensus.validation import Item

Incoming: TypeAlias = Received | StorageRequest | NodeMessage
"""For the replica, for storage, or for the mempool."""


class Validator(Protocol):
    def validate(self, sender: ValidatorId, message: ReplicaMessage) -> Item:
        """Raises `InvalidMessage`."""
        ...


def open_frame(sender: ValidatorId, frame: bytes, validator: Validator) -> Incoming:
    """Raises `InvalidMessage`. `sender` has proven its identity to the transport."""
    message = decode(frame)
    match message:
        case LeafRequest() | RangeRequest() | SnapshotRequest():
            return message
        case TransactionForward() | PromiseRequest() | PromiseResponse():
            return message
        case _:
            return Received(sender, validator.validate(sender, message))
