"""What the ledger holds: stake, leader records, mode and committees (S1)."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Final

import msgspec

from consensus.ledger.committees import draw_committees
from consensus.ledger.parameters import LeadershipParameters
from consensus.rotation import compute_rotation
from consensus.stake_table import StakeTable, Validator
from consensus.types import Commitment, Height, NetworkId, ValidatorId, WireCount, WireHeight, WireValidatorId

LEDGER_VERSION: Final = 1
ROTATIONS_CACHED_MAX: Final = 1024
"""Rotations that are remembered: two per epoch and stake table; a simulation runs many networks."""
_TAG = b"sequencer/ledger/1\0"
_encode = msgspec.msgpack.Encoder().encode


class _Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    pass


class LeaderRecord(_Record, frozen=True):
    """How one validator has led (S3, S7). All zero for one that leads when it is its turn."""

    missed: WireCount = 0
    """Own slots missed since it last led a leaf."""
    benchings: WireCount = 0
    """Times that it was benched since it last led a leaf: the j in 2^j."""
    bench_turns: WireCount = 0
    """Turns that it still sits out."""

    @property
    def is_benched(self) -> bool:
        return self.bench_turns > 0


class ValidatorState(_Record, frozen=True):
    id: WireValidatorId
    stake: WireCount
    leader: LeaderRecord


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
    """`validators` in ascending order of id; both committees in the order in which they were drawn."""

    version: WireCount
    validators: tuple[ValidatorState, ...]
    primary: tuple[WireValidatorId, ...]
    fallback: tuple[WireValidatorId, ...]
    mode: Mode


@dataclass(frozen=True)
class Ledger:
    """A state with what is often asked of it, computed once. A healthy leaf changes nothing and keeps the object."""

    state: LedgerState

    @cached_property
    def commitment(self) -> Commitment:
        """What the next leaf commits to (P3)."""
        return Commitment(sha256(_TAG + _encode(self.state)).digest())

    @cached_property
    def records(self) -> dict[ValidatorId, LeaderRecord]:
        return {validator.id: validator.leader for validator in self.state.validators}

    @cached_property
    def stakes(self) -> dict[ValidatorId, int]:
        return {validator.id: validator.stake for validator in self.state.validators}

    @cached_property
    def total_stake(self) -> int:
        return sum(self.stakes.values())

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
        return frozenset(validator for validator, record in self.records.items() if record.is_benched)


def make_genesis_ledger(table: StakeTable, parameters: LeadershipParameters, network_id: NetworkId) -> Ledger:
    """Everyone starts with a clean record; the network's identity is the seed of the first draw."""
    primary, fallback = draw_committees(table, parameters, seed=network_id)
    validators = tuple(ValidatorState(validator.id, validator.stake, LeaderRecord()) for validator in table)
    return Ledger(LedgerState(LEDGER_VERSION, validators, primary, fallback, Mode()))


@lru_cache(maxsize=ROTATIONS_CACHED_MAX)
def _compute_cycle(members: tuple[tuple[ValidatorId, int], ...]) -> tuple[ValidatorId, ...]:
    # Keys do not matter for a rotation; the table only wants them to be different.
    return compute_rotation(
        StakeTable.of(Validator(validator, validator.to_bytes(8, "big"), stake) for validator, stake in members)
    )
