"""What is explored: how many validators, views and leaves, and the steps that a validator can take."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias

LeafId: TypeAlias = int
"""Number of a leaf in `Material`; 0 is genesis. A set of leaves is an integer whose bit i stands for leaf i."""
TcId: TypeAlias = int
"""Number of a TC in `Material`; `NO_TC` is none."""
LocalId: TypeAlias = int
"""Number of what one honest validator can be, in `Voters`."""
State: TypeAlias = tuple[LocalId, ...]
"""All honest validators, in ascending order."""

GENESIS: LeafId = 0
NO_TC: TcId = -1


@dataclass(frozen=True, slots=True)
class Model:
    """The bounds of one exploration. Raises `ValueError` for a set that makes no sense.

    Validators have equal stake; the honest ones come first. In the views of `honest_views` honest validators lead, in
    turn; in all others a Byzantine one does, which may propose whatever is valid to whomever.
    """

    views: int = 3
    leaves: int = 2
    """Different leaves that get votes in one view."""
    honest: int = 3
    byzantine: int = 1
    honest_views: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.views < 1 or self.leaves < 1 or self.honest < 1 or self.byzantine < 0:
            raise ValueError("an exploration needs at least one view, one leaf and one honest validator")
        if not self.honest_views <= set(range(1, self.views + 1)):
            raise ValueError(f"views led by the honest must be between 1 and {self.views}")
        if not self.byzantine and len(self.honest_views) < self.views:
            raise ValueError("without a Byzantine validator the honest lead every view")
        validators = self.honest + self.byzantine
        if self.byzantine > validators * 2 // 3:
            raise ValueError("so many Byzantine validators need nobody else for a quorum")

    def get_leader(self, view: int) -> int:
        """Number of the validator that leads this view; beyond the last view honest ones do."""
        if view in self.honest_views or view > self.views:
            return view % self.honest
        return self.honest


class Kind(Enum):
    """What a step ends with: a signature, or a new process."""

    VOTE = "vote"
    FINALIZE = "finalize"
    TIME_OUT = "time out"
    PROPOSE = "propose"
    RESTART = "restart"


class Learned(NamedTuple):
    """A certificate that a validator takes in before it signs: the QC of a leaf, or a TC."""

    leaf: LeafId
    tc: TcId


class Step(NamedTuple):
    """One honest validator takes in certificates that exist, then signs once."""

    kind: Kind
    leaf: LeafId = GENESIS
    """What is proposed, voted for or finalized."""
    view: int = 0
    """What is timed out."""
    learned: tuple[Learned, ...] = ()


class Signed(NamedTuple):
    """A statement that left an honest validator. Of a timeout, `leaf` is what the attached high_qc certifies."""

    kind: Kind
    view: int
    leaf: LeafId
    high_qc_view: int = 0
