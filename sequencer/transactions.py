"""What clients and peers gave this node, from its acceptance to its finality.

A transaction is decided at most once: the mempool takes none that is decided, a decide takes it out of the mempool in
the same turn, and a voter refuses a payload that repeats one. Between the turn that decides and the end of its write a
transaction is *deciding*: neither pending any more nor known to storage. Nobody is told that it is final, and nobody
may propose it again.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from consensus.leaf import Block
from consensus.messages import FORWARD_TRANSACTIONS_MAX, TransactionForward
from sequencer.mempool import Admission, Mempool
from sequencer.payload import (
    EMPTY_PAYLOAD,
    Hash,
    Payload,
    PayloadCache,
    Transaction,
    compute_hashes,
    compute_payload_bytes,
)
from sequencer.payload_format import TRANSACTIONS_MAX, PayloadError
from sequencer.waiters import FinalityWaiters

FORWARD_BYTES_MAX = 1024 * 1024
"""Transactions in one forwarded frame, so that a vote behind it does not wait long."""


@dataclass(frozen=True, slots=True)
class MempoolLimits:
    bytes_max: int
    expiry_seconds: float


class Transactions:
    """Plain calls of one Trio run. `select_stored` says which of some hashes are decided and durable."""

    def __init__(
        self,
        limits: MempoolLimits,
        data_bytes_max: int,
        payloads: PayloadCache,
        select_stored: Callable[[Collection[Hash]], set[Hash]],
    ) -> None:
        self._data_bytes_max = data_bytes_max
        self._payloads = payloads
        self._select_stored = select_stored
        self._mempool = Mempool(
            bytes_max=limits.bytes_max,
            data_bytes_max=data_bytes_max,
            expiry_seconds=limits.expiry_seconds,
            select_decided=self._select_decided,
        )
        self._waiters = FinalityWaiters()
        self._deciding: list[Payload] = []
        self._forwards: list[Transaction] = []
        self._waiting: frozenset[Transaction] = frozenset()

    def __len__(self) -> int:
        """How many are pending."""
        return len(self._mempool)

    @property
    def bytes(self) -> int:
        """Of the pending ones."""
        return self._mempool.bytes

    # From clients and peers

    def submit(self, transactions: Sequence[Transaction], hashes: Sequence[Hash]) -> list[Admission]:
        """From a client: what is new is to be forwarded."""
        admissions = self._mempool.add(transactions, hashes)
        self._forwards += [
            transaction
            for transaction, admission in zip(transactions, admissions, strict=True)
            if admission is Admission.ACCEPTED
        ]
        return admissions

    def add_forwarded(self, transactions: Sequence[Transaction]) -> None:
        """From a peer; it keeps them too, so what is refused here is not lost."""
        self._mempool.add(transactions)

    @property
    def has_forwards(self) -> bool:
        """Whether `take_forwards` has something."""
        return bool(self._forwards)

    def take_forwards(self) -> list[TransactionForward]:
        """What clients submitted since the last call, and stays here until it is decided or expires."""
        transactions, self._forwards = self._forwards, []
        return [TransactionForward(chunk) for chunk in _chunk(transactions)]

    def take_overdue(self, undecided: Iterable[Block]) -> list[TransactionForward]:
        """The oldest that stand in no undecided block and did not at the last call either, as far as one frame goes.

        To be called every second or so, and forwarded again: a node need not ever lead itself, and the leaders that it
        told may be gone.
        """
        exclude = [self._open_unchecked(block).hash_set for block in undecided]
        waiting = self._mempool.take(FORWARD_BYTES_MAX, exclude)
        overdue = [transaction for transaction in waiting if transaction in self._waiting]
        self._waiting = frozenset(waiting)
        return [TransactionForward(chunk) for chunk in _chunk(overdue)]

    def find_pending(self, transaction_hash: Hash) -> Transaction | None:
        """One that is accepted, and not yet final for everyone to see."""
        for payload in self._deciding:
            if transaction_hash in payload.hash_set:
                return payload.transactions[payload.hashes.index(transaction_hash)]
        return self._mempool.get(transaction_hash)

    async def wait_finalized(self, hashes: Collection[Hash]) -> bool:
        """True once all of these are final, False as soon as one has expired."""
        return await self._waiters.wait(hashes, self._select_stored)

    def expire(self, now: float) -> None:
        """To be called every second or so; `now` in seconds of a clock that never runs back."""
        self._waiters.on_expire(self._mempool.expire(now))

    # For leaders and voters

    def take(self, bytes_max: int, ancestors: Iterable[Block], first: Sequence[Transaction] = ()) -> list[Transaction]:
        """For a payload of at most `bytes_max` on top of these undecided blocks; it begins with `first`, which fits."""
        exclude = [self._payloads.open(ancestor).hash_set for ancestor in ancestors]
        if not first:
            return self._mempool.take(bytes_max, exclude)
        # As if none of the others shared a namespace with these, so it cannot become too much.
        rest = self._mempool.take(
            bytes_max - compute_payload_bytes(first), [*exclude, frozenset(compute_hashes(first))]
        )
        return [*first, *rest[: TRANSACTIONS_MAX - len(first)]]

    def has_besides(self, undecided: Iterable[Block]) -> bool:
        """Whether anything is pending that stands in none of these blocks."""
        return len(self) > 0 and self._mempool.has_besides(
            [self._open_unchecked(block).hash_set for block in undecided]
        )

    def may_follow(self, payload: Payload, ancestors: Iterable[Block]) -> bool:
        """R3b: no transaction is too large, and none is decided or stands in these undecided blocks."""
        if payload.largest_data_bytes > self._data_bytes_max:
            return False
        if any(not payload.hash_set.isdisjoint(self._payloads.open(ancestor).hash_set) for ancestor in ancestors):
            return False
        # What is pending is not decided, and asking the mempool is cheaper.
        return not self._select_decided(payload.hash_set - self._mempool.select_pending(payload.hash_set))

    # As they are decided

    def on_decide(self, blocks: Iterable[Block]) -> None:
        """From here on these transactions are not proposed again, although nobody is told before the write."""
        for block in blocks:
            payload = self._payloads.open(block)
            self._deciding.append(payload)
            self._mempool.on_decide(payload.hash_set)

    def on_durable(self) -> None:
        """Everything that was decided before is known to storage now."""
        self._deciding.clear()

    def on_final(self, payload: Payload) -> None:
        """Tell whoever waits."""
        self._waiters.on_decide(payload.hash_set)

    def _select_decided(self, hashes: Collection[Hash]) -> set[Hash]:
        """Which of these are decided, those of the current turn included."""
        decided = self._select_stored(hashes)
        for deciding in self._deciding:
            decided |= deciding.hash_set.intersection(hashes)
        return decided

    def _open_unchecked(self, block: Block) -> Payload:
        """A block that only its leader vouches for: what cannot be read holds no transaction."""
        try:
            return self._payloads.open(block)
        except PayloadError:
            return EMPTY_PAYLOAD


def _chunk(transactions: Sequence[Transaction]) -> Iterator[tuple[Transaction, ...]]:
    """As few as the bounds of a forward in bytes and in number allow; in order."""
    chunk: list[Transaction] = []
    size = 0
    for transaction in transactions:
        if chunk and (size + len(transaction) > FORWARD_BYTES_MAX or len(chunk) == FORWARD_TRANSACTIONS_MAX):
            yield tuple(chunk)
            chunk, size = [], 0
        chunk.append(transaction)
        size += len(transaction)
    if chunk:
        yield tuple(chunk)
