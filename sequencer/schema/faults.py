"""What is done to a cluster on purpose and what breaks by itself: lines of the fault log, and the answer of the API."""

from typing import Annotated

import msgspec
from msgspec import Meta

from sequencer.schema.fields import TimestampMs, ValidatorName


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault. Times are Unix milliseconds by the clock of whoever noted it."""

    id: Annotated[str, Meta(description="Names the fault within its log.")]
    fault: Annotated[
        str,
        Meta(
            description="kill, crash, stop (a process ended by itself, in order), pause, partition, delay; of "
            "scenarios also degrade, cut, flap, clog, corrupt, rolling_restart, reset and burst."
        ),
    ]
    targets: Annotated[tuple[ValidatorName, ...], Meta(description="Nodes that it was done to.")]
    since_ms: Annotated[TimestampMs, Meta(description="When it began, Unix ms.")]
    until_ms: Annotated[
        TimestampMs | None,
        Meta(description="When it ended or is going to end, Unix ms; null while nobody knows the end."),
    ] = None
    by: Annotated[str, Meta(description="Who caused it, such as `chaos kill-leader`, or noticed it: `devnet`.")]

    def is_active(self, now_ms: int) -> bool:
        return self.since_ms <= now_ms and (self.until_ms is None or now_ms < self.until_ms)


class FaultsJson(msgspec.Struct):
    """Faults of the cluster that this node belongs to. One is on while `until_ms` is null or later than `now_ms`."""

    now_ms: Annotated[TimestampMs, Meta(description="This moment by the node's clock, Unix ms.")]
    has_log: Annotated[
        bool, Meta(description="Whether this node knows of a fault log (`faults` in node.toml); else none is told.")
    ]
    faults: Annotated[list[Fault], Meta(description="The last ones, in the order in which they began.")]
