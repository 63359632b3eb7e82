"""Which scenarios are the same: the honest validators may change their names, and so may the two nodes of a twin.

One scenario stands for each class, the one with the lowest number. Renaming leaves everything that a scenario fixes as
it was. What it does not fix is not symmetric: the order of simultaneous events is drawn, and after the scenario's views
the ledger's rotation decides who leads. So a class is one attack, seen by its representative under one such order;
other orders come with other seeds, other members with a sample.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product
from typing import TypeAlias

from netsim.twins.space import Partition, Space


@dataclass(frozen=True, slots=True)
class SymmetryClass:
    number: int
    """Of the scenario that stands for it."""
    members: int


_Renaming: TypeAlias = tuple[int, ...]
"""What becomes of each setting of a view."""


def make_classes(space: Space) -> Iterator[SymmetryClass]:
    """In ascending order. The numbers of members add up to the whole space.

    Raises `ValueError` for a space by phase: its settings are too many to be renamed one by one.
    """
    if space.by_phase:
        raise ValueError("the scenarios by phase are too many to be enumerated; draw a sample of them")
    return _walk(space, 0, space.views, _make_renamings(space), 1)


def _walk(space: Space, prefix: int, views: int, renamings: list[_Renaming], members: int) -> Iterator[SymmetryClass]:
    """All lowest scenarios with this prefix. `renamings` leave the prefix as it is.

    A sequence is the lowest of its class exactly when each view's setting is the lowest that the renamings which keep
    the views before it can make of it. A class has as many members as there are ways to rename, over those that change
    nothing (orbits and stabilisers), view by view.
    """
    if views == 0:
        yield SymmetryClass(prefix, members)
        return
    for setting in range(space.settings):
        images = [renaming[setting] for renaming in renamings]
        if min(images) < setting:
            continue
        kept = [renaming for renaming, image in zip(renamings, images, strict=True) if image == setting]
        orbit = len(renamings) // len(kept)
        yield from _walk(space, prefix * space.settings + setting, views - 1, kept, members * orbit)


def _make_renamings(space: Space) -> list[_Renaming]:
    """The whole group: honest validators among themselves, twinned ones among themselves, and each pair of twins."""
    twins, validators = space.twins, space.validators
    numbers = {partition: number for number, partition in enumerate(space.partitions)}
    found: list[_Renaming] = []
    for pairs, honest, swaps in product(
        permutations(range(twins)), permutations(range(twins, validators)), product((False, True), repeat=twins)
    ):
        nodes = [*pairs, *honest, *(validators + pair for pair in pairs)]
        for twin, is_swapped in enumerate(swaps):
            if is_swapped:
                nodes[twin], nodes[validators + twin] = nodes[validators + twin], nodes[twin]
        leaders = (*pairs, *honest)
        partitions = [numbers[_rename(partition, nodes)] for partition in space.partitions]
        found.append(tuple(leader * len(partitions) + number for leader in leaders for number in partitions))
    return found


def _rename(partition: Partition, nodes: list[int]) -> Partition:
    renamed = [0] * len(partition)
    for position, number in enumerate(partition):
        renamed[nodes[position]] = number
    order = {number: rank for rank, number in enumerate(dict.fromkeys(renamed))}
    return tuple(order[number] for number in renamed)
