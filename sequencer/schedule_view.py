"""Who leads the next views, and why (section 6): what the rules say, told to people.

The rules themselves are asked for each leader (`LedgerSchedule`) and for what each leaf would change (`apply_leaf`).
Here is only the explanation.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from consensus.epochs import compute_last_height
from consensus.leaf import Leaf
from consensus.ledger import Ledger, LedgerParameters, LedgerSchedule, Status, apply_leaf
from consensus.types import Height, ValidatorId, View
from sequencer.directory import Directory


@dataclass(frozen=True, slots=True)
class Outlook:
    """From where one node looks ahead: the next view in which it expects a proposal, and what that would extend."""

    view: View
    parent: Leaf
    ledger: Ledger
    """After `parent`."""


@dataclass(frozen=True, slots=True)
class ScheduledView:
    """One view to come. `why` is for people."""

    view: View
    leader: ValidatorId
    why: str


def forecast(
    outlook: Outlook, parameters: LedgerParameters, directory: Directory, *, views_max: int
) -> Iterator[ScheduledView]:
    """The next views, provided that each of them succeeds: a view that is skipped may change all that follow.

    It ends with the last height of the epoch: then other committees are drawn, with a seed that nobody knows yet (T3).
    """
    schedule = LedgerSchedule(parameters.leadership)
    parent, ledger = outlook.parent, outlook.ledger
    last_height = compute_last_height(ledger.epoch, parameters)
    for view in range(outlook.view, outlook.view + views_max):
        if parent.height >= last_height:
            return
        leader = schedule.leader(View(view), parent, ledger)
        _, why = explain_leader(View(view), leader, parent, ledger, parameters, directory)
        yield ScheduledView(View(view), leader, why)
        leaf = msgspec.structs.replace(
            parent,
            epoch=ledger.epoch,
            view=View(view),
            height=Height(parent.height + 1),
            proposer=leader,
            operations=(),
            evidence=(),
            beacon=None,
        )
        ledger = apply_leaf(ledger, parent, leaf, parameters)
        parent = leaf


def explain_leader(
    view: View, leader: ValidatorId, parent: Leaf, ledger: Ledger, parameters: LedgerParameters, directory: Directory
) -> tuple[bool, str]:
    """Whether it leads for the fallback committee, and why it does: `ledger` stands so after `parent` (S2 to S4)."""
    gap = view - parent.view - 1
    state, patience = ledger.state, parameters.leadership.fallback_after
    is_fallback = state.mode.is_fallback
    if gap < (max(patience, len(state.fallback)) if is_fallback else patience):
        name = f"fallback rotation since height {state.mode.since}" if is_fallback else "primary rotation"
        passed = [_tell_absence(validator, ledger, directory) for validator in _find_passed(view, leader, ledger)]
        why = f"{'; '.join(passed)}: the turn goes to {directory.name_of(leader)}" if passed else name
        return is_fallback, why
    skipped = f"{gap} views skipped in a row"
    if not is_fallback and gap - patience < len(state.fallback):
        return True, f"fallback: {skipped}, so the fallback committee takes over"
    return True, f"last resort: {skipped}, so all validators take turns"


def _find_passed(view: View, leader: ValidatorId, ledger: Ledger) -> Iterator[ValidatorId]:
    """Whose turn it was before it came to the leader; nobody when all of them are absent."""
    cycle = ledger.cycle
    seen: set[ValidatorId] = set()
    for step in range(len(cycle)):
        validator = cycle[(view + step) % len(cycle)]
        if validator == leader or validator not in ledger.sidelined:
            return
        if validator not in seen:
            seen.add(validator)
            yield validator


def _tell_absence(validator: ValidatorId, ledger: Ledger, directory: Directory) -> str:
    """S3, J1, J3."""
    name, state = directory.name_of(validator), ledger.validators[validator]
    if state.status is Status.TOMBSTONED:
        return f"{name} is tombstoned"
    if state.status is Status.JAILED:
        return f"{name} is jailed until epoch {state.jailed_until}"
    turns = state.leader.bench_turns
    return f"{name} is benched for {turns} turn{'s' * (turns != 1)}"
