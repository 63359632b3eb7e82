"""What people are told: the transitions between two states, for logs, metrics and the API."""

from dataclasses import dataclass
from typing import TypeAlias

from consensus.ledger.state import Ledger
from consensus.types import ValidatorId


@dataclass(frozen=True, slots=True)
class Benched:
    """S3: it missed its last own slots and sits out this many turns."""

    validator: ValidatorId
    missed: int
    turns: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """S3: it has led a leaf, and its record is clean again."""

    validator: ValidatorId


@dataclass(frozen=True, slots=True)
class FallbackActivated:
    """S4: so many views were skipped in a row that the fallback committee has the lead."""

    skipped_views: int


@dataclass(frozen=True, slots=True)
class FallbackEnded:
    """S5: the primary committee has the lead again."""


LedgerChange: TypeAlias = Benched | Cleared | FallbackActivated | FallbackEnded


def describe_changes(before: Ledger, after: Ledger, skipped_views: int) -> list[LedgerChange]:
    """What one leaf that skipped so many views has changed; nothing for a healthy one."""
    if before is after:
        return []
    changes: list[LedgerChange] = []
    for validator, record in after.records.items():
        old = before.records[validator]
        if record.benchings > old.benchings or (record.is_benched and record.bench_turns > old.bench_turns):
            changes.append(Benched(validator, record.missed, record.bench_turns))
        elif old.benchings and not record.benchings:
            changes.append(Cleared(validator))
    was_fallback, is_fallback = before.state.mode.is_fallback, after.state.mode.is_fallback
    if is_fallback and not was_fallback:
        changes.append(FallbackActivated(skipped_views))
    elif was_fallback and not is_fallback:
        changes.append(FallbackEnded())
    return changes
