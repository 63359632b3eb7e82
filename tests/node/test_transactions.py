"""What is given to a node to be ordered: how it is forwarded, and that it is pending until everyone may see it."""

from hypothesis import given
from hypothesis import strategies as st

from consensus.messages import FORWARD_TRANSACTIONS_MAX, decode, encode
from sequencer.mempool import Admission
from sequencer.payload import PayloadCache, compute_hashes
from sequencer.transactions import FORWARD_BYTES_MAX, MempoolLimits, Transactions


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
