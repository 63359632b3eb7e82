"""Leaders that do not lead: the bench (S3), jail (J1) and the outage guard (J2).

The bench is fast and free, jail is slow and costs. Absence cannot be proven, only counted, so both are judged by what
stands in the chain: who led a leaf, and who was the leader of a view that was skipped.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from consensus.leaf import Leaf
from consensus.ledger.changes import Jailed, Released
from consensus.ledger.draft import Draft
from consensus.ledger.leadership import LedgerSchedule
from consensus.ledger.parameters import PPM, LeadershipParameters, LedgerParameters, SlashingParameters
from consensus.ledger.slashing import distribute, take_stake
from consensus.ledger.staking import compute_seated_status
from consensus.ledger.state import LeaderRecord, Ledger, Status, ValidatorState
from consensus.types import Epoch, ValidatorId, View

LIVENESS_RULE: Final = "J1"
GROWTH_MAX: Final = 32
"""Repeats that still raise the fraction: any growth above 1 has reached the cap by then."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Why a validator is to be jailed: it missed so many of its last `slots` own slots."""

    reason: str
    missed: int
    slots: int


def find_missed(ledger: Ledger, parent: Leaf, leaf: Leaf, parameters: LeadershipParameters) -> set[ValidatorId]:
    """S7: the views between a leaf and its parent were missed by their leaders, each charged at most once.

    Where those leaders hold more than a third of the stake it was not they but the network, and nobody is charged (J2).
    """
    schedule = LedgerSchedule(parameters)
    # After these everyone has had a turn, and more views name nobody new.
    tries = parameters.fallback_after + 2 * len(ledger.table)
    last = min(leaf.view, parent.view + 1 + tries)
    missed = {schedule.leader(View(view), parent, ledger) for view in range(parent.view + 1, last)}
    return set() if is_outage(ledger, missed) else missed


def is_outage(ledger: Ledger, missing: Iterable[ValidatorId]) -> bool:
    """J2: so many do not fail at once by themselves."""
    return 3 * sum(ledger.stakes[validator] for validator in missing) > ledger.total_stake


def judge_leaders(draft: Draft, parent: Leaf, leaf: Leaf, parameters: LedgerParameters) -> dict[ValidatorId, Charge]:
    """S3, J1, J2: every leader record after `leaf`. Returns who has missed too much by now; nobody is jailed yet."""
    ledger, slashing = draft.before, parameters.slashing
    schedule = LedgerSchedule(parameters.leadership)
    for validator in ledger.benched:
        passed = schedule.count_turns(View(parent.view + 1), leaf.view, validator, ledger)
        record = draft.validators[validator].leader
        left = max(0, record.bench_turns - passed)
        draft.change_validator(validator, leader=msgspec.structs.replace(record, bench_turns=left))
    # Who is barred has no turn; in the last resort it gets one, which is no duty.
    missed = find_missed(ledger, parent, leaf, parameters.leadership)
    missed = {validator for validator in missed if not draft.validators[validator].is_barred}
    is_counted = not is_outage(ledger, missed | _find_recently_missed(ledger, leaf.view, slashing))
    for validator in sorted(missed):
        record = _bench(draft.validators[validator].leader, parameters)
        if is_counted:
            record = count_slot(record, missed=True, parameters=slashing)
        record = msgspec.structs.replace(record, missed_view=leaf.view)
        draft.change_validator(validator, leader=record)
    if leaf.proposer in ledger.stakes:
        record = draft.validators[leaf.proposer].leader
        draft.change_validator(leaf.proposer, leader=_credit_leaf(record, slashing))
    if not is_counted:
        return {}
    charges = {validator: find_charge(draft.validators[validator].leader.window, slashing) for validator in missed}
    return {validator: charge for validator, charge in charges.items() if charge is not None}


def count_slot(record: LeaderRecord, missed: bool, parameters: SlashingParameters) -> LeaderRecord:
    """J1: the record after one more own slot. A newcomer's first ones are not held against it."""
    if record.grace:
        return msgspec.structs.replace(record, grace=record.grace - 1)
    if not missed and not record.window:
        return record
    return msgspec.structs.replace(record, window=shift_window(record.window, missed, parameters))


def shift_window(window: int, missed: bool, parameters: SlashingParameters) -> int:
    """The bitmap after one more own slot: the oldest one is forgotten."""
    return (window << 1 | missed) & ((1 << parameters.leader_window) - 1)


def is_jailable(record: LeaderRecord, parameters: SlashingParameters) -> bool:
    """J1: more than two thirds of the window missed, or too many own slots in a row."""
    return find_charge(record.window, parameters) is not None


def find_charge(window: int, parameters: SlashingParameters) -> Charge | None:
    """J1, from the bitmap of a window alone."""
    run = (~window & (window + 1)).bit_length() - 1
    if run >= parameters.jail_after:
        return Charge("in a row", run, run)
    missed = window.bit_count()
    if 3 * missed > 2 * parameters.leader_window:
        return Charge("of the window", missed, parameters.leader_window)
    return None


