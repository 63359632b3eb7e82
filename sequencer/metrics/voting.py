"""Who takes part: votes, the stake behind them, and how much of it may be lost before nothing is decided any more."""

import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from consensus.evidence import Evidence, get_rule
from consensus.ledger import Ledger
from consensus.messages import FinalizeVote, QuorumVote, TimeoutVote
from consensus.types import ValidatorId
from sequencer.metrics.entries import Entry, Section
from sequencer.metrics.roster import Roster

PARTICIPATION_SECONDS: Final = 15.0
"""Whoever has not voted for so long does not take part. A stuck view repeats its timeout votes every 10 s at most, by
default: then everybody who is there is heard within this."""

VOTE_KINDS: Final[dict[type, str]] = {QuorumVote: "quorum", FinalizeVote: "finalize", TimeoutVote: "timeout"}
VOTE_STATUSES: Final = ("sent", "received")
SAFETY_RULES: Final = ("E1", "E2", "E3", "E4", "E5", "promise")
"""Of `consensus.evidence`."""

VOTES: Final = Entry(
    "sequencer_votes",
    "counter",
    "Votes of this node (sent) and of others (received), by kind: quorum, finalize, timeout.",
    "Of n validators each view has n of each of the first two. Timeout votes mean that a leader failed.",
    ("kind", "status"),
)
LAST_VOTE: Final = Entry(
    "sequencer_validator_last_vote_timestamp_seconds",
    "gauge",
    "Unix time at which this node last heard a vote of another validator; until it has, when it started.",
    "time() minus this, the least of all nodes, is how long a validator has been silent: alert ValidatorNotVoting.",
    ("validator",),
)
PARTICIPATING_STAKE: Final = Entry(
    "sequencer_participating_stake",
    "gauge",
    f"Stake of the validators that this node is connected with and has heard votes of in the last "
    f"{PARTICIPATION_SECONDS:g} s, its own included.",
    "Below sequencer_quorum_stake nothing can be decided.",
)
PARTICIPATING_RATIO: Final = Entry(
    "sequencer_participating_stake_ratio",
    "gauge",
    "The same as a part of all stake, 0 to 1.",
    "1 when everybody votes. Nothing is decided at two thirds or less.",
)
QUORUM_STAKE: Final = Entry(
    "sequencer_quorum_stake",
    "gauge",
    "Stake that must vote for a certificate: more than two thirds.",
    "Changes only with the stake table of an epoch.",
)
STAKE_MARGIN: Final = Entry(
    "sequencer_stake_margin",
    "gauge",
    "Participating stake minus that of a quorum: how much may be lost before the chain halts. Negative: it has halted.",
    "Compare with the stake of each validator. sequencer_tolerated_losses does that.",
)
TOLERATED_LOSSES: Final = Entry(
    "sequencer_tolerated_losses",
    "gauge",
    "How many more validators, the heaviest first, may fail before the chain halts. 0: the next one halts it. "
    "-1: it has halted.",
    "The figure to look at before a node is taken down. 0 while somebody is missing: alert QuorumAtRisk.",
)
OFFENCES_SEEN: Final = Entry(
    "sequencer_offences_seen",
    "counter",
    "Safety offences that this node found by itself, by rule: two votes or proposals for one view, and their like.",
    "Must be 0. Anything else: alert Equivocation. The proof is on its way into a leaf, see /v1/evidence.",
    ("rule",),
)

SECTION: Final = Section(
    "Votes and the quorum",
    (
        VOTES,
        LAST_VOTE,
        PARTICIPATING_STAKE,
        PARTICIPATING_RATIO,
        QUORUM_STAKE,
        STAKE_MARGIN,
        TOLERATED_LOSSES,
        OFFENCES_SEEN,
    ),
)


class Participation(NamedTuple):
    """Stakes of one epoch's table; `losses` as in `TOLERATED_LOSSES`."""

    stake: int
    total: int
    quorum: int
    losses: int


