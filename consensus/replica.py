"""One replica of one epoch: which handler calls which rule in which order. The rules live elsewhere.

Theory of operation. `handle` takes one event and the time at which it happened, runs to completion and returns what
is to be done. Certificates drive everything: a QC raises `high_qc`, earns a FinalizeVote and opens the next view; a
TC only opens the next view; an FC decides. Votes become certificates in the tallies; a replica counts its own votes
like everyone's. Whatever is signed leaves inside a `Persist`, after the record that remembers it.

The order in which one QC is used is part of the safety argument and stands in `_on_qc`, nowhere else.
"""

from collections.abc import Sequence
from typing import assert_never

from consensus.certificates import FinalityCertificate, QuorumCertificate, TimeoutCertificate, decode_signers
from consensus.certifier import Certifier
from consensus.chain import Chain
from consensus.context import EpochContext
from consensus.effects import (
    Broadcast,
    CheckPayload,
    Decide,
    Drop,
    Effect,
    EnteredView,
    LedgerAdvanced,
    Persist,
    Send,
    SetTimer,
    TimedOut,
)
from consensus.errors import InvariantViolation, Unsafe
from consensus.events import (
    Event,
    PayloadBuilt,
    PayloadReady,
    PeerLost,
    Received,
    Started,
    Timer,
    TimerFired,
    TransactionsWaiting,
)
from consensus.fetch import Fetcher
from consensus.leaf import Block
from consensus.ledger import Ledger
from consensus.messages import (
    LeafResponse,
    QuorumProposal,
    RangeResponse,
    SingleMessage,
    StatusRequest,
    StatusResponse,
    TimeoutVote,
    Vote,
)
from consensus.pacemaker import Pacemaker
from consensus.peers import Peers
from consensus.proposals import Proposals
from consensus.safety import EntryCertificate, SafetyRules
from consensus.schedule import LeaderSchedule
from consensus.types import Commitment, Height, Microseconds, ValidatorId, View
from consensus.validation import Deferred, MessageValidator, Verified


