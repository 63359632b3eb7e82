"""The mempool loses nothing, doubles nothing, and stays within its bounds."""

from collections.abc import Collection
from hashlib import sha256
from itertools import islice

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sequencer.mempool import AGE_GROUPS, TRANSACTION_OVERHEAD_BYTES, Admission, Mempool
from sequencer.payload import compute_hashes, compute_payload_bytes, decode_payload, encode_payload
from sequencer.payload_format import TRANSACTIONS_MAX

A, B, C = b"a" * 10, b"b" * 20, b"c" * 30


def make_mempool(*, bytes_max: int = 100_000, data_bytes_max: int = 1000, decided: Collection[bytes] = ()) -> Mempool:
    return Mempool(
        bytes_max=bytes_max,
        data_bytes_max=data_bytes_max,
        expiry_seconds=80.0,
        select_decided=lambda hashes: set(decided).intersection(hashes),
    )


def hash_of(transaction: bytes) -> bytes:
    return sha256(transaction).digest()


def test_transactions_are_taken_in_the_order_in_which_they_came() -> None:
    mempool = make_mempool()
    assert mempool.add([C, A]) == [Admission.ACCEPTED] * 2
    assert mempool.add([B]) == [Admission.ACCEPTED]
    assert mempool.take(1000) == [C, A, B]
    assert (len(mempool), mempool.bytes) == (3, 60)


def test_each_transaction_gets_its_own_answer() -> None:
    mempool = make_mempool(bytes_max=1104 + 3 * TRANSACTION_OVERHEAD_BYTES, decided=compute_hashes([B]))
    mempool.add([A])
    batch = [A, B, C, C, bytes(4), bytes(1005), bytes(1004), bytes(1003)]
    assert mempool.add(batch) == [
        Admission.DUPLICATE,
        Admission.FINALIZED,
        Admission.ACCEPTED,
        Admission.DUPLICATE,
        Admission.EMPTY,
        Admission.TOO_LARGE,
        Admission.ACCEPTED,
        Admission.FULL,
    ]
    assert mempool.take(10_000) == [A, C, bytes(1004)]
    assert mempool.add([]) == []


def test_hashes_that_the_caller_has_are_not_computed_again() -> None:
    mempool = make_mempool()
    mempool.add([A], [b"name of a"])
    assert mempool.contains(b"name of a")
    with pytest.raises(ValueError, match="zip"):
        mempool.add([B, C], [b"one name"])


def test_taking_removes_nothing_so_an_orphaned_leaf_loses_nothing() -> None:
    mempool = make_mempool()
    mempool.add([A, B])
    in_orphan = mempool.take(1000)
    assert mempool.take(1000) == in_orphan


def test_what_stands_in_undecided_ancestors_is_skipped() -> None:
    mempool = make_mempool()
    mempool.add([A, B, C])
    assert mempool.take(1000, [{hash_of(A)}, (hash_of(C),)]) == [B]
    assert mempool.take(1000, [set(compute_hashes([A, B, C]))]) == []


def test_a_payload_of_what_was_taken_never_exceeds_the_limit() -> None:
    mempool = make_mempool()
    mempool.add([bytes([number]) * 300 for number in range(100)])
    for limit in range(0, 2000, 7):
        taken = mempool.take(limit)
        assert len(encode_payload(taken)) <= limit
        assert len(taken) == max(0, limit - 4) // 312, "each has a namespace of its own"


def test_a_large_transaction_is_not_overtaken() -> None:
    mempool = make_mempool()
    mempool.add([A, bytes(900), B])
    assert mempool.take(500) == [A]
    mempool.on_decide([hash_of(A)])
    assert mempool.take(950) == [bytes(900), B]


def test_no_more_is_taken_than_a_payload_may_hold() -> None:
    mempool = make_mempool(bytes_max=2**26)
    mempool.add([number.to_bytes(7, "big") for number in range(1, TRANSACTIONS_MAX + 1000)])
    taken = mempool.take(2**24)
    assert len(decode_payload(encode_payload(taken)).transactions) == TRANSACTIONS_MAX


def test_what_is_decided_is_forgotten_and_makes_room() -> None:
    mempool = make_mempool()
    mempool.add([A, B, C])
    assert mempool.on_decide(compute_hashes([B, b"of another node"])) == 1
    assert (len(mempool), mempool.bytes) == (2, 40)
    assert not mempool.contains(hash_of(B))
    assert mempool.on_decide(frozenset(compute_hashes([A, C]))) == 2
    assert (len(mempool), mempool.bytes, mempool.take(1000)) == (0, 0, [])


