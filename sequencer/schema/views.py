"""The last views, as the node that answers saw them."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from sequencer.schema.fields import Count, Epoch, Hash, Height, TimestampMs, ValidatorName, View

VIEWS_LISTED_MAX: Final = 256
"""Views in one answer."""

ViewOutcome: TypeAlias = Annotated[
    Literal["open", "decided", "certified", "timed_out"],
    Meta(
        description="open: under way. decided: its block is final. certified: its block has a quorum certificate and "
        "may become final with a later one. timed_out: given up without. A late certificate may still make a view "
        "certified or decided."
    ),
]
ViewEntry: TypeAlias = Annotated[
    Literal["qc", "tc", "epoch", "start"],
    Meta(
        description="qc, tc: by a quorum or a timeout certificate of the view before. epoch: as the first view of an "
        "epoch. start: the process began in it."
    ),
]
AfterMs: TypeAlias = Annotated[float, Meta(ge=0, description="Milliseconds since this node entered the view.")]
Names: TypeAlias = Annotated[list[ValidatorName], Meta(description="Validators by name, in the order of their votes.")]


class SeenProposalJson(msgspec.Struct):
    """The leader's proposal, as it came here."""

    hash: Annotated[Hash, Meta(description="Of its block.")]
    height: Annotated[Height, Meta(description="Of its block, should it become final.")]
    transactions: Annotated[Count | None, Meta(description="In its payload; null until the payload was opened here.")]
    payload_bytes: Annotated[Count, Meta(description="Size of its payload.")]
    after_ms: AfterMs


class ViewJson(msgspec.Struct):
    """One view at one node. Other nodes may have seen other things."""

    view: Annotated[View, Meta(description="Its number.")]
    epoch: Annotated[Epoch, Meta(description="To which it belongs.")]
    leader: Annotated[
        ValidatorName | None, Meta(description="Who may propose; null while the block to extend is missing here.")
    ]
    leader_reason: Annotated[
        str | None, Meta(description="Why it leads, in words; null when the node had gone on before that was known.")
    ]
    committee: Annotated[Literal["primary", "fallback"], Meta(description="Which committee has the lead (S4).")]
    entered_by: ViewEntry
    started_ms: Annotated[TimestampMs, Meta(description="When this node entered it, Unix ms.")]
    ended_ms: Annotated[TimestampMs | None, Meta(description="When it entered a later one; null while it is open.")]
    next_view: Annotated[View | None, Meta(description="That one; null while it is open.")]
    outcome: ViewOutcome
    proposal: Annotated[SeenProposalJson | None, Meta(description="The leader's proposal; null when none has come.")]
    qc_after_ms: Annotated[AfterMs | None, Meta(description="When a quorum certificate was known here; else null.")]
    fc_after_ms: Annotated[AfterMs | None, Meta(description="When a finality certificate was known here; else null.")]
    quorum_voters: Annotated[Names, Meta(description="Whose quorum votes came here, in time or not.")]
    finalize_voters: Annotated[Names, Meta(description="Whose finalize votes came here, in time or not.")]
    timeout_voters: Annotated[Names, Meta(description="Whose timeout votes came here, in time or not.")]
    rival_voters: Annotated[Names, Meta(description="Those of the quorum voters who voted for another block.")]
    late_voters: Annotated[
        Names, Meta(description="Whose quorum or finalize vote came after this node had left the view.")
    ]
    timeout_cause: Annotated[
        str | None,
        Meta(
            description="Why this node stopped voting in it: timer, others (they had), leader_lost (the connection to "
            "it) or restarted; null when it did not."
        ),
    ]
    timeout_after_ms: Annotated[AfterMs | None, Meta(description="When this node stopped voting in it; else null.")]
    reasons: Annotated[list[str], Meta(description="Why it went so, as far as this node can tell: short sentences.")]


class ViewsJson(msgspec.Struct):
    """Some views in ascending order. Views that the node never entered are left out."""

    now_ms: Annotated[TimestampMs, Meta(description="This moment by the node's clock, Unix ms.")]
    oldest: Annotated[View | None, Meta(description="The lowest view that is kept; null before the first one.")]
    latest: Annotated[View | None, Meta(description="The view that the node is in; null before the first one.")]
    next: Annotated[
        View | None, Meta(description="View to ask for next (from=); null when the views end here for now.")
    ]
    last_heard_ms: Annotated[
        Mapping[str, int],
        Meta(
            description="By name of validator, when its last vote or proposal came here, repeated ones included, Unix "
            "ms; whoever has sent none since the node started is not there."
        ),
    ]
    views: Annotated[
        list[ViewJson],
        Meta(
            description="Ascending. The last ones may still change: a vote or a certificate may come late.",
            extra_json_schema={"maxItems": VIEWS_LISTED_MAX},
        ),
    ]