class Replica:
    """The pure state machine behind a node. Nothing in it awaits, reads a clock or draws a random number."""

    def __init__(
        self,
        context: EpochContext,
        schedule: LeaderSchedule,
        validator: MessageValidator,
        safety: SafetyRules,
        *,
        tip: Block,
        ledger: Ledger,
        tip_fc: FinalityCertificate | None,
        undecided: Sequence[Block],
    ) -> None:
        self._context = context
        self._table = context.stake_table
        self._parameters = context.parameters
        self._safety = safety
        self._id = safety.validator_id
        self.chain = Chain(tip, ledger, context.ledger_parameters, undecided)
        self._fc = tip_fc
        self._pacemaker = Pacemaker(context.parameters, View(safety.record.entry.view + 1))
        self._fetcher = Fetcher(self.chain, self._id, self._table.ids, context.parameters.fetch_interval)
        self._proposals = Proposals(context, schedule, self.chain)
        self._certifier = Certifier(context, validator)
        self._peers = Peers(context.parameters.fetch_interval)
        self._pending_fc: FinalityCertificate | None = None
        self._is_building = False
        self._has_decided = False
        self._now = Microseconds(0)
        self._effects: list[Effect] = []

    @property
    def view(self) -> View:
        return self._pacemaker.view

    @property
    def leader(self) -> ValidatorId | None:
        """Leader of the current view; None while the block that it extends is missing here."""
        return self._proposals.compute_leader(self.view, self.high_qc)

    @property
    def tip(self) -> Block:
        """The last decided block."""
        return self.chain.tip

    @property
    def high_qc(self) -> QuorumCertificate:
        return self._safety.record.high_qc

    @property
    def high_block(self) -> Block | None:
        """The block that `high_qc` certifies, once it is here."""
        return self.chain.get(self.high_qc.leaf)

    @property
    def is_behind(self) -> bool:
        """Whether decided blocks are known to be missing here."""
        return self._fetcher.is_catching_up or self._pending_fc is not None

    def compute_next_leaders(self, count: int) -> tuple[ValidatorId, ...]:
        """Who proposes next, as far as is known; the current leader first, while its proposal is awaited."""
        first = self.view if self._proposals.candidate is None else self.view + 1
        leaders = (self._proposals.compute_leader(View(view), self.high_qc) for view in range(first, first + count))
        return tuple(dict.fromkeys(leader for leader in leaders if leader is not None))

    def handle(self, event: Event, now: Microseconds) -> list[Effect]:
        """Run one event to completion; `now` must not decrease. An input that is not valid changes nothing."""
        self._now = now
        self._effects = effects = list[Effect]()
        match event:
            case Received(sender, item):
                self._on_received(sender, item)
            case PayloadReady(leaf, accepted):
                self._on_payload_ready(leaf, accepted=accepted)
            case PayloadBuilt():
                self._on_payload_built(event)
            case TimerFired(timer):
                self._on_timer(timer)
            case PeerLost(validator):
                self._peers.lost.add(validator)
                self._suspect()
            case TransactionsWaiting():
                if not self._has_timed_out and self._pacemaker.shorten_view_timer(now):
                    self._emit(SetTimer(Timer.VIEW, self._pacemaker.deadline))
            case Started():
                self._on_started()
            case _:
                assert_never(event)
        effects += self._fetcher.take_requests(now, self._peers.lost)
        return effects

    def _on_started(self) -> None:
        """R8: send again exactly what was signed last, and ask what was missed."""
        record = self._safety.record
        self._emit(SetTimer(Timer.VIEW, self._pacemaker.start_view_timer(self._now)))
        self._emit(Broadcast(StatusRequest(self._context.epoch, self.view)))
        for vote in (record.last_vote, record.last_finalize):
            if vote is not None:  # behind a sync: a process that was killed may have left its record unsynced
                self._persist(Broadcast(vote))
                self._count_vote(vote, genuine=True)
        self._on_qc(record.high_qc)
        proposed = None if record.proposed_leaf is None else self.chain.get(record.proposed_leaf)
        if proposed is not None and proposed.leaf.view == self.view:
            self._propose(proposed)
        self._lead()
        if self._has_timed_out:
            self._time_out("restarted")

    def _on_received(self, sender: ValidatorId, item: Verified[SingleMessage] | Deferred) -> None:
        self._peers.on_message(sender)
        if isinstance(item, Deferred):
            self._on_vote(sender, item.vote)
            return
        match item.message:
            case QuorumProposal() as proposal:
                self._on_proposal(sender, proposal)
            case TimeoutVote() as vote:
                self._on_timeout_vote(sender, vote)
            case StatusRequest(view=view):
                self._peers.on_view(sender, view)
                self._answer(sender)
            case StatusResponse() as status:
                self._on_status(status)
            case LeafResponse() as response:
                self._on_leaf(sender, Block(response.leaf, response.payload))
            case RangeResponse() as response:
                self._on_range(sender, response)
            case _:
                pass

    def _on_vote(self, sender: ValidatorId, vote: Vote) -> None:
        self._peers.on_view(sender, vote.view)
        if self._oldest_view <= vote.view <= self.view + self._parameters.view_window:
            self._count_vote(vote)
        else:
            reason = "far_ahead" if vote.view > self.view else "stale"
            self._emit(Drop(sender, reason, f"vote of view {vote.view} in view {self.view}"))
        if vote.view < self.view - 1:
            self._answer(sender)

    def _on_proposal(self, sender: ValidatorId, proposal: QuorumProposal) -> None:
        """R3: the certificates first, then the leaf."""
        leaf = proposal.leaf
        self._peers.on_view(leaf.proposer, leaf.view)
        self._on_qc(leaf.justify_qc)
        self._on_tc(leaf.timeout_certificate)
        block = Block(leaf, proposal.payload)
        if leaf.view < self.view:
            self._on_late_block(sender, block)
        else:
            self._consider(self._proposals.consider(sender, proposal, block, self._now))

    def _on_timeout_vote(self, sender: ValidatorId, vote: TimeoutVote) -> None:
        """R7: its certificates bring this replica up to the view of the vote (P2 sees to it that they can)."""
        self._peers.on_view(sender, vote.view)
        self._on_qc(vote.high_qc)
        self._on_tc(vote.entry_tc)
        if vote.view < self.view:
            self._answer(sender)
        else:
            self._count_timeout(vote)

    def _on_status(self, status: StatusResponse) -> None:
        self._on_qc(status.high_qc)
        self._on_fc(status.fc)
        self._on_tc(status.entry_tc)

    def _on_leaf(self, sender: ValidatorId, block: Block) -> None:
        if self._fetcher.is_wanted(block.commitment):
            self._accept(sender, block)
        elif block.commitment not in self.chain:
            self._emit(Drop(sender, "unsolicited", f"{block} was not asked for"))

    def _on_range(self, sender: ValidatorId, response: RangeResponse) -> None:
        """L5: its FC and its parent links have been checked; what remains is whether it continues our chain."""
        tip = self.tip.leaf.height
        blocks = tuple(Block(entry.leaf, entry.payload) for entry in response.blocks if entry.leaf.height > tip)
        if not blocks or blocks[0].leaf.height != tip + 1:
            self._emit(Drop(sender, "useless_range", f"nothing that continues height {tip}"))
            return
        if blocks[0].leaf.parent != self.tip.commitment:
            raise InvariantViolation(f"conflicting finality: {blocks[0]} is certified, its parent is not {self.tip}")
        self._advance(blocks, response.fc)
        self._fetcher.on_range(Height(response.blocks[-1].leaf.height + len(response.path)), self._now)
        self._on_fc(response.fc)

    def _on_timer(self, timer: Timer) -> None:
        """A view timer that fires early is set again; the fetch timer only wakes, every event ends with what is due."""
        if timer is Timer.VIEW and self._now < self._pacemaker.deadline:
            self._emit(SetTimer(Timer.VIEW, self._pacemaker.deadline))
        elif timer is Timer.VIEW:
            self._time_out("timer")
            self._on_qc(self.high_qc)  # asks for its leaf once more, should that still be missing

    def _on_payload_built(self, built: PayloadBuilt) -> None:
        """R2: the leader proposes, unless its view is over."""
        if built.view != self.view or not self._is_building or self._has_timed_out:
            return
        self._is_building = False
        if built.parent != self.high_qc.leaf:  # a newer QC came while the payload was built
            self._lead()
            return
        block = self._proposals.make_block(
            self._id, self.view, built.payload, self.high_qc, self._safety.entry_tc, self._now
        )
        if block is not None:
            self._propose(block)

    def _on_payload_ready(self, leaf: Commitment, *, accepted: bool) -> None:
        block = self._proposals.candidate
        if block is None or block.commitment != leaf:
            return
        if accepted:
            self._vote(block)
        else:
            self._emit(Drop(block.leaf.proposer, "payload_refused", f"the application refuses {block}"))

    # Certificates

    def _on_qc(self, qc: QuorumCertificate) -> None:
        """R5, then R1: raise `high_qc`, finalize if the leaf is here, then enter the next view."""
        if qc.view < self.tip.leaf.view:
            return
        if qc.leaf not in self.chain:  # also when the QC is known: bounded buffers may have lost the leaf since
            self._want(qc)
        if not self._certifier.note_qc(qc):
            return
        self._safety.raise_high_qc(qc)
        self._finalize(qc)
        self._enter(qc)
        self._on_fc(self._certifier.find_fc(qc.view))
        self._lead()

    def _on_tc(self, tc: TimeoutCertificate | None) -> None:
        if tc is not None:
            self._on_qc(tc.high_qc)
            self._enter(tc)

    def _on_fc(self, fc: FinalityCertificate | None) -> None:
        """R6: decide the leaf and its ancestors, as soon as they are all here."""
        if fc is None:
            return
        self._on_qc(fc.qc)
        if self._fc is None or fc.view > self._fc.view:
            self._fc = fc
        if fc.view <= self.tip.leaf.view:
            return
        path = self.chain.compute_path(fc.leaf)
        if path is not None:
            self._advance(path, fc)
            return
        self._certifier.note_fc(fc)
        if self._pending_fc is None or fc.view > self._pending_fc.view:
            self._pending_fc = fc
            self._want(fc.qc)

    def _enter(self, certificate: EntryCertificate) -> None:
        """R1: enter view v+1 on a certificate of view v, never otherwise; views never go back."""
        view = View(certificate.view + 1)
        if view <= self.view:
            return
        timed_out = isinstance(certificate, TimeoutCertificate)
        self._safety.enter(certificate)
        self._pacemaker.enter(view, self._now, timed_out=timed_out)
        self._is_building = False
        self._proposals.start_view()
        self._emit(EnteredView(view, self.leader, timed_out))
        self._persist()
        self._emit(SetTimer(Timer.VIEW, self._pacemaker.start_view_timer(self._now)))
        self._certifier.forget_below(self._oldest_view)
        for peer in self._peers.get_behind(View(certificate.view - 1)):
            self._answer(peer)
        self._lead()
        self._suspect()

    def _vote(self, block: Block) -> None:
        """R3: the vote is durable, with the block that it is for, before it leaves."""
        if block.leaf.view != self.view:
            return
        vote = self._safety.sign_vote(block)
        if isinstance(vote, Unsafe):
            return
        self._persist(Broadcast(vote), blocks=(block,))
        self._count_vote(vote, genuine=True)

    def _finalize(self, qc: QuorumCertificate) -> None:
        """R5: once per view, never after a timeout of a view ≥ v; the leaf and its payload are here."""
        block = self.chain.get(qc.leaf)
        if block is None or qc.view <= self.tip.leaf.view:
            return
        vote = self._safety.sign_finalize(qc)
        if isinstance(vote, Unsafe):
            return
        voted = self._safety.record.last_vote
        is_stored = voted is not None and voted.leaf == block.commitment
        self._persist(Broadcast(vote), blocks=() if is_stored else (block,))
        self._count_vote(vote, genuine=True)

    def _time_out(self, cause: str) -> None:
        """R7: stop voting in this view and say so; a repetition is the same signature with the newest certificates."""
        is_first = not self._has_timed_out
        vote = self._safety.sign_timeout(self.view)
        if isinstance(vote, Unsafe):
            raise InvariantViolation(f"cannot time out in view {self.view}: {vote.detail}")
        if is_first:
            self._pacemaker.on_timeout()
            self._emit(TimedOut(self.view, cause))
        self._persist(Broadcast(vote))
        self._emit(SetTimer(Timer.VIEW, self._pacemaker.start_repeat_timer(self._now)))
        self._count_timeout(vote)

    def _count_vote(self, vote: Vote, *, genuine: bool = False) -> None:
        certificate, findings = self._certifier.add_vote(vote, genuine=genuine)
        self._effects += findings
        if isinstance(certificate, QuorumCertificate):
            self._on_qc(certificate)
        else:
            self._on_fc(certificate)

    def _count_timeout(self, vote: TimeoutVote) -> None:
        """R7: a quorum of timeouts ends the view; one honest timeout is followed."""
        tc = self._certifier.add_timeout(vote)
        if tc is not None:
            self._on_tc(tc)
        elif self._certifier.is_timeout_honest(vote.view) and not self._has_timed_out:
            self._time_out("others")

    def _lead(self) -> None:
        """R2: the leader of this view asks for a payload on top of its highest QC's leaf, once it holds that leaf."""
        is_mine = self.leader == self._id and self._safety.record.proposed_view < self.view
        if not is_mine or self._is_building or self._is_view_over or self.high_block is None:
            return
        # Neither the first leaf after a start nor one after a lost view is held back: it shows that the network works.
        is_calm = self._has_decided and self._safety.entry_tc is None
        idle = self._parameters.idle_interval if is_calm else 0
        self._is_building = True
        self._emit(self._proposals.request_payload(self.view, self.high_qc, Microseconds(self._now + idle)))

    def _propose(self, block: Block) -> None:
        """R2: the proposal is durable, as a fact and as a block, before it leaves."""
        proposal = self._safety.sign_proposal(block)
        if isinstance(proposal, Unsafe):
            return
        self._proposals.adopt(proposal, block)
        self._persist(Broadcast(proposal), blocks=(block,))
        self._pacemaker.on_proposal(self._now)
        self._vote(block)

    def _suspect(self) -> None:
        """L2: the connection to the leader is gone and its proposal has not come: time out now."""
        if self.leader in self._peers.lost and self._proposals.candidate is None and not self._is_view_over:
            self._time_out("leader_lost")

    def _consider(self, effects: list[Effect]) -> None:
        self._effects += effects
        if any(isinstance(effect, CheckPayload) for effect in effects):
            self._pacemaker.on_proposal(self._now)

    # Blocks that come late or by request

    def _on_late_block(self, sender: ValidatorId, block: Block) -> None:
        """A proposal of a view that is over: of use only when its leaf was certified meanwhile."""
        if self._certifier.get_qc_of(block) is not None and block.commitment not in self.chain:
            self._accept(sender, block)

    def _accept(self, sender: ValidatorId, block: Block) -> None:
        """A certified block is here, asked for or late."""
        pending = self._pending_fc
        if pending is not None and pending.leaf == block.commitment and block.leaf.height <= self.tip.leaf.height:
            raise InvariantViolation(f"conflicting finality: {block} has an FC, {self.tip} was decided")
        self._on_blocks(self._fetcher.accept(sender, block, self._now))

    def _on_blocks(self, blocks: Sequence[Block]) -> None:
        """These blocks are on the chain now: everything that waited for them goes on (R2, R3, R5, R6)."""
        for block in blocks:
            qc = self._certifier.get_qc_of(block)
            if qc is not None:
                self._finalize(qc)
        for block in reversed(blocks):
            self._on_fc(self._certifier.get_fc_of(block))
        pending = self._pending_fc
        if pending is not None and pending.leaf in self.chain:
            self._pending_fc = None
            self._on_fc(pending)
        self._consider(self._proposals.reconsider(self._now))
        self._lead()
        self._suspect()

    def _advance(self, blocks: tuple[Block, ...], fc: FinalityCertificate) -> None:
        """R6: decided in order of height, once each."""
        before = self.chain.ledger
        changes = self.chain.advance(blocks)
        self._has_decided = True
        self._pacemaker.on_decide()
        if self._pending_fc is not None and self._pending_fc.view <= self.tip.leaf.view:
            self._pending_fc = None
        self._emit(Decide(blocks, fc))
        if self.chain.ledger is not before:
            self._emit(LedgerAdvanced(self.chain.ledger, changes))
        self._certifier.forget_below(self._oldest_view)
        self._on_blocks(self._fetcher.on_decide())

    def _want(self, qc: QuorumCertificate) -> None:
        """L3: its proposal may wait here for its parent, or be on its way; then ask for it, its signers first."""
        waiting = self._proposals.take_waiting(qc.leaf)
        if waiting is not None:
            self._accept(waiting.leaf.proposer, waiting)
            return
        signers = decode_signers(self._table, qc.signers)
        self._fetcher.want(qc.leaf, qc.view, signers, Microseconds(self._now + self._parameters.fetch_interval))

    def _answer(self, peer: ValidatorId) -> None:
        """L3: the highest certificates for a peer that is behind, at most once per fetch interval."""
        if self._peers.may_answer(peer, self._now):
            self._emit(Send(peer, StatusResponse(self.high_qc, self._fc, self._safety.entry_tc)))

    @property
    def _has_timed_out(self) -> bool:
        return self._safety.record.timed_out_view >= self.view

    @property
    def _is_view_over(self) -> bool:
        """Nothing more is to be begun in this view: it has timed out here, or its QC is being handled right now."""
        return self._has_timed_out or self.high_qc.view >= self.view

    @property
    def _oldest_view(self) -> View:
        """L4: nothing below the last decided view or the window is needed."""
        return View(max(self.tip.leaf.view, self.view - self._parameters.view_window))

    def _persist(self, *then: Broadcast | Send, blocks: tuple[Block, ...] = ()) -> None:
        self._emit(Persist(self._safety.record, blocks, then))

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)
