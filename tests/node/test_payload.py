"""A payload has one encoding, and opens to what was put in."""

from hashlib import sha256

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.leaf import Block
from sequencer.payload import (
    EMPTY_PAYLOAD,
    PAYLOAD_HEADER_BYTES,
    PAYLOAD_TRANSACTIONS_MAX,
    TRANSACTION_HEADER_BYTES,
    PayloadCache,
    PayloadError,
    decode_payload,
    encode_payload,
)
from sequencer.payload import __name__ as payload_module
from tests.node.chain import GENESIS, make_block

transactions = st.lists(st.binary(min_size=1, max_size=300), unique=True, max_size=20)


@given(transactions)
def test_a_payload_opens_to_what_was_put_in(given_transactions: list[bytes]) -> None:
    encoded = encode_payload(given_transactions)
    payload = decode_payload(encoded)
    assert list(payload.transactions) == given_transactions
    assert list(payload.hashes) == [sha256(transaction).digest() for transaction in given_transactions]
    assert payload.hash_set == set(payload.hashes)
    assert payload.size == len(encoded)
    assert payload.largest_transaction_bytes == max(map(len, given_transactions), default=0)
    assert len(encoded) <= PAYLOAD_HEADER_BYTES + sum(
        len(transaction) + TRANSACTION_HEADER_BYTES for transaction in given_transactions
    )


@given(st.binary(max_size=64) | transactions.map(msgpack.packb))
def test_whatever_opens_is_the_only_encoding_of_what_it_holds(data: bytes) -> None:
    try:
        payload = decode_payload(data)
    except PayloadError:
        return
    assert encode_payload(payload.transactions) == data


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
    assert list(payload.transactions) != given_transactions


def test_the_empty_payload_is_no_bytes() -> None:
    assert encode_payload([]) == b""
    assert decode_payload(b"") is EMPTY_PAYLOAD


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\x90", "non_canonical_payload"),  # an array of nothing
        (b"\xdc\x00\x01\xc4\x01a", "non_canonical_payload"),  # a longer header than needed, of the array
        (b"\x91\xc5\x00\x01a", "non_canonical_payload"),  # and of a transaction
        (b"\x91\xc4\x01a\x00", "malformed_payload"),  # a trailing byte
        (b"\x92\xc4\x01a", "malformed_payload"),  # one transaction of two
        (b"\x91\xc4\x05a", "malformed_payload"),  # cut off
        (b"\x91\xa1a", "malformed_payload"),  # a string, no bin
        (b"\xc4\x01a", "malformed_payload"),  # no array
        (b"\xdd\xff\xff\xff\xff\xc4\x01a", "malformed_payload"),  # a lying length
        (b"\x91" * 2000 + b"\xc4\x01a", "malformed_payload"),  # deep nesting
        (b"\x91\xc4\x00", "empty_transaction"),
        (b"\x92\xc4\x01a\xc4\x01a", "repeated_transaction"),
    ],
)
def test_no_other_payload_is_opened(payload: bytes, reason: str) -> None:
    with pytest.raises(PayloadError) as raised:
        decode_payload(payload)
    assert raised.value.reason == reason


def test_more_transactions_than_allowed_are_refused() -> None:
    one_byte_each = [number.to_bytes(3, "big") for number in range(PAYLOAD_TRANSACTIONS_MAX + 1)]
    assert len(decode_payload(encode_payload(one_byte_each[1:])).transactions) == PAYLOAD_TRANSACTIONS_MAX
    with pytest.raises(PayloadError, match=str(PAYLOAD_TRANSACTIONS_MAX)):
        decode_payload(msgspec.msgpack.encode(one_byte_each))


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
