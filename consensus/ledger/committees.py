"""Drawing committees: stake-weighted sampling without replacement, from a seed that everyone has."""

from collections.abc import Iterator, Sequence
from hashlib import sha256

from consensus.ledger.parameters import LeadershipParameters
from consensus.stake_table import StakeTable, Validator
from consensus.types import ValidatorId

_TAG = b"sequencer/committee/1\0"


def draw_committees(
    table: StakeTable, parameters: LeadershipParameters, *, seed: bytes
) -> tuple[tuple[ValidatorId, ...], tuple[ValidatorId, ...]]:
    """Primary and fallback committee. Disjoint where there are validators enough; else the fallback repeats primaries.

    The primary committee is drawn first: with one validator it is that one, and so is the fallback.
    """
    fallback_size = min(parameters.fallback_size or max(1, len(table) // 3), len(table))
    primary_size = min(parameters.primary_size or max(1, len(table) - fallback_size), len(table))
    order = draw_order(tuple(table), seed)
    primary = order[:primary_size]
    return primary, (order[primary_size:] + primary)[:fallback_size]


def draw_order(validators: Sequence[Validator], seed: bytes) -> tuple[ValidatorId, ...]:
    """All of them, one drawn after the other with a chance in proportion to its stake."""
    left = list(validators)
    numbers = _draw_numbers(seed)
    order: list[ValidatorId] = []
    while left:
        point = _pick_below(sum(validator.stake for validator in left), numbers)
        for position, validator in enumerate(left):
            point -= validator.stake
            if point < 0:
                order.append(left.pop(position).id)
                break
    return tuple(order)


def _draw_numbers(seed: bytes) -> Iterator[int]:
    """256-bit numbers, as many as are asked for."""
    counter = 0
    while True:
        yield int.from_bytes(sha256(_TAG + seed + counter.to_bytes(8, "big")).digest(), "big")
        counter += 1


def _pick_below(bound: int, numbers: Iterator[int]) -> int:
    """A number in [0, bound). Stakes are below 2^62, so the remainder's bias is below 2^-190."""
    return next(numbers) % bound