def settle_jail(
    draft: Draft,
    weights: Mapping[ValidatorId, int],
    charges: Mapping[ValidatorId, Charge],
    parameters: SlashingParameters,
) -> None:
    """J2: jail whoever is charged, the worst first, and keep at least two thirds of the stake eligible to lead.

    `weights` is the stake table that must go on; tombstoned members are lost to it. Those in jail and those charged are
    ranked together: more offences first, then the longer term, then the lower id. Whoever would bring the eligible
    stake below two thirds is released: from jail early, or before going there, unslashed.
    """
    total = sum(weights.values())
    members = [draft.validators[number] for number in sorted(weights)]
    eligible = total - sum(weights[member.id] for member in members if member.status is Status.TOMBSTONED)
    convicts = [_convict(member, draft, parameters) for member in members if member.id in charges]
    jailed = [member for member in members if member.status is Status.JAILED]
    for member in sorted([*jailed, *convicts], key=lambda one: (-one.offences, -one.jailed_until, one.id)):
        if 3 * (eligible - weights[member.id]) < 2 * total:
            _release(draft, member.id, weights, parameters)
            continue
        eligible -= weights[member.id]
        if member.id in charges:
            _jail(draft, member, charges[member.id], parameters)


def compute_liveness_slash(validator: ValidatorState, parameters: SlashingParameters) -> int:
    """J1: what its next liveness offence costs. Four times more per repeat, capped per event and per epoch."""
    growth: int = parameters.liveness_growth ** min(validator.offences, GROWTH_MAX)
    fraction = min(parameters.liveness_fraction_ppm * growth, parameters.liveness_event_max_ppm)
    at_start = validator.holdings + validator.slashed_in_epoch
    allowance = at_start * parameters.liveness_epoch_max_ppm // PPM - validator.slashed_in_epoch
    return max(0, min(validator.holdings * fraction // PPM, allowance))


def compute_jail_term(offences: int, parameters: SlashingParameters) -> int:
    """J1: whole epochs in jail after so many earlier offences."""
    return parameters.jail_epochs << min(offences, parameters.jail_doublings_max)


def _find_recently_missed(ledger: Ledger, view: View, parameters: SlashingParameters) -> set[ValidatorId]:
    since = view - parameters.outage_window
    return {
        validator for validator, record in ledger.records.items() if record.missed_view and record.missed_view > since
    }


def _bench(record: LeaderRecord, parameters: LedgerParameters) -> LeaderRecord:
    """S3: after `bench_after` misses, on probation after one, it sits out 2^j turns."""
    missed = record.missed + 1
    leadership = parameters.leadership
    patience = 1 if record.probation else leadership.bench_after
    if record.is_benched or missed < patience:
        return msgspec.structs.replace(record, missed=missed)
    benchings = min(record.benchings + 1, leadership.bench_doublings_max)
    return msgspec.structs.replace(record, missed=missed, benchings=benchings, bench_turns=2**benchings)


def _credit_leaf(record: LeaderRecord, parameters: SlashingParameters) -> LeaderRecord:
    """S3, J1: one led leaf clears the bench and counts for the window and the probation."""
    if record.is_clean:
        return record
    record = count_slot(record, missed=False, parameters=parameters)
    probation = max(0, record.probation - 1)
    return msgspec.structs.replace(record, missed=0, benchings=0, bench_turns=0, probation=probation)


def _convict(member: ValidatorState, draft: Draft, parameters: SlashingParameters) -> ValidatorState:
    """The validator as it would stand in jail, before it is slashed."""
    until = Epoch(draft.before.epoch + 1 + compute_jail_term(member.offences, parameters))
    return msgspec.structs.replace(member, offences=member.offences + 1, jailed_until=until)


def _jail(draft: Draft, convict: ValidatorState, charge: Charge, parameters: SlashingParameters) -> None:
    validator, until = convict.id, convict.jailed_until
    before = draft.validators[validator]
    amount = take_stake(draft, validator, compute_liveness_slash(before, parameters))
    draft.change_validator(
        validator,
        status=Status.JAILED,
        leader=LeaderRecord(),
        offences=convict.offences,
        jailed_until=until,
        slashed_in_epoch=before.slashed_in_epoch + amount,
    )
    jailed = Jailed(validator, charge.reason, amount, until, charge.missed, charge.slots, convict.offences)
    draft.events.append(jailed)
    if amount:
        distribute(draft, validator, LIVENESS_RULE, amount, parameters)


def _release(
    draft: Draft, validator: ValidatorId, members: Container[ValidatorId], parameters: SlashingParameters
) -> None:
    before = draft.validators[validator]
    was_jailed = before.status is Status.JAILED
    status = compute_seated_status(before, members) if was_jailed else before.status
    record = LeaderRecord(probation=parameters.probation_leaves)
    draft.change_validator(validator, status=status, leader=record, jailed_until=Epoch(0))
    draft.events.append(Released(validator, was_jailed))
