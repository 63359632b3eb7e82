"""The rollup's rules: accounts that transfer coins, as a pure function of the bytes that the sequencer has ordered.

The sequencer orders bytes and looks into none of them. What they mean is decided here, and by every node of the rollup
alike: the same bytes in the same order give the same state, down to its root. What is no valid transfer changes nothing
and stops nobody: anybody can have bytes ordered.
"""

from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

PublicKey: TypeAlias = bytes
"""32 bytes of Ed25519; the name of an account."""

SUPPLY_MAX: Final = 2**63 - 1
"""Of all coins together, so that no balance leaves the range of a MessagePack integer."""

_TAG: Final = b"example-rollup/transfer/1\0"

_Key: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]


class _Body(msgspec.Struct, frozen=True, array_like=True):
    """What is under the signature. The namespace stands in it, so a transfer counts in one rollup only."""

    namespace: int
    sender: bytes
    nonce: int
    recipient: bytes
    amount: int


class Transfer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`amount` coins from `sender` to `recipient`; `nonce` counts the sender's transfers, so that each counts once."""

    sender: _Key
    nonce: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    recipient: _Key
    amount: Annotated[int, Meta(ge=1, le=SUPPLY_MAX)]
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


class Outcome(Enum):
    """What became of ordered bytes. All but the first leave the state as it was."""

    APPLIED = "applied"
    MALFORMED = "no transfer"
    FORGED = "bad signature"
    OUT_OF_ORDER = "wrong nonce"
    UNCOVERED = "not enough coins"


@dataclass(slots=True)
class Account:
    balance: int = 0
    nonce: int = 0
    """Of the next transfer."""


@dataclass
class Ledger:
    """All accounts of one rollup. `supply` coins are given to `genesis` in the beginning, and none is ever made."""

    namespace: int
    genesis: dict[PublicKey, int]
    accounts: dict[PublicKey, Account] = field(init=False)

    def __post_init__(self) -> None:
        if min(self.genesis.values(), default=0) < 0 or sum(self.genesis.values()) > SUPPLY_MAX:
            raise ValueError(f"balances are 0 or more, and {SUPPLY_MAX} or less together")
        self.accounts = {key: Account(balance) for key, balance in self.genesis.items()}

    @property
    def supply(self) -> int:
        """The same for ever."""
        return sum(account.balance for account in self.accounts.values())

    def execute(self, data: bytes) -> Outcome:
        """Apply what the sequencer has ordered next."""
        try:
            transfer = msgspec.msgpack.decode(data, type=Transfer)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Outcome.MALFORMED
        if not _is_signed(transfer, self.namespace):
            return Outcome.FORGED
        sender = self.accounts.get(transfer.sender, Account())
        if transfer.nonce != sender.nonce:
            return Outcome.OUT_OF_ORDER
        if transfer.amount > sender.balance:
            return Outcome.UNCOVERED
        sender.balance -= transfer.amount
        sender.nonce += 1
        self.accounts.setdefault(transfer.recipient, Account()).balance += transfer.amount
        return Outcome.APPLIED

    def compute_root(self) -> bytes:
        """Commits to every account; 32 bytes. A rollup with many accounts keeps a Merkle tree instead."""
        rows = [(key, account.balance, account.nonce) for key, account in sorted(self.accounts.items())]
        return sha256(msgspec.msgpack.encode((self.namespace, rows))).digest()


def make_transfer(key: SigningKey, nonce: int, recipient: PublicKey, amount: int, namespace: int) -> bytes:
    """A signed transfer, in the form in which it is submitted."""
    sender = bytes(key.verify_key)
    body = _encode_body(_Body(namespace, sender, nonce, recipient, amount))
    return msgspec.msgpack.encode(Transfer(sender, nonce, recipient, amount, key.sign(body).signature))


def _is_signed(transfer: Transfer, namespace: int) -> bool:
    body = _Body(namespace, transfer.sender, transfer.nonce, transfer.recipient, transfer.amount)
    try:
        VerifyKey(transfer.sender).verify(_encode_body(body), transfer.signature)
    except BadSignatureError:
        return False
    return True


def _encode_body(body: _Body) -> bytes:
    return _TAG + msgspec.msgpack.encode(body)
