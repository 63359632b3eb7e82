"""Frames on a byte stream: a length of four bytes, big-endian, then as many bytes.

Bytes in, frames out; no input or output happens here. A frame that arrives in one read is sliced out of it once; one
that arrives in pieces is gathered in a buffer that grows, so the cost stays linear in its length however small the
pieces are.
"""

import struct
from collections.abc import Iterable

FRAME_BYTES_MAX = 16 * 1024 * 1024
"""The largest message is an answer with decided blocks: 4 MiB of payload, at worst one whole payload above it (8 MiB
is the most that a network may set), and the certificates of its leaves. It also bounds what one peer can make this
node hold."""
HELLO_BYTES_MAX = 512
"""Before a peer has proven who it is. The largest message of the handshake takes 200 bytes."""
HEADER_BYTES = 4

_COPY_BYTES_MAX = 64 * 1024
"""Frames up to this size are joined into one write; copying a larger one costs more than another system call."""

_LENGTH = struct.Struct(">I")


class FrameError(Exception):
    """The peer's fault. `reason` is a stable label, as in `InvalidMessage`. The stream cannot be read on after it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class FrameReader:
    """One direction of one connection. `frame_bytes_max` may be raised once the peer is known."""

    def __init__(self, frame_bytes_max: int = HELLO_BYTES_MAX) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._partial = bytearray()
        # How long `_partial` must be before something can be done with it: a header, or a header and its frame.
        self._needed = HEADER_BYTES

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._partial)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The frames that this chunk completes, in order. Raises `FrameError` for a length that is not allowed."""
        frames: list[bytes] = []
        at = self._finish_partial(chunk, frames) if self._partial else 0
        end = len(chunk)
        while end - at >= HEADER_BYTES:
            start = at + HEADER_BYTES
            stop = start + self._check_length(*_LENGTH.unpack_from(chunk, at))
            if stop > end:
                self._needed = stop - at
                break
            frames.append(chunk[start:stop])
            at = stop
        if at < end:
            self._partial += memoryview(chunk)[at:]
        return frames

    def _finish_partial(self, chunk: bytes, frames: list[bytes]) -> int:
        """Add to the frame that earlier chunks began. Returns how much of the chunk that took."""
        partial, view, at = self._partial, memoryview(chunk), 0
        while True:
            missing = self._needed - len(partial)
            partial += view[at : at + missing]
            at = min(at + missing, len(chunk))
            if len(partial) < self._needed:
                return at
            if self._needed > HEADER_BYTES:
                break
            self._needed += self._check_length(*_LENGTH.unpack_from(partial))
        with memoryview(partial) as whole:
            frames.append(bytes(whole[HEADER_BYTES:]))
        self._partial = bytearray()
        self._needed = HEADER_BYTES
        return at

    def _check_length(self, length: int) -> int:
        if length > self.frame_bytes_max:
            raise FrameError("oversized_frame", f"a frame of {length} bytes, the limit is {self.frame_bytes_max}")
        if length == 0:
            raise FrameError("empty_frame", "a frame of no bytes")
        return length


def encode_frame(frame: bytes) -> bytes:
    """One frame with its length."""
    return _LENGTH.pack(len(frame)) + frame


def plan_writes(frames: Iterable[bytes]) -> list[bytes]:
    """Frames -> as few buffers to write as is cheap: small ones joined with their lengths, large ones as they are."""
    writes: list[bytes] = []
    run: list[bytes] = []
    for frame in frames:
        run.append(_LENGTH.pack(len(frame)))
        if len(frame) <= _COPY_BYTES_MAX:
            run.append(frame)
            continue
        writes += (b"".join(run), frame)
        run.clear()
    if run:
        writes.append(b"".join(run))
    return writes
