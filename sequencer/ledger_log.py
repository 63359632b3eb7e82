"""What the ledger did, told to people: for the log, for GET /v1/changes and for the metrics.

Every change has a line here that says why it happened. One of a kind that has none is told by its fields, so that a
new kind of change is never a reason to fail.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, get_args, get_type_hints

from consensus.ledger import LedgerChange
from consensus.ledger.changes import EpochBegan, FallbackActivated, Released
from consensus.types import Height, ValidatorId
from sequencer.directory import Directory

CHANGES_KEPT_MAX: Final = 1024
"""Of the newest changes that a node remembers for its API: an epoch in which everybody is benched now and then."""

_WORD: Final = re.compile(r"(?<!^)(?=[A-Z])")

Level = Literal["info", "warning"]


@dataclass(frozen=True, slots=True)
class ChangeEntry:
    """One change of the ledger, in words. `fields` hold names, numbers, texts and lists of them: they fit JSON."""

    height: Height
    """Of the leaf that brought it; for a roll-over, of the epoch's last leaf."""
    kind: str
    """A stable word such as `benched`: the event of the log line and the label of the metric."""
    level: Level
    fields: Mapping[str, object]
    reason: str


class _Form(NamedTuple):
    level: Level
    reason: str


_FORMS: Final[Mapping[str, _Form]] = {
    "benched": _Form("warning", "missed {missed} own slots in a row: sits out its next {turns} turns, nothing else"),
    "bench_cleared": _Form("info", "has led a leaf: its record is clean again"),
    "fallback_activated": _Form(
        "warning", "{skipped_views} views were skipped in a row: the fallback committee has the lead"
    ),
    "fallback_ended": _Form("info", "enough leaves without a skipped view: the primary committee has the lead again"),
    "jailed": _Form(
        "warning",
        "missed {missed} of {slots} own slots {cause}: does not lead, and may ask to come back in epoch {until_epoch}",
    ),
    "released": _Form("info", "stays free although it missed as much as others (J2): too little stake would lead"),
    "unjailed": _Form("info", "has served its term and asked to come back: on probation for {probation} leaves"),
    "slashed": _Form(
        "warning",
        "lost {amount} of its stake for {rule}: {to_reporter} to the reporter, {to_pool} to the pool, {burned} burned",
    ),
    "tombstoned": _Form("warning", "a proof of {rule} in epoch {offence_epoch} stands in a leaf: it never returns"),
    "compensated": _Form("info", "{validator} broke a promise: the pool paid {amount} to whom it was made"),
    "bonded": _Form("info", "its owner bonded {amount}: they count in the next stake table that is drawn up"),
    "validator_pending": _Form("info", "a newcomer was bonded: it votes from epoch {first_epoch} on"),
    "unbonded": _Form(
        "info", "its owner takes {amount} out: paid when epoch {payable} begins, and slashable until then"
    ),
    "key_rotated": _Form("info", "signs with another key from epoch {first_epoch} on"),
    "paid": _Form("info", "{amount} have served the unbonding time: they are the owner's again"),
    "epoch_began": _Form("info", "the epoch before is final: {validators} validators weigh {total_stake} together"),
    "validator_active": _Form("info", "stands in the stake table that counts from now on, with {stake}"),
    "validator_exited": _Form("info", "stands in the stake table no more"),
    "committees_drawn": _Form("info", "drawn by stake, with a seed that nobody could choose"),
}
_NAMES: Final = {"reason": "cause"}
"""Of fields that would be taken for what every line says."""
_EVENTS: Final = {"cleared": "bench_cleared"}
_BEACON_MISSED: Final = _Form(
    "warning", "the epoch before is final; its beacon came too late, so the hash of its seed takes the beacon's place"
)
_VIEW_SKIPPED: Final = _Form("warning", "a view was skipped: the fallback committee has the lead")
_LET_OUT: Final = _Form("info", "was let out of jail before its term (J2): too little stake was left to lead")


def describe_kind(change: LedgerChange) -> str:
    """A stable word for the kind of change, such as `fallback_activated`."""
    kind = _WORD.sub("_", type(change).__name__).lower()
    return _EVENTS.get(kind, kind)


def describe_change(change: LedgerChange, height: Height, directory: Directory) -> ChangeEntry:
    """Names for numbers, and the reason in words. Total: there is no change that cannot be described.

    The directory must have seen the ledger after the change, or a newcomer is called by its number.
    """
    kind = describe_kind(change)
    shown = {
        _NAMES.get(name, name): _show(getattr(change, name), hint, directory)
        for name, hint in get_type_hints(type(change)).items()
    }
    match change:
        case EpochBegan(was_beacon_missing=True):
            form = _BEACON_MISSED
        case FallbackActivated(skipped_views=1):
            form = _VIEW_SKIPPED
        case Released(was_jailed=True):
            form = _LET_OUT
        case _:
            form = _FORMS.get(kind, _Form("info", ""))
    return ChangeEntry(height, kind, form.level, shown, _fill(form.reason, shown) or _list(kind, shown))


def _fill(reason: str, shown: Mapping[str, object]) -> str:
    try:
        return reason.format_map(shown)
    except KeyError:
        return ""


def _list(kind: str, shown: Mapping[str, object]) -> str:
    words = kind.replace("_", " ")
    return f"{words}: {', '.join(f'{name} {value}' for name, value in shown.items())}" if shown else words


def _show(value: Any, hint: Any, directory: Directory) -> object:
    """Numbers of validators can be told from other numbers by their type alone."""
    match value:
        case tuple():
            return [_show(item, get_args(hint)[0], directory) for item in value]
        case bool() | str() | None:
            return value
        case int():
            return directory.name_of(ValidatorId(value)) if hint is ValidatorId else value
        case bytes():
            return "0x" + value.hex()
        case _:
            return str(value)
