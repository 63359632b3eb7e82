"""What a leaf changes (S3 to S5, S7): one pure function from the state after the parent to the state after the leaf."""

import msgspec

from consensus.leaf import Leaf
from consensus.ledger.leadership import LedgerSchedule
from consensus.ledger.parameters import LeadershipParameters, LedgerParameters
from consensus.ledger.state import LeaderRecord, Ledger, Mode
from consensus.types import ValidatorId, View

_CLEAN = LeaderRecord()


def apply_leaf(ledger: Ledger, parent: Leaf, leaf: Leaf, parameters: LedgerParameters) -> Ledger:
    """The ledger after `leaf`, which follows `parent`. The same object when nothing changes.

    Closing leaves change nothing (T2).
    """
    if leaf.height > (leaf.epoch + 1) * parameters.epochs.epoch_blocks:
        return ledger
    leadership = parameters.leadership
    records = _compute_records(ledger, parent, leaf, leadership)
    mode = _compute_mode(ledger.state.mode, leaf, leaf.view - parent.view - 1, leadership)
    if records == ledger.records and mode == ledger.state.mode:
        return ledger
    state = ledger.state
    validators = tuple(
        msgspec.structs.replace(validator, leader=records.get(validator.id, validator.leader))
        for validator in state.validators
    )
    return Ledger(msgspec.structs.replace(state, validators=validators, mode=mode))


def find_missed(ledger: Ledger, parent: Leaf, leaf: Leaf, parameters: LeadershipParameters) -> set[ValidatorId]:
    """S7: the views between a leaf and its parent were missed by their leaders, each charged at most once.

    Where those leaders hold more than a third of the stake it was not they but the network, and nobody is charged.
    """
    schedule = LedgerSchedule(parameters)
    # After these everyone has had a turn, and more views name nobody new.
    tries = parameters.fallback_after + 2 * len(ledger.table)
    last = min(leaf.view, parent.view + 1 + tries)
    missed = {schedule.leader(View(view), parent, ledger) for view in range(parent.view + 1, last)}
    if 3 * sum(ledger.stakes[validator] for validator in missed) > ledger.total_stake:
        return set()
    return missed


def _compute_records(
    ledger: Ledger, parent: Leaf, leaf: Leaf, parameters: LeadershipParameters
) -> dict[ValidatorId, LeaderRecord]:
    if leaf.view == parent.view + 1 and not ledger.benched and ledger.records[leaf.proposer] == _CLEAN:
        return ledger.records
    schedule = LedgerSchedule(parameters)
    records = dict(ledger.records)
    for validator in ledger.benched:
        passed = schedule.count_turns(View(parent.view + 1), leaf.view, validator, ledger)
        record = records[validator]
        records[validator] = msgspec.structs.replace(record, bench_turns=max(0, record.bench_turns - passed))
    for validator in find_missed(ledger, parent, leaf, parameters):
        records[validator] = _compute_after_miss(records[validator], parameters)
    records[leaf.proposer] = _CLEAN
    return records


def _compute_after_miss(record: LeaderRecord, parameters: LeadershipParameters) -> LeaderRecord:
    """S3: after `bench_after` misses in a row it sits out 2^j turns; one led leaf clears it."""
    missed = record.missed + 1
    if record.is_benched or missed < parameters.bench_after:
        return msgspec.structs.replace(record, missed=missed)
    benchings = min(record.benchings + 1, parameters.bench_doublings_max)
    return LeaderRecord(missed=missed, benchings=benchings, bench_turns=2**benchings)


def _compute_mode(mode: Mode, leaf: Leaf, gap: int, parameters: LeadershipParameters) -> Mode:
    if not mode.is_fallback:
        return _activate(mode, leaf, parameters) if gap >= parameters.fallback_after else mode
    clean_leaves = mode.clean_leaves + 1 if gap == 0 else 0
    if clean_leaves < compute_handback_term(mode, parameters):
        return msgspec.structs.replace(mode, clean_leaves=clean_leaves)
    return Mode(is_fallback=False, since=leaf.height, clean_leaves=0, relapses=mode.relapses)


def _activate(mode: Mode, leaf: Leaf, parameters: LeadershipParameters) -> Mode:
    """S4, S5: a leaf with such a gap gives the fallback committee the lead; soon after a hand-back it is a relapse."""
    longest = parameters.handback_after << parameters.handback_doublings_max
    is_relapse = mode.since > 0 and leaf.height - mode.since <= longest
    relapses = min(mode.relapses + 1, parameters.handback_doublings_max) if is_relapse else 0
    return Mode(is_fallback=True, since=leaf.height, clean_leaves=0, relapses=relapses)


def compute_handback_term(mode: Mode, parameters: LeadershipParameters) -> int:
    """S5: leaves without a skipped view that end the fallback; each relapse doubles it, up to a cap."""
    return parameters.handback_after << mode.relapses
