"""What one node remembers of one view. Times are microseconds of the node's clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from consensus.stake_table import StakeTable
from consensus.types import Commitment, Epoch, Height, Microseconds, ValidatorId, View

Entry: TypeAlias = Literal["qc", "tc", "epoch", "start"]
"""How a view began here: by a QC or TC of the view before, as the first of an epoch, or with the process."""
Outcome: TypeAlias = Literal["open", "decided", "certified", "timed_out"]


@dataclass(frozen=True, slots=True)
class SeenProposal:
    """A proposal whose signature is right. `is_closing`: it only closes its epoch, and is never decided (T2)."""

    leaf: Commitment
    height: Height
    payload_bytes: int
    seen_at: Microseconds
    is_closing: bool


@dataclass(slots=True)
class ViewRecord:
    """One view at one node. What has not happened is None or empty."""

    view: View
    epoch: Epoch
    table: StakeTable
    entered_at: Microseconds = Microseconds(0)
    entered_by: Entry = "qc"
    leader: ValidatorId | None = None
    is_fallback: bool = False
    """The fallback committee has the lead."""
    leader_reason: str | None = None
    """Why the leader leads; None when the node had gone on before that could be told."""
    ended_at: Microseconds | None = None
    """When this node entered a later view."""
    next_view: View | None = None
    """That one. Not always the one after: a later certificate takes a node there at once."""
    proposals: dict[ValidatorId, SeenProposal] = field(default_factory=dict)
    transactions: int | None = None
    """In the leader's payload, once it was made or opened here."""
    voted_leaf: Commitment | None = None
    """Of the first quorum vote that was seen; votes for other leaves stand in `rivals`."""
    quorum: dict[ValidatorId, Microseconds] = field(default_factory=dict)
    finalize: dict[ValidatorId, Microseconds] = field(default_factory=dict)
    timeout: dict[ValidatorId, Microseconds] = field(default_factory=dict)
    rivals: dict[ValidatorId, Commitment] = field(default_factory=dict)
    qc_at: Microseconds | None = None
    fc_at: Microseconds | None = None
    is_decided: bool = False
    timed_out_at: Microseconds | None = None
    timeout_cause: str | None = None
    drops: dict[tuple[ValidatorId, str], str] = field(default_factory=dict)
    """Sender and reason -> detail of what was refused while this was the current view."""
    offences: set[tuple[ValidatorId, str]] = field(default_factory=set)
    """Offender and rule."""

    @property
    def proposal(self) -> SeenProposal | None:
        """The leader's."""
        return None if self.leader is None else self.proposals.get(self.leader)

    @property
    def outcome(self) -> Outcome:
        """A certificate that comes late is worth as much as one in time."""
        if self.is_decided:
            return "decided"
        if self.qc_at is not None:
            return "certified"
        return "open" if self.ended_at is None else "timed_out"

    def compute_late(self, votes: Mapping[ValidatorId, Microseconds]) -> list[ValidatorId]:
        """Whose vote of these came after this node had left the view."""
        ended_at = self.ended_at
        return [] if ended_at is None else [voter for voter, at in votes.items() if at > ended_at]

    def compute_rivals(self) -> list[ValidatorId]:
        """Whose quorum vote was for another leaf than the leader's, or than the first one where that is unknown."""
        proposal = self.proposal
        if proposal is None or proposal.leaf == self.voted_leaf:
            return list(self.rivals)
        return [voter for voter in self.quorum if self.rivals.get(voter) != proposal.leaf]
