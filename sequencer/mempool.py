"""Transactions that were accepted and are not decided yet.

They stand in order of arrival, in groups by age. A group is one dict from hash to bytes, so looking up, adding and
removing a batch are set operations in C, and expiry drops a whole group.

`take` reads from the head and removes nothing: the caller tells what stands in the undecided ancestors of its proposal,
and that is skipped. So a transaction whose leaf is orphaned needs no way back, it has never left. Moving what is in
flight aside would save some microseconds, and would need to know the fate of every leaf to lose nothing. Skipping is
cheap because what is in flight arrived first and stands at the head: a call looks at the transactions in flight and at
those that it takes, never at the rest.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from itertools import chain, islice

from sequencer.payload import NAMESPACE_BYTES, Hash, Transaction, compute_hashes
from sequencer.payload_format import REGION_HEADER_BYTES, TABLE_HEADER_BYTES, TRANSACTIONS_MAX

TRANSACTION_OVERHEAD_BYTES = 256
"""What a transaction costs in memory besides its bytes: two objects and its share of a dict. Counted, so that a flood
of tiny transactions fills the mempool before it fills the machine."""
AGE_GROUPS = 8
"""Groups per expiry period. A transaction stays at most one eighth longer than it has to."""
_TAKE_CHUNK = 512
"""Transactions that `take` looks at in one go."""


class Admission(Enum):
    """What became of a submitted transaction. Values are stable codes."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """It is pending already."""
    FINALIZED = "finalized"
    """It was decided before, and will not be again."""
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    FULL = "mempool_full"
    """No room now; later there may be."""


class Mempool:
    """Bounded by `bytes_max`, `TRANSACTION_OVERHEAD_BYTES` each included; each hash once, and none that is decided.
    `data_bytes_max` bounds what a transaction has besides its namespace.

    `select_decided` returns those of some hashes that are decided. Times are seconds on any clock that never runs back.
    """

    def __init__(
        self,
        *,
        bytes_max: int,
        data_bytes_max: int,
        expiry_seconds: float,
        select_decided: Callable[[Collection[Hash]], AbstractSet[Hash]],
    ) -> None:
        if expiry_seconds <= 0 or data_bytes_max < 1:
            raise ValueError("expiry_seconds and data_bytes_max must be positive")
        if bytes_max < NAMESPACE_BYTES + data_bytes_max + TRANSACTION_OVERHEAD_BYTES:
            raise ValueError(f"bytes_max {bytes_max} has no room for one transaction of {data_bytes_max} bytes")
        self._bytes_max = bytes_max
        self._transaction_bytes_max = NAMESPACE_BYTES + data_bytes_max
        self._expiry_seconds = expiry_seconds
        self._select_decided = select_decided
        self._newest: dict[Hash, Transaction] = {}
        self._groups: deque[dict[Hash, Transaction]] = deque([self._newest])
        self._closed_at: deque[float] = deque()
        """When each group but the newest took its last transaction."""
        self._opened_at: float | None = None
        self._charged_bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._groups))

    @property
    def bytes(self) -> int:
        """Bytes of the pending transactions, without overhead."""
        return self._charged_bytes - TRANSACTION_OVERHEAD_BYTES * len(self)

    def contains(self, hash_: Hash) -> bool:
        return any(hash_ in group for group in self._groups)

    def select_pending(self, hashes: Collection[Hash]) -> set[Hash]:
        """Those of the hashes that are pending, which also says that they are not decided."""
        found: set[Hash] = set()
        for group in self._iterate_groups():
            found |= group.keys() & hashes
        return found

    def add(self, transactions: Sequence[Transaction], hashes: Sequence[Hash] | None = None) -> list[Admission]:
        """One answer per transaction, in order. `hashes` spares computing them when the caller has them."""
        if not transactions:
            return []
        if hashes is None:
            hashes = compute_hashes(transactions)
        fresh = dict(zip(hashes, transactions, strict=True))
        sizes = list(map(len, transactions))
        charge = sum(sizes) + TRANSACTION_OVERHEAD_BYTES * len(sizes)
        decided = self._select_decided(hashes)
        if (
            not decided
            and len(fresh) == len(sizes)
            and min(sizes) > NAMESPACE_BYTES
            and max(sizes) <= self._transaction_bytes_max
            and self._charged_bytes + charge <= self._bytes_max
            and all(group.keys().isdisjoint(fresh) for group in self._iterate_groups())
        ):
            self._newest.update(fresh)
            self._charged_bytes += charge
            return [Admission.ACCEPTED] * len(sizes)
        return self._add_each(transactions, hashes, decided)

    def get(self, hash_: Hash) -> Transaction | None:
        """One that is pending."""
        return next((group[hash_] for group in self._groups if hash_ in group), None)

    def take(self, bytes_max: int, exclude: Sequence[Collection[Hash]] = ()) -> list[Transaction]:
        """The oldest pending transactions in none of `exclude`, for a payload of at most `bytes_max` encoded bytes.

        Stops at the first that does not fit, so that a large one is not overtaken for ever. What a payload costs beside
        its transactions depends on how many namespaces they have, see `compute_payload_bytes`.
        """
        excluded = frozenset[Hash]().union(*exclude)
        room = bytes_max - TABLE_HEADER_BYTES
        taken: list[Transaction] = []
        prefixes: set[bytes] = set()
        pending = self._iterate()
        while len(taken) < TRANSACTIONS_MAX:
            items = list(islice(pending, _TAKE_CHUNK))
            if not items:
                break
            chunk = [transaction for hash_, transaction in items if hash_ not in excluded]
            fresh = {transaction[:NAMESPACE_BYTES] for transaction in chunk} - prefixes
            size = sum(map(len, chunk)) + REGION_HEADER_BYTES * len(fresh)
            if size > room:
                taken += chunk[: _count_fitting(chunk, prefixes, room)]
                break
            taken += chunk
            prefixes |= fresh
            room -= size
        return taken[:TRANSACTIONS_MAX]

    def on_decide(self, hashes: Collection[Hash]) -> int:
        """Forget what is decided now; returns how many of them were pending."""
        removed = 0
        for group in self._iterate_groups():
            gone = group.keys() & hashes
            if len(gone) == len(group):
                self._release(group.values())
                group.clear()  # a dict that is emptied key by key keeps its table, and every look at its head walks it
            else:
                self._release([group.pop(hash_) for hash_ in gone])
            removed += len(gone)
        return removed

    def expire(self, now: float) -> list[Hash]:
        """Drop what has been pending for `expiry_seconds`; returns its hashes. To be called every second or so.

        A transaction counts as arrived at the first call after it, so none expires early.
        """
        if self._opened_at is None:
            self._opened_at = now
        elif now - self._opened_at >= self._expiry_seconds / AGE_GROUPS:
            self._closed_at.append(now)
            self._newest = {}
            self._groups.append(self._newest)
            self._opened_at = now
        expired: list[Hash] = []
        while self._closed_at and now - self._closed_at[0] >= self._expiry_seconds:
            self._closed_at.popleft()
            group = self._groups.popleft()
            self._release(group.values())
            expired += group
        return expired

    def has_besides(self, exclude: Sequence[Collection[Hash]]) -> bool:
        """Whether a pending transaction is in none of `exclude`."""
        pending = len(self)
        if pending > sum(map(len, exclude)):
            return True
        return pending > 0 and len(self.select_pending(frozenset[Hash]().union(*exclude))) < pending

    def _iterate_groups(self) -> Iterator[dict[Hash, Transaction]]:
        """Those that hold something: a set operation with an empty one walks through the other operand all the same."""
        return filter(None, self._groups)

    def _iterate(self) -> Iterator[tuple[Hash, Transaction]]:
        return chain.from_iterable([group.items() for group in self._groups])

    def _add_each(
        self, transactions: Sequence[Transaction], hashes: Sequence[Hash], decided: AbstractSet[Hash]
    ) -> list[Admission]:
        """Where one of them is not fine."""
        admissions: list[Admission] = []
        for hash_, transaction in zip(hashes, transactions, strict=True):
            admission = self._judge(hash_, transaction, decided)
            if admission is Admission.ACCEPTED:
                self._newest[hash_] = transaction
                self._charged_bytes += len(transaction) + TRANSACTION_OVERHEAD_BYTES
            admissions.append(admission)
        return admissions

    def _judge(self, hash_: Hash, transaction: Transaction, decided: AbstractSet[Hash]) -> Admission:
        if len(transaction) <= NAMESPACE_BYTES:
            return Admission.EMPTY
        if len(transaction) > self._transaction_bytes_max:
            return Admission.TOO_LARGE
        if hash_ in decided:
            return Admission.FINALIZED
        if self.contains(hash_):
            return Admission.DUPLICATE
        if self._charged_bytes + len(transaction) + TRANSACTION_OVERHEAD_BYTES > self._bytes_max:
            return Admission.FULL
        return Admission.ACCEPTED

    def _release(self, transactions: Collection[Transaction]) -> None:
        self._charged_bytes -= sum(map(len, transactions)) + TRANSACTION_OVERHEAD_BYTES * len(transactions)


def _count_fitting(transactions: Sequence[Transaction], prefixes: Collection[bytes], room: int) -> int:
    """How many from the start fit into `room` bytes of a payload that has regions for these namespaces already."""
    known = set(prefixes)
    for count, transaction in enumerate(transactions):
        prefix = transaction[:NAMESPACE_BYTES]
        room -= len(transaction) if prefix in known else len(transaction) + REGION_HEADER_BYTES
        if room < 0:
            return count
        known.add(prefix)
    return len(transactions)
