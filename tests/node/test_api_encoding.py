"""Batches as bytes: what was packed comes back, and what was not is refused at the item that is wrong."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencer.api.encoding import (
    parse_hash,
    parse_json_transaction,
    parse_msgpack_batch,
    parse_ndjson_batch,
)
from sequencer.api.problems import Problem
from sequencer.schema.transactions import BATCH_TRANSACTIONS_MAX

transactions = st.lists(st.binary(max_size=300), max_size=8)
integers = st.integers(-(2**63), 2**64 - 1)
not_bins = st.one_of(integers, st.text(), st.none(), st.booleans(), st.floats(), st.lists(integers))


def pack(items: list[bytes]) -> list[bytes]:
    return [msgpack.packb(item) for item in items]


@given(transactions)
def test_a_binary_batch_comes_back_as_it_was_packed(items: list[bytes]) -> None:
    assert parse_msgpack_batch(b"".join(pack(items))) == items


@given(transactions, st.data())
def test_a_binary_batch_cut_anywhere_within_an_item_is_refused_at_that_item(
    items: list[bytes], data: st.DataObject
) -> None:
    packed = pack([*items, data.draw(st.binary(min_size=1, max_size=300))])
    body = b"".join(packed)
    cut = data.draw(st.integers(len(body) - len(packed[-1]) + 1, len(body) - 1))
    with pytest.raises(Problem) as refused:
        parse_msgpack_batch(body[:cut])
    assert refused.value.members["index"] == len(items)


@given(transactions, not_bins, transactions)
def test_an_item_of_another_type_is_refused_by_its_index(
    before: list[bytes], wrong: object, after: list[bytes]
) -> None:
    body = b"".join([*pack(before), msgpack.packb(wrong), *pack(after)])
    with pytest.raises(Problem) as refused:
        parse_msgpack_batch(body)
    assert refused.value.members["index"] == len(before)
    assert refused.value.kind.code == "bad_body"


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_parsed_or_refused_and_nothing_else(body: bytes) -> None:
    for parse in (parse_msgpack_batch, parse_ndjson_batch):
        try:
            items = parse(body)
        except Problem:
            continue
        assert all(type(item) is bytes for item in items)


@pytest.mark.parametrize(
    "head", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01"]
)
def test_a_lying_length_reserves_no_memory_and_is_refused(head: bytes) -> None:
    with pytest.raises(Problem) as refused:
        parse_msgpack_batch(msgpack.packb(b"fine") + head)
    assert refused.value.members["index"] == 1


def test_a_batch_has_a_greatest_length() -> None:
    full = msgpack.packb(b"x") * BATCH_TRANSACTIONS_MAX
    assert len(parse_msgpack_batch(full)) == BATCH_TRANSACTIONS_MAX
    for too_long, parse in (
        (full + msgpack.packb(b"x"), parse_msgpack_batch),
        (b"00\n" * (BATCH_TRANSACTIONS_MAX + 1), parse_ndjson_batch),
    ):
        with pytest.raises(Problem) as refused:
            parse(too_long)
        assert refused.value.kind.code == "batch_too_long"


@given(st.lists(st.tuples(st.binary(min_size=1), st.sampled_from(["{}", "0x{}", '"{}"', '"0x{}"'])), max_size=8))
def test_a_textual_batch_takes_every_form_of_digits(lines: list[tuple[bytes, str]]) -> None:
    body = "\n".join(form.format(item.hex()) for item, form in lines)
    assert parse_ndjson_batch(body.encode()) == [item for item, _ in lines]
    assert parse_ndjson_batch(body.replace("\n", "\r\n").upper().replace("X", "x").encode() + b"\n\n") == [
        item for item, _ in lines
    ]


@pytest.mark.parametrize("line", [b"0x0", b"zz", b'"00', b'"', b'""', b"", b"00 11", b"0x0x00", b"\xff\xff", b"{}"])
def test_a_line_that_is_not_hexadecimal_is_refused_by_its_index(line: bytes) -> None:
    with pytest.raises(Problem) as refused:
        parse_ndjson_batch(b"00\n11\n" + line + b"\n22")
    assert refused.value.members["index"] == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"transaction":"0x0"}',
        b'{"transaction":1}',
        b'{"transaction":"00","more":1}',
        b'{"transaction":"\xff"}',
        '{"transaction":"\u0660\u0660"}'.encode(),
    ],
)
def test_a_json_transaction_in_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        parse_json_transaction(body)
    assert refused.value.kind.code == "bad_body"


def test_a_json_transaction_is_hexadecimal_with_or_without_prefix() -> None:
    assert parse_json_transaction(b'{"transaction":"0xBEEF"}') == b"\xbe\xef"
    assert parse_json_transaction(b'{"transaction":"beef"}') == b"\xbe\xef"


@pytest.mark.parametrize("text", ["", "0x", "00" * 31, "00" * 33, "zz" * 32, "0x" + "0" * 63, "é" * 64])
def test_a_hash_has_64_hexadecimal_digits(text: str) -> None:
    with pytest.raises(Problem) as refused:
        parse_hash(text)
    assert refused.value.kind.code == "bad_hash"
    assert parse_hash("0x" + "ab" * 32) == parse_hash("AB" * 32) == b"\xab" * 32
