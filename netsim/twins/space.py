"""The scenarios: for each view a leader and who reaches whom; all numbered, so that a number is a whole scenario.

Positions of nodes: validators 0 to n-1, then the second twin of validator 0, of validator 1, and so on. With n = 4 and
one twin these are A B C D A', and two sets split five nodes in 15 ways (2^5 / 2 - 1), so a view has 4 * 15 = 60
settings and three views have 60^3 = 216,000 scenarios. With `may_be_whole` a view may also be left in one piece: 16
ways, 64 settings, 262,144 scenarios.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from random import Random
from typing import Final, TypeAlias

Partition: TypeAlias = tuple[int, ...]
"""The set of each node, by position. Sets are numbered in the order of their first nodes: one partition, one form."""

PARTITIONS_MAX: Final = 200_000
"""In one view; what is drawn from a longer list would not fit into memory beside the simulation."""


class Phase(IntEnum):
    """What a message is for. What belongs to none of the first three goes with the timeouts."""

    PROPOSAL = 0
    QUORUM_VOTE = 1
    FINALIZE_VOTE = 2
    TIMEOUT = 3


@dataclass(frozen=True, slots=True)
class Setting:
    """One view: its leader, and the partition that each phase's messages meet."""

    leader: int
    partitions: tuple[Partition, ...]
    """By `Phase`."""


Scenario: TypeAlias = tuple[Setting, ...]
"""By view, from view 1 on."""


@dataclass(frozen=True, slots=True)
class Space:
    """All scenarios of one size. Raises `ValueError` for one that cannot be.

    `twins` validators, from 0 on, run twice. Each view is split into at most `sets_max` sets, and into at least two
    unless it `may_be_whole`; with `by_phase` each of the four phases of a view has a partition of its own.
    """

    validators: int = 4
    twins: int = 1
    views: int = 3
    sets_max: int = 2
    may_be_whole: bool = False
    by_phase: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.twins < self.validators:
            raise ValueError(f"{self.twins} twins among {self.validators} validators: somebody must be honest")
        if self.views < 1:
            raise ValueError(f"{self.views} views: a scenario has at least one")
        if not 2 <= self.sets_max <= self.nodes:
            raise ValueError(
                f"{self.nodes} nodes cannot be split into {self.sets_max} sets, only into 2 to {self.nodes}"
            )
        count = sum(count_partitions(self.nodes, sets) for sets in range(1, self.sets_max + 1))
        if count > PARTITIONS_MAX:
            raise ValueError(
                f"{self.nodes} nodes fall into up to {self.sets_max} sets in {count:,} ways, more than "
                f"{PARTITIONS_MAX:,}: ask for fewer sets or fewer nodes"
            )

    @property
    def nodes(self) -> int:
        return self.validators + self.twins

    @property
    def owners(self) -> Sequence[int]:
        """Whose key each node holds, by position."""
        return (*range(self.validators), *range(self.twins))

    @property
    def partitions(self) -> Sequence[Partition]:
        """Of one phase, in the order of their numbers."""
        return make_partitions(self.nodes, 1 if self.may_be_whole else 2, self.sets_max)

    @property
    def settings(self) -> int:
        """How many settings one view has."""
        return self.validators * int(len(self.partitions) ** self._parts)

    @property
    def total(self) -> int:
        """How many scenarios there are; their numbers are 0 to total - 1."""
        return int(self.settings**self.views)

    @property
    def _parts(self) -> int:
        return len(Phase) if self.by_phase else 1

    def make_scenario(self, number: int) -> Scenario:
        """Raises `ValueError` for a number beyond the last."""
        if not 0 <= number < self.total:
            raise ValueError(f"there is no scenario {number}: they are numbered from 0 to {self.total - 1}")
        digits: list[int] = []
        for _ in range(self.views):
            number, digit = divmod(number, self.settings)
            digits.append(digit)
        return tuple(map(self.make_setting, reversed(digits)))

    def make_setting(self, digit: int) -> Setting:
        """The setting of one view, by its number below `settings`."""
        partitions = self.partitions
        chosen: list[Partition] = []
        for _ in range(self._parts):
            digit, position = divmod(digit, len(partitions))
            chosen.append(partitions[position])
        chosen.reverse()
        return Setting(digit, tuple(chosen if self.by_phase else chosen * len(Phase)))

    def compute_number(self, settings: Sequence[tuple[int, Sequence[int]]]) -> int:
        """By view: the leader, and the position of each part's partition in `partitions`."""
        number, base = 0, len(self.partitions)
        for leader, positions in settings:
            digit = leader
            for position in positions:
                digit = digit * base + position
            number = number * self.settings + digit
        return number

    def draw(self, random: Random) -> int:
        """The number of a scenario. Half of the phases keep the partition of the phase before, and half of the views
        keep the leader: what is drawn quite evenly hardly ever lets a view go far.
        """
        base = len(self.partitions)
        settings: list[tuple[int, list[int]]] = []
        leader = random.randrange(self.validators)
        for _ in range(self.views):
            positions = [random.randrange(base)]
            while len(positions) < self._parts:
                positions.append(positions[-1] if random.random() < 0.5 else random.randrange(base))
            settings.append((leader, positions))
            if random.random() < 0.5:
                leader = random.randrange(self.validators)
        return self.compute_number(settings)


def count_partitions(nodes: int, sets: int) -> int:
    """Stirling's number of the second kind: ways to split so many nodes into exactly so many sets."""
    row = [1]
    for _ in range(nodes):
        below = [0, *row]
        row = [count * position + below[position] for position, count in enumerate([*row, 0])]
    return row[sets] if sets < len(row) else 0


@lru_cache(maxsize=16)
def make_partitions(nodes: int, sets_min: int, sets_max: int) -> tuple[Partition, ...]:
    """All of them, in ascending order."""
    return tuple(part for part in _grow((0,), nodes, sets_max) if max(part) + 1 >= sets_min)


def _grow(start: Partition, nodes: int, sets_max: int) -> Iterator[Partition]:
    if len(start) == nodes:
        yield start
        return
    for number in range(min(max(start) + 2, sets_max)):
        yield from _grow((*start, number), nodes, sets_max)


def name_node(space: Space, position: int) -> str:
    """A, B, C and so on; A' is A's twin."""
    validator = position if position < space.validators else position - space.validators
    return chr(ord("A") + validator % 26) + "'" * (position >= space.validators)


def describe(space: Space, scenario: Scenario) -> list[str]:
    """A line for each view: `view 1: A leads; A B | C D A'`."""
    lines: list[str] = []
    for view, setting in enumerate(scenario, 1):
        shown = [_describe_partition(space, partition) for partition in setting.partitions]
        if len(set(shown)) == 1:
            text = shown[0]
        else:
            text = "; ".join(
                f"{phase.name.lower().replace('_', ' ')} {one}" for phase, one in zip(Phase, shown, strict=True)
            )
        lines.append(f"view {view}: {name_node(space, setting.leader)} leads; {text}")
    return lines


def _describe_partition(space: Space, partition: Partition) -> str:
    sets: dict[int, list[str]] = {}
    for position, number in enumerate(partition):
        sets.setdefault(number, []).append(name_node(space, position))
    return " | ".join(" ".join(names) for names in sets.values())
