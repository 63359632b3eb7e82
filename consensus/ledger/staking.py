"""What a stake operation needs and does (J5). Signatures are `admission`'s to check.

Stake that is bonded in epoch e votes from e+2 on, because the tables of e and e+1 are drawn up; for the same reason
stake that is unbonded in e votes until e+1. It is paid `unbonding_epochs` after that, when evidence of e+1 no longer
counts.
"""

from collections.abc import Container
from typing import Final, assert_never

import msgspec

from consensus.ledger.changes import Bonded, KeyRotated, Unbonded, Unjailed, ValidatorPending
from consensus.ledger.draft import Draft
from consensus.ledger.parameters import LedgerParameters
from consensus.ledger.state import VALIDATOR_ID_MAX, LeaderRecord, Profile, Status, Unbonding, ValidatorState
from consensus.operations import Bond, Operation, RotateKey, Unbond, Unjail
from consensus.stake_table import MAX_TOTAL_STAKE
from consensus.types import Epoch, ValidatorId

VALIDATORS_MAX: Final = 1024
"""Validators that are not tombstoned. A snapshot of the ledger must fit into one message; `min_stake` prices a seat."""
TABLE_LEAD: Final = 2
"""A change of stake counts from so many epochs later on: the tables in between are drawn up already (T3)."""


def find_operation_objection(draft: Draft, operation: Operation, parameters: LedgerParameters) -> str | None:
    """None when it can take effect now, else the reason, with the numbers."""
    account = draft.accounts.get(operation.account)
    if account is None:
        return "there is no such account"
    if operation.nonce != account.nonce:
        return f"nonce {operation.nonce}, the account's next one is {account.nonce}"
    match operation:
        case Bond():
            return _object_to_bond(draft, operation, account.balance, parameters)
        case Unbond():
            return _object_to_unbond(draft, operation, parameters)
        case Unjail():
            return _object_to_unjail(draft, operation, parameters)
        case RotateKey():
            return _object_to_rotation(draft, operation)
    assert_never(operation)


def apply_operation(draft: Draft, operation: Operation, parameters: LedgerParameters) -> bool:
    """J5: its exact effects; none at all, the nonce included, when anything speaks against it."""
    if find_operation_objection(draft, operation, parameters) is not None:
        return False
    account = draft.accounts[operation.account]
    draft.accounts[operation.account] = msgspec.structs.replace(account, nonce=account.nonce + 1)
    match operation:
        case Bond():
            _bond(draft, operation, parameters)
        case Unbond():
            _unbond(draft, operation, parameters)
        case Unjail(validator=validator):
            status = compute_seated_status(draft.validators[validator], draft.before.stakes)
            probation = parameters.slashing.probation_leaves
            record = LeaderRecord(probation=probation)
            draft.change_validator(validator, status=status, leader=record, jailed_until=Epoch(0))
            draft.events.append(Unjailed(validator, probation))
        case RotateKey(validator=validator, public_key=public_key):
            draft.change_validator(validator, public_key=public_key)
            draft.events.append(KeyRotated(validator, public_key, _compute_first_epoch(draft)))
        case _:
            assert_never(operation)
    return True


def find_bonded(draft: Draft, public_key: bytes) -> ValidatorState | None:
    """The validator that a bond to this key tops up; None for a key of a newcomer."""
    for validator in draft.validators.values():
        if validator.public_key == public_key:
            return validator
    return None


def compute_seated_status(validator: ValidatorState, members: Container[ValidatorId]) -> Status:
    """Of one that nothing bars, next to the members of the running epoch."""
    if validator.stake == 0:
        return Status.EXITING
    return Status.ACTIVE if validator.id in members else Status.PENDING


def is_eligible(validator: ValidatorState, min_stake: int) -> bool:
    """T3: whether the next stake table that is drawn up has it. Jailed validators keep their vote."""
    seated = (Status.PENDING, Status.ACTIVE, Status.JAILED)
    return validator.status in seated and validator.stake >= min_stake


def _object_to_bond(draft: Draft, bond: Bond, balance: int, parameters: LedgerParameters) -> str | None:
    if balance < bond.amount:
        return f"balance {balance} is less than {bond.amount}"
    bonded = sum(validator.stake for validator in draft.validators.values())
    if bonded + bond.amount > MAX_TOTAL_STAKE:
        return f"all stake together would be {bonded + bond.amount}, above {MAX_TOTAL_STAKE}"
    known = find_bonded(draft, bond.public_key)
    if known is None:
        return _object_to_newcomer(draft, bond, parameters)
    if known.owner != bond.account:
        return f"validator {known.id} belongs to another account"
    if known.status is Status.TOMBSTONED:
        return f"validator {known.id} is tombstoned and never returns"
    return None


