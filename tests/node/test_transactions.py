"""What is given to a node to be ordered: how it is forwarded, and that it is pending until everyone may see it."""

from hypothesis import given
from hypothesis import strategies as st

from consensus.messages import FORWARD_TRANSACTIONS_MAX, decode, encode
from sequencer.mempool import Admission
from sequencer.payload import (
    PayloadCache,
    compute_hashes,
    compute_payload_bytes,
    decode_payload,
    encode_payload,
    get_namespace,
    make_transaction,
)
from sequencer.transactions import FORWARD_BYTES_MAX, MempoolLimits, Transactions
from tests.node.chain import GENESIS, hashes_of, make_block


def make_transactions() -> Transactions:
    return Transactions(MempoolLimits(2**26, 3600), FORWARD_BYTES_MAX, PayloadCache(8), lambda hashes: set())


@given(st.lists(st.integers(1, FORWARD_BYTES_MAX - 4), min_size=1, max_size=8))
def test_what_is_forwarded_fits_into_frames_that_a_peer_accepts(sizes: list[int]) -> None:
    transactions = make_transactions()
    given_ = [bytes(4) + number.to_bytes(1) * size for number, size in enumerate(sizes)]
    transactions.submit(given_, compute_hashes(given_))
    forwards = transactions.take_forwards()
    assert [transaction for forward in forwards for transaction in forward.transactions] == given_
    assert all(sum(map(len, forward.transactions)) <= FORWARD_BYTES_MAX for forward in forwards)
    assert not transactions.has_forwards


def test_a_flood_of_tiny_ones_too() -> None:
    transactions = make_transactions()
    tiny = [number.to_bytes(7) for number in range(FORWARD_TRANSACTIONS_MAX + 1)]
    transactions.submit(tiny, compute_hashes(tiny))
    forwards = transactions.take_forwards()
    assert [len(forward.transactions) for forward in forwards] == [FORWARD_TRANSACTIONS_MAX, 1]
    assert [decode(encode(forward)) for forward in forwards] == forwards


def test_only_what_is_new_and_from_a_client_is_forwarded() -> None:
    transactions = make_transactions()
    transactions.add_forwarded([b"from a peer"])
    assert not transactions.has_forwards
    mine = [b"from a peer", b"fresh"]
    assert transactions.submit(mine, compute_hashes(mine)) == [Admission.DUPLICATE, Admission.ACCEPTED]
    assert [forward.transactions for forward in transactions.take_forwards()] == [(b"fresh",)]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), max_size=12),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60)), max_size=20),
    st.integers(400, 1500),
)
def test_what_was_promised_comes_first_and_the_payload_never_grows_too_large(
    promised: list[tuple[int, int]], others: list[tuple[int, int]], bytes_max: int
) -> None:
    """Whatever namespaces the one and the other have, each of its own or all the same."""
    made = [
        make_transaction(namespace, number.to_bytes(1) * size)
        for number, (namespace, size) in enumerate([*promised, *others], start=1)
    ]
    first, rest = made[: len(promised)], made[len(promised) :]
    while compute_payload_bytes(first) > bytes_max // 2:  # promises never fill more than a part of it
        first.pop()
    transactions = make_transactions()
    transactions.submit([*rest, *first], compute_hashes([*rest, *first]))
    taken = transactions.take(bytes_max, (), first)
    assert taken[: len(first)] == first
    assert taken[len(first) :] == rest[: len(taken) - len(first)], "then in the order in which they came"
    payload = encode_payload(taken)
    assert len(payload) <= bytes_max
    assert set(decode_payload(payload).transactions) == set(taken)
    left = [each for each in rest if each not in taken]
    slack = 4 + 12 * len({get_namespace(each) for each in first})
    assert not left or len(encode_payload([*taken, left[0]])) > bytes_max - slack


def test_a_transaction_is_pending_until_everybody_may_know_that_it_is_final() -> None:
    """Between the turn that decides it and the end of the write it has left the mempool, and is still to be found."""
    transactions = make_transactions()
    block = make_block(GENESIS, [b"one", b"two"])
    first, second = decode_payload(block.payload).transactions
    transactions.submit([first, second, b"another"], compute_hashes([first, second, b"another"]))
    for _ in range(2):
        assert [transactions.find_pending(hash_) for hash_ in hashes_of(b"one", b"two")] == [first, second]
        transactions.on_decide([block])
    assert len(transactions) == 1
    transactions.on_durable()
    assert [transactions.find_pending(hash_) for hash_ in hashes_of(b"one", b"two")] == [None, None]
    assert transactions.find_pending(*compute_hashes([b"another"])) == b"another"
