"""The stake-weighted order in which the members of a committee take turns (S2)."""

from math import gcd

from consensus.stake_table import StakeTable
from consensus.types import ValidatorId

CYCLE_SLOTS_MAX = 4096
"""Slots in one cycle. Stakes with a large common measure are rounded to this many slots; everyone keeps at least
one.
"""


def compute_rotation(table: StakeTable) -> tuple[ValidatorId, ...]:
    """One cycle of slots, in which each validator stands as often as its share of the stake says.

    Smooth weighted round robin: in each slot everyone gains its weight, the highest balance leads and pays the total.
    So equal stakes give plain rotation, and a large validator's slots never clump. Integers only; ties go to the
    lower id.
    """
    weights = _compute_weights(table)
    total = sum(weights)
    balances = [0] * len(weights)
    cycle: list[ValidatorId] = []
    for _ in range(total):
        balances = [balance + weight for balance, weight in zip(balances, weights, strict=True)]
        chosen = max(range(len(balances)), key=lambda position: (balances[position], -position))
        balances[chosen] -= total
        cycle.append(table.ids[chosen])
    return tuple(cycle)


def _compute_weights(table: StakeTable) -> list[int]:
    stakes = [validator.stake for validator in table]
    measure = gcd(*stakes)
    if table.total // measure <= CYCLE_SLOTS_MAX:
        return [stake // measure for stake in stakes]
    return [max(1, stake * CYCLE_SLOTS_MAX // table.total) for stake in stakes]
