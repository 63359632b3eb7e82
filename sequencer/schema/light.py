"""What a client needs that trusts a stake table and nothing else: leaves, certificates, and what epochs begin with."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sequencer.schema.fields import (
    Amount,
    Count,
    Epoch,
    Hash,
    Height,
    Hex,
    PublicKey,
    TimestampMs,
    ValidatorName,
    View,
)


class CertificateJson(msgspec.Struct):
    """A quorum certificate: in its view nobody else than this leaf was certified (P2)."""

    view: Annotated[View, Meta(description="In which its votes were given.")]
    leaf: Annotated[Hash, Meta(description="Hash of the leaf that it certifies.")]
    signers: Annotated[
        list[ValidatorName],
        Meta(description="Whose votes it holds. Empty in what an epoch begins with, which is valid by definition."),
    ]


class TimeoutCertificateJson(msgspec.Struct):
    """A timeout certificate: its view might be left without a block (R7)."""

    view: Annotated[View, Meta(description="The one that was left.")]
    highest_view: Annotated[View, Meta(description="The highest certified view that any of its signers knew of.")]
    signers: Annotated[list[ValidatorName], Meta(description="Whose timeout votes it holds.")]


class LeafEvidenceJson(msgspec.Struct):
    """An offence that a leaf punishes (J4)."""

    offender: Annotated[ValidatorName, Meta(description="Name of the validator.")]
    rule: Annotated[str, Meta(description="Which rule it broke: E1 to E5, or promise.")]
    epoch: Annotated[Epoch, Meta(description="In which it did.")]


class EpochEndJson(msgspec.Struct):
    """That an epoch is over (T2)."""

    leaf: Annotated[Hash, Meta(description="Hash of its last leaf.")]
    view: Annotated[View, Meta(description="View of the finality certificate that proves it.")]
    closing_leaves: Annotated[
        Count, Meta(description="How many leaves it took after the last one until there was a finality certificate.")
    ]
    trusted: Annotated[
        str, Meta(description="EPOCH:HASH of its last leaf: where a node or a light client may begin (T5).")
    ]
    proof: Annotated[Hex, Meta(description="The epoch proof in its canonical encoding.")]


class LeafJson(msgspec.Struct):
    """The leaf of a finalized block: all that consensus has agreed on about its height (P3)."""

    version: Annotated[Count, Meta(description="Of the leaf's fields.")]
    epoch: Annotated[Epoch, Meta(description="To which it belongs.")]
    view: Annotated[View, Meta(description="In which it was proposed.")]
    height: Annotated[Height, Meta(description="One above its parent's; 0 is genesis.")]
    hash: Annotated[Hash, Meta(description="Its commitment, which covers every field, and the block's name.")]
    parent: Annotated[Hash, Meta(description="Hash of the leaf below it.")]
    proposer: Annotated[ValidatorName, Meta(description="Name of the validator that proposed it.")]
    timestamp_ms: Annotated[
        TimestampMs,
        Meta(description="Milliseconds since 1970 in UTC, by the proposer's clock and never below the parent's."),
    ]
    payload_hash: Annotated[Hash, Meta(description="Commitment to its payload, which is its transactions.")]
    payload_bytes: Annotated[Count, Meta(description="Size of the payload in bytes.")]
    ledger: Annotated[Hash, Meta(description="Commitment to the ledger as it stands after the parent (S1).")]
    operations: Annotated[
        list[Mapping[str, Any]],
        Meta(description="Stake operations with their fields, in the order in which they take effect (J5)."),
    ]
    evidence: Annotated[list[LeafEvidenceJson], Meta(description="Offences that it punishes (J4).")]
    beacon: Annotated[Hash | None, Meta(description="Result of the epoch's beacon, once in an epoch (T4).")]
    justify_qc: Annotated[CertificateJson, Meta(description="Certifies the parent.")]
    timeout_certificate: Annotated[
        TimeoutCertificateJson | None,
        Meta(description="Of the view before, when that was left without a block."),
    ]
    epoch_end: Annotated[
        EpochEndJson | None, Meta(description="In the first leaf of an epoch: that the one before is over (T2).")
    ]
    encoding: Annotated[Hex, Meta(description="The whole leaf in its canonical encoding.")]


class FinalityJson(msgspec.Struct):
    """Why a block is final: the finality certificate of it, or of a block above it (R6)."""

    height: Annotated[Height, Meta(description="Of the block.")]
    hash: Annotated[Hash, Meta(description="Of the block.")]
    epoch: Annotated[Epoch, Meta(description="Of the block and of the certificate: its stake table checks them.")]
    certified_height: Annotated[
        Height, Meta(description="Of the leaf that the certificate is about: the block's own, or one above it.")
    ]
    certified_hash: Annotated[Hash, Meta(description="Of that leaf.")]
    certified_view: Annotated[View, Meta(description="Of that leaf and the certificate.")]
    signers: Annotated[list[ValidatorName], Meta(description="Whose votes to finalize it holds.")]
    stake: Annotated[Amount, Meta(description="What the signers weigh together.")]
    threshold: Annotated[Amount, Meta(description="What they must weigh at least.")]
    total_stake: Annotated[Amount, Meta(description="What all weigh together.")]
    certificate: Annotated[Hex, Meta(description="The finality certificate in its canonical encoding.")]
    leaves: Annotated[
        list[Hex],
        Meta(
            description="Canonical encodings of the leaves from the block's own up to the certified one. In a range of "
            "blocks the list is empty when it would have more than one: ask for the block's finality alone then."
        ),
    ]


class SeatJson(msgspec.Struct):
    """One entry of a stake table; its place is its bit in the bitmaps of certificates (P2)."""

    name: Annotated[ValidatorName, Meta(description="Of the validator.")]
    id: Annotated[Count, Meta(description="Number of the validator; it is never used again.")]
    public_key: Annotated[PublicKey, Meta(description="With which it signs in this epoch.")]
    stake: Annotated[Amount, Meta(description="What its vote weighs.")]


class EpochTableJson(msgspec.Struct):
    """One epoch: who votes in it, which heights it decides, and how it ended."""

    number: Annotated[Epoch, Meta(description="Counted from 0.")]
    first_height: Annotated[Height, Meta(description="Of its first block.")]
    last_height: Annotated[Height, Meta(description="Of its last block.")]
    is_over: Annotated[bool, Meta(description="Whether its last block is final.")]
    stake_table: Annotated[list[SeatJson], Meta(description="In ascending order of id, as bitmaps of signers have it.")]
    total_stake: Annotated[Amount, Meta(description="What all weigh together.")]
    success_threshold: Annotated[Amount, Meta(description="What the signers of a certificate must weigh at least.")]
    one_honest_threshold: Annotated[
        Amount, Meta(description="Of whoever weighs this much together, somebody is honest.")
    ]
    end: Annotated[EpochEndJson | None, Meta(description="The proof that it is over; null until it is.")]