def compute_participation(ledger: Ledger, voting: Iterable[ValidatorId]) -> Participation:
    """Of whoever is in the running epoch's stake table."""
    table = ledger.table
    stakes = sorted((table.get_stake(validator) for validator in set(voting) if validator in table), reverse=True)
    left = stake = sum(stakes)
    losses = -1
    for lost in (*stakes, 0):
        if left < table.success_threshold:
            break
        losses += 1
        left -= lost
    return Participation(stake, table.total, table.success_threshold, losses)


class Voting(Collector):
    """A vote costs the hot path two additions. Who has voted lately is found out by `look`, some times a second."""

    def __init__(self, registry: CollectorRegistry, roster: Roster, wall: Callable[[], float] = time.time) -> None:
        self._roster = roster
        self._wall = wall
        self._started_at = wall()
        self._votes_of: dict[ValidatorId, int] = {}
        self._looked_at: dict[ValidatorId, int] = {}
        self._voted_at: dict[ValidatorId, float] = {}
        """Unix seconds."""
        self._self_id: ValidatorId | None = None
        """Nobody is a witness of its own votes."""
        self._connected: Callable[[], AbstractSet[ValidatorId]] | None = None
        votes = VOTES.counter(registry)
        self.votes = {
            status: {message: votes.labels(kind, status) for message, kind in VOTE_KINDS.items()}
            for status in VOTE_STATUSES
        }
        self.offences_seen = OFFENCES_SEEN.bounded(registry, SAFETY_RULES)
        registry.register(self)

    def count_message(self, message: object, status: str) -> None:
        """Counts a vote under one of `VOTE_STATUSES`; any other message is ignored."""
        child = self.votes[status].get(type(message))
        if child is not None:
            child.inc()
            voter: ValidatorId = message.voter  # type: ignore[attr-defined]
            self._votes_of[voter] = self._votes_of.get(voter, 0) + 1

    def on_offence(self, evidence: Evidence) -> None:
        """This node has found the proof of an offence."""
        self.offences_seen.inc(get_rule(evidence))

    def watch(self, validator: ValidatorId, connected: Callable[[], AbstractSet[ValidatorId]]) -> None:
        """Who this node is, and who is connected with it; the latter is called at each scrape."""
        self._self_id, self._connected = validator, connected

    def look(self) -> None:
        """To be called some times a second: whoever has voted since the last time has voted now."""
        now = self._wall()
        for validator, count in self._votes_of.items():
            if count != self._looked_at.get(validator):
                self._looked_at[validator] = count
                self._voted_at[validator] = now

    def _find_voting(self) -> frozenset[ValidatorId]:
        """A connection that is gone tells at once, silence after a while."""
        since = self._wall() - PARTICIPATION_SECONDS
        silent = {validator for validator, moment in self._voted_at.items() if moment < since}
        everybody = self._roster.ledger.table.ids if self._roster.ledger is not None else ()
        if self._started_at < since:
            silent |= {validator for validator in everybody if validator not in self._voted_at}
        connected = set(everybody) if self._connected is None else {*self._connected(), self._self_id}
        return frozenset(validator for validator in everybody if validator in connected and validator not in silent)

    def collect(self) -> Iterable[Metric]:
        self.look()
        last_vote = LAST_VOTE.gauge_family()
        ledger = self._roster.ledger
        if ledger is None:
            yield last_vote
            return
        for validator in self._roster.shown():
            if validator.id != self._self_id and validator.id in ledger.table:
                last_vote.add_metric(
                    [self._roster.name_of(validator.id)], self._voted_at.get(validator.id, self._started_at)
                )
        yield last_vote
        found = compute_participation(ledger, self._find_voting())
        yield PARTICIPATING_STAKE.gauge_family(found.stake)
        yield PARTICIPATING_RATIO.gauge_family(found.stake / found.total)
        yield QUORUM_STAKE.gauge_family(found.quorum)
        yield STAKE_MARGIN.gauge_family(found.stake - found.quorum)
        yield TOLERATED_LOSSES.gauge_family(found.losses)
