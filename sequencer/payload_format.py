"""The bytes of a payload (P4): a table of namespaces, and a region for each with its transactions.

    payload = count of regions, then for each: namespace, end of its region; then the regions
    region  = count of transactions, then for each: end of its data; then the data of all, without gaps

Counts, namespaces and ends are 32-bit numbers, big endian. The end of a region counts from the start of the payload,
the end of a transaction from the start of the region's data. Namespaces are strictly ascending, no region and no
transaction is empty, and the last end is the length: so a payload has one encoding.

Whoever holds the table knows all regions, and so which namespaces are not there; whoever holds a region has all
transactions of its namespace, in the leader's order; and a single one is found without the others.
Everything here reads through a function `read(start, stop)` and never looks at what it does not need.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, chain
from operator import lt
from typing import Final, NamedTuple, TypeAlias

TRANSACTIONS_MAX: Final = 32_768
"""Transactions in one payload. Each costs every node about 2 µs: without this bound a payload of one-byte transactions
would keep all of them busy for a second. Of 512 bytes each, an eighth as many fill the largest payload."""
WORD_BYTES: Final = 4
NAMESPACE_MAX: Final = 2**32 - 1
TABLE_HEADER_BYTES: Final = WORD_BYTES
"""What a payload that is not empty costs besides its regions."""
REGION_HEADER_BYTES: Final = 3 * WORD_BYTES
"""What a namespace costs besides its transactions: two words in the table, and its count."""
TRANSACTION_HEADER_BYTES: Final = WORD_BYTES
"""What a transaction costs besides its data."""

Read: TypeAlias = Callable[[int, int], bytes]
"""The bytes of a payload from `start` to before `stop`."""

_WORD = struct.Struct(">I")


class PayloadError(Exception):
    """No honest node proposes this payload. `reason` is a short stable label, `detail` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Region(NamedTuple):
    """Where the transactions of a namespace stand: bytes from `start` to before `end` of the payload."""

    namespace: int
    start: int
    end: int


def encode_regions(groups: Mapping[int, Sequence[bytes]]) -> bytes:
    """Namespace -> data of its transactions, ascending by namespace; none is empty, and there is at least one."""
    regions = [_encode_region(group) for group in groups.values()]
    first = TABLE_HEADER_BYTES + 2 * WORD_BYTES * len(groups)
    ends = list(accumulate(map(len, regions), initial=first))[1:]
    rows = chain.from_iterable(zip(groups, ends, strict=True))
    return b"".join([struct.pack(f">{1 + 2 * len(groups)}I", len(groups), *rows), *regions])


def _encode_region(group: Sequence[bytes]) -> bytes:
    count = len(group)
    return b"".join([struct.pack(f">{1 + count}I", count, *accumulate(map(len, group))), *group])


def read_table(read: Read, size: int) -> list[Region]:
    """The regions of a payload of `size` bytes, which is not empty. Raises `PayloadError`."""
    count = _read_count(read, 0, size, 2 * WORD_BYTES, "regions")
    start = TABLE_HEADER_BYTES + 2 * WORD_BYTES * count
    words = struct.unpack(f">{2 * count}I", read(TABLE_HEADER_BYTES, start))
    namespaces, bounds = words[::2], (start, *words[1::2])
    if not all(map(lt, namespaces, namespaces[1:])):
        raise PayloadError("non_canonical_payload", "the namespaces of its table are not strictly ascending")
    if bounds[-1] != size or not all(map(lt, bounds, bounds[1:])):
        raise PayloadError("malformed_payload", f"its regions do not fill the {size - start} bytes after the table")
    return [Region(*row) for row in zip(namespaces, bounds, bounds[1:], strict=False)]


def read_region(read: Read, region: Region, prefix: bytes = b"") -> list[bytes]:
    """The data of all its transactions, in order, each with `prefix` in front; none is empty. Raises `PayloadError`."""
    count = read_transaction_count(read, region)
    ends_at = region.start + WORD_BYTES
    data_at = ends_at + WORD_BYTES * count
    ends = struct.unpack(f">{count}I", read(ends_at, data_at))
    data = read(data_at, region.end)
    # Before anything is cut out: with ends that go back and forth, a small region would be copied a thousand times.
    if ends[-1] != len(data) or sorted(ends) != list(ends):
        raise _bad_ends(region)
    transactions = [prefix + data[start:end] for start, end in zip((0, *ends), ends, strict=False)]
    if prefix in transactions:
        raise _bad_ends(region)
    return transactions


def read_transaction_count(read: Read, region: Region) -> int:
    """At least 1, and no more than the region has room for. Raises `PayloadError`."""
    return _read_count(read, region.start, region.end, TRANSACTION_HEADER_BYTES + 1, "transactions")


def read_transaction(read: Read, region: Region, position: int) -> bytes:
    """The data of one transaction of the region, `position` of them before it. Raises `PayloadError`."""
    count = read_transaction_count(read, region)
    if not 0 <= position < count:
        raise PayloadError("malformed_payload", f"the region of namespace {region.namespace} has {count} transactions")
    ends_at = region.start + WORD_BYTES
    data_at = ends_at + WORD_BYTES * count
    place = ends_at + WORD_BYTES * position
    start = _WORD.unpack(read(place - WORD_BYTES, place))[0] if position else 0
    (end,) = _WORD.unpack(read(place, place + WORD_BYTES))
    if not start < end <= region.end - data_at:
        raise _bad_ends(region)
    return read(data_at + start, data_at + end)


def _read_count(read: Read, start: int, end: int, bytes_each: int, what: str) -> int:
    """A count, believed only as far as there is room for as many: what lies costs its reader nothing."""
    room = end - start - WORD_BYTES
    count: int = _WORD.unpack(read(start, start + WORD_BYTES))[0] if room >= 0 else 0
    if not 0 < count <= TRANSACTIONS_MAX or count * bytes_each > room:
        raise PayloadError("malformed_payload", f"{count} {what} at byte {start}, with {max(0, room)} bytes left")
    return count


def _bad_ends(region: Region) -> PayloadError:
    detail = f"the transactions of namespace {region.namespace} do not fill its region, or one has no bytes"
    return PayloadError("malformed_payload", detail)
