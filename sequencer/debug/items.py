"""The pieces of a bundle, and the bounds that they are held to."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ITEM_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of one file in the bundle. A log of a day is larger: then its end is what counts."""
BUNDLE_BYTES_MAX: Final = 256 * 1024 * 1024
"""Of all together, before compression, which makes a tenth of it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file. `path` is relative to the bundle, `what` says what it is; `of_bytes` how much there was to take."""

    path: str
    what: str
    data: bytes
    of_bytes: int

    @property
    def is_cut(self) -> bool:
        return self.of_bytes > len(self.data)


@dataclass(slots=True)
class Collection:
    """What has been gathered, and what has been left out and why."""

    items: list[Item] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    _size: int = 0

    def add(self, path: str, what: str, data: bytes, of_bytes: int | None = None) -> None:
        """The end is kept where it is too long; nothing more when the bundle is full."""
        kept = data[-ITEM_BYTES_MAX:]
        if self._size + len(kept) > BUNDLE_BYTES_MAX:
            self.leave_out(path, f"the bundle has reached {BUNDLE_BYTES_MAX >> 20} MiB")
            return
        self._size += len(kept)
        self.items.append(Item(path, what, kept, len(data) if of_bytes is None else of_bytes))

    def add_text(self, path: str, what: str, text: str) -> None:
        self.add(path, what, text.encode())

    def add_tail(self, path: str, what: str, file: Path) -> None:
        """The end of a file."""
        try:
            self.add(path, what, read_tail(file), file.stat().st_size)
        except OSError as error:
            self.leave_out(path, f"{file} cannot be read: {(error.strerror or str(error)).lower()}")

    def leave_out(self, path: str, why: str) -> None:
        self.left_out.append((path, why))


def read_tail(file: Path, bytes_max: int = ITEM_BYTES_MAX) -> bytes:
    """Raises `OSError`."""
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - bytes_max))
        return stream.read(bytes_max)
