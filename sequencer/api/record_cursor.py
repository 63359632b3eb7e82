"""Pages of what happened: from a height on, oldest first, with a cursor that every node understands.

A cursor is HEIGHT or HEIGHT.SKIPPED: what happened at one height has the same order everywhere, so a client may go on
at another node, or at this one after it has started again.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from sequencer.api.parameters import integer, text
from sequencer.ledger_log import CHANGES_KEPT_MAX, ChangeEntry
from sequencer.schema.records import CURSOR_PATTERN, RECORDS_DEFAULT

_CURSOR: Final = re.compile(CURSOR_PATTERN)


class Cursor(NamedTuple):
    """The first record to show: how many of this height to leave out."""

    height: int
    skipped: int

    def __str__(self) -> str:
        return f"{self.height}.{self.skipped}" if self.skipped else str(self.height)


def parse_cursor(written: str) -> Cursor:
    """Raises `ValueError` that says what it is not."""
    if not _CURSOR.fullmatch(written):
        raise ValueError("a height such as 17, or what an answer before gave as `next`")
    height, _, skipped = written.partition(".")
    return Cursor(int(height), int(skipped or 0))


FROM: Final = text(
    "from",
    "A height, or `next` of an answer before: oldest first from there on. Absent: the newest ones.",
    parse_cursor,
    pattern=CURSOR_PATTERN,
    default=None,
    example="1",
)
LIMIT: Final = integer("limit", "How many at most.", default=RECORDS_DEFAULT, least=1, most=CHANGES_KEPT_MAX, example=5)


def take_page(
    entries: Sequence[ChangeEntry], start: Cursor | None, limit: int
) -> tuple[Sequence[ChangeEntry], str | None]:
    """`entries` ascend by height -> those to show, and where to go on; None at the end, and for the newest ones."""
    if start is None:
        return entries[-limit:], None
    first = next((place for place, entry in enumerate(entries) if entry.height >= start.height), len(entries))
    at_height = sum(entry.height == start.height for entry in entries[first:])
    first += min(start.skipped, at_height)
    shown = entries[first : first + limit]
    if first + limit >= len(entries):
        return shown, None
    height = entries[first + limit].height
    skipped = sum(entry.height == height for entry in entries[: first + limit])
    return shown, str(Cursor(height, skipped))
