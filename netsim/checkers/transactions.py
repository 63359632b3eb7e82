"""A transaction is decided at most once; and once everything is healed, none that was accepted is missing."""

from collections.abc import Container, Sequence

import msgspec

from consensus.effects import Decide
from consensus.leaf import Block
from consensus.safety import SafetyRecord
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.violation import Violation
from netsim.observer import Observer
from netsim.process import Process

_INDEX_BYTES = 8
"""Each transaction of a simulation begins with its number, counted from 0 in the order in which they came in."""


class TransactionsOnce(Observer):
    """Looks at each height once, at the first node that decides it; agreement holds for the others."""

    def __init__(self, byzantine: Container[ValidatorId] = ()) -> None:
        self._byzantine = byzantine
        self._height_of: dict[bytes, int] = {}
        self._height = 0

    @property
    def count(self) -> int:
        """Transactions decided so far."""
        return len(self._height_of)

    def on_start(self, now: Microseconds, node: ValidatorId, record: SafetyRecord, decided: Sequence[Block]) -> None:
        if node not in self._byzantine:
            self._look(decided)

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        if node not in self._byzantine:
            self._look(decide.blocks)

    def on_end(self, now: Microseconds, processes: Sequence[Process], submitted: int) -> None:
        """The first `submitted` ones have had time enough to be decided."""
        decided = {int.from_bytes(transaction[:_INDEX_BYTES], "big") for transaction in self._height_of}
        lost = [number for number in range(submitted) if number not in decided]
        if lost:
            raise Violation("lost", f"{len(lost)} of {submitted} transactions were never decided, first {lost[0]}")

    def _look(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            height = int(block.leaf.height)
            if height <= self._height:
                continue
            self._height = height
            if not block.payload:
                continue
            for transaction in msgspec.msgpack.decode(block.payload, type=list[bytes]):
                if transaction in self._height_of:
                    raise Violation(
                        "once", f"a transaction at height {height} stands at height {self._height_of[transaction]} too"
                    )
                self._height_of[transaction] = height
