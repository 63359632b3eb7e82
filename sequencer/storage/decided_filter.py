"""A filter in memory that says of most transactions at once that they are not decided.

One bit per 28 bits of a hash. Almost every transaction that arrives is new, and asking the disk about it costs a
hundred times as much as looking at a bit. The share of new ones that have to be asked about all the same is decided /
2**28: under 1 % at two million, 6 % at sixteen million.
"""

from collections.abc import Collection, Sequence

FILTER_BYTES = 2**25
"""32 MiB of zeros, of which the system backs only the pages that were written to: an idle node pays for none."""
_WORDS_PER_HASH = 8


def read_words(hashes: Collection[bytes]) -> list[int]:
    """The first four bytes of each 32-byte hash, little-endian. Hashes are uniform, so any bits of them will do."""
    return memoryview(b"".join(hashes)).cast("I")[::_WORDS_PER_HASH].tolist()


class DecidedFilter:
    """Bit (word & 7) of byte (word >> 7), so that the word's bits 3 to 6 stay unused."""

    def __init__(self) -> None:
        self._bits = bytearray(FILTER_BYTES)

    def add(self, words: Sequence[int]) -> None:
        bits = self._bits
        for word in words:
            bits[word >> 7] |= 1 << (word & 7)

    def select(self, hashes: Collection[bytes]) -> list[bytes]:
        """Those that may have been added; none that was is missing."""
        bits = self._bits
        return [
            hash_ for hash_, word in zip(hashes, read_words(hashes), strict=True) if bits[word >> 7] >> (word & 7) & 1
        ]

    def merge(self, other: "DecidedFilter") -> None:
        """Everything that was added to either."""
        merged = int.from_bytes(self._bits, "little") | int.from_bytes(other._bits, "little")
        self._bits = bytearray(merged.to_bytes(FILTER_BYTES, "little"))
