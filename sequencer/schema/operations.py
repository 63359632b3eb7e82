"""Stake operations (J5)."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sequencer.schema.fields import Hash, Height


class OperationJson(msgspec.Struct):
    """Where an operation stands. What was included before this node started is unknown to it; the account's nonce
    tells.
    """

    id: Annotated[Hash, Meta(description="Hash of the signed operation, and its name.")]
    status: Annotated[
        Literal["pending", "included", "unknown"],
        Meta(description="pending: it waits for a leader. included: it stands in a finalized block."),
    ]
    kind: Annotated[str | None, Meta(description="bond, unbond, unjail or rotate-key; null when it is unknown.")] = None
    height: Annotated[Height | None, Meta(description="Of the finalized block that holds it, else null.")] = None


class PendingJson(msgspec.Struct):
    """Operations that wait for a leader."""

    operations: Annotated[
        list[dict[str, Any]], Meta(description="In the order in which they came; each with its id and its fields.")
    ]
