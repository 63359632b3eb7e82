"""Validators: what they have at stake, how they stand and why, and how they have led."""

from typing import Annotated

import msgspec
from msgspec import Meta

from sequencer.schema.fields import Amount, Count, Epoch, PublicKey, ValidatorName, ValidatorStatus


class UnbondingJson(msgspec.Struct):
    """Stake on its way back to the owner. It may be slashed until it is paid."""

    amount: Annotated[Amount, Meta(description="How much, in the smallest unit.")]
    payable_epoch: Annotated[Epoch, Meta(description="With the beginning of which it is paid.")]


class OffenceJson(msgspec.Struct):
    """Why a validator is tombstoned (J3)."""

    rule: Annotated[str, Meta(description="Which rule it broke: E1 to E5, or promise.")]
    epoch: Annotated[Epoch, Meta(description="In which it did.")]
    stake: Annotated[Amount, Meta(description="What it had then.")]
    slashed: Annotated[Amount, Meta(description="What it has lost for it so far.")]


class LeaderJson(msgspec.Struct):
    """How a validator has led, counted in own slots (S3, J1)."""

    missed: Annotated[Count, Meta(description="Own slots missed since it last led a leaf.")]
    benchings: Annotated[Count, Meta(description="Times that it was benched since it last led; each lasts longer.")]
    bench_turns: Annotated[Count, Meta(description="Turns that it has still to sit out.")]
    window_slots: Annotated[Count, Meta(description="How many of its last own slots count for being jailed.")]
    window_misses: Annotated[
        Count, Meta(description="How many of these it missed; those before its first one count as led.")
    ]
    grace: Annotated[Count, Meta(description="Own slots that are not held against it yet.")]
    probation: Annotated[Count, Meta(description="Leaves that it must lead before its probation ends.")]


class ValidatorJson(msgspec.Struct):
    """A validator that the ledger knows."""

    id: Annotated[int, Meta(ge=0, le=2**16 - 1, description="Its number.")]
    name: Annotated[ValidatorName, Meta(description="Its name.")]
    status: ValidatorStatus
    reason: Annotated[str | None, Meta(description="Why it stands so, in words; null when all is well.")]
    stake: Annotated[Amount, Meta(description="Bonded now, in the smallest unit.")]
    weight: Annotated[Amount, Meta(description="What its vote counts in this epoch's quorums; 0 outside its table.")]
    weight_next: Annotated[
        Amount, Meta(description="What it will count in the next epoch's; 0 when it is not in that table, or none is.")
    ]
    owner: Annotated[PublicKey, Meta(description="Account that owns the stake.")]
    public_key: Annotated[PublicKey, Meta(description="With which it votes by the next stake table that is drawn up.")]
    voting_key: Annotated[
        PublicKey | None, Meta(description="With which it votes in this epoch; null outside its stake table.")
    ]
    address: Annotated[str | None, Meta(description="host:port at which peers reach it, when that is known.")]
    unbonding: Annotated[list[UnbondingJson], Meta(description="Stake on its way back to the owner.")]
    jailed_until: Annotated[Epoch | None, Meta(description="First epoch in which it may ask to be let out; else null.")]
    offences: Annotated[Count, Meta(description="How often it was jailed.")]
    offence: Annotated[OffenceJson | None, Meta(description="Why it is tombstoned; else null.")]
    leader: Annotated[LeaderJson, Meta(description="How it has led.")]


class ValidatorsJson(msgspec.Struct):
    """All validators that the ledger knows."""

    epoch: Annotated[Epoch, Meta(description="The epoch under way.")]
    total: Annotated[Amount, Meta(description="Weight of this epoch's stake table.")]
    success_threshold: Annotated[
        Amount, Meta(description="Weight of a quorum: more than two thirds. With less, nothing is finalized.")
    ]
    one_honest_threshold: Annotated[
        Amount, Meta(description="Weight among which somebody is honest: more than a third.")
    ]
    validators: Annotated[list[ValidatorJson], Meta(description="In ascending order of number.")]
