"""The journals of a network's nodes, from their files; one node's records stay in the order in which it wrote them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from typing import Final

import msgpack

from consensus.errors import InvalidMessage
from consensus.trace import TRACE_VERSION, Opened, Record, decode_record
from consensus.types import NetworkId, ValidatorId

SUFFIX: Final = ".trace"
RECORD_BYTES_MAX: Final = 64 * 1024 * 1024
"""A leaf that ends an epoch carries many others; nothing else comes near."""
_CHUNK_BYTES: Final = 1 << 20


class TraceError(Exception):
    """A journal cannot be used. The text names the file, and says what is wrong with it."""


@dataclass(frozen=True)
class NodeJournal:
    """All that one node has written, one file for each of its processes."""

    validator_id: ValidatorId
    files: tuple[Path, ...]

    def read(self, torn: list[Path]) -> Iterator[Record]:
        """Every record, in order. A file whose last record is cut off, as a killed process leaves it, goes to `torn`.

        Raises `TraceError`.
        """
        for file in self.files:
            yield from _read_file(file, torn)


def read_journals(files: Iterable[Path], network_id: NetworkId) -> list[NodeJournal]:
    """Journals by node, in order of number. Raises `TraceError` for files of another network or no journal at all."""
    by_node: dict[ValidatorId, list[Path]] = {}
    for file in sorted(files):
        first = next(_read_file(file, []), None)
        if first is None:
            continue  # its process died before it had written anything
        if not isinstance(first, Opened):
            raise TraceError(f"{file} does not begin like a journal. Name a folder with journals of nodes")
        if first.version != TRACE_VERSION:
            raise TraceError(f"{file} has version {first.version}, this program reads version {TRACE_VERSION}")
        if first.network_id != network_id:
            raise TraceError(f"{file} is of another network. Name the network file that its nodes ran with")
        by_node.setdefault(first.validator_id, []).append(file)
    return [NodeJournal(node, tuple(by_node[node])) for node in sorted(by_node)]


def merge_records(journals: Sequence[NodeJournal], torn: list[Path]) -> Iterator[tuple[ValidatorId, Record]]:
    """All records by time, as far as the clocks of the nodes agree; each node's own order is kept in any case."""
    return merge(*(_read_node(journal, torn) for journal in journals), key=lambda pair: pair[1].at)


def _read_node(journal: NodeJournal, torn: list[Path]) -> Iterator[tuple[ValidatorId, Record]]:
    for record in journal.read(torn):
        yield journal.validator_id, record


def _read_file(file: Path, torn: list[Path]) -> Iterator[Record]:
    unpacker = msgpack.Unpacker(max_buffer_size=RECORD_BYTES_MAX)
    consumed = size = 0
    try:
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                size += len(chunk)
                unpacker.feed(chunk)
                for data in unpacker:
                    if not isinstance(data, bytes):
                        raise TraceError(f"{file} holds something else than records, before byte {unpacker.tell()}")
                    consumed = unpacker.tell()
                    yield decode_record(data)
    except OSError as error:
        raise TraceError(f"{file} cannot be read: {error.strerror}") from error
    except (InvalidMessage, ValueError, msgpack.UnpackException) as error:
        raise TraceError(f"{file}, after byte {consumed}: {error}") from error
    if consumed < size:
        torn.append(file)
