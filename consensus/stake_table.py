"""Who may vote in an epoch, and with what weight. Immutable.

All quorums are counted in stake, never in heads (protocol section 1).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from consensus.types import ValidatorId

MAX_TOTAL_STAKE = 2**62
"""Room for `total * 2` in a signed 64-bit integer of any other implementation."""


@dataclass(frozen=True, slots=True)
class Validator:
    """One entry of a stake table. `stake` is a positive integer in the network's smallest unit."""

    id: ValidatorId
    public_key: bytes
    stake: int


@dataclass(frozen=True)
class StakeTable:
    """Validators in ascending order of id; a position in that order is a bit in a signer bitmap (P2).

    Raises `ValueError` for an empty table, a repeated id or key, or a stake that is not positive.
    """

    validators: tuple[Validator, ...]

    @classmethod
    def of(cls, validators: Iterable[Validator]) -> "StakeTable":
        return cls(tuple(sorted(validators, key=lambda validator: validator.id)))

    def __post_init__(self) -> None:
        if not self.validators:
            raise ValueError("a stake table needs at least one validator")
        ids = [validator.id for validator in self.validators]
        if sorted(set(ids)) != ids:
            raise ValueError("validator ids must be unique and ascending")
        if len({validator.public_key for validator in self.validators}) != len(ids):
            raise ValueError("two validators share a public key")
        for validator in self.validators:
            if validator.stake <= 0:
                raise ValueError(f"validator {validator.id} has stake {validator.stake}, which is not positive")
        if self.total > MAX_TOTAL_STAKE:
            raise ValueError(f"total stake {self.total} is above {MAX_TOTAL_STAKE}")

    def __len__(self) -> int:
        return len(self.validators)

    def __iter__(self) -> Iterator[Validator]:
        return iter(self.validators)

    def __contains__(self, validator_id: object) -> bool:
        return validator_id in self.stakes

    @cached_property
    def positions(self) -> Mapping[ValidatorId, int]:
        """Place of each validator: its bit in a signer bitmap."""
        return {validator.id: position for position, validator in enumerate(self.validators)}

    @cached_property
    def stakes(self) -> Mapping[ValidatorId, int]:
        """Stake of each validator, for those who look it up with every vote."""
        return {validator.id: validator.stake for validator in self.validators}

    @cached_property
    def total(self) -> int:
        return sum(validator.stake for validator in self.validators)

    @cached_property
    def success_threshold(self) -> int:
        """Two sets of this stake share more than a third: at least one honest validator."""
        return self.total * 2 // 3 + 1

    @cached_property
    def one_honest_threshold(self) -> int:
        """Any set of this stake has an honest validator in it."""
        return self.total // 3 + 1

    @cached_property
    def ids(self) -> tuple[ValidatorId, ...]:
        return tuple(validator.id for validator in self.validators)

    def get_validator(self, validator_id: ValidatorId) -> Validator:
        """Raises `KeyError` when the validator has no stake in this epoch."""
        return self.validators[self.positions[validator_id]]

    def get_position(self, validator_id: ValidatorId) -> int:
        return self.positions[validator_id]

    def get_stake(self, validator_id: ValidatorId) -> int:
        return self.stakes[validator_id]

    def compute_stake(self, validator_ids: Iterable[ValidatorId]) -> int:
        """Stake of a set of validators; a repeated id counts once."""
        return sum(self.get_stake(validator_id) for validator_id in set(validator_ids))
