"""What an offence costs, and who gets it (J3, J4).

A safety offence costs a share of all that the offender holds, bonded and unbonding. The share grows with the stake that
offended within the same epochs, whenever that becomes known: each further offender raises what the earlier ones owe, so
the order of the reports does not matter. Every sum is split to the last unit.
"""

from collections.abc import Iterable

import msgspec

from consensus.evidence import BrokenPromise, Evidence, get_rule
from consensus.ledger.changes import Compensated, Slashed, Tombstoned
from consensus.ledger.draft import Draft
from consensus.ledger.parameters import PPM, LedgerParameters, SlashingParameters
from consensus.ledger.state import LeaderRecord, Offence, Status, Unbonding
from consensus.types import Epoch, ValidatorId

PROMISE_RULE = "promise"


def find_evidence_objection(draft: Draft, evidence: Evidence, parameters: LedgerParameters) -> str | None:
    """J4: None when this offence still counts, else why not. Whether it is proven is another question."""
    epoch, offender = evidence.epoch, evidence.offender
    running = draft.before.epoch
    if epoch > running:
        return f"epoch {epoch} has not begun; the running one is {running}"
    if epoch < running - parameters.epochs.unbonding_epochs:
        return f"epoch {epoch} is too long ago: evidence counts for {parameters.epochs.unbonding_epochs} epochs"
    table = draft.before.find_table(epoch)
    if table is None or offender not in table:
        return f"validator {offender} had no stake in epoch {epoch}"
    if draft.validators[offender].status is Status.TOMBSTONED:
        return f"validator {offender} is tombstoned already"
    return None


def punish(draft: Draft, evidence: Evidence, reporter: ValidatorId | None, parameters: LedgerParameters) -> bool:
    """J3: tombstone and slash the offender, and collect what earlier ones owe by now. Whether it still counted.

    `reporter` proposed the leaf that includes the evidence.
    """
    if find_evidence_objection(draft, evidence, parameters) is not None:
        return False
    offender, epoch = evidence.offender, evidence.epoch
    table = draft.before.get_table(epoch)
    entry = table.get_validator(offender)
    rule = get_rule(evidence)
    draft.change_validator(
        offender,
        status=Status.TOMBSTONED,
        # The key that offended is the one that never returns; a newer one has never signed.
        public_key=entry.public_key,
        leader=LeaderRecord(),
        jailed_until=Epoch(0),
        offence=Offence(rule, epoch, entry.stake, table.total, draft.validators[offender].holdings, 0),
    )
    draft.events.append(Tombstoned(offender, rule, epoch))
    _collect(draft, reporter, parameters.slashing)
    if isinstance(evidence, BrokenPromise):
        _compensate(draft, evidence, entry.public_key, parameters.slashing)
    return True


def compute_offence_fraction(offence: Offence, offences: Iterable[Offence], parameters: SlashingParameters) -> int:
    """J3, in ppm: a multiple of the share of stake that offended around that epoch; `offences` include this one."""
    reach = parameters.correlation_epochs
    weight = sum(other.weight for other in offences if abs(other.epoch - offence.epoch) <= reach)
    correlated = parameters.correlation_multiple * weight * PPM // offence.total
    return min(PPM, max(parameters.safety_fraction_ppm, correlated))


def take_stake(draft: Draft, validator: ValidatorId, amount: int) -> int:
    """Take bonded stake first, then what would be paid last. Returns what was there to be taken, at most `amount`."""
    before = draft.validators[validator]
    from_stake = min(amount, before.stake)
    left = amount - from_stake
    unbonding: list[Unbonding] = []
    for entry in reversed(before.unbonding):
        taken = min(left, entry.amount)
        left -= taken
        if entry.amount > taken:
            unbonding.append(msgspec.structs.replace(entry, amount=entry.amount - taken))
    draft.change_validator(validator, stake=before.stake - from_stake, unbonding=tuple(reversed(unbonding)))
    return amount - left


def distribute(
    draft: Draft,
    offender: ValidatorId,
    rule: str,
    amount: int,
    parameters: SlashingParameters,
    *,
    reporter: ValidatorId | None = None,
) -> None:
    """J4: split what was taken between the reporter's account, the pool and nobody.

    An account that reports a validator of its own gets nothing for it.
    """
    to_reporter, account = 0, None
    witness = None if reporter is None else draft.validators.get(reporter)
    if witness is not None and witness.owner != draft.validators[offender].owner:
        account = witness.owner
        to_reporter = amount * parameters.reporter_fraction_ppm // PPM
        draft.credit(account, to_reporter)
    to_pool = amount * parameters.pool_fraction_ppm // PPM
    burned = amount - to_reporter - to_pool
    draft.pool += to_pool
    draft.burned += burned
    draft.events.append(Slashed(offender, rule, amount, to_reporter, to_pool, burned, account))


def _collect(draft: Draft, reporter: ValidatorId | None, parameters: SlashingParameters) -> None:
    """Whoever has offended owes the share that the offences known by now make of it, as far as it is still there."""
    owing = {number: validator.offence for number, validator in sorted(draft.validators.items()) if validator.offence}
    for validator, offence in owing.items():
        owed = offence.stake * compute_offence_fraction(offence, owing.values(), parameters) // PPM
        taken = take_stake(draft, validator, max(0, owed - offence.slashed))
        if taken:
            draft.change_validator(validator, offence=msgspec.structs.replace(offence, slashed=offence.slashed + taken))
            distribute(draft, validator, offence.rule, taken, parameters, reporter=reporter)


def _compensate(draft: Draft, evidence: BrokenPromise, key: bytes, parameters: SlashingParameters) -> None:
    beneficiary = evidence.promise.beneficiary
    amount = min(draft.pool, parameters.promise_compensation)
    # A beneficiary of another length is no key of this network's scheme: nobody could ever spend from it.
    if amount and len(beneficiary) == len(key):
        draft.pool -= amount
        draft.credit(beneficiary, amount)
        draft.events.append(Compensated(beneficiary, amount, evidence.offender))
