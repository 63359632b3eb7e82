"""Streams: what comes between the blocks and views that are followed, and how messages are wrapped."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sequencer.schema.fields import Count


class SkippedJson(msgspec.Struct):
    """What a reader does not get any more."""

    first: Annotated[Count, Meta(description="Height or view of the first one.")]
    last: Annotated[Count, Meta(description="Height or view of the last one.")]


class LaggingJson(msgspec.Struct):
    """A reader that was up to date has fallen behind, or asks for what this node has no more. Told once each time."""

    behind: Annotated[Count, Meta(description="How many are ready for it and not sent.")]
    latest: Annotated[Count, Meta(description="Height or view of the latest one.")]
    next: Annotated[Count, Meta(description="Height or view with which this stream goes on, or another one has to.")]
    skipped: Annotated[
        SkippedJson | None,
        Meta(description="What it will never get here: with on_lag=skip, or when this node has it no more. Else null."),
    ]


class ClosingJson(msgspec.Struct):
    """The last event of a stream that the node ends. What was sent before is complete."""

    reason: Annotated[
        Literal["shutting_down", "lagging"],
        Meta(description="shutting_down: the node ends, read on elsewhere. lagging: it was asked for by on_lag=close."),
    ]
    next: Annotated[Count, Meta(description="Height or view to ask for (from=), so that nothing is missed.")]


class StreamMessageJson(msgspec.Struct):
    """One message over WebSocket: what is one event over SSE."""

    type: Annotated[
        Literal["block", "view", "lagging", "closing", "heartbeat"],
        Meta(description="Name of the event. A heartbeat is a comment over SSE."),
    ]
    id: Annotated[Count | None, Meta(description="Of a block its height, of a view its number; else null.")] = None
    data: Annotated[Any, Meta(description="What the same event carries over SSE; of a heartbeat null.")] = None
