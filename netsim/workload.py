"""Transactions, and what a mempool and an application do with them, reduced to what consensus notices.

Transactions are numbered and reach every node at the same moment. A payload is the canonical MessagePack array of their
bytes; the empty payload is empty.
"""

from collections.abc import Iterable, Sequence
from random import Random

import msgspec

from consensus.leaf import Block
from consensus.types import Commitment, Microseconds

_INDEX_BYTES = 8
_SALT_BYTES = 8
TRANSACTION_BYTES_MIN = _INDEX_BYTES + _SALT_BYTES

_ARRAY_HEADER_BYTES = 5
_ITEM_HEADER_BYTES = 5
"""The longest headers that MessagePack has: a payload is never larger than this reckoning."""

PARSED_PAYLOADS_MAX = 4096
"""Payloads remembered as parsed, so that a hundred nodes parse each one once."""


class Workload:
    """The transactions of one simulation: a steady rate, and whatever a scenario submits on top."""

    def __init__(self, transactions_per_second: int = 1000, transaction_bytes: int = 32) -> None:
        if transactions_per_second < 0 or transaction_bytes < TRANSACTION_BYTES_MIN:
            raise ValueError(
                f"a workload of {transactions_per_second}/s with {transaction_bytes} bytes each: the rate must not be "
                f"negative and a transaction takes at least {TRANSACTION_BYTES_MIN} bytes"
            )
        self.rate = transactions_per_second
        self._bytes = transaction_bytes
        self._salt = bytes(_SALT_BYTES)
        self._start = 0
        self._extra = 0
        self._parsed: dict[Commitment, frozenset[int] | None] = {}

    def begin(self, random: Random, start: Microseconds) -> None:
        """Called by the cluster; the salt makes the transactions of two seeds different."""
        self._salt = random.randbytes(_SALT_BYTES)
        self._start = start

    def submit(self, count: int) -> None:
        """This many transactions arrive now, besides the steady ones."""
        self._extra += count

    def count(self, now: int) -> int:
        """How many transactions have arrived; their numbers are 0 to count - 1."""
        return self._extra + (now - self._start) * self.rate // 1_000_000

    def next_arrival(self, now: int) -> int | None:
        """When the next steady transaction arrives; None with a rate of zero."""
        if self.rate == 0:
            return None
        steady = (now - self._start) * self.rate // 1_000_000
        return self._start + -(-(steady + 1) * 1_000_000 // self.rate)

    def encode(self, indices: Iterable[int]) -> bytes:
        padding = bytes(self._bytes - TRANSACTION_BYTES_MIN)
        transactions = [index.to_bytes(_INDEX_BYTES, "big") + self._salt + padding for index in indices]
        return msgspec.msgpack.encode(transactions) if transactions else b""

    def fit(self, bytes_max: int) -> int:
        """How many transactions a payload of this size holds."""
        return max(0, bytes_max - _ARRAY_HEADER_BYTES) // (self._bytes + _ITEM_HEADER_BYTES)

    def parse(self, block: Block) -> frozenset[int] | None:
        """Numbers of the transactions in a block; None when the payload is none of this workload, or repeats one."""
        key = block.leaf.payload
        if key not in self._parsed:
            if len(self._parsed) >= PARSED_PAYLOADS_MAX:
                del self._parsed[next(iter(self._parsed))]
            self._parsed[key] = self._parse(block.payload)
        return self._parsed[key]

    def _parse(self, payload: bytes) -> frozenset[int] | None:
        if not payload:
            return frozenset()
        try:
            transactions = msgspec.msgpack.decode(payload, type=list[bytes])
        except msgspec.DecodeError:
            return None
        indices = [int.from_bytes(transaction[:_INDEX_BYTES], "big") for transaction in transactions]
        unique = frozenset(indices)
        return unique if self.encode(indices) == payload and len(unique) == len(indices) else None


class Pool:
    """One node's view of the workload: what of it is decided. Builds payloads and judges them (L6, R3b)."""

    def __init__(self, workload: Workload, decided: Sequence[Block]) -> None:
        self._workload = workload
        self._decided: set[int] = set()
        self._oldest = 0
        self.on_decide(decided)

    @property
    def oldest(self) -> int:
        """Number of the oldest transaction that is not decided: all before it are."""
        return self._oldest

    def on_decide(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            self._decided |= self._workload.parse(block) or frozenset()
        while self._oldest in self._decided:
            self._decided.discard(self._oldest)
            self._oldest += 1

    def build(self, ancestors: Iterable[Block], bytes_max: int, now: int) -> bytes:
        """The oldest transactions that are neither decided nor in an ancestor, as many as fit; empty without any."""
        excluded = self._compute_union(ancestors)
        room = self._workload.fit(bytes_max)
        chosen: list[int] = []
        for index in range(self._oldest, self._workload.count(now)):
            if len(chosen) == room:
                break
            if index not in excluded and index not in self._decided:
                chosen.append(index)
        return self._workload.encode(chosen)

    def has_besides(self, undecided: Iterable[Block], now: int) -> bool:
        """Whether any transaction has arrived that is neither decided nor in one of these blocks."""
        arrived = self._workload.count(now)
        pending = arrived - self._oldest - len(self._decided)
        if pending <= 0:
            return False
        oldest, decided, union = self._oldest, self._decided, self._compute_union(undecided)
        if pending > len(union):
            return True
        proposed = [index for index in union if oldest <= index < arrived]
        return pending > len(proposed) - (len(decided.intersection(proposed)) if decided else 0)

    def accepts(self, block: Block, ancestors: Iterable[Block]) -> bool:
        """Whether every transaction is genuine and stands in the chain for the first time."""
        indices = self._workload.parse(block)
        if indices is None:
            return False
        if indices and min(indices) < self._oldest:
            return False
        return indices.isdisjoint(self._decided) and indices.isdisjoint(self._compute_union(ancestors))

    def _compute_union(self, blocks: Iterable[Block]) -> set[int]:
        union: set[int] = set()
        for block in blocks:
            union |= self._workload.parse(block) or frozenset()
        return union
