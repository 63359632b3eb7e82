"""What the ledger holds: stake, accounts, leader records, mode, committees and stake tables (S1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from consensus.errors import InvariantViolation
from consensus.ledger.changes import LedgerEvent
from consensus.ledger.committees import draw_committees
from consensus.ledger.parameters import LeadershipParameters
from consensus.operations import WireAddress
from consensus.rotation import compute_rotation
from consensus.stake_table import StakeTable, Validator
from consensus.types import (
    Commitment,
    Epoch,
    Height,
    NetworkId,
    ValidatorId,
    View,
    WireCommitment,
    WireCount,
    WireEpoch,
    WireHeight,
    WirePublicKey,
    WireValidatorId,
    WireView,
)

LEDGER_VERSION: Final = 2
CACHED_MAX: Final = 1024
"""Rotations and tables that are remembered: two per epoch; a simulation runs many networks."""
VALIDATOR_ID_MAX: Final = 2**16 - 1
"""Of the wire format."""
_TAG = b"sequencer/ledger/2\0"
_TABLE_TAG = b"sequencer/stake-table/2\0"
_encode = msgspec.msgpack.Encoder().encode


class _Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    pass


class Status(IntEnum):
    """Where a validator stands. Benched is no status: it is in the leader record, and free."""

    PENDING = 0
    """Bonded; in no stake table that has begun."""
    ACTIVE = 1
    """In the stake table of the running epoch."""
    JAILED = 2
    """J1: does not lead; keeps its vote."""
    EXITING = 3
    """All of its stake is unbonding: it leaves with the next stake table that is drawn up."""
    TOMBSTONED = 4
    """J3: for ever."""


class LeaderRecord(_Record, frozen=True):
    """How one validator has led (S3, S7, J1)."""

    missed: WireCount = 0
    """Own slots missed since it last led a leaf."""
    benchings: WireCount = 0
    """Times that it was benched since it last led a leaf: the j in 2^j."""
    bench_turns: WireCount = 0
    """Turns that it still sits out."""
    window: WireCount = 0
    """The last `leader_window` own slots as a bitmap: bit 0 is the newest, 1 is missed. Slots before its first count as
    led, so that a healthy leader's record never changes.
    """
    missed_view: WireView = View(0)
    """View of the last leaf that found a slot of it missed (J2)."""
    grace: WireCount = 0
    """Own slots that are not held against it yet."""
    probation: WireCount = 0
    """Leaves that it must lead before its probation ends."""

    @property
    def is_benched(self) -> bool:
        return self.bench_turns > 0

    @property
    def is_clean(self) -> bool:
        """Whether one more led leaf would change nothing. A benched one has always missed."""
        return not (self.missed or self.window or self.grace or self.probation)

    @property
    def missed_slots(self) -> int:
        """Own slots missed of those in the window."""
        return self.window.bit_count()


class Profile(_Record, frozen=True):
    """What does not matter for consensus. Of genesis validators the network file says more."""

    name: Annotated[str, Meta(max_length=32)] = ""
    address: WireAddress = ""
    """host:port, of those that joined by an operation."""


class Unbonding(_Record, frozen=True):
    """Stake on its way back to its owner."""

    amount: WireCount
    payable: WireEpoch
    """Paid when this epoch begins."""


class Offence(_Record, frozen=True):
    """J3: a safety offence, for the correlation with others."""

    rule: Annotated[str, Meta(max_length=16)]
    """E1 to E5, or "promise"."""
    epoch: WireEpoch
    """In which it was committed, whenever it became known: the order of the reports does not matter."""
    weight: WireCount
    """What the offender weighed in that epoch, of `total`."""
    total: WireCount
    stake: WireCount
    """What it had, unbonding included, when it was tombstoned."""
    slashed: WireCount
    """What it has lost for this so far."""


class ValidatorState(_Record, frozen=True):
    """`stake` is what is bonded now; what it weighs in a running epoch stands in that epoch's table."""

    id: WireValidatorId
    public_key: WirePublicKey
    """Of the next stake table that is drawn up."""
    owner: WirePublicKey
    """Account that is paid and that signs its operations."""
    stake: WireCount
    status: Status
    leader: LeaderRecord
    profile: Profile
    unbonding: tuple[Unbonding, ...] = ()
    jailed_until: WireEpoch = Epoch(0)
    """First epoch in which an unjail operation is accepted; 0 when it is not in jail."""
    offences: WireCount = 0
    """Liveness offences so far."""
    slashed_in_epoch: WireCount = 0
    """What liveness offences have cost it in this epoch."""
    offence: Offence | None = None

    @property
    def is_barred(self) -> bool:
        """J1, J3: it votes and does not lead."""
        return self.status in (Status.JAILED, Status.TOMBSTONED)

    @property
    def holdings(self) -> int:
        """All that can be slashed: bonded and unbonding."""
        return self.stake + sum(entry.amount for entry in self.unbonding)


