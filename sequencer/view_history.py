"""The last views as this node saw them: who led, what came when, who voted, and how each view ended.

Theory of operation. Messages are noted where they come in and where they leave, everything else when the turn that it
happened in is durable. That costs a vote a few dictionary look-ups; the words are made when somebody asks
(`view_reasons`). Votes are noted as they arrive, also those of views that are over and of views that this node enters
only later. Nothing here is part of the protocol, and nothing reads it back: it is lost when the process ends.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Final, TypeAlias

from consensus.epochs import EpochStart, compute_last_height
from consensus.evidence import BrokenPromise, Evidence, ForgottenFinalize, UnjustifiedVote, get_rule
from consensus.leaf import Block, Leaf
from consensus.ledger import LedgerParameters
from consensus.member import Member
from consensus.messages import FinalizeVote, QuorumProposal, QuorumVote, SingleMessage, TimeoutVote
from consensus.stake_table import StakeTable
from consensus.types import Commitment, Epoch, Microseconds, ValidatorId, View
from consensus.validation import Deferred, Verified
from sequencer.directory import Directory
from sequencer.schedule_view import explain_leader
from sequencer.view_record import Entry, SeenProposal, ViewRecord

VIEWS_KEPT_MAX: Final = 1024
"""A few seconds of a busy network, a quarter of an hour of an idle one, and hours of one that is halted."""
VOTES_KEPT_MAX: Final = 200_000
"""Of 70 bytes or so, in all views together: with more than 65 validators fewer views are kept."""
VIEWS_KEPT_MIN: Final = 64
VIEWS_AHEAD_MAX: Final = 16
"""Views whose votes are noted before this node enters them: whoever is further behind has to catch up first."""
EARLY_MAX: Final = 1024
"""Messages of the next epoch that are kept until the turn in which it began is durable; a turn takes fewer."""
REMARKS_KEPT_MAX: Final = 16
"""Drops, offences and rival votes of one view, each. A peer can make as many as it likes."""
PROPOSALS_KEPT_MAX: Final = 8
"""Of one view. Anybody may sign one; the leader's counts."""

Vote: TypeAlias = QuorumVote | FinalizeVote | TimeoutVote

_NOISE: Final = frozenset({"stale", "repeated", "unsolicited", "useless_range", "far_ahead", "wrong_epoch"})
"""Drops that say nothing about a view: what is late, doubled, or meant for another time."""


