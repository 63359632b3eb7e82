"""What stands in a payload: transactions, as a canonical MessagePack array of bin.

Consensus sees bytes and a commitment. Here the bytes become transactions, once per node and payload: decoded and
measured in C, hashed with one C call each, and kept for whoever asks next (vote, decide, index, API).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from consensus.leaf import Block
from consensus.types import Commitment

Transaction: TypeAlias = bytes
"""Opaque here."""
Hash: TypeAlias = bytes
"""Name of a transaction: SHA-256 of its bytes; 32 bytes."""

PAYLOAD_TRANSACTIONS_MAX = 32_768
"""Transactions in one payload. Each costs every node about 2 µs: without this bound a payload of one-byte transactions
would keep all of them busy for a second. Of 512 bytes each, half as many fill the largest payload."""
PAYLOAD_HEADER_BYTES = 5
"""Longest header of a MessagePack array."""
TRANSACTION_HEADER_BYTES = 5
"""Longest header of a MessagePack bin."""
CACHED_BYTES_MAX = 64 * 1024 * 1024
"""Payload bytes in the cache, which holds copies of the transactions: what it costs, give or take object headers."""

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Annotated[tuple[bytes, ...], Meta(max_length=PAYLOAD_TRANSACTIONS_MAX)])


class PayloadError(Exception):
    """No honest node proposes this payload. `reason` is a short stable label, `detail` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Payload:
    """The transactions of one payload, in order. `hashes[i]` is the SHA-256 of `transactions[i]`; all are distinct."""

    transactions: tuple[Transaction, ...]
    hashes: tuple[Hash, ...]
    hash_set: frozenset[Hash]
    size: int
    """Length of the encoded payload, in bytes."""

    @property
    def largest_transaction_bytes(self) -> int:
        """0 for the empty payload."""
        return max(map(len, self.transactions), default=0)


EMPTY_PAYLOAD = Payload((), (), frozenset(), 0)


def compute_hashes(transactions: Sequence[Transaction]) -> list[Hash]:
    """One call into C each: at full load nothing else may happen per transaction."""
    return [sha256(transaction).digest() for transaction in transactions]


def encode_payload(transactions: Sequence[Transaction]) -> bytes:
    """No transactions are no bytes. The caller sees to it that they are distinct, not empty and not too many."""
    return _encode(transactions) if transactions else b""


def decode_payload(payload: bytes) -> Payload:
    """Raises `PayloadError` for what `encode_payload` would not have made of distinct, non-empty transactions (P4)."""
    if not payload:
        return EMPTY_PAYLOAD
    try:
        transactions = _decoder.decode(payload)
    except msgspec.ValidationError as error:
        detail = f"not an array of at most {PAYLOAD_TRANSACTIONS_MAX} bin: {error}"
        raise PayloadError("malformed_payload", detail) from error
    except msgspec.DecodeError as error:
        raise PayloadError("malformed_payload", str(error)) from error
    if not transactions or _encode(transactions) != payload:
        detail = f"{len(transactions)} transactions in another form than their only one"
        raise PayloadError("non_canonical_payload", detail)
    if b"" in transactions:
        raise PayloadError("empty_transaction", f"transaction {transactions.index(b'')} has no bytes")
    hashes = tuple(compute_hashes(transactions))
    hash_set = frozenset(hashes)
    if len(hash_set) != len(hashes):
        raise PayloadError("repeated_transaction", f"{len(hashes) - len(hash_set)} transactions stand in it twice")
    return Payload(transactions, hashes, hash_set, len(payload))


class PayloadCache:
    """Payloads opened lately, the least recently used out first; bounded by `entries_max` and `CACHED_BYTES_MAX`.

    Keyed by the payload's commitment: two leaves with the same transactions share an entry.
    """

    def __init__(self, entries_max: int) -> None:
        if entries_max < 1:
            raise ValueError(f"entries_max must be at least 1, is {entries_max}")
        self._entries_max = entries_max
        self._entries: dict[Commitment, Payload] = {}
        self._bytes = 0

    def open(self, block: Block) -> Payload:
        """Raises `PayloadError`. The payload matches the leaf: whoever made the block has checked."""
        payload = self._entries.pop(block.leaf.payload, None)
        if payload is None:
            payload = decode_payload(block.payload)
            self._bytes += payload.size
        self._entries[block.leaf.payload] = payload
        while len(self._entries) > self._entries_max or (self._bytes > CACHED_BYTES_MAX and len(self._entries) > 1):
            self._bytes -= self._entries.pop(next(iter(self._entries))).size
        return payload

    def __len__(self) -> int:
        return len(self._entries)
