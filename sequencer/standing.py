"""Where a validator and the mode stand, in words: for the API, the command line and the metrics."""

from typing import Final, NamedTuple

from consensus.epochs import compute_last_height
from consensus.ledger import Ledger, LedgerParameters, Status
from consensus.ledger.state import ValidatorState
from consensus.ledger.transition import compute_handback_term
from consensus.types import Epoch, Height
from sequencer.schema.fields import ValidatorStatus

STANDINGS: Final[tuple[ValidatorStatus, ...]] = (
    "pending",
    "active",
    "jailed",
    "exiting",
    "tombstoned",
    "benched",
)
"""Those of the ledger, and `benched`, which is none there: an active validator that sits out some turns (S3)."""


class Standing(NamedTuple):
    """`status` is one of `STANDINGS`; `reason` is None where there is nothing to explain."""

    status: ValidatorStatus
    reason: str | None


def describe_standing(validator: ValidatorState, ledger: Ledger) -> Standing:
    """S3, J1, J3, J5: why it does not lead, or is not in every stake table."""
    record = validator.leader
    match validator.status:
        case Status.PENDING:
            return Standing("pending", "bonded: waits for a stake table")
        case Status.EXITING:
            return Standing("exiting", "all of its stake is unbonding")
        case Status.JAILED:
            term = f"until epoch {validator.jailed_until}"
            if ledger.epoch >= validator.jailed_until:
                term = f"since its term ended with epoch {validator.jailed_until}: may ask to be let out"
            count = validator.offences
            return Standing("jailed", f"{term}; {count} liveness offence{'s' * (count != 1)}")
        case Status.TOMBSTONED:
            offence = validator.offence
            if offence is None:
                return Standing("tombstoned", None)
            cost = f"lost {offence.slashed} of {offence.stake}"
            return Standing("tombstoned", f"{offence.rule} in epoch {offence.epoch}: {cost}")
        case Status.ACTIVE if record.is_benched:
            turns = record.bench_turns
            return Standing("benched", f"missed {record.missed} in a row, {turns} turn{'s' * (turns != 1)} left")
        case Status.ACTIVE:
            probation = f"on probation for {record.probation} leaves" if record.probation else None
            return Standing("active", probation)


def compute_first_height(epoch: Epoch, parameters: LedgerParameters) -> Height:
    """T2: the one after the last height of the epoch before; the genesis block stands before every epoch."""
    return Height(compute_last_height(epoch, parameters) - parameters.epochs.epoch_blocks + 1)


def describe_mode(ledger: Ledger, parameters: LedgerParameters) -> str:
    """S4, S5: which committee has the lead, since when, and what would change that."""
    mode = ledger.state.mode
    since = f" since height {mode.since}" if mode.since else ""
    if not mode.is_fallback:
        return f"the primary committee has the lead{since}"
    term = compute_handback_term(mode, parameters.leadership)
    relapses = f", relapse {mode.relapses}" if mode.relapses else ""
    return (
        f"the fallback committee has the lead{since}{relapses}: "
        f"{mode.clean_leaves} of {term} leaves without a skipped view"
    )
