"""One draw for each class of faults: when, for how long, to whom, how bad."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from netsim.scenario import faults as kinds
from netsim.scenario.faults import (
    CrashMoment,
    DiskMode,
    EventName,
    Fault,
    MessageKind,
    PartitionShape,
    StakeOperation,
    Trigger,
)
from netsim.scenario.targets import name_node

_EVENTS: Final[tuple[EventName, ...]] = ("timeout", "epoch", "fallback", "restart", "decide", "benched", "slashed")
_PHASES: Final[tuple[tuple[MessageKind, ...], ...]] = (
    ("QuorumProposal",),
    ("QuorumVote",),
    ("FinalizeVote",),
    ("TimeoutVote",),
    ("QuorumVote", "FinalizeVote"),
    ("LeafResponse", "RangeResponse"),
    ("StatusResponse", "EpochEnd"),
    ("EvidenceNotice", "OperationNotice"),
)
_SHAPES: Final[tuple[PartitionShape, ...]] = ("halves", "isolate", "isolate", "majority", "ring", "bridge")
_MOMENTS: Final[tuple[CrashMoment, ...]] = ("now", "pending_write", "pending_write")
_MODES: Final[tuple[DiskMode, ...]] = (
    "lose_all",
    "lose_prefix",
    "lose_subset",
    "torn",
    "eio",
    "enospc",
    "bit_rot",
    "bit_rot",
)
_OPERATIONS: Final[tuple[StakeOperation, ...]] = ("unbond", "rotate_key")
_ROLES: Final = ("leader", "leader", "next-leader", "primary", "fallback", "f", "f", "f+1", "minority", "random", "all")


class FaultDraws:
    """Draws the faults of one scenario from its seed. Each method is one class."""

    def __init__(
        self, random: Random, stakes: Sequence[int], joiners: int, byzantine: Sequence[int], chaos_seconds: float
    ) -> None:
        self.random = random
        self._nodes = len(stakes)
        self._joiners = joiners
        self._chaos_seconds = chaos_seconds
        most, lying = (sum(stakes) - 1) // 3, sum(stakes[node] for node in byzantine)
        self._may_forget = [
            node for node, stake in enumerate(stakes) if node not in byzantine and lying + stake <= most
        ]
        """Whose disk may be put back: it counts as one more Byzantine validator."""

    # Network

    def degrade(self) -> Fault:
        choice = self.random.choice
        return kinds.Degrade(
            **self._window(),
            **self._links(),
            delay_ms=choice((1.0, 20.0, 100.0)),
            jitter_ms=choice((0.0, 20.0, 100.0)),
            loss=choice((0.0, 0.1, 0.3)),
            duplication=choice((0.0, 0.2, 0.5)),
            reordering=choice((0.0, 0.3)),
            bandwidth_bytes_per_second=choice((None, None, 20_000, 200_000)),
            queue_bytes_max=choice((None, 10_000)),
            both_ways=choice((False, True)),
        )

    def cut(self) -> Fault:
        return kinds.Cut(**self._window(), **self._links(), both_ways=self.random.random() < 0.3)

    def partition(self) -> Fault:
        choice = self.random.choice
        return kinds.Partition(
            **self._window(), shape=choice(_SHAPES), target=choice(("leader", "next-leader", "random"))
        )

    def flap(self) -> Fault:
        choice = self.random.choice
        period = choice((0.02, 0.1, 0.4))
        return kinds.Flap(**self._window(), **self._links(), both_ways=choice((False, True)), period_seconds=period)

    def clog(self) -> Fault:
        return kinds.Clog(**self._window(), **self._links())

    def drop_kinds(self) -> Fault:
        choice = self.random.choice
        return kinds.DropKinds(**self._window(), **self._links(), kinds=choice(_PHASES), probability=choice((0.3, 1.0)))

    def reset(self) -> Fault:
        return kinds.Reset(at=self._trigger(), for_seconds=0.0, repeat=self.random.choice((1, 3)), **self._links())

    def corrupt(self) -> Fault:
        return kinds.Corrupt(**self._window(), **self._links(), probability=self.random.choice((0.02, 0.2)))

    # Nodes

    def kill(self) -> Fault:
        choice = self.random.choice
        return kinds.Kill(**self._window(), target=self._target(), when=choice(_MOMENTS), again=choice((0, 0, 1, 2)))

    def rolling_restart(self) -> Fault:
        return kinds.RollingRestart(
            at=self._trigger(),
            target=self.random.choice(("all", "primary", "f")),
            down_seconds=round(self.random.random() * 0.2, 3),
            gap_seconds=round(self.random.random() * 0.3, 3),
        )

    def pause(self) -> Fault:
        return kinds.Pause(**self._window(), target=self._target())

    def slow(self) -> Fault:
        return kinds.Slow(**self._window(), target=self._target(), turn_ms=self.random.choice((1.0, 10.0, 50.0)))

    # Disks and clocks

    def disk(self) -> Fault:
        random = self.random
        if self._may_forget and random.random() < 0.1:
            forgetful = name_node(random.choice(self._may_forget))
            self._may_forget.clear()
            return kinds.DiskFault(at=self._trigger(), for_seconds=0.1, target=forgetful, mode="old_snapshot")
        return kinds.DiskFault(**self._window(), target=self._target(), mode=random.choice(_MODES))

    def slow_disk(self) -> Fault:
        return kinds.SlowDisk(**self._window(), target=self._target(), sync_ms=self.random.choice((5.0, 50.0, 300.0)))

    def clock(self) -> Fault:
        choice = self.random.choice
        skew = choice((0.0, 50.0, 2_000.0, -2_000.0, 20_000.0))
        drift = choice((1.0, 1.0, 0.0, 0.5, 2.0))
        return kinds.Clock(**self._window(), target=self._target(), skew_ms=skew, drift=drift)

    # Membership and load

    def stake(self) -> Fault:
        random = self.random
        if self._joiners and random.random() < 0.6:
            return kinds.Stake(at=self._trigger(), operation="bond", target=name_node(self._nodes))
        target = name_node(random.randrange(self._nodes))
        return kinds.Stake(at=self._trigger(), target=target, operation=random.choice(_OPERATIONS))

    def burst(self) -> Fault:
        return kinds.Burst(at=self._trigger(), transactions=self.random.choice((10, 300)))

    # Parts of every draw

    def _trigger(self) -> Trigger:
        random = self.random
        after = round(random.choice((0.0, 0.0, random.random() * 0.2)), 3)
        match random.choice(("seconds", "seconds", "seconds", "height", "view", "event")):
            case "height":
                return Trigger(height=random.randint(3, 40), after_seconds=after)
            case "view":
                return Trigger(view=random.randint(3, 60), after_seconds=after)
            case "event":
                return Trigger(event=random.choice(_EVENTS), after_seconds=after)
            case _:
                return self.draw_moment()

    def draw_moment(self) -> Trigger:
        """A time within the chaos phase."""
        return Trigger(seconds=round(self.random.random() * self._chaos_seconds * 0.8, 3))

    def _window(self) -> dict[str, Any]:
        """When it begins, how long it lasts, how often."""
        random = self.random
        lasting = random.choice((0.05, 0.2, 0.5, 1.0, None))
        if lasting is None:
            return {"at": self._trigger()}
        seconds, repeat = round(random.random() * lasting, 3), random.choice((1, 1, 2, 4))
        return {"at": self._trigger(), "for_seconds": seconds, "repeat": repeat}

    def _target(self) -> str:
        random = self.random
        return random.choice(_ROLES) if random.random() < 0.8 else name_node(random.randrange(self._nodes))

    def _links(self) -> dict[str, Any]:
        source = self._target()
        return {"source": source, "destination": self.random.choice(("all", "all", self._target()))}


CLASSES: Final[tuple[Callable[[FaultDraws], Fault], ...]] = (
    FaultDraws.degrade,
    FaultDraws.cut,
    FaultDraws.partition,
    FaultDraws.flap,
    FaultDraws.clog,
    FaultDraws.drop_kinds,
    FaultDraws.reset,
    FaultDraws.corrupt,
    FaultDraws.kill,
    FaultDraws.rolling_restart,
    FaultDraws.pause,
    FaultDraws.slow,
    FaultDraws.disk,
    FaultDraws.slow_disk,
    FaultDraws.clock,
    FaultDraws.stake,
    FaultDraws.burst,
)
