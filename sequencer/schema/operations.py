"""Stake operations (J5)."""

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from sequencer.schema.fields import Hash, Height

OPERATION_BYTES_MAX: Final = 2048
"""Encoded: three keys and two signatures of any scheme, a name and an address, twice over."""
PENDING_DEFAULT: Final = 100
"""Operations in one answer, when nobody says how many: some 50 KB."""

_AnyHex: TypeAlias = Annotated[
    str,
    Meta(
        description="Bytes: two hexadecimal digits for each, with or without 0x.",
        examples=["0x94a4626f6e64"],
        extra_json_schema={"pattern": "^(0x)?([0-9a-fA-F]{2})+$"},
    ),
]
_Key: TypeAlias = Annotated[
    str,
    Meta(
        description="A public key in hexadecimal, with or without 0x.",
        examples=["0x3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"],
        extra_json_schema={"pattern": "^(0x)?([0-9a-fA-F]{2}){16,96}$"},
    ),
]
_Signature: TypeAlias = Annotated[
    str,
    Meta(
        description="A signature in hexadecimal, with or without 0x; empty for none.",
        examples=[
            "0x5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f"
        ],
        extra_json_schema={"pattern": "^(0x)?([0-9a-fA-F]{2}){0,128}$"},
    ),
]
_Validator: TypeAlias = Annotated[int, Meta(ge=0, le=2**16 - 1, description="Number of the validator.")]
_Stake: TypeAlias = Annotated[int, Meta(ge=1, le=2**62, description="How much, in the smallest unit.")]


class EncodedOperationJson(msgspec.Struct, forbid_unknown_fields=True):
    """The encoded operation in hexadecimal."""

    operation: Annotated[_AnyHex, Meta(description="Its bytes in hexadecimal, with or without 0x.")]


class Base64OperationJson(msgspec.Struct, forbid_unknown_fields=True):
    """The encoded operation in Base64."""

    operation_base64: Annotated[
        str, Meta(description="Its bytes in Base64, with padding.", extra_json_schema={"contentEncoding": "base64"})
    ]


class _Fields(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind"):
    """What every operation has."""

    account: Annotated[_Key, Meta(description="Public key of the account that owns the stake, and signs.")]
    nonce: Annotated[int, Meta(ge=0, le=2**63 - 1, description="The account's next one, see GET /v1/accounts.")]
    signature: Annotated[_Signature, Meta(description="The account's, over all of the other fields.")]


class BondJson(_Fields, tag="bond"):
    """Move money from the account's balance into the stake of a validator, a new one if nobody has this key."""

    public_key: Annotated[_Key, Meta(description="The validator's.")]
    amount: _Stake
    name: Annotated[
        str,
        Meta(
            description="Of the validator.",
            examples=["n4"],
            extra_json_schema={"pattern": "^[a-z0-9][a-z0-9_-]{0,31}$"},
        ),
    ]
    address: Annotated[
        str,
        Meta(
            max_length=128, description="host:port at which peers reach the new validator.", examples=["10.0.0.5:27600"]
        ),
    ]
    possession: Annotated[
        _Signature, Meta(description="By a new validator's key, which agrees to stand for this account; else empty.")
    ]


class UnbondJson(_Fields, tag="unbond"):
    """Take money out of a validator's stake; paid after the unbonding time, and slashable until then."""

    validator: _Validator
    amount: _Stake


class UnjailJson(_Fields, tag="unjail"):
    """Return from jail after the term."""

    validator: _Validator


class RotateKeyJson(_Fields, tag="rotate-key"):
    """The validator signs with another key from the next stake table on that is drawn up."""

    validator: _Validator
    public_key: Annotated[_Key, Meta(description="The new one.")]
    possession: Annotated[_Signature, Meta(description="By the new key, which agrees to stand for this account.")]


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
    next: Annotated[Hash | None, Meta(description="Id of the next one (from=), null at the end.")]
