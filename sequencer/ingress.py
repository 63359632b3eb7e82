"""What a frame of a peer is, before anything acts on it: decoded, validated, and sent where it belongs.

Everything wrong with a frame ends here as an `InvalidMessage`; the node counts it and goes on (P4, L4).
"""

from typing import TypeAlias

from consensus.events import Received
from consensus.messages import LeafRequest, RangeRequest, SnapshotRequest, StorageRequest, TransactionForward, decode
from consensus.types import ValidatorId
from consensus.validation import MessageValidator

Incoming: TypeAlias = Received | StorageRequest | TransactionForward
"""For the replica, for storage, or for the mempool."""


def open_frame(sender: ValidatorId, frame: bytes, validator: MessageValidator) -> Incoming:
    """Raises `InvalidMessage`. `sender` has proven its identity to the transport."""
    message = decode(frame)
    match message:
        case LeafRequest() | RangeRequest() | SnapshotRequest() | TransactionForward():
            return message
        case _:
            return Received(sender, validator.validate(sender, message))
