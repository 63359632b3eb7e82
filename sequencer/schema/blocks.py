"""Finalized blocks."""

from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from sequencer.schema.fields import Count, Epoch, Hash, Height, Hex, TimestampMs, ValidatorName, View
from sequencer.schema.light import FinalityJson
from sequencer.schema.namespaces import NamespaceCountJson

RANGE_BLOCKS_MAX: Final = 100
"""Blocks in one answer, of which each may have a payload of 2 MiB; see also `RANGE_PAYLOAD_BYTES_MAX` of the server."""

TransactionForm: TypeAlias = Literal["full", "hashes", "none"]
"""What is shown of a block's transactions."""


class BlockJson(msgspec.Struct, omit_defaults=True):
    """A finalized block."""

    height: Annotated[Height, Meta(description="Its height, one above its parent's; 0 is genesis.")]
    view: Annotated[View, Meta(description="In which it was proposed.")]
    epoch: Annotated[Epoch, Meta(description="To which it belongs.")]
    hash: Annotated[Hash, Meta(description="Of the block, and its name.")]
    parent: Annotated[Hash, Meta(description="Hash of the block below it.")]
    proposer: Annotated[ValidatorName, Meta(description="Name of the validator that proposed it.")]
    timestamp_ms: Annotated[
        TimestampMs,
        Meta(description="Milliseconds since 1970 in UTC, by the proposer's clock and never below the parent's."),
    ]
    payload_hash: Annotated[Hash, Meta(description="Commitment to its payload, which is its transactions.")]
    payload_bytes: Annotated[Count, Meta(description="Size of the payload in bytes.")]
    transactions: Annotated[
        list[Hex] | None,
        Meta(
            description="In their order, which is by namespace: with transactions=full their bytes, with "
            "transactions=hashes their hashes; absent with transactions=none. With namespace=N only those of N."
        ),
    ] = None
    namespaces: Annotated[
        list[NamespaceCountJson] | None,
        Meta(
            description="Beside `transactions`: the first so many of these are of the first namespace here, the next "
            "of the second, and so on to the last. Absent with transactions=none."
        ),
    ] = None
    finality: Annotated[
        FinalityJson | None,
        Meta(
            description="With finality=true why it is final; absent without, for genesis, which needs no reason, "
            "and in a range where the certificate has not arrived here."
        ),
    ] = None


class RangeJson(msgspec.Struct):
    """Some finalized blocks in ascending order of height, without a gap."""

    blocks: Annotated[
        list[BlockJson],
        Meta(
            description="Ascending by height. Empty when the chain ends before.",
            extra_json_schema={"maxItems": RANGE_BLOCKS_MAX},
        ),
    ]
    next: Annotated[
        Height | None, Meta(description="Height to ask for next (from=), null when the chain ends here for now.")
    ]
    latest: Annotated[Height, Meta(description="Height of the latest finalized block that this node serves.")]
