"""A node's database as evidence: read-only, whoever it belongs to, the original of a running node or a copy.

Nothing in it is believed, so nothing but its form is checked; who examines it verifies what counts.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec

from consensus.certificates import FinalityCertificate
from consensus.forensics import Exhibit
from consensus.leaf import EpochProof, Leaf
from consensus.ledger import Ledger, LedgerState
from consensus.safety import SafetyRecord
from consensus.stake_table import StakeTable
from consensus.types import Commitment, Epoch, Height, NetworkId, ValidatorId
from sequencer.storage.errors import StorageError, explaining
from sequencer.storage.schema import HEIGHT_SHIFT, closing_on_failure, open_reader, read_origin

T = TypeVar("T")
ACTION: Final = "Leave it out, or give another copy of it"
"""For a file that cannot be read; what a node would have to do about it is of no interest here."""

_decode_leaf = msgspec.msgpack.Decoder(Leaf).decode
_decode_fc = msgspec.msgpack.Decoder(FinalityCertificate).decode
_decode_ledger = msgspec.msgpack.Decoder(LedgerState).decode
_decode_proof = msgspec.msgpack.Decoder(EpochProof).decode
_decode_record = msgspec.msgpack.Decoder(SafetyRecord).decode


class Archive:
    """Raises `StorageError` for a file that is no database of this program, or is damaged. Close it, or use it as a
    context manager.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._connection = open_reader(path)
        except StorageError as error:
            raise StorageError(path, error.problem, ACTION) from error
        with closing_on_failure(self._connection), explaining(path, ACTION):
            self._origin = read_origin(self._connection)
            first, last = self._connection.execute("SELECT min(height), max(height) FROM decided").fetchone()
        self.network_id = NetworkId(self._origin.get("network_id", b""))
        self.validator_id = ValidatorId(int.from_bytes(self._origin.get("validator_id", b""), "big"))
        self.first_height = Height(first or 0)
        """Of the first decided block that is here; 0 without one, as in a database that is new."""
        self.height = Height(last or 0)
        """Of the last one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def find_decided(self, height: Height) -> Commitment | None:
        """Which leaf was decided at this height."""
        with explaining(self.path, ACTION):
            rows = self._connection.execute(
                "SELECT commitment FROM decided JOIN blocks ON blocks.id = decided.block WHERE height = ?", (height,)
            ).fetchall()
        return Commitment(rows[0][0]) if rows else None

    def iterate_exhibits(self, from_height: Height) -> Iterator[Exhibit]:
        """The safety record, every leaf from this height on, decided or not, with all FCs, and the epoch proofs.

        Payloads are not read.
        """
        early_fc = self._origin.get("early_fc", b"")
        with explaining(self.path, ACTION):
            yield from self._select(_decode_record, "SELECT record FROM safety")
            if early_fc:
                yield _decode_fc(early_fc)
            first = from_height << HEIGHT_SHIFT
            yield from self._select(_decode_leaf, "SELECT leaf FROM blocks WHERE id >= ?", first)
            certified = "SELECT fc FROM decided WHERE height >= ? AND fc IS NOT NULL"
            yield from self._select(_decode_fc, certified, from_height)
            epoch = self._find_epoch(from_height)
            yield from self._select(_decode_proof, "SELECT proof FROM epochs WHERE epoch >= ?", epoch)

    def iterate_tables(self, from_height: Height) -> Iterator[tuple[Epoch, StakeTable]]:
        """Who could vote from this height on, as the ledgers know it that are stored here. Of the first two epochs the
        network file tells as well.
        """
        with explaining(self.path, ACTION):
            epoch = self._find_epoch(from_height)
            for state in self._select(_decode_ledger, "SELECT ledger FROM epochs WHERE epoch >= ?", epoch):
                yield from _get_tables(Ledger(state))
        if self.ledger is not None:
            yield from _get_tables(self.ledger)

    @property
    def ledger(self) -> Ledger | None:
        """After the last decided block; None as long as no leaf has changed it."""
        with explaining(self.path, ACTION):
            encoded = self._origin.get("ledger", b"")
            return Ledger(_decode_ledger(encoded)) if encoded else None

    def _find_epoch(self, height: Height) -> Epoch:
        query = "SELECT leaf FROM blocks WHERE id >= ? ORDER BY id LIMIT 1"
        rows = self._connection.execute(query, (height << HEIGHT_SHIFT,)).fetchall()
        return _decode_leaf(rows[0][0]).epoch if rows else Epoch(0)

    def _select(self, decode: Callable[[bytes], T], query: str, *parameters: int) -> Iterator[T]:
        with closing(self._connection.execute(query, parameters)) as rows:
            for (encoded,) in rows:
                yield decode(encoded)


def _get_tables(ledger: Ledger) -> Iterator[tuple[Epoch, StakeTable]]:
    for entry in ledger.state.tables:
        table = ledger.find_table(entry.epoch)
        if table is not None:
            yield entry.epoch, table
