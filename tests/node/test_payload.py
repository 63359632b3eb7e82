"""A payload has one encoding, and opens to what was put in."""

import struct
from hashlib import sha256
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.leaf import Block
from sequencer.payload import (
    EMPTY_PAYLOAD,
    PayloadCache,
    compute_hashes,
    compute_payload_bytes,
    compute_transaction_hash,
    decode_payload,
    encode_payload,
    get_data,
    get_namespace,
    make_transaction,
)
from sequencer.payload import __name__ as payload_module
from sequencer.payload_format import NAMESPACE_MAX, TRANSACTIONS_MAX, PayloadError, encode_regions
from tests.node.chain import GENESIS, make_block

namespaces = st.integers(0, 4) | st.integers(0, NAMESPACE_MAX)
transactions = st.lists(
    st.builds(make_transaction, namespaces, st.binary(min_size=1, max_size=300)), unique=True, max_size=20
)


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


@given(transactions)
def test_a_payload_opens_to_what_was_put_in(given_transactions: list[bytes]) -> None:
    """By namespace, and in the leader's order within one."""
    encoded = encode_payload(given_transactions)
    payload = decode_payload(encoded)
    expected = sorted(given_transactions, key=get_namespace)
    assert list(payload.transactions) == expected
    assert list(payload.hashes) == [sha256(transaction).digest() for transaction in expected]
    assert payload.hash_set == set(payload.hashes)
    assert payload.size == len(encoded) == compute_payload_bytes(given_transactions)
    assert payload.largest_data_bytes == max((len(get_data(each)) for each in given_transactions), default=0)
    groups = {namespace: list(group) for namespace, group in groupby(expected, key=get_namespace)}
    shown = {name: list(payload.transactions[at.start : at.stop]) for name, at in payload.namespaces.items()}
    assert shown == groups
    assert list(shown) == sorted(shown)


@given(namespaces, st.binary(min_size=1, max_size=100))
def test_a_transaction_is_its_namespace_and_its_data_and_so_is_its_name(namespace: int, data: bytes) -> None:
    transaction = make_transaction(namespace, data)
    assert (get_namespace(transaction), get_data(transaction)) == (namespace, data)
    assert transaction == namespace.to_bytes(4, "big") + data
    assert [compute_transaction_hash(namespace, data)] == compute_hashes([transaction])


def test_the_bytes_of_a_payload_are_pinned() -> None:
    """Other implementations read this; a change of the format is a change of the protocol."""
    payload = encode_payload([make_transaction(7, b"b"), make_transaction(2, b"cc"), make_transaction(7, b"a")])
    assert payload == (
        words(2, 2, 30, 7, 44)
        + (words(1, 2) + b"cc")
        + (words(2, 1, 2) + b"ba")
    )  # fmt: skip
    assert payload == encode_regions({2: [b"cc"], 7: [b"b", b"a"]})


