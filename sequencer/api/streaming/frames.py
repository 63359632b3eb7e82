"""What leaves the node, encoded once for everybody who wants it in the same form."""

from collections.abc import Callable, Hashable
from typing import Final, Literal, TypeAlias

FRAMES_BYTES_MAX: Final = 32 * 1024 * 1024
"""Kept at once: thousands of blocks as most want them, a few full ones of the largest size."""

Wire: TypeAlias = Literal["sse", "websocket"]


def encode_event(wire: Wire, event: str, id_: int | None, data: bytes) -> bytes:
    """One event as it stands on the wire. `data` is JSON on one line."""
    if wire == "sse":
        id_line = b"" if id_ is None else b"id: %d\n" % id_
        return b"%sevent: %s\ndata: %s\n\n" % (id_line, event.encode(), data)
    return b'{"type":"%s","id":%s,"data":%s}' % (event.encode(), b"null" if id_ is None else b"%d" % id_, data)


class FrameCache:
    """Frames by what they are of, the least recently used out first; bounded in bytes, but never less than one."""

    def __init__(self, bytes_max: int = FRAMES_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._frames: dict[Hashable, bytes] = {}
        self.bytes = 0
        self.encoded = 0
        """How many were not there when they were asked for."""

    def get(self, key: Hashable, encode: Callable[[], bytes]) -> bytes:
        frame = self._frames.pop(key, None)
        if frame is None:
            frame = encode()
            self.encoded += 1
            self.bytes += len(frame)
        self._frames[key] = frame
        while self.bytes > self._bytes_max and len(self._frames) > 1:
            self.bytes -= len(self._frames.pop(next(iter(self._frames))))
        return frame
