"""Stake operations: what a staker signs and a leaf carries (J5).

A staker is an account: a key of its own with a balance and a nonce in the ledger. The key of a validator is another
one, held by a running node; whoever steals that can neither move the stake nor be paid.
"""

from hashlib import sha256
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from consensus.signatures import Domain, SignatureScheme, Signer, make_statement
from consensus.types import (
    Commitment,
    Epoch,
    NetworkId,
    View,
    WireCommitment,
    WireCount,
    WirePublicKey,
    WireSignature,
    WireValidatorId,
)

OPERATIONS_MAX = 64
"""In one leaf. A block every few milliseconds makes this thousands a second, and a leaf stays small."""
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,31}$"
"""Lower case, so that a validator's name can be a folder and a metric label anywhere."""

_TAG = b"sequencer/operation/1\0"
_encode = msgspec.msgpack.Encoder().encode
_NO_EPOCH, _NO_VIEW = Epoch(0), View(0)

WireAmount = Annotated[int, Meta(ge=1, le=2**62)]
WireName = Annotated[str, Meta(pattern=NAME_PATTERN)]
WireAddress = Annotated[str, Meta(max_length=128)]


class _Operation(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    account: WirePublicKey
    """Who signs: the staker."""
    nonce: WireCount
    """Must be the account's next one, so that no operation happens twice."""
    signature: WireSignature


class Bond(_Operation, frozen=True, tag="bond"):
    """Move `amount` from the account's balance into the stake of a validator, a new one if nobody has this key."""

    public_key: WirePublicKey
    amount: WireAmount
    name: WireName
    address: WireAddress
    """host:port at which peers reach the new validator."""
    possession: WireSignature
    """By the validator's key, for a new validator: nobody can bond with another's key. Else empty."""


class Unbond(_Operation, frozen=True, tag="unbond"):
    """Take `amount` out of a validator's stake; paid after the unbonding time, slashable until then."""

    validator: WireValidatorId
    amount: WireAmount


class Unjail(_Operation, frozen=True, tag="unjail"):
    """Return from jail after the term."""

    validator: WireValidatorId


class RotateKey(_Operation, frozen=True, tag="rotate-key"):
    """The validator signs with another key from the next stake table on that is drawn up."""

    validator: WireValidatorId
    public_key: WirePublicKey
    possession: WireSignature
    """By the new key."""


Operation: TypeAlias = Bond | Unbond | Unjail | RotateKey


def compute_operation_id(operation: Operation) -> Commitment:
    """Names a signed operation, for pools and people."""
    return Commitment(sha256(_TAG + _encode(operation)).digest())


def sign_operation(operation: Operation, signer: Signer, network_id: NetworkId) -> Operation:
    """The same operation with the staker's signature. `operation.account` must be the signer's public key."""
    if operation.account != signer.public_key:
        raise ValueError("the operation names another account than the key that signs it")
    return msgspec.structs.replace(operation, signature=signer.sign(_make_statement(operation, network_id)))


def prove_possession(account: bytes, signer: Signer, network_id: NetworkId) -> bytes:
    """A validator's key agrees to stand in the stake table for this account."""
    return signer.sign(make_statement(network_id, Domain.POSSESSION, _NO_EPOCH, _NO_VIEW, account))


def is_signed(operation: Operation, scheme: SignatureScheme, network_id: NetworkId) -> bool:
    """Whether the account has signed exactly this operation."""
    return scheme.verify(operation.account, _make_statement(operation, network_id), operation.signature)


def is_possessed(
    public_key: bytes, account: bytes, possession: bytes, scheme: SignatureScheme, network_id: NetworkId
) -> bool:
    """Whether the holder of `public_key` has agreed to stand for this account."""
    statement = make_statement(network_id, Domain.POSSESSION, _NO_EPOCH, _NO_VIEW, account)
    return scheme.verify(public_key, statement, possession)


def _make_statement(operation: Operation, network_id: NetworkId) -> bytes:
    digest: WireCommitment = compute_operation_id(msgspec.structs.replace(operation, signature=b""))
    return make_statement(network_id, Domain.OPERATION, _NO_EPOCH, _NO_VIEW, digest)
