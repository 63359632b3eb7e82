"""Everything that a scenario may do to a cluster: plain values, each with when, for how long, to whom, and how much.

A fault begins when its trigger comes true and ends after `for_seconds`, or with the chaos phase when that is not set.
Real processes know a part of these; each class says so.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from netsim.scenario.targets import Target

Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=86_400)]
Milliseconds: TypeAlias = Annotated[float, Meta(ge=0, le=600_000)]
Probability: TypeAlias = Annotated[float, Meta(ge=0, le=1)]

EventName: TypeAlias = Literal["timeout", "decide", "fallback", "handback", "epoch", "benched", "slashed", "restart"]
"""What a trigger may wait for. `timeout` is a node giving up on a view, `epoch` the first node in a new epoch."""
MessageKind: TypeAlias = Literal[
    "QuorumProposal",
    "QuorumVote",
    "FinalizeVote",
    "TimeoutVote",
    "LeafRequest",
    "LeafResponse",
    "RangeRequest",
    "RangeResponse",
    "StatusRequest",
    "StatusResponse",
    "EpochEnd",
    "EvidenceNotice",
    "OperationNotice",
    "SnapshotRequest",
    "Snapshot",
    "ProposalEcho",
]

PartitionShape: TypeAlias = Literal["groups", "halves", "isolate", "majority", "ring", "bridge"]
CrashMoment: TypeAlias = Literal["now", "pending_write"]
DiskMode: TypeAlias = Literal[
    "lose_all", "lose_prefix", "lose_subset", "torn", "eio", "enospc", "bit_rot", "old_snapshot"
]
StakeOperation: TypeAlias = Literal["bond", "unbond", "rotate_key"]


class Trigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One of the first four; `seconds` count from the end of the warm-up. Raises `ValueError` for none or several."""

    seconds: Seconds | None = None
    height: Annotated[int, Meta(ge=1)] | None = None
    """Some node has decided it."""
    view: Annotated[int, Meta(ge=1)] | None = None
    """Some node has entered it, or a later one. Views go on counting across epochs."""
    event: EventName | None = None
    after_seconds: Seconds = 0.0
    """On top of any of them."""

    def __post_init__(self) -> None:
        given = [name for name in ("seconds", "height", "view", "event") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a trigger is one of seconds, height, view or event, got {' and '.join(given) or 'none'}")


class FaultBase(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True, tag_field="kind"
):
    at: Trigger
    for_seconds: Seconds | None = None
    """None: until the chaos phase is over."""
    repeat: Annotated[int, Meta(ge=1, le=1000)] = 1
    """How often it happens; its target is chosen anew each time."""
    every_seconds: Seconds | None = None
    """From one beginning to the next. None: each begins when the one before has ended."""


# Network


class Degrade(FaultBase, frozen=True, tag="degrade"):
    """Links that delay, lose, double and reorder. Processes: delay, jitter, loss (a stall, as in TCP) and bandwidth."""

    source: Target = "all"
    destination: Target = "all"
    both_ways: bool = True
    delay_ms: Milliseconds = 1.0
    """One way, the least."""
    jitter_ms: Milliseconds = 0.0
    """Mean of an exponential delay on top."""
    loss: Probability = 0.0
    duplication: Probability = 0.0
    reordering: Probability = 0.0
    bandwidth_bytes_per_second: Annotated[int, Meta(ge=1)] | None = None
    queue_bytes_max: Annotated[int, Meta(ge=1)] | None = None
    """What does not fit into the queue before the bandwidth is lost."""


class Cut(FaultBase, frozen=True, tag="cut"):
    """Nothing from source reaches destination; connections look alive (half-open). Processes too."""

    source: Target
    destination: Target = "all"
    both_ways: bool = False


class Partition(FaultBase, frozen=True, tag="partition"):
    """Only within a group messages arrive. Processes too.

    `groups` names them; else `shape` makes them: `halves` (drawn), `isolate` (the target alone), `majority` (a quorum
    by stake and the rest, drawn), `ring` (each hears its two neighbours only), `bridge` (two halves that share a node).
    """

    shape: PartitionShape = "groups"
    groups: tuple[tuple[str, ...], ...] = ()
    target: Target = "random"
    """Of `isolate`, and the shared node of `bridge`."""


class Flap(FaultBase, frozen=True, tag="flap"):
    """The links between source and destination are cut and whole in turn, half a period each. Processes too."""

    source: Target
    destination: Target = "all"
    both_ways: bool = True
    period_seconds: Annotated[float, Meta(ge=0.01, le=600)] = 1.0


class Clog(FaultBase, frozen=True, tag="clog"):
    """What is sent waits and arrives all at once when the fault ends. Processes too."""

    source: Target
    destination: Target = "all"
    both_ways: bool = False


class DropKinds(FaultBase, frozen=True, tag="drop_kinds"):
    """Messages of these kinds are lost with this probability. Simulator only: a proxy does not look into frames."""

    kinds: tuple[MessageKind, ...]
    source: Target = "all"
    destination: Target = "all"
    probability: Probability = 1.0


class Reset(FaultBase, frozen=True, tag="reset"):
    """The connections between source and destination break, within a frame, and both sides notice. Processes too."""

    source: Target
    destination: Target = "all"


class Corrupt(FaultBase, frozen=True, tag="corrupt"):
    """Bytes on the way are altered with this probability per message. Processes too, per chunk."""

    source: Target
    destination: Target = "all"
    probability: Probability = 0.1


# Nodes


class Kill(FaultBase, frozen=True, tag="kill"):
    """SIGKILL; the node starts again when the fault ends. Processes too, but for `when` and `again`."""

    target: Target
    when: CrashMoment = "now"
    """`pending_write`: in the next turn that has written and not yet synced."""
    again: Annotated[int, Meta(ge=0, le=10)] = 0
    """Killed again so many times, each time right in the first turns after it started."""


class RollingRestart(FaultBase, frozen=True, tag="rolling_restart"):
    """Each target in turn is stopped and started. Processes too."""

    target: Target = "all"
    down_seconds: Seconds = 0.2
    gap_seconds: Seconds = 1.0
    """From one start to the next stop; on processes the node must be up to date first."""


class Pause(FaultBase, frozen=True, tag="pause"):
    """SIGSTOP, and SIGCONT when the fault ends. Processes too."""

    target: Target


class Slow(FaultBase, frozen=True, tag="slow"):
    """Every turn of the target takes this long. Simulator only."""

    target: Target
    turn_ms: Milliseconds = 5.0


# Disks: simulator only


class DiskFault(FaultBase, frozen=True, tag="disk"):
    """How a disk fails. A node whose write or sync fails ends (R8) and is started again when the fault ends.

    `lose_all`, `lose_prefix`, `lose_subset`, `torn`: what a crash in this time does with unsynced writes (the target is
    killed once, with writes pending). `eio`, `enospc`: the next write or sync fails. `bit_rot`: one of the last blocks
    cannot be read while this lasts; its checksum says so, and whoever reads it ends. `old_snapshot`: when it ends, the
    whole disk goes back to where it was when it began, while the node is down: that validator may contradict itself and
    is counted among the Byzantine ones (nothing is done where it would be one too many).
    """

    target: Target
    mode: DiskMode


class SlowDisk(FaultBase, frozen=True, tag="slow_disk"):
    """A sync takes this long on average."""

    target: Target
    sync_ms: Milliseconds = 50.0


# Clocks: simulator only


class Clock(FaultBase, frozen=True, tag="clock"):
    """The target's clock is wrong: ahead by `skew_ms` (behind when negative), and running at `drift` times real time;
    with drift 0 it stands still. Timers follow it; a clock never runs backwards for the replica.
    """

    target: Target
    skew_ms: Annotated[float, Meta(ge=-600_000, le=600_000)] = 0.0
    drift: Annotated[float, Meta(ge=0, le=4)] = 1.0


# Membership and load


class Stake(FaultBase, frozen=True, tag="stake"):
    """A stake operation at this moment: no failure, but the table changes. Simulator only."""

    operation: StakeOperation
    target: Target
    amount: Annotated[int, Meta(ge=1)] = 1


class Burst(FaultBase, frozen=True, tag="burst"):
    """This many transactions arrive at once. Processes too."""

    transactions: Annotated[int, Meta(ge=1, le=1_000_000)]


class Oversize(FaultBase, frozen=True, tag="oversize"):
    """Clients submit so many transactions and batches to each target that are larger than any may be; all of them must
    be refused. Processes only: the simulator has no clients.
    """

    target: Target = "all"
    transactions: Annotated[int, Meta(ge=1, le=10_000)] = 100


class SlowReaders(FaultBase, frozen=True, tag="slow_readers"):
    """So many clients ask each target for a stream of the whole chain, and take nothing of it. Processes only."""

    target: Target = "all"
    readers: Annotated[int, Meta(ge=1, le=1000)] = 100


Fault: TypeAlias = (
    Degrade
    | Cut
    | Partition
    | Flap
    | Clog
    | DropKinds
    | Reset
    | Corrupt
    | Kill
    | RollingRestart
    | Pause
    | Slow
    | DiskFault
    | SlowDisk
    | Clock
    | Stake
    | Burst
    | Oversize
    | SlowReaders
)


def get_kind(fault: Fault) -> str:
    """Its name in a scenario file."""
    return str(fault.__struct_config__.tag)