def _object_to_newcomer(draft: Draft, bond: Bond, parameters: LedgerParameters) -> str | None:
    if bond.public_key in draft.before.table_keys:
        return "the key stands in a stake table of a validator that has another one now"
    if bond.amount < parameters.epochs.min_stake:
        return f"amount {bond.amount} is below the minimum stake {parameters.epochs.min_stake}"
    if any(validator.profile.name == bond.name for validator in draft.validators.values()):
        return f"the name {bond.name!r} is taken"
    seats = sum(validator.status is not Status.TOMBSTONED for validator in draft.validators.values())
    if seats >= VALIDATORS_MAX:
        return f"there are {seats} validators already"
    if draft.next_id >= VALIDATOR_ID_MAX:
        return "every validator number has been given"
    return None


def _object_to_unbond(draft: Draft, unbond: Unbond, parameters: LedgerParameters) -> str | None:
    validator = draft.validators.get(unbond.validator)
    objection = _object_to_owner(validator, unbond)
    if validator is None or objection is not None:
        return objection
    if unbond.amount > validator.stake:
        return f"amount {unbond.amount} is more than its stake {validator.stake}"
    min_stake = parameters.epochs.min_stake
    stays = validator.stake - unbond.amount >= min_stake
    others = (other for other in draft.validators.values() if other.id != unbond.validator)
    if is_eligible(validator, min_stake) and not stays and not any(is_eligible(other, min_stake) for other in others):
        return "nobody would be left in the next stake table"
    return None


def _object_to_unjail(draft: Draft, unjail: Unjail, parameters: LedgerParameters) -> str | None:
    validator = draft.validators.get(unjail.validator)
    objection = _object_to_owner(validator, unjail)
    if validator is None or objection is not None:
        return objection
    if validator.status is not Status.JAILED:
        return f"validator {validator.id} is not in jail but {validator.status.name.lower()}"
    epoch = draft.before.epoch
    if epoch < validator.jailed_until:
        return f"validator {validator.id} is in jail until epoch {validator.jailed_until}; the running one is {epoch}"
    if validator.stake < parameters.epochs.min_stake:
        return f"its stake {validator.stake} is below the minimum stake {parameters.epochs.min_stake}"
    return None


def _object_to_rotation(draft: Draft, rotation: RotateKey) -> str | None:
    validator = draft.validators.get(rotation.validator)
    objection = _object_to_owner(validator, rotation)
    if validator is None or objection is not None:
        return objection
    if validator.status is Status.TOMBSTONED:
        return f"validator {validator.id} is tombstoned and never returns"
    if find_bonded(draft, rotation.public_key) is not None or rotation.public_key in draft.before.table_keys:
        return "the key is in use"
    return None


def _object_to_owner(validator: ValidatorState | None, operation: Unbond | Unjail | RotateKey) -> str | None:
    if validator is None:
        return f"there is no validator {operation.validator}"
    if validator.owner != operation.account:
        return f"validator {validator.id} belongs to another account"
    return None


def _bond(draft: Draft, bond: Bond, parameters: LedgerParameters) -> None:
    """Name and address describe a newcomer; of a validator that is known already they change nothing."""
    draft.credit(bond.account, -bond.amount)
    known = find_bonded(draft, bond.public_key)
    if known is None:
        known = ValidatorState(
            id=draft.next_id,
            public_key=bond.public_key,
            owner=bond.account,
            stake=0,
            status=Status.PENDING,
            leader=LeaderRecord(grace=parameters.slashing.grace_slots),
            profile=Profile(bond.name, bond.address),
        )
        draft.next_id = ValidatorId(draft.next_id + 1)
        draft.validators[known.id] = known
        draft.events.append(ValidatorPending(known.id, bond.name, _compute_first_epoch(draft)))
    known = draft.change_validator(known.id, stake=known.stake + bond.amount)
    if known.status is Status.EXITING:
        draft.change_validator(known.id, status=compute_seated_status(known, draft.before.stakes))
    draft.events.append(Bonded(known.id, bond.account, bond.amount, known.stake))


def _unbond(draft: Draft, unbond: Unbond, parameters: LedgerParameters) -> None:
    validator = draft.validators[unbond.validator]
    payable = Epoch(_compute_first_epoch(draft) + parameters.epochs.unbonding_epochs)
    unbonding = list(validator.unbonding)
    # One entry per epoch, so that many small operations cannot make the state grow.
    if unbonding and unbonding[-1].payable == payable:
        unbonding[-1] = Unbonding(unbonding[-1].amount + unbond.amount, payable)
    else:
        unbonding.append(Unbonding(unbond.amount, payable))
    stake = validator.stake - unbond.amount
    leaves = stake == 0 and not validator.is_barred
    status = Status.EXITING if leaves else validator.status
    draft.change_validator(validator.id, stake=stake, unbonding=tuple(unbonding), status=status)
    draft.events.append(Unbonded(validator.id, unbond.amount, payable, stake))


def _compute_first_epoch(draft: Draft) -> Epoch:
    """The first one whose stake table is still to be drawn up."""
    return Epoch(draft.before.epoch + TABLE_LEAD)