class Account(_Record, frozen=True):
    """A staker's free balance, by public key."""

    public_key: WirePublicKey
    balance: WireCount = 0
    nonce: WireCount = 0
    """Of its next operation."""


class TableEntry(_Record, frozen=True):
    id: WireValidatorId
    public_key: WirePublicKey
    stake: WireCount


class EpochTable(_Record, frozen=True):
    """The stake table of one epoch."""

    epoch: WireEpoch
    entries: tuple[TableEntry, ...]


class Mode(_Record, frozen=True):
    """Who keeps the lead (S4, S5)."""

    is_fallback: bool = False
    since: WireHeight = Height(0)
    """Height of the leaf that switched it on or off last."""
    clean_leaves: WireCount = 0
    """In fallback mode: leaves in a row without a skipped view."""
    relapses: WireCount = 0
    """Activations that followed too soon on one another; each doubles the term of the hand-back."""


class LedgerState(_Record, frozen=True):
    """`validators` in ascending order of id, `accounts` of key, `tables` of epoch; both committees as drawn."""

    version: WireCount
    epoch: WireEpoch
    validators: tuple[ValidatorState, ...]
    accounts: tuple[Account, ...]
    tables: tuple[EpochTable, ...]
    """Of the running epoch, of the next one, and of past ones as long as evidence of them counts."""
    primary: tuple[WireValidatorId, ...]
    fallback: tuple[WireValidatorId, ...]
    mode: Mode
    pool: WireCount
    """Insurance pool."""
    burned: WireCount
    seed: WireCommitment
    """Of this epoch's committees: the beacon of the epoch before (T4)."""
    beacon: WireCommitment | None
    """Of this epoch, once it stands in a leaf."""
    next_id: WireValidatorId
    """For the next newcomer; ids are never used twice."""


@dataclass(frozen=True)
class Ledger:
    """A state with what is often asked of it, computed once. A healthy leaf changes nothing and keeps the object."""

    state: LedgerState
    events: tuple[LedgerEvent, ...] = field(default=(), compare=False)
    """What the leaf or roll-over that led here did to stake and seats, in order; for people, no part of the state."""

    @cached_property
    def commitment(self) -> Commitment:
        """What the next leaf commits to (P3). Tables never change, so each is hashed once."""
        digest = sha256(_TAG + _encode(msgspec.structs.replace(self.state, tables=())))
        for table in self.state.tables:
            digest.update(_compute_table_commitment(table))
        return Commitment(digest.digest())

    @property
    def epoch(self) -> Epoch:
        return self.state.epoch

    @cached_property
    def validators(self) -> dict[ValidatorId, ValidatorState]:
        return {validator.id: validator for validator in self.state.validators}

    @cached_property
    def table_keys(self) -> frozenset[bytes]:
        """Keys of the tables that are kept: their holders may still sign, or be shown to have signed."""
        return frozenset(entry.public_key for table in self.state.tables for entry in table.entries)

    @cached_property
    def accounts(self) -> dict[bytes, Account]:
        return {account.public_key: account for account in self.state.accounts}

    @cached_property
    def table(self) -> StakeTable:
        """Of the running epoch."""
        return self.get_table(self.state.epoch)

    def get_table(self, epoch: Epoch) -> StakeTable:
        """One that must be here."""
        table = self.find_table(epoch)
        if table is None:
            raise InvariantViolation(f"the ledger of epoch {self.state.epoch} lacks the stake table of epoch {epoch}")
        return table

    def find_table(self, epoch: Epoch) -> StakeTable | None:
        """The running epoch's, the next one's, or one of which evidence still counts."""
        for table in self.state.tables:
            if table.epoch == epoch:
                return make_stake_table(table)
        return None

    @cached_property
    def records(self) -> dict[ValidatorId, LeaderRecord]:
        """Of the members of the running epoch."""
        return {validator.id: self.validators[validator.id].leader for validator in self.table}

    @cached_property
    def stakes(self) -> dict[ValidatorId, int]:
        """What the members of the running epoch weigh in it."""
        return {validator.id: validator.stake for validator in self.table}

    @property
    def total_stake(self) -> int:
        return self.table.total

    @property
    def committee(self) -> tuple[ValidatorId, ...]:
        """The one that has the lead (S4)."""
        return self.state.fallback if self.state.mode.is_fallback else self.state.primary

    @cached_property
    def cycle(self) -> tuple[ValidatorId, ...]:
        """The turns of that committee: view v is `cycle[v % len(cycle)]`'s (S2)."""
        return _compute_cycle(tuple((member, self.stakes[member]) for member in self.committee))

    @cached_property
    def benched(self) -> frozenset[ValidatorId]:
        """S3: they sit out some turns, and their stake is not touched."""
        return frozenset(validator for validator, record in self.records.items() if record.is_benched)

    @cached_property
    def barred(self) -> frozenset[ValidatorId]:
        """J1, J3: jailed or tombstoned members of the running epoch."""
        return frozenset(validator for validator in self.stakes if self.validators[validator].is_barred)

    @cached_property
    def sidelined(self) -> frozenset[ValidatorId]:
        """Members whose turn to lead goes to the next one."""
        return self.benched | self.barred


