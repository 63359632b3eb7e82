"""Bounded accumulators of votes (R4, R6, R7); they notice equivocation (E2, E3).

A vote arrives with its signature unseen. Signatures are checked when the votes for one leaf would make a quorum, so
late votes cost nothing, and when two votes of one validator contradict each other. At most one vote per validator and
view is kept, in a window of views that the owner moves (L4).
"""

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from consensus.certificates import QuorumCertificate
from consensus.messages import TimeoutVote, Vote
from consensus.stake_table import StakeTable
from consensus.types import Commitment, ValidatorId, View

V = TypeVar("V", bound=Vote)


class Quorum(msgspec.Struct, frozen=True, gc=False):
    """`success_threshold` of genuine votes for one leaf in one view."""

    view: View
    leaf: Commitment
    signatures: Mapping[ValidatorId, bytes]


class Conflict(msgspec.Struct, Generic[V], frozen=True, gc=False):
    """Two genuine votes of one validator for different leaves in one view."""

    first: V
    second: V


class Forged(msgspec.Struct, frozen=True, gc=False):
    """This vote's signature is not its voter's. It was not counted."""

    voter: ValidatorId


class Repeated(msgspec.Struct, frozen=True, gc=False):
    """This validator's vote for the same leaf in the same view had come before."""

    voter: ValidatorId


Outcome: TypeAlias = Quorum | Conflict[V] | Forged | Repeated


class _ViewVotes(msgspec.Struct, Generic[V]):
    votes: dict[ValidatorId, V] = msgspec.field(default_factory=dict)
    genuine: set[ValidatorId] = msgspec.field(default_factory=set)
    stake: dict[Commitment, int] = msgspec.field(default_factory=dict)
    conflicted: set[ValidatorId] = msgspec.field(default_factory=set)
    quorum: Quorum | None = None


class VoteTally(Generic[V]):
    """Votes of one kind. `is_genuine` checks a signature; it is called as seldom as possible."""

    def __init__(self, table: StakeTable, is_genuine: Callable[[V], bool]) -> None:
        self._stakes = table.stakes
        self._threshold = table.success_threshold
        self._is_genuine = is_genuine
        self._views: dict[View, _ViewVotes[V]] = {}

    def add(self, vote: V, *, genuine: bool = False) -> list[Outcome[V]]:
        """Count a vote; `genuine` says that its signature needs no check (the replica's own).

        Returns what came of it: a quorum once per view, a conflict once per validator and view, every repetition and
        every forgery found.
        """
        tally = self._views.get(vote.view)
        if tally is None:
            tally = self._views[vote.view] = _ViewVotes()
        voter, leaf = vote.voter, vote.leaf
        first = tally.votes.get(voter)
        if first is not None:
            return [Repeated(voter)] if first.leaf == leaf else self._add_contradiction(tally, first, vote)
        tally.votes[voter] = vote
        if genuine:
            tally.genuine.add(voter)
        stake = tally.stake.get(leaf, 0) + self._stakes[voter]
        tally.stake[leaf] = stake
        if tally.quorum is not None or stake < self._threshold:
            return []
        return self._prove_quorum(tally, vote.view, leaf)

    def get_quorum(self, view: View) -> Quorum | None:
        tally = self._views.get(view)
        return None if tally is None else tally.quorum

    def forget_below(self, view: View) -> None:
        """Drop everything about lower views."""
        forget_below(self._views, view)

    def __len__(self) -> int:
        return sum(len(tally.votes) for tally in self._views.values())

    def _add_contradiction(self, tally: _ViewVotes[V], first: V, second: V) -> list[Outcome[V]]:
        if first.voter in tally.conflicted:
            return []
        if not self._is_genuine(second):
            return [Forged(second.voter)]
        if first.voter in tally.genuine or self._is_genuine(first):
            tally.genuine.add(first.voter)
            tally.conflicted.add(first.voter)
            return [Conflict(first, second)]
        self._remove(tally, first)
        return [Forged(first.voter), *self.add(second)]

    def _prove_quorum(self, tally: _ViewVotes[V], view: View, leaf: Commitment) -> list[Outcome[V]]:
        """Check the signatures that were put off, one by one, until they carry a quorum or run out."""
        outcome: list[Outcome[V]] = []
        signatures: dict[ValidatorId, bytes] = {}
        for vote in tuple(tally.votes.values()):
            if vote.leaf != leaf:
                continue
            voter = vote.voter
            if voter not in tally.genuine:
                if not self._is_genuine(vote):
                    self._remove(tally, vote)
                    outcome.append(Forged(voter))
                    continue
                tally.genuine.add(voter)
            signatures[voter] = vote.signature
        if tally.stake.get(leaf, 0) >= self._threshold:
            tally.quorum = Quorum(view, leaf, signatures)
            outcome.append(tally.quorum)
        return outcome

    def _remove(self, tally: _ViewVotes[V], vote: V) -> None:
        del tally.votes[vote.voter]
        tally.stake[vote.leaf] -= self._stakes[vote.voter]


class TimeoutTally:
    """The newest TimeoutVote of each validator; signatures have been checked (L4, R7)."""

    def __init__(self, table: StakeTable) -> None:
        self._table = table
        self._votes: dict[ValidatorId, TimeoutVote] = {}

    def add(self, vote: TimeoutVote) -> None:
        known = self._votes.get(vote.voter)
        if known is None or (vote.view, vote.high_qc.view) > (known.view, known.high_qc.view):
            self._votes[vote.voter] = vote

    def compute_stake(self, view: View) -> int:
        """Stake that timed out in exactly this view."""
        return sum(self._table.get_stake(vote.voter) for vote in self._votes.values() if vote.view == view)

    def get_votes(self, view: View) -> dict[ValidatorId, TimeoutVote]:
        return {vote.voter: vote for vote in self._votes.values() if vote.view == view}


def forget_below(by_view: MutableMapping[View, Any], view: View) -> None:
    """Drop what is about lower views."""
    for known in tuple(by_view):
        if known < view:
            del by_view[known]


def select_high_qc(votes: Mapping[ValidatorId, TimeoutVote]) -> QuorumCertificate:
    """The highest QC that came with the votes: at least the highest signed view, since each vote brings its own
    (P2).
    """
    return max((vote.high_qc for vote in votes.values()), key=lambda qc: qc.view)