class ViewHistory:
    """The newest views that this node has entered, at most `VIEWS_KEPT_MAX`, and what it has heard of the next ones.

    An epoch may spend view numbers on closing itself that the next one uses again (T2): then the later view is kept.
    """

    def __init__(
        self, now: Callable[[], Microseconds], member: Member, parameters: LedgerParameters, directory: Directory
    ) -> None:
        self._now = now
        self._member = member
        self._parameters = parameters
        self._directory = directory
        self._views: dict[View, ViewRecord] = {}
        self._entered: deque[View] = deque()
        self._latest = View(-1)
        self._is_first_of_epoch = False
        self._heard: dict[ValidatorId, Microseconds] = {}
        self._early: list[Callable[[], None]] = []
        self._begin(member.epoch, member.context.stake_table)

    # What somebody asks

    @property
    def now(self) -> Microseconds:
        return self._now()

    def get_current(self) -> ViewRecord | None:
        """The view that this node is in; None before it has started."""
        return self._views.get(self._latest)

    def find(self, view: View) -> ViewRecord | None:
        """None for one that was not entered yet, was left out, or is not kept any more."""
        record = self._views.get(view)
        return record if record is not None and record.entered_at else None

    def get_oldest(self) -> View | None:
        return self._entered[0] if self._entered else None

    def read(self, from_view: View | None, limit: int) -> list[ViewRecord]:
        """In ascending order: those from a view on, or the latest ones."""
        entered = self._entered
        if from_view is None:
            chosen: Iterable[View] = islice(entered, max(0, len(entered) - limit), None)
        else:
            chosen = islice((view for view in entered if view >= from_view), limit)
        return [self._views[view] for view in chosen]

    @property
    def last_heard(self) -> Mapping[ValidatorId, Microseconds]:
        """When the last vote or proposal of each validator came, repeated ones included."""
        return MappingProxyType(self._heard)

    # What was seen

    def start(self) -> None:
        """The process begins in this view, or goes on in it."""
        replica = self._member.replica
        self._enter(replica.view, replica.leader, "start")

    def on_entered(self, view: View, leader: ValidatorId | None, *, timed_out: bool) -> None:
        """R1. `timed_out`: the view before ended by a TC."""
        entered_by: Entry = "tc" if timed_out else "qc"
        if self._is_first_of_epoch:
            self._is_first_of_epoch, entered_by = False, "epoch"
        former = self._views.get(self._latest)
        if entered_by == "qc" and former is not None and former.view == view - 1 and former.qc_at is None:
            former.qc_at = self._now()
        self._enter(view, leader, entered_by)

    def on_epoch(self, start: EpochStart) -> None:
        """T2: views above its genesis were spent on closing the epoch before, and begin again."""
        self._forget_above(start.block.leaf.view)
        self._begin(start.ledger.epoch, start.ledger.table)
        self._is_first_of_epoch = True
        early, self._early = self._early, []
        for note in early:
            note()

    def hear(self, item: Deferred | Verified[SingleMessage]) -> None:
        """What a peer has sent, and is valid by itself. Most of it are votes."""
        if isinstance(item, Deferred):
            self.hear_vote(item.vote)
        elif isinstance(item.message, TimeoutVote):
            self.hear_vote(item.message)
        elif isinstance(item.message, QuorumProposal) and item.commitment is not None:
            self.hear_proposal(item.message.leaf, item.commitment)

    def hear_vote(self, vote: Vote) -> None:
        """Of a peer, or of this node."""
        now = self._heard[vote.voter] = self._now()
        if vote.epoch == self._epoch:
            self._note_vote(vote, now)
        else:
            self._put_off(vote.epoch, partial(self._note_vote, vote, now))

    def hear_proposal(self, leaf: Leaf, commitment: Commitment) -> None:
        """Signed by its proposer, who need not be the leader."""
        now = self._heard[leaf.proposer] = self._now()
        note = partial(self._note_proposal, leaf, commitment, now)
        if leaf.epoch == self._epoch:
            note()
        else:
            self._put_off(leaf.epoch, note)

    def on_payload(self, epoch: Epoch, view: View, leader: ValidatorId, transactions: int) -> None:
        """R2, R3b: the payload of whoever leads has been made or opened here."""
        note = partial(self._note_payload, view, leader, transactions)
        if epoch == self._epoch:
            note()
        else:
            self._put_off(epoch, note)

    def on_timed_out(self, view: View, cause: str) -> None:
        """R7: this node has stopped voting in it."""
        record = self._views.get(view)
        if record is not None and record.timed_out_at is None:
            record.timed_out_at, record.timeout_cause = self._now(), cause
            if record.leader is None and view == self._member.replica.view:
                record.leader = self._member.replica.leader

    def on_decide(self, blocks: Iterable[Block], fc_view: View) -> None:
        """R6."""
        for block in blocks:
            record = self._views.get(block.leaf.view)
            if record is not None and record.epoch == block.leaf.epoch:
                record.is_decided = True
        certified = self._views.get(fc_view)
        if certified is not None and certified.fc_at is None:
            certified.fc_at = self._now()
            if certified.qc_at is None:
                certified.qc_at = certified.fc_at

    def on_report(self, evidence: Evidence) -> None:
        """J4: an offence that this node has noticed."""
        match evidence:
            case ForgottenFinalize(timeout_view=view):
                record = self._views.get(view)
            case UnjustifiedVote(header=header):
                record = self._views.get(header.view)
            case BrokenPromise():
                record = self.get_current()
            case _:
                record = self._views.get(evidence.view)
        if record is not None and len(record.offences) < REMARKS_KEPT_MAX:
            record.offences.add((evidence.offender, get_rule(evidence)))

    def on_drop(self, sender: ValidatorId, reason: str, detail: str) -> None:
        """L4: what a peer sent was of no use."""
        if reason in _NOISE:
            return
        record = self._views.get(self._latest)
        if record is not None and len(record.drops) < REMARKS_KEPT_MAX:
            record.drops.setdefault((sender, reason), detail)

    def _begin(self, epoch: Epoch, table: StakeTable) -> None:
        self._epoch = epoch
        self._table = table
        self._heard = {validator: at for validator, at in self._heard.items() if validator in table}
        self._last_height = compute_last_height(epoch, self._parameters)
        self._kept_max = max(VIEWS_KEPT_MIN, min(VIEWS_KEPT_MAX, VOTES_KEPT_MAX // (3 * len(table))))

    def _enter(self, view: View, leader: ValidatorId | None, entered_by: Entry) -> None:
        now = self._now()
        if view <= self._latest:  # the same numbers once more, in another epoch
            self._forget_above(View(view - 1))
        former = self._views.get(self._latest)
        if former is not None and former.ended_at is None:
            former.ended_at, former.next_view = now, view
        for passed in range(self._latest + 1, min(view, self._latest + 1 + VIEWS_AHEAD_MAX)):
            self._views.pop(View(passed), None)  # heard of, and never entered
        record = self._views.pop(view, None) or ViewRecord(view, self._epoch, self._table)
        self._views[view] = record  # in order of entry
        record.entered_at, record.entered_by = now, entered_by
        if leader is not None:
            record.leader = leader
        record.is_fallback, record.leader_reason = self._explain(view, record.leader)
        self._entered.append(view)
        self._latest = view
        while len(self._entered) > self._kept_max:
            del self._views[self._entered.popleft()]

    def _explain(self, view: View, leader: ValidatorId | None) -> tuple[bool, str | None]:
        """Whether the fallback committee has the lead, and why the leader leads, as far as that is known here."""
        replica = self._member.replica
        parent = replica.high_block
        if parent is None or leader is None or view != replica.view:
            return self._member.ledger.state.mode.is_fallback, None
        ledger = replica.chain.get_ledger(parent.commitment)
        return explain_leader(view, leader, parent.leaf, ledger, self._parameters, self._directory)

    def _forget_above(self, view: View) -> None:
        while self._entered and self._entered[-1] > view:
            self._entered.pop()
        for above in [other for other in self._views if other > view]:
            del self._views[above]
        self._latest = min(self._latest, view)

    def _find(self, view: View) -> ViewRecord | None:
        record = self._views.get(view)
        if record is None and self._latest < view <= self._latest + VIEWS_AHEAD_MAX:
            record = self._views[view] = ViewRecord(view, self._epoch, self._table)
        return record

    def _put_off(self, epoch: Epoch, note: Callable[[], None]) -> None:
        """The turn in which the next epoch begins is not durable yet; what is of any other epoch comes too late."""
        if epoch == self._epoch + 1 and len(self._early) < EARLY_MAX:
            self._early.append(note)

    def _note_payload(self, view: View, leader: ValidatorId, transactions: int) -> None:
        record = self._find(view)
        if record is not None:
            record.leader, record.transactions = leader, transactions

    def _note_vote(self, vote: Vote, at: Microseconds) -> None:
        record = self._views.get(vote.view) or self._find(vote.view)
        if record is None:
            return
        kind = type(vote)
        if kind is FinalizeVote:
            record.finalize.setdefault(vote.voter, at)
        elif kind is TimeoutVote:
            record.timeout.setdefault(vote.voter, at)
        elif isinstance(vote, QuorumVote) and vote.voter not in record.quorum:
            record.quorum[vote.voter] = at
            if record.voted_leaf is None:
                record.voted_leaf = vote.leaf
            elif record.voted_leaf != vote.leaf and len(record.rivals) < REMARKS_KEPT_MAX:
                record.rivals[vote.voter] = vote.leaf

    def _note_proposal(self, leaf: Leaf, commitment: Commitment, at: Microseconds) -> None:
        record = self._find(leaf.view)
        if record is not None and len(record.proposals) < PROPOSALS_KEPT_MAX:
            seen = SeenProposal(commitment, leaf.height, leaf.payload_bytes, at, leaf.height > self._last_height)
            record.proposals.setdefault(leaf.proposer, seen)
