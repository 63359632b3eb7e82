"""P4: one object has one encoding, and the decoder accepts nothing else."""

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.errors import InvalidMessage
from consensus.messages import LeafRequest, Message, QuorumVote, RangeRequest, decode, encode
from consensus.types import Commitment, Epoch, Height, ValidatorId, View
from tests.consensus.strategies import messages

VOTE = QuorumVote(Epoch(0), View(1), Commitment(b"c" * 32), ValidatorId(2), b"s" * 64)


@given(messages)
def test_what_is_encoded_decodes_to_the_same_object(message: Message) -> None:
    assert decode(encode(message)) == message


@given(messages, st.data())
def test_a_changed_byte_is_refused_or_another_message(message: Message, data: st.DataObject) -> None:
    frame = bytearray(encode(message))
    position = data.draw(st.integers(0, len(frame) - 1))
    frame[position] = data.draw(st.integers(0, 255).filter(lambda value: value != frame[position]))
    try:
        other = decode(bytes(frame))
    except InvalidMessage:
        return
    assert other != message
    assert encode(other) == frame


@given(messages, st.binary(min_size=1, max_size=20))
def test_trailing_bytes_are_refused(message: Message, tail: bytes) -> None:
    with pytest.raises(InvalidMessage):
        decode(encode(message) + tail)


@given(messages, st.data())
def test_a_truncated_frame_is_refused(message: Message, data: st.DataObject) -> None:
    frame = encode(message)
    with pytest.raises(InvalidMessage):
        decode(frame[: data.draw(st.integers(0, len(frame) - 1))])


@given(st.binary(max_size=200))
def test_noise_never_raises_anything_but_invalid_message(frame: bytes) -> None:
    try:
        message = decode(frame)
    except InvalidMessage:
        return
    assert encode(message) == frame


def make_other_forms() -> Iterator[tuple[str, bytes]]:
    """Other MessagePack encodings of the same values."""
    frame = encode(RangeRequest(Height(5)))
    assert frame == b"\x92\x09\x05"
    yield "8-bit integer", b"\x92\x09\xcc\x05"
    yield "64-bit integer", b"\x92\x09\xcf" + (5).to_bytes(8, "big")
    yield "signed integer", b"\x92\x09\xd0\x05"
    yield "16-bit array header", b"\xdc\x00\x02\x09\x05"
    yield "16-bit tag", b"\x92\xcd\x00\x09\x05"
    yield "unknown field", b"\x93\x09\x05\x00"
    yield "map", msgspec.msgpack.encode({"type": 9, "from_height": 5})
    yield "float", b"\x92\x09\xcb" + bytes.fromhex("4014000000000000")
    yield "16-bit bin header", b"\x92\x07\xc5\x00\x20" + bytes(32)
    yield "string for bytes", b"\x92\x07\xd9\x20" + b"c" * 32
    yield "commitment too short", encode(LeafRequest(Commitment(b"c" * 31)))
    yield "commitment too long", encode(LeafRequest(Commitment(b"c" * 33)))
    yield "negative", b"\x92\x09\xff"
    yield "too large", b"\x92\x09\xcf" + (2**63).to_bytes(8, "big")
    yield "unknown tag", b"\x92\x7f\x05"
    yield "deep nesting", b"\x91" * 5000
    yield "lying length", b"\x92\x07\xc6\xff\xff\xff\xff"
    yield "lying array length", b"\xdd\xff\xff\xff\xff\x09"


OTHER_FORMS = dict(make_other_forms())


@pytest.mark.parametrize("frame", list(OTHER_FORMS.values()), ids=list(OTHER_FORMS))
def test_another_form_is_refused(frame: bytes) -> None:
    with pytest.raises(InvalidMessage):
        decode(frame)


def test_the_wire_form_of_a_vote_is_pinned() -> None:
    """Other implementations read this; a change of the format is a change of the protocol."""
    assert encode(VOTE).hex() == "96020001c420" + "63" * 32 + "02c440" + "73" * 64
