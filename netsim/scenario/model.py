"""A scenario: a cluster, its load, what must hold before, what is done to it, and what must come of it."""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from netsim.byzantine.behaviours import check_behaviours
from netsim.scenario.faults import Fault, Milliseconds, Probability, Seconds
from netsim.scenario.marks import check_marks
from netsim.scenario.targets import check_target, parse_name

NAME_PATTERN = "^[a-z0-9][a-z0-9_-]{0,63}$"
Progress: TypeAlias = Literal["live", "stalls", "any"]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A table of a scenario file: immutable, every key known."""


class Settings(_Table, frozen=True):
    """Settings of the network that differ from the defaults, under the names that they have in network.toml."""

    timeout_floor_ms: Annotated[int, Meta(ge=1)] | None = None
    timeout_ceiling_ms: Annotated[int, Meta(ge=1)] | None = None
    timeout_multiple: Annotated[int, Meta(ge=1)] | None = None
    backoff_percent: Annotated[int, Meta(ge=100)] | None = None
    idle_interval_ms: Annotated[int, Meta(ge=0)] | None = None
    fetch_interval_ms: Annotated[int, Meta(ge=1)] | None = None
    payload_bytes_max: Annotated[int, Meta(ge=1)] | None = None
    view_window: Annotated[int, Meta(ge=2)] | None = None
    primary_size: Annotated[int, Meta(ge=0)] | None = None
    fallback_size: Annotated[int, Meta(ge=0)] | None = None
    bench_after: Annotated[int, Meta(ge=1)] | None = None
    fallback_after: Annotated[int, Meta(ge=1)] | None = None
    handback_after: Annotated[int, Meta(ge=1)] | None = None
    leader_window: Annotated[int, Meta(ge=3)] | None = None
    jail_after: Annotated[int, Meta(ge=1)] | None = None
    epoch_blocks: Annotated[int, Meta(ge=4)] | None = None
    unbonding_epochs: Annotated[int, Meta(ge=1)] | None = None


class Shape(_Table, frozen=True):
    """The cluster. Latencies and disks are the simulator's; processes have those of the machine."""

    nodes: Annotated[int, Meta(ge=1, le=200)] = 4
    stakes: tuple[Annotated[int, Meta(ge=1)], ...] = ()
    """By node; empty is one each."""
    joiners: Annotated[int, Meta(ge=0, le=20)] = 0
    """Nodes without stake, numbered after the others, that a `stake` fault may bond. Simulator only."""
    byzantine: dict[str, str] = {}
    """Node -> behaviour, from the start."""
    settings: Settings = Settings()
    delay_ms: Milliseconds = 1.0
    jitter_ms: Milliseconds = 0.0
    loss: Probability = 0.0
    duplication: Probability = 0.0
    reordering: Probability = 0.0
    sync_ms: Milliseconds = 0.0
    """Mean time of a disk sync."""
    lost_connections_seen: bool = True
    """Whether peers notice the end of a process at once (L2)."""


class Load(_Table, frozen=True):
    """Transactions, all through the run."""

    transactions_per_second: Annotated[int, Meta(ge=0, le=100_000)] = 200
    transaction_bytes: Annotated[int, Meta(ge=16, le=65_536)] = 128


class Steady(_Table, frozen=True):
    """What must hold before the first fault; without it the run is inconclusive."""

    height: Annotated[int, Meta(ge=0)] = 3
    """Decided by all nodes; 0 is no warm-up at all."""
    within_seconds: Seconds = 30.0


class Heal(_Table, frozen=True):
    """How the run ends: all faults end, and then the chain must go on."""

    core: Literal["all", "quorum"] = "all"
    """`quorum`: only a drawn quorum is made whole, and everything else is dead or cut off for good."""


class Expect(_Table, frozen=True):
    """What must come of it. Safety is expected always, and so is every accepted transaction exactly once."""

    during: Progress = "any"
    """While the faults last: `live`, the height grows; `stalls`, it does not after the first fault has set in."""
    decide_within_seconds: Seconds = 30.0
    """From the end of the faults to `blocks_after` more blocks on every node that was made whole."""
    blocks_after: Annotated[int, Meta(ge=1)] = 3
    new_leader_within_seconds: Seconds | None = None
    """From each kill or pause of a leader to the next decide; None: not judged."""
    evidence: tuple[str, ...] | None = None
    """Exactly these nodes are accused; None: only Byzantine ones may be."""
    floors: dict[str, Annotated[int, Meta(ge=0)]] = {}
    """Mark -> how often it must have been reached, else the run has shown nothing and is inconclusive (see `marks`)."""


class Scenario(_Table, frozen=True):
    """Raises `ValueError` for one that contradicts itself."""

    name: Annotated[str, Meta(pattern=NAME_PATTERN)]
    story: str = ""
    """What happens and why it matters, for people."""
    seed: Annotated[int, Meta(ge=0)] = 1
    chaos_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 20.0
    """How long the faults have at most, from the end of the warm-up."""
    cluster: Shape = Shape()
    load: Load = Load()
    steady: Steady = Steady()
    fault: tuple[Fault, ...] = ()
    heal: Heal = Heal()
    expect: Expect = Expect()

    def __post_init__(self) -> None:
        shape = self.cluster
        if shape.stakes and len(shape.stakes) != shape.nodes:
            raise ValueError(f"{len(shape.stakes)} stakes for {shape.nodes} nodes")
        names = [*shape.byzantine, *(self.expect.evidence or ())]
        for name in names:
            if parse_name(name, shape.nodes) is None:
                raise ValueError(f'there is no node "{name}": there are n0 to n{shape.nodes - 1}')
        check_behaviours(shape.byzantine.values())
        check_marks(self.expect.floors)
        nodes = shape.nodes + shape.joiners
        for fault in self.fault:
            for key in ("target", "source", "destination"):
                if hasattr(fault, key):
                    check_target(getattr(fault, key), nodes)
            for group in getattr(fault, "groups", ()):
                check_target(",".join(group), nodes)
