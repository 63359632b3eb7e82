"""Namespaces of a block, and proofs of what its payload holds; `sequencer.light.payload_proof` verifies these."""

from typing import Annotated

import msgspec
from msgspec import Meta

from sequencer.schema.fields import Count, Hash, Height, Hex, Namespace


class NamespaceCountJson(msgspec.Struct):
    """Some transactions of one namespace, which stand together."""

    namespace: Annotated[Namespace, Meta(description="To which they belong.")]
    transactions: Annotated[Count, Meta(description="How many they are, at least one.")]


class NamespaceSizeJson(msgspec.Struct):
    """A namespace of a block."""

    namespace: Annotated[Namespace, Meta(description="Its number.")]
    transactions: Annotated[Count, Meta(description="How many transactions it has in the block, at least one.")]
    bytes: Annotated[Count, Meta(description="Size of these together, in bytes.")]


class NamespacesJson(msgspec.Struct):
    """Which namespaces have transactions in a finalized block. This is not proven: for each, and for those that are
    missing here, there is a proof of its own.
    """

    height: Annotated[Height, Meta(description="Of the block.")]
    hash: Annotated[Hash, Meta(description="Of the block.")]
    namespaces: Annotated[list[NamespaceSizeJson], Meta(description="In ascending order; in this order they stand.")]


class PieceJson(msgspec.Struct):
    """Whole chunks of a payload in a row."""

    first: Annotated[Count, Meta(description="Number of the first chunk. Chunk n begins at byte 1024 n.")]
    content: Annotated[Hex, Meta(description="The bytes of these chunks, each of 1024 but for the payload's last one.")]


class PayloadProofJson(msgspec.Struct):
    """Pieces of a payload, and that they are its own: the payload's commitment is the root of a Merkle tree in the
    shape of RFC 6962 over chunks of 1024 bytes.
    """

    pieces: Annotated[list[PieceJson], Meta(description="In ascending order, with a gap between any two.")]
    nodes: Annotated[
        list[Hash],
        Meta(description="Roots of the largest subtrees that hold none of these chunks, from left to right."),
    ]


class NamespaceJson(msgspec.Struct):
    """All transactions of a namespace in a finalized block, with the proof that these are they; or, where there are
    none, with the proof of that.
    """

    height: Annotated[Height, Meta(description="Of the block.")]
    hash: Annotated[Hash, Meta(description="Of the block.")]
    payload_hash: Annotated[Hash, Meta(description="The block's commitment to its payload, which its leaf states.")]
    payload_bytes: Annotated[Count, Meta(description="Size of the payload in bytes, which its leaf states.")]
    namespace: Annotated[Namespace, Meta(description="The one that was asked for.")]
    transactions: Annotated[list[Hex], Meta(description="Their bytes, in the order of the sequencer. May be empty.")]
    proof: Annotated[
        PayloadProofJson,
        Meta(description="The table of the payload and the region of the namespace, as far as there is one."),
    ]


class TransactionProofJson(msgspec.Struct):
    """A transaction of a finalized block, with the proof that it stands there."""

    hash: Annotated[Hash, Meta(description="Of the transaction.")]
    namespace: Annotated[Namespace, Meta(description="To which it belongs.")]
    transaction: Annotated[Hex, Meta(description="Its bytes.")]
    height: Annotated[Height, Meta(description="Of the block.")]
    block: Annotated[Hash, Meta(description="Hash of the block.")]
    payload_hash: Annotated[Hash, Meta(description="The block's commitment to its payload, which its leaf states.")]
    payload_bytes: Annotated[Count, Meta(description="Size of the payload in bytes, which its leaf states.")]
    position: Annotated[Count, Meta(description="Among the transactions of the block, counted from 0.")]
    position_in_namespace: Annotated[Count, Meta(description="Among those of its namespace, counted from 0.")]
    proof: Annotated[
        PayloadProofJson,
        Meta(description="The table of the payload, where the transaction stands in its region, and the transaction."),
    ]
