"""Transactions: submitted one by one and in batches, looked up, promised."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from sequencer.schema.fields import Count, Epoch, Hash, Height, Hex, Namespace, PublicKey, ValidatorName, View

BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""One body: two full payloads in the binary form, one in the textual."""

BATCH_TRANSACTIONS_MAX: Final = 16_384
"""In one batch. 1 MiB of the smallest real transactions (100 bytes) is 10,000; the answer may name each of them."""


class TransactionBodyJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transaction as the body of a request."""

    transaction: Annotated[
        str,
        Meta(
            description="Its bytes: two hexadecimal digits for each, with or without 0x.",
            examples=["0x616263"],
            extra_json_schema={"pattern": "^(0x)?([0-9a-fA-F]{2})+$"},
        ),
    ]


class TransactionJson(msgspec.Struct):
    """Where a transaction stands."""

    hash: Annotated[Hash, Meta(description="SHA-256 of its namespace (4 bytes, big endian) and its bytes; its name.")]
    status: Annotated[
        Literal["pending", "finalized", "unknown"],
        Meta(
            description="pending: it waits in this node's mempool. finalized: it is in a finalized block and will stay "
            "there. unknown: this node has never heard of it, or has given up on it."
        ),
    ]
    namespace: Annotated[
        Namespace | None, Meta(description="To which it belongs; null while this node does not have the transaction.")
    ] = None
    height: Annotated[Height | None, Meta(description="Of the block that holds it; null until it is final.")] = None
    position: Annotated[
        Count | None, Meta(description="Among the block's transactions, counted from 0; null until it is final.")
    ] = None


class PromiseJson(msgspec.Struct):
    """A soft confirmation: if a leaf of `promiser` with a view from `first_view` to `last_view` of this epoch is final,
    the transaction is in it or in one before it; else the promiser is slashed and the beneficiary compensated.
    """

    promiser: Annotated[ValidatorName, Meta(description="Name of the validator whose word it is.")]
    epoch: Annotated[Epoch, Meta(description="In which the promise holds.")]
    first_view: Annotated[View, Meta(description="First view for which it holds.")]
    last_view: Annotated[View, Meta(description="Last view for which it holds.")]
    transaction: Annotated[Hash, Meta(description="Hash of the transaction.")]
    beneficiary: Annotated[
        PublicKey | None, Meta(description="Account that is compensated should it be broken; null for nobody.")
    ]
    signature: Annotated[Hex, Meta(description="The promiser's, over all of the other fields.")]


class SoftJson(msgspec.Struct):
    """A transaction that the next leader has promised to include. Finality comes later."""

    hash: Annotated[Hash, Meta(description="SHA-256 of the transaction.")]
    status: Annotated[Literal["promised"], Meta(description="Promised, and not final yet.")]
    promise: Annotated[PromiseJson, Meta(description="The leader's signed word.")]


class RejectedJson(msgspec.Struct):
    """A transaction of a batch that was not taken."""

    index: Annotated[Count, Meta(description="Which one of the batch, counted from 0.")]
    code: Annotated[str, Meta(description="Stable code of the problem, as a single transaction would be answered.")]
    detail: Annotated[str, Meta(description="Why, and what to do about it.")]


class BatchJson(msgspec.Struct, omit_defaults=True):
    """What became of the transactions of a batch."""

    accepted: Annotated[Count, Meta(description="How many are new here and pending now.")]
    duplicate: Annotated[Count, Meta(description="How many were pending already.")]
    finalized: Annotated[Count, Meta(description="How many are final already.")]
    rejected: Annotated[
        list[RejectedJson],
        Meta(
            description="Those that were refused, in their order.",
            extra_json_schema={"maxItems": BATCH_TRANSACTIONS_MAX},
        ),
    ]
    hashes: Annotated[
        list[Hash] | None,
        Meta(description="With hashes=true: the hash of each transaction of the batch, in its order."),
    ] = None
