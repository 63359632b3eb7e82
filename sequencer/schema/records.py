"""What happened: changes of the ledger, slashings among them, and evidence (J4)."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sequencer.schema.fields import Epoch, Hash, Height, ValidatorName


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


class EvidenceJson(msgspec.Struct):
    """One proof that a validator broke a rule."""

    offender: Annotated[ValidatorName, Meta(description="Name of the validator.")]
    rule: Annotated[str, Meta(description="Which rule it broke: E1 to E5, or promise.")]
    epoch: Annotated[Epoch, Meta(description="In which it did.")]
    id: Annotated[Hash | None, Meta(description="Names the proof while it waits for a leaf; null once it is in one.")]
    height: Annotated[Height | None, Meta(description="Of the block that holds it; null while it waits for one.")]


class EvidenceListJson(msgspec.Struct):
    """Proofs that this node knows."""

    pending: Annotated[list[EvidenceJson], Meta(description="Those that no finalized block has punished yet.")]
    included: Annotated[
        list[EvidenceJson], Meta(description="Those that finalized blocks have punished since the node started.")
    ]
