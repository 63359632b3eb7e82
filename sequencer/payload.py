"""What stands in a payload: transactions, each of a namespace.

Consensus sees bytes and a commitment. Here the bytes become transactions, once per node and payload: cut out and hashed
with a few C calls each, and kept for whoever asks next (vote, decide, index, API).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import repeat
from typing import Final, TypeAlias

from consensus.leaf import Block
from consensus.types import Commitment
from sequencer.payload_format import (
    REGION_HEADER_BYTES,
    TABLE_HEADER_BYTES,
    TRANSACTIONS_MAX,
    PayloadError,
    encode_regions,
    read_region,
    read_table,
)

Transaction: TypeAlias = bytes
"""Its namespace in 4 bytes, big endian, and its data, at least one byte, which is opaque here."""
Hash: TypeAlias = bytes
"""Name of a transaction: SHA-256 of its bytes, the namespace included; 32 bytes."""

NAMESPACE_BYTES: Final = 4
DEFAULT_NAMESPACE: Final = 0
"""Of a transaction for which none is named."""
CACHED_BYTES_MAX = 64 * 1024 * 1024
"""Payload bytes in the cache, which holds copies of the transactions: what it costs, give or take object headers."""


@dataclass(frozen=True, slots=True)
class Payload:
    """The transactions of one payload, in order. `hashes[i]` is the SHA-256 of `transactions[i]`; all are distinct."""

    transactions: tuple[Transaction, ...]
    hashes: tuple[Hash, ...]
    hash_set: frozenset[Hash]
    namespaces: Mapping[int, range]
    """Namespace -> positions of its transactions; ascending."""
    size: int
    """Length of the encoded payload, in bytes."""

    @property
    def largest_data_bytes(self) -> int:
        """Of its transactions, without their namespaces; 0 for the empty payload."""
        return max(map(len, self.transactions), default=NAMESPACE_BYTES) - NAMESPACE_BYTES


EMPTY_PAYLOAD = Payload((), (), frozenset(), {}, 0)


def make_transaction(namespace: int, data: bytes) -> Transaction:
    return namespace.to_bytes(NAMESPACE_BYTES, "big") + data


def get_namespace(transaction: Transaction) -> int:
    return int.from_bytes(transaction[:NAMESPACE_BYTES], "big")


def get_data(transaction: Transaction) -> bytes:
    return transaction[NAMESPACE_BYTES:]


def compute_transaction_hash(namespace: int, data: bytes) -> Hash:
    """What this transaction is called everywhere."""
    return sha256(make_transaction(namespace, data)).digest()


def compute_hashes(transactions: Sequence[Transaction]) -> list[Hash]:
    """One call into C each: at full load nothing else may happen per transaction."""
    return [sha256(transaction).digest() for transaction in transactions]


def compute_payload_bytes(transactions: Sequence[Transaction]) -> int:
    """Length of the payload of these: a transaction's end takes as much as its namespace does in front of it."""
    if not transactions:
        return 0
    prefixes = {transaction[:NAMESPACE_BYTES] for transaction in transactions}
    return TABLE_HEADER_BYTES + REGION_HEADER_BYTES * len(prefixes) + sum(map(len, transactions))


def encode_payload(transactions: Sequence[Transaction]) -> bytes:
    """By namespace, and in the given order within one. No transactions are no bytes. The caller sees to it that they
    are distinct, not empty and not too many.
    """
    return encode_regions(_group(transactions)) if transactions else b""


def decode_payload(payload: bytes) -> Payload:
    """Raises `PayloadError` for what `encode_payload` would not have made of distinct, non-empty transactions (P4)."""
    if not payload:
        return EMPTY_PAYLOAD
    transactions: list[Transaction] = []
    namespaces: dict[int, range] = {}

    def read(start: int, stop: int) -> bytes:
        return payload[start:stop]

    for region in read_table(read, len(payload)):
        first, prefix = len(transactions), region.namespace.to_bytes(NAMESPACE_BYTES, "big")
        transactions += read_region(read, region, prefix)
        if len(transactions) > TRANSACTIONS_MAX:
            raise PayloadError("malformed_payload", f"more than {TRANSACTIONS_MAX} transactions")
        namespaces[region.namespace] = range(first, len(transactions))
    hashes = tuple(compute_hashes(transactions))
    hash_set = frozenset(hashes)
    if len(hash_set) != len(hashes):
        raise PayloadError("repeated_transaction", f"{len(hashes) - len(hash_set)} transactions stand in it twice")
    return Payload(tuple(transactions), hashes, hash_set, namespaces, len(payload))


def _group(transactions: Sequence[Transaction]) -> dict[int, list[bytes]]:
    """Namespace -> data, ascending. Where all are of one namespace, which is common, nothing is looked up."""
    prefix = transactions[0][:NAMESPACE_BYTES]
    if all(map(bytes.startswith, transactions, repeat(prefix))):
        groups = {prefix: [transaction[NAMESPACE_BYTES:] for transaction in transactions]}
    else:
        groups = {}
        for transaction in transactions:
            groups.setdefault(transaction[:NAMESPACE_BYTES], []).append(transaction[NAMESPACE_BYTES:])
    return {int.from_bytes(prefix, "big"): groups[prefix] for prefix in sorted(groups)}


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