@given(transactions.filter(bool), st.data())
def test_whatever_opens_is_the_only_encoding_of_what_it_holds(
    given_transactions: list[bytes], data: st.DataObject
) -> None:
    """Some words of an honest payload are changed: it is refused, or is the honest payload of something else."""
    encoded = bytearray(encode_payload(given_transactions))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(encoded) - 1))
        encoded[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del encoded[data.draw(st.integers(0, len(encoded))) :]
    try:
        payload = decode_payload(bytes(encoded))
    except PayloadError:
        return
    assert encode_payload(payload.transactions) == encoded


@given(st.binary(max_size=64))
def test_noise_is_refused(noise: bytes) -> None:
    try:
        payload = decode_payload(noise)
    except PayloadError:
        return
    assert encode_payload(payload.transactions) == noise


@given(transactions.filter(bool), st.data())
def test_a_changed_byte_never_opens_to_the_same_transactions(
    given_transactions: list[bytes], data: st.DataObject
) -> None:
    encoded = bytearray(encode_payload(given_transactions))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    try:
        payload = decode_payload(bytes(encoded))
    except PayloadError:
        return
    assert list(payload.transactions) != sorted(given_transactions, key=get_namespace)


def test_the_empty_payload_is_no_bytes() -> None:
    assert encode_payload([]) == b""
    assert compute_payload_bytes([]) == 0
    assert decode_payload(b"") is EMPTY_PAYLOAD


ONE = words(1, 0, 21) + words(1, 1) + b"a"
"""One transaction, and nothing wrong with it."""
HOSTILE = {
    "cut off in the count": (b"\x00\x00", "malformed_payload"),
    "no regions": (words(0), "malformed_payload"),
    "a table that lies about its length": (words(2**32 - 1) + bytes(64), "malformed_payload"),
    "a table that takes all the room": (words(2, 0, 20, 1, 20), "malformed_payload"),
    "namespaces in another order": (words(2, 1, 29, 0, 38) + 2 * (words(1, 1) + b"a"), "non_canonical_payload"),
    "a namespace twice": (words(2, 1, 29, 1, 38) + 2 * (words(1, 1) + b"a"), "non_canonical_payload"),
    "an empty region": (words(2, 0, 20, 1, 29) + words(1, 1) + b"a", "malformed_payload"),
    "regions that go back": (words(2, 0, 38, 1, 29) + 2 * (words(1, 1) + b"a"), "malformed_payload"),
    "a region with no count": (words(1, 0, 14) + b"aa", "malformed_payload"),
    "no transactions": (words(1, 0, 17) + words(0) + b"a", "malformed_payload"),
    "a count that lies": (words(1, 0, 21) + words(2**32 - 1, 1) + b"a", "malformed_payload"),
    "trailing bytes": (ONE + b"\0", "malformed_payload"),
    "a byte after the last transaction": (words(1, 0, 22) + words(1, 1) + b"ab", "malformed_payload"),
    "a transaction that ends beyond its region": (words(1, 0, 21) + words(1, 2) + b"a", "malformed_payload"),
    "transactions that go back": (words(1, 0, 31) + words(3, 2, 1, 3) + b"abc", "malformed_payload"),
    "a transaction of no bytes": (words(1, 0, 27) + words(2, 0, 3) + b"abc", "malformed_payload"),
    "a last one of no bytes": (words(1, 0, 27) + words(2, 3, 3) + b"abc", "malformed_payload"),
    "a transaction twice": (words(1, 0, 26) + words(2, 1, 2) + b"aa", "repeated_transaction"),
}


@pytest.mark.parametrize(("payload", "reason"), list(HOSTILE.values()), ids=list(HOSTILE))
def test_no_other_payload_is_opened(payload: bytes, reason: str) -> None:
    assert decode_payload(ONE).transactions == (bytes(4) + b"a",)
    with pytest.raises(PayloadError) as raised:
        decode_payload(payload)
    assert raised.value.reason == reason


def test_ends_that_go_back_and_forth_are_refused_before_anything_is_cut_out() -> None:
    """Cut out first, these thirty thousand transactions would be copies of two megabytes each."""
    size, count = 2 * 1024 * 1024, 30_000
    ends = [size, 1] * (count // 2 - 1) + [1, size]
    region = words(count, *ends) + bytes(size)
    with pytest.raises(PayloadError, match="do not fill"):
        decode_payload(words(1, 0, 12 + len(region)) + region)


@pytest.mark.parametrize("regions", [1, 2, TRANSACTIONS_MAX])
def test_more_transactions_than_allowed_are_refused(regions: int) -> None:
    """In one region, or in several of which each is small enough."""
    most = [make_transaction(number % regions, number.to_bytes(3, "big")) for number in range(1, TRANSACTIONS_MAX + 2)]
    assert len(decode_payload(encode_payload(most[1:])).transactions) == TRANSACTIONS_MAX
    with pytest.raises(PayloadError, match="transactions") as raised:
        decode_payload(encode_payload(most))
    assert raised.value.reason == "malformed_payload"


def test_more_regions_than_allowed_are_refused() -> None:
    most = {number: [b"a"] for number in range(TRANSACTIONS_MAX + 1)}
    with pytest.raises(PayloadError, match=f"{TRANSACTIONS_MAX + 1} regions"):
        decode_payload(encode_regions(most))


def test_a_payload_is_opened_once_and_shared_by_its_leaves() -> None:
    cache = PayloadCache(entries_max=4)
    block = make_block(GENESIS, [b"transaction"])
    same_payload = make_block(GENESIS, [b"transaction"], view=7)
    assert cache.open(same_payload) is cache.open(block)
    assert len(cache) == 1


def test_the_cache_keeps_what_was_used_last() -> None:
    cache = PayloadCache(entries_max=2)
    first, second, third = (make_block(GENESIS, [label]) for label in (b"1", b"2", b"3"))
    kept = cache.open(first)
    cache.open(second)
    cache.open(first)
    cache.open(third)
    assert len(cache) == 2
    assert cache.open(first) is kept


def test_the_cache_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{payload_module}.CACHED_BYTES_MAX", 1000)
    cache = PayloadCache(entries_max=100)
    for number in range(10):
        cache.open(make_block(GENESIS, [bytes([number]) * 400]))
    assert len(cache) == 2
    cache.open(make_block(GENESIS, [bytes(5000)]))
    assert len(cache) == 1, "the one that was asked for last stays, whatever its size"


def test_a_bad_payload_is_not_kept() -> None:
    cache = PayloadCache(entries_max=2)
    with pytest.raises(PayloadError):
        cache.open(Block(GENESIS.leaf, b"\x90"))
    assert len(cache) == 0
    with pytest.raises(ValueError, match="entries_max"):
        PayloadCache(entries_max=0)
