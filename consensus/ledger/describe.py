"""What one leaf or one roll-over has changed, for people."""

from consensus.ledger.changes import Benched, Cleared, FallbackActivated, FallbackEnded, LedgerChange
from consensus.ledger.state import Ledger


def describe_changes(before: Ledger, after: Ledger, skipped_views: int) -> list[LedgerChange]:
    """What led from `before` to `after` in one step: a leaf that skipped so many views, or a roll-over (0).

    What happened to stake and seats first, as it was noted on the way; then the bench and the mode. Nothing for a
    healthy leaf.
    """
    if before is after:
        return []
    changes: list[LedgerChange] = list(after.events)
    for validator, record in after.records.items():
        old = before.records.get(validator, record)
        if record.benchings > old.benchings or (record.is_benched and record.bench_turns > old.bench_turns):
            changes.append(Benched(validator, record.missed, record.bench_turns))
        elif old.benchings and not record.benchings and validator not in after.barred:
            changes.append(Cleared(validator))
    was_fallback, is_fallback = before.state.mode.is_fallback, after.state.mode.is_fallback
    if is_fallback and not was_fallback:
        changes.append(FallbackActivated(skipped_views))
    elif was_fallback and not is_fallback:
        changes.append(FallbackEnded())
    return changes
