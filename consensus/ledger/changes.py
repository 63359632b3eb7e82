"""What people are told about the ledger: one small value for each thing that happens, with its numbers.

For logs, metrics and the API. Amounts are in the network's smallest unit of stake.
"""

from dataclasses import dataclass
from typing import TypeAlias

from consensus.types import Commitment, Epoch, ValidatorId


@dataclass(frozen=True, slots=True)
class Benched:
    """S3: it missed its last own slots and sits out this many turns."""

    validator: ValidatorId
    missed: int
    turns: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """S3: it has led a leaf, and its turns are its own again."""

    validator: ValidatorId


@dataclass(frozen=True, slots=True)
class FallbackActivated:
    """S4: so many views were skipped in a row that the fallback committee has the lead."""

    skipped_views: int


@dataclass(frozen=True, slots=True)
class FallbackEnded:
    """S5: the primary committee has the lead again."""


@dataclass(frozen=True, slots=True)
class Jailed:
    """J1: it missed `missed` of its last `slots` own slots. `reason` is "in a row" or "of the window"."""

    validator: ValidatorId
    reason: str
    amount: int
    """What it was slashed."""
    until_epoch: Epoch
    """First epoch in which it may ask to come back."""
    missed: int
    slots: int
    offences: int
    """This one included."""


@dataclass(frozen=True, slots=True)
class Released:
    """J2: it stays out of jail, or comes out early, because too little stake would be left to lead.

    `was_jailed` tells the two apart; who never went in is not slashed either.
    """

    validator: ValidatorId
    was_jailed: bool


@dataclass(frozen=True, slots=True)
class Unjailed:
    """J1: it came back after its term, on probation for so many leaves."""

    validator: ValidatorId
    probation: int


@dataclass(frozen=True, slots=True)
class Slashed:
    """J1, J3: stake was taken for breaking `rule`: "J1", "E1" to "E5", "promise"."""

    validator: ValidatorId
    rule: str
    amount: int
    """The sum of the next three."""
    to_reporter: int
    to_pool: int
    burned: int
    reporter: bytes | None
    """Account that was paid for the evidence."""


@dataclass(frozen=True, slots=True)
class Tombstoned:
    """J3: it broke a safety rule in `offence_epoch` and never returns."""

    validator: ValidatorId
    rule: str
    offence_epoch: Epoch


@dataclass(frozen=True, slots=True)
class Compensated:
    """J3: the pool paid the holder of a broken promise."""

    account: bytes
    amount: int
    validator: ValidatorId
    """Whose promise it was."""


@dataclass(frozen=True, slots=True)
class Bonded:
    """J5: an account moved balance into stake."""

    validator: ValidatorId
    account: bytes
    amount: int
    stake: int
    """Bonded now."""


@dataclass(frozen=True, slots=True)
class ValidatorPending:
    """J5: a newcomer was bonded; it votes from the first epoch on whose stake table is still to be drawn up."""

    validator: ValidatorId
    name: str
    first_epoch: Epoch


@dataclass(frozen=True, slots=True)
class Unbonded:
    """J5: stake is on its way back, slashable until it is paid when epoch `payable` begins."""

    validator: ValidatorId
    amount: int
    payable: Epoch
    stake: int
    """Still bonded."""


@dataclass(frozen=True, slots=True)
class KeyRotated:
    """J5: it signs with this key from `first_epoch` on."""

    validator: ValidatorId
    public_key: bytes
    first_epoch: Epoch


@dataclass(frozen=True, slots=True)
class Paid:
    """J5: unbonded stake has come back to its owner."""

    validator: ValidatorId
    account: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class EpochBegan:
    """T3, T4: with this seed, which is the beacon's result or, if that came too late, the hash of the seed before."""

    epoch: Epoch
    seed: Commitment
    was_beacon_missing: bool
    validators: int
    total_stake: int


@dataclass(frozen=True, slots=True)
class ValidatorActive:
    """T3: it is in the stake table that begins to count now."""

    validator: ValidatorId
    stake: int


@dataclass(frozen=True, slots=True)
class ValidatorExited:
    """T3: it is no longer in the stake table."""

    validator: ValidatorId


@dataclass(frozen=True, slots=True)
class CommitteesDrawn:
    """T3 for a new epoch, S5 when barred primaries were replaced at a hand-back."""

    primary: tuple[ValidatorId, ...]
    fallback: tuple[ValidatorId, ...]


LedgerEvent: TypeAlias = (
    Jailed
    | Released
    | Unjailed
    | Slashed
    | Tombstoned
    | Compensated
    | Bonded
    | ValidatorPending
    | Unbonded
    | KeyRotated
    | Paid
    | EpochBegan
    | ValidatorActive
    | ValidatorExited
    | CommitteesDrawn
)
"""What the ledger notes while it changes stake and seats, because the new state alone does not tell."""

LedgerChange: TypeAlias = Benched | Cleared | FallbackActivated | FallbackEnded | LedgerEvent