def test_a_transaction_expires_after_its_time_and_not_much_later() -> None:
    mempool = make_mempool()
    mempool.expire(100.0)
    mempool.add([A])
    expired_at = next(now for now in range(101, 300) if mempool.expire(float(now)))
    assert 180 <= expired_at <= 100 + 80 * (1 + 1 / AGE_GROUPS) + 1
    assert (len(mempool), mempool.bytes) == (0, 0)
    assert mempool.add([A]) == [Admission.ACCEPTED], "who submits it again means it"


def test_expiry_names_what_it_drops_and_spares_the_rest() -> None:
    mempool = make_mempool()
    mempool.expire(0.0)
    mempool.add([A])
    mempool.expire(10.0)
    mempool.add([B])
    assert mempool.add([A]) == [Admission.DUPLICATE]
    assert mempool.select_pending(compute_hashes([A, B, C])) == set(compute_hashes([A, B]))
    mempool.expire(20.0)
    assert mempool.expire(90.0) == [hash_of(A)]
    assert mempool.take(1000) == [B]
    assert mempool.expire(100.0) == [hash_of(B)]


def test_limits_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="no room for one transaction"):
        make_mempool(bytes_max=1000, data_bytes_max=1000)
    with pytest.raises(ValueError, match="positive"):
        make_mempool(data_bytes_max=0)


def test_it_knows_whether_anything_is_left_besides_what_is_in_flight() -> None:
    mempool = make_mempool()
    in_flight = [set(compute_hashes([A]))]
    assert not mempool.has_besides(in_flight)
    mempool.add([A])
    assert not mempool.has_besides(in_flight)
    mempool.add([B])
    assert mempool.has_besides(in_flight)


def make(size: int) -> bytes:
    """With so much data, all different; in one of seven namespaces."""
    return bytes([0, 0, 0, size % 7]) + bytes([size]) * size


class MempoolMachine(RuleBasedStateMachine):
    """Against a list of what is pending and a set of what is decided."""

    transactions = st.lists(st.integers(1, 60), min_size=1, max_size=12)

    @initialize()
    def start(self) -> None:
        self.pending: list[bytes] = []
        self.decided: set[bytes] = set()
        self.now = 0.0
        self.arrival: dict[bytes, float] = {}
        self.mempool = Mempool(
            bytes_max=30 * TRANSACTION_OVERHEAD_BYTES + 1000,
            data_bytes_max=50,
            expiry_seconds=40.0,
            select_decided=lambda hashes: self.decided.intersection(hashes),
        )
        self.mempool.expire(0.0)

    @rule(sizes=transactions)
    def add(self, sizes: list[int]) -> None:
        batch = list(map(make, sizes))
        for transaction, admission in zip(batch, self.mempool.add(batch), strict=True):
            assert admission is not Admission.EMPTY
            assert (admission is Admission.TOO_LARGE) == (len(transaction) > 54)
            if admission is Admission.ACCEPTED:
                assert transaction not in self.pending
                assert hash_of(transaction) not in self.decided
                self.pending.append(transaction)
                self.arrival[transaction] = self.now
            elif admission is Admission.DUPLICATE:
                assert transaction in self.pending
            elif admission is Admission.FINALIZED:
                assert hash_of(transaction) in self.decided

    @rule(limit=st.integers(0, 1500), skipped=st.sets(st.integers(1, 60)))
    def take(self, limit: int, skipped: set[int]) -> None:
        excluded = {hash_of(make(size)) for size in skipped}
        taken = self.mempool.take(limit, [excluded])
        allowed = [transaction for transaction in self.pending if hash_of(transaction) not in excluded]
        assert taken == allowed[: len(taken)], "from the head, in order, none skipped"
        assert len(encode_payload(taken)) <= limit
        following = next(islice(allowed, len(taken), None), None)
        if following is not None:
            assert len(encode_payload([*taken, following])) > limit, "another one would not have fitted"
        assert len(encode_payload(taken)) == compute_payload_bytes(taken)

    @rule(sizes=st.sets(st.integers(1, 60)))
    def decide(self, sizes: set[int]) -> None:
        hashes = {hash_of(make(size)) for size in sizes}
        kept = [transaction for transaction in self.pending if hash_of(transaction) not in hashes]
        assert self.mempool.on_decide(hashes) == len(self.pending) - len(kept)
        self.pending = kept
        self.decided |= hashes

    @rule(seconds=st.integers(1, 30))
    def expire(self, seconds: int) -> None:
        self.now += seconds
        expired = set(self.mempool.expire(self.now))
        for transaction in self.pending:
            if hash_of(transaction) in expired:
                assert self.now - self.arrival[transaction] >= 40
        self.pending = [transaction for transaction in self.pending if hash_of(transaction) not in expired]

    @invariant()
    def counts_are_right(self) -> None:
        assert len(self.mempool) == len(self.pending)
        assert self.mempool.bytes == sum(map(len, self.pending))
        assert all(self.mempool.contains(hash_of(transaction)) for transaction in self.pending)


TestMempoolMachine = MempoolMachine.TestCase
