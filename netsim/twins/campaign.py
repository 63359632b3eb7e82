"""Many scenarios, and what they came to. Chunks are independent of each other, so that they may run anywhere."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeAlias

from netsim.simulation import make_stream
from netsim.twins.space import Space
from netsim.twins.symmetry import SymmetryClass
from netsim.twins.trial import Trial, Verdict

CHUNK: Final = 50
"""Scenarios at a time: half a second of work, thousands of times what it costs to hand them over."""
FLOORS_FROM: Final = 50
"""A campaign of so many scenarios must have reached everything that a scenario may be about."""

Chunk: TypeAlias = Sequence[SymmetryClass]


@dataclass(slots=True)
class Summary:
    """Sums over scenarios."""

    scenarios: int = 0
    members: int = 0
    """Of the classes that they stand for; in a sample each stands for itself."""
    decides: int = 0
    timeouts: int = 0
    timeouts_healed_max: int = 0
    """Most views of a whole network that one honest node gave up on in one scenario. No sum."""
    kept_apart: int = 0
    equivocations: int = 0
    evidence: int = 0
    violations: list[Verdict] = field(default_factory=list)

    def add(self, verdict: Verdict, members: int) -> None:
        violations = [] if verdict.violation is None else [verdict]
        self.merge(
            Summary(
                1,
                members,
                verdict.decides,
                verdict.timeouts,
                verdict.timeouts_healed,
                verdict.kept_apart,
                verdict.equivocations,
                verdict.evidence,
                violations,
            )
        )

    def merge(self, other: "Summary") -> None:
        self.scenarios += other.scenarios
        self.members += other.members
        self.decides += other.decides
        self.timeouts += other.timeouts
        self.timeouts_healed_max = max(self.timeouts_healed_max, other.timeouts_healed_max)
        self.kept_apart += other.kept_apart
        self.equivocations += other.equivocations
        self.evidence += other.evidence
        self.violations += other.violations

    def find_unreached(self, space: Space) -> list[str]:
        """What a campaign of this size should have seen and has not: then it has not tried what it claims to."""
        if self.scenarios < FLOORS_FROM:
            return []
        floors = {"decides": self.decides, "timeouts": self.timeouts, "kept_apart": self.kept_apart}
        if space.twins:
            floors |= {"equivocations": self.equivocations, "evidence": self.evidence}
        return [name for name, count in floors.items() if count == 0]


def draw_sample(space: Space, seed: int, scenarios: int) -> Iterator[SymmetryClass]:
    """Each stands for itself; the same seed draws the same ones."""
    random = make_stream(seed, "parameters")
    for _ in range(scenarios):
        yield SymmetryClass(space.draw(random), 1)


def make_chunks(scenarios: Iterable[SymmetryClass]) -> Iterator[Chunk]:
    left = iter(scenarios)
    while chunk := list(islice(left, CHUNK)):
        yield chunk


def run_chunk(space: Space, seed: int, chunk: Chunk) -> Summary:
    """One scenario after the other."""
    summary = Summary()
    for one in chunk:
        summary.add(Trial(space, one.number, seed).run(), one.members)
    return summary
