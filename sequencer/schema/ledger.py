"""The ledger (S1): epoch, mode, committees, money and accounts, and who leads next and why."""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from sequencer.schema.fields import Amount, Count, Epoch, Hash, Height, PublicKey, ValidatorName, ValidatorStatus, View

Mode: TypeAlias = Annotated[
    Literal["normal", "fallback"],
    Meta(description="normal: the primary committee has the lead. fallback: the fallback committee has it (S5)."),
]


class EpochJson(msgspec.Struct):
    """The epoch under way."""

    number: Annotated[Epoch, Meta(description="Its number, counted from 0.")]
    first_height: Annotated[Height, Meta(description="Of its first block.")]
    last_height: Annotated[Height, Meta(description="Of its last block.")]


class ModeJson(msgspec.Struct):
    """Who has the lead, and what would change that (S5)."""

    name: Mode
    since_height: Annotated[Height, Meta(description="Of the block that brought this mode; 0 from the beginning.")]
    clean_leaves: Annotated[Count, Meta(description="Leaves in a row without a skipped view, in the fallback.")]
    handback_leaves: Annotated[Count, Meta(description="How many clean leaves in a row end the fallback.")]
    relapses: Annotated[Count, Meta(description="How often the fallback came back soon; each makes it last longer.")]
    reason: Annotated[str, Meta(description="Why, in words for people.")]


class LedgerJson(msgspec.Struct):
    """The ledger after a finalized block. Amounts are in the smallest unit."""

    height: Annotated[Height, Meta(description="Of the block after which the ledger stands so.")]
    epoch: Annotated[EpochJson, Meta(description="The epoch under way.")]
    mode: Annotated[ModeJson, Meta(description="Which committee has the lead, and why.")]
    primary: Annotated[list[ValidatorName], Meta(description="Names of the primary committee's members.")]
    fallback: Annotated[list[ValidatorName], Meta(description="Names of the fallback committee's members.")]
    total_stake: Annotated[
        Amount, Meta(description="Weight of this epoch's stake table, of which a quorum is more than two thirds.")
    ]
    pool: Annotated[Amount, Meta(description="Slashed money from which broken promises are compensated.")]
    burned: Annotated[Amount, Meta(description="Slashed money that nobody will ever have again.")]
    supply: Annotated[
        Amount, Meta(description="All there is: stake, balances, pool and burned. It never changes (J4).")
    ]
    seed: Annotated[
        Hash, Meta(description="From which this epoch's committees were drawn: the beacon of the last (T4).")
    ]
    beacon: Annotated[Hash | None, Meta(description="Of this epoch; null until it stands in a leaf.")]
    commitment: Annotated[Hash, Meta(description="Of the whole ledger, which the next leaf repeats.")]
    trusted: Annotated[
        str | None,
        Meta(
            description="EPOCH:COMMITMENT of the last leaf of the last epoch that is over, where a new node may begin "
            "(T5); null while there is none."
        ),
    ]


class MemberJson(msgspec.Struct):
    """A member of a committee."""

    name: Annotated[ValidatorName, Meta(description="Of the validator.")]
    weight: Annotated[Amount, Meta(description="What its vote counts in this epoch.")]
    turns: Annotated[
        Count,
        Meta(
            description="Its slots in one round of the rotation, in proportion to its weight (S2); 0 in the committee "
            "that does not lead."
        ),
    ]
    status: ValidatorStatus
    reason: Annotated[str | None, Meta(description="Why it stands so, in words; null when all is well.")]


class CommitteesJson(msgspec.Struct):
    """Both committees of this epoch."""

    epoch: Annotated[Epoch, Meta(description="For which they were drawn.")]
    leading: Annotated[Literal["primary", "fallback"], Meta(description="Which of the two has the lead.")]
    turns: Annotated[Count, Meta(description="Slots in one round of the leading committee's rotation.")]
    primary: Annotated[list[MemberJson], Meta(description="The primary committee.")]
    fallback: Annotated[list[MemberJson], Meta(description="The fallback committee.")]


class ScheduledJson(msgspec.Struct):
    """Who leads a view to come."""

    view: Annotated[View, Meta(description="Number of the view.")]
    leader: Annotated[ValidatorName, Meta(description="Name of the validator that leads it.")]
    why: Annotated[str, Meta(description="By which rule, in words.")]


class ScheduleJson(msgspec.Struct):
    """The next views, provided that each succeeds. Fewer than were asked for when the epoch ends before."""

    epoch: Annotated[Epoch, Meta(description="To which all of them belong.")]
    from_height: Annotated[Height, Meta(description="Of the first of these proposals.")]
    views: Annotated[list[ScheduledJson], Meta(description="In ascending order.")]


class AccountJson(msgspec.Struct):
    """An account of the ledger."""

    public_key: Annotated[PublicKey, Meta(description="The account's key, and its name.")]
    name: Annotated[str | None, Meta(description="In the network file, else null.")]
    balance: Annotated[Amount, Meta(description="What it has at its disposal; stake is not in it.")]
    nonce: Annotated[Count, Meta(description="That its next operation must have.")]
    validators: Annotated[list[ValidatorName], Meta(description="Names of those whose stake it owns.")]
