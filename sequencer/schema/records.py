"""What happened: changes of the ledger, slashings among them, and evidence (J4)."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from sequencer.schema.fields import Epoch, Hash, Height, Hex, ValidatorName, View

MessageKind: TypeAlias = Literal["proposal", "quorum_vote", "finalize_vote", "timeout_vote", "promise"]
"""What can be signed and stand in a proof."""


CURSOR_PATTERN: Final = r"^[0-9]{1,18}(\.[0-9]{1,4})?$"
RECORDS_DEFAULT: Final = 100
"""In one answer, when nobody says how many: some 20 KB."""

_Next: TypeAlias = Annotated[
    str | None,
    Meta(
        description="What to ask for next (from=), at this node or another; null at the end and without from.",
        examples=["20.1"],
    ),
]


class ChangeJson(msgspec.Struct):
    """One change of the ledger."""

    height: Annotated[
        Height, Meta(description="Of the block that brought it; for a new epoch, of the last block of the one before.")
    ]
    kind: Annotated[str, Meta(description="A stable word such as benched, slashed or fallback_activated.")]
    fields: Annotated[
        Mapping[str, Any], Meta(description="Numbers, names and texts that depend on the kind; validators by name.")
    ]
    reason: Annotated[str, Meta(description="Why, in words for people.")]


class ChangesJson(msgspec.Struct):
    """Changes of the ledger, oldest first."""

    complete_from: Annotated[
        Height | None,
        Meta(
            description="Lowest height of which nothing has been forgotten here; null while nothing has happened since "
            "the node started."
        ),
    ]
    changes: Annotated[list[ChangeJson], Meta(description="Oldest first.")]
    next: _Next


class SignedMessageJson(msgspec.Struct):
    """A message in a proof, signed by the offender."""

    kind: Annotated[MessageKind, Meta(description="What was signed.")]
    view: Annotated[View, Meta(description="In which it counts; of a promise, the first one.")]
    signature: Annotated[Hex, Meta(description="By the offender's voting key of that epoch.")]
    leaf: Annotated[Hash | None, Meta(description="Of which leaf it speaks; null for timeout votes and promises.")] = (
        None
    )
    high_qc_view: Annotated[
        View | None, Meta(description="View of the highest QC that a timeout vote claims to know; else null.")
    ] = None
    transaction: Annotated[Hash | None, Meta(description="Hash of what was promised; else null.")] = None


class EvidenceJson(msgspec.Struct):
    """One proof that a validator broke a rule."""

    offender: Annotated[ValidatorName, Meta(description="Name of the validator.")]
    rule: Annotated[str, Meta(description="Which rule it broke: E1 to E5, or promise.")]
    epoch: Annotated[Epoch, Meta(description="In which it did.")]
    id: Annotated[Hash | None, Meta(description="Names the proof; null when its block is not kept here.")]
    height: Annotated[Height | None, Meta(description="Of the block that holds it; null while it waits for one.")]
    contradiction: Annotated[
        str | None, Meta(description="What it proves, in words for people; null when its block is not kept here.")
    ]
    messages: Annotated[
        list[SignedMessageJson],
        Meta(description="The messages that contradict each other, or the one that breaks the rule by itself."),
    ]


class EvidenceListJson(msgspec.Struct):
    """Proofs that this node knows."""

    pending: Annotated[list[EvidenceJson], Meta(description="Those that no finalized block has punished yet.")]
    included: Annotated[
        list[EvidenceJson], Meta(description="Those that finalized blocks have punished since the node started.")
    ]
    next: _Next
