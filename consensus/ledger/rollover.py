"""From one epoch to the next (T3): a pure function of the state after the epoch's last leaf."""

import msgspec

from consensus.ledger.changes import CommitteesDrawn, EpochBegan, Paid, ValidatorActive, ValidatorExited
from consensus.ledger.committees import draw_committees
from consensus.ledger.draft import Draft
from consensus.ledger.liveness import settle_jail
from consensus.ledger.parameters import EpochParameters, LedgerParameters
from consensus.ledger.staking import compute_seated_status, is_eligible
from consensus.ledger.state import EpochTable, Ledger, Mode, Status, TableEntry
from consensus.stake_table import StakeTable
from consensus.types import Commitment, Epoch, Height


def begin_epoch(ledger: Ledger, parameters: LedgerParameters) -> Ledger:
    """The state to which the first leaf of the next epoch commits; `ledger` is the one after this epoch's last leaf.

    The table of the epoch after the next is drawn up, unbonded stake that has come due is paid, and committees are
    drawn anew with the beacon of the epoch that ends.
    """
    state = ledger.state
    epoch = Epoch(state.epoch + 1)
    draft = Draft(ledger)
    seed, was_missing = _compute_seed(ledger)
    running = ledger.get_table(epoch)
    draft.events.append(EpochBegan(epoch, seed, was_missing, len(running), running.total))
    _pay(draft, epoch)
    first_kept = epoch - parameters.epochs.unbonding_epochs
    kept = [table for table in state.tables if table.epoch >= first_kept]
    tables = (*kept, _draw_up_table(draft, Epoch(epoch + 1), running, parameters.epochs))
    _seat(draft, running)
    _forget_gone(draft, tables)
    weights = {member.id: member.stake for member in running}
    settle_jail(draft, weights, {}, parameters.slashing)
    free = [member for member in running if not draft.validators[member.id].is_barred]
    drawn_from = StakeTable(tuple(free)) if free else running
    primary, fallback = draw_committees(drawn_from, parameters.leadership, seed=seed)
    draft.events.append(CommitteesDrawn(primary, fallback))
    return draft.finish(
        epoch=epoch,
        tables=tables,
        primary=primary,
        fallback=fallback,
        mode=_compute_mode(state.mode, Height(epoch * parameters.epochs.epoch_blocks)),
        seed=seed,
        beacon=None,
    )


def _compute_seed(ledger: Ledger) -> tuple[Commitment, bool]:
    """T4: the beacon of the epoch that ends, or what takes its place, and whether it had to."""
    # The beacon's module needs leaves and this package's parameters; it may be imported before this package is.
    from consensus.beacon import skip_beacon

    state = ledger.state
    return (skip_beacon(state.seed), True) if state.beacon is None else (state.beacon, False)


def _pay(draft: Draft, epoch: Epoch) -> None:
    """J5: unbonded stake that has come due goes to the owners' accounts."""
    for validator in list(draft.validators.values()):
        due = sum(entry.amount for entry in validator.unbonding if entry.payable <= epoch)
        if due:
            waiting = tuple(entry for entry in validator.unbonding if entry.payable > epoch)
            draft.change_validator(validator.id, unbonding=waiting)
            draft.credit(validator.owner, due)
            draft.events.append(Paid(validator.id, validator.owner, due))


def _draw_up_table(draft: Draft, epoch: Epoch, running: StakeTable, parameters: EpochParameters) -> EpochTable:
    """Of everyone who has stake enough and is not gone for good. With nobody left the members stay."""
    entries = tuple(
        TableEntry(validator.id, validator.public_key, validator.stake)
        for validator in draft.validators.values()
        if is_eligible(validator, parameters.min_stake)
    )
    stay = tuple(TableEntry(member.id, member.public_key, member.stake) for member in running)
    return EpochTable(epoch, entries or stay)


def _seat(draft: Draft, running: StakeTable) -> None:
    """Who is in the stake table from now on, who is no longer; and what an epoch has counted begins anew."""
    before = draft.before.stakes
    for validator in list(draft.validators.values()):
        status = validator.status if validator.is_barred else compute_seated_status(validator, running)
        if (status, 0) != (validator.status, validator.slashed_in_epoch):
            draft.change_validator(validator.id, status=status, slashed_in_epoch=0)
        if validator.id in running and validator.id not in before:
            draft.events.append(ValidatorActive(validator.id, running.get_stake(validator.id)))
        elif validator.id in before and validator.id not in running:
            draft.events.append(ValidatorExited(validator.id))


def _forget_gone(draft: Draft, tables: tuple[EpochTable, ...]) -> None:
    """Whoever has nothing here and can be accused of nothing. The tombstoned stay, and with them their keys (J3)."""
    named = {entry.id for table in tables for entry in table.entries}
    for validator in list(draft.validators.values()):
        is_needed = validator.holdings or validator.id in named or validator.status is Status.TOMBSTONED
        if not is_needed:
            del draft.validators[validator.id]


def _compute_mode(mode: Mode, last_height: Height) -> Mode:
    """Both committees are new, so the primary one leads; what the hold-down has learned is kept (S5)."""
    if not mode.is_fallback:
        return mode
    return msgspec.structs.replace(mode, is_fallback=False, since=last_height, clean_leaves=0)
