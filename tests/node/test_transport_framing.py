"""Frames survive any cutting of the stream, and no length makes a reader hold more than it should."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencer.network_config import PAYLOAD_BYTES_LIMIT
from sequencer.transport.framing import (
    FRAME_BYTES_MAX,
    HEADER_BYTES,
    HELLO_BYTES_MAX,
    FrameError,
    FrameReader,
    encode_frame,
    plan_writes,
)

FRAMES = st.lists(st.binary(min_size=1, max_size=300), max_size=20)


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    """The stream in pieces of these sizes, over and over; as a network might deliver it."""
    pieces, at, turn = [], 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        pieces.append(stream[at : at + size])
        at, turn = at + size, turn + 1
    return pieces


@given(frames=FRAMES, sizes=st.lists(st.integers(1, 700), min_size=1, max_size=12))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(frames: list[bytes], sizes: list[int]) -> None:
    reader = FrameReader()
    stream = b"".join(map(encode_frame, frames))
    assert [frame for piece in cut(stream, sizes) for frame in reader.feed(piece)] == frames
    assert reader.pending_bytes == 0


@given(frames=FRAMES, sizes=st.lists(st.integers(1, 700), min_size=1, max_size=12))
def test_each_frame_comes_out_with_its_last_byte(frames: list[bytes], sizes: list[int]) -> None:
    reader, fed, complete = FrameReader(), 0, 0
    ends = [sum(HEADER_BYTES + len(frame) for frame in frames[: i + 1]) for i in range(len(frames))]
    for piece in cut(b"".join(map(encode_frame, frames)), sizes):
        complete += len(reader.feed(piece))
        fed += len(piece)
        assert complete == sum(end <= fed for end in ends)


@given(sizes=st.lists(st.sampled_from([1, 100, 65_535, 65_536, 65_537, 200_000]), min_size=1, max_size=8))
def test_planned_writes_are_the_same_stream_in_fewer_pieces(sizes: list[int]) -> None:
    frames = [bytes([index]) * size for index, size in enumerate(sizes)]
    writes = plan_writes(frames)
    assert b"".join(writes) == b"".join(map(encode_frame, frames))
    # Small frames never cost a write of their own, and a large one is written without being copied.
    large = [frame for frame in frames if len(frame) > 65_536]
    assert len(writes) <= 2 * len(large) + 1
    assert all(any(write is frame for write in writes) for frame in large)


def test_a_burst_of_small_frames_is_one_write() -> None:
    assert len(plan_writes([b"vote"] * 1000)) == 1


@pytest.mark.parametrize("length", [HELLO_BYTES_MAX + 1, FRAME_BYTES_MAX, 2**32 - 1])
def test_before_the_hello_only_tiny_frames_are_allowed(length: int) -> None:
    with pytest.raises(FrameError) as caught:
        FrameReader().feed(struct.pack(">I", length))
    assert caught.value.reason == "oversized_frame"


def test_a_frame_above_the_limit_is_refused_by_its_length_alone() -> None:
    reader = FrameReader(FRAME_BYTES_MAX)
    assert reader.feed(struct.pack(">I", FRAME_BYTES_MAX)) == []
    with pytest.raises(FrameError, match="limit is 16777216"):
        FrameReader(FRAME_BYTES_MAX).feed(struct.pack(">I", FRAME_BYTES_MAX + 1))


def test_an_oversized_length_is_refused_also_when_it_arrives_in_pieces() -> None:
    reader = FrameReader()
    header = struct.pack(">I", HELLO_BYTES_MAX + 1)
    assert reader.feed(header[:3]) == []
    with pytest.raises(FrameError):
        reader.feed(header[3:])


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(FrameError) as caught:
        FrameReader().feed(bytes(4))
    assert caught.value.reason == "empty_frame"


def test_the_largest_payload_fits_into_a_frame_with_its_certificates() -> None:
    assert 2 * PAYLOAD_BYTES_LIMIT <= FRAME_BYTES_MAX