def make_genesis_ledger(
    table: StakeTable,
    parameters: LeadershipParameters,
    network_id: NetworkId,
    *,
    profiles: Mapping[ValidatorId, Profile] | None = None,
    owners: Mapping[ValidatorId, bytes] | None = None,
    accounts: Iterable[Account] = (),
) -> Ledger:
    """Everyone starts with a clean record; the network's identity is the seed of the first draw.

    The first two epochs have the network file's stake table (T3). A validator without an owner is its own.
    """
    primary, fallback = draw_committees(table, parameters, seed=network_id)
    validators = tuple(
        ValidatorState(
            id=validator.id,
            public_key=validator.public_key,
            owner=(owners or {}).get(validator.id, validator.public_key),
            stake=validator.stake,
            status=Status.ACTIVE,
            leader=LeaderRecord(),
            profile=(profiles or {}).get(validator.id, Profile()),
        )
        for validator in table
    )
    known = {account.public_key: account for account in accounts}
    for validator in validators:
        known.setdefault(validator.owner, Account(validator.owner))
    entries = tuple(TableEntry(validator.id, validator.public_key, validator.stake) for validator in table)
    state = LedgerState(
        version=LEDGER_VERSION,
        epoch=Epoch(0),
        validators=validators,
        accounts=tuple(known[key] for key in sorted(known)),
        tables=(EpochTable(Epoch(0), entries), EpochTable(Epoch(1), entries)),
        primary=primary,
        fallback=fallback,
        mode=Mode(),
        pool=0,
        burned=0,
        seed=Commitment(network_id),
        beacon=None,
        next_id=ValidatorId(min(max(table.ids) + 1, VALIDATOR_ID_MAX)),
    )
    return Ledger(state)


def compute_supply(state: LedgerState) -> int:
    """Every unit there is, burned ones included: no leaf changes this sum (J4)."""
    held = sum(validator.holdings for validator in state.validators)
    return held + sum(account.balance for account in state.accounts) + state.pool + state.burned


@lru_cache(maxsize=CACHED_MAX)
def make_stake_table(table: EpochTable) -> StakeTable:
    return StakeTable(tuple(Validator(entry.id, entry.public_key, entry.stake) for entry in table.entries))


@lru_cache(maxsize=CACHED_MAX)
def _compute_table_commitment(table: EpochTable) -> bytes:
    return sha256(_TABLE_TAG + _encode(table)).digest()


@lru_cache(maxsize=CACHED_MAX)
def _compute_cycle(members: tuple[tuple[ValidatorId, int], ...]) -> tuple[ValidatorId, ...]:
    # Keys do not matter for a rotation; the table only wants them to be different.
    return compute_rotation(
        StakeTable.of(Validator(validator, validator.to_bytes(8, "big"), stake) for validator, stake in members)
    )
