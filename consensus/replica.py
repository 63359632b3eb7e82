"""One replica of one epoch: which handler calls which rule in which order. The rules live elsewhere.

Theory of operation. `handle` takes one event and the time at which it happened, runs to completion and returns what
is to be done. Certificates drive everything: a QC raises `high_qc`, earns a FinalizeVote and opens the next view; a
TC only opens the next view; an FC decides. Votes become certificates in the tallies; a replica counts its own votes
like everyone's. Whatever is signed leaves inside a `Persist`, after the record that remembers it.

The order in which one QC is used is part of the safety argument and stands in `_on_qc`, nowhere else.
"""

from collections.abc import Sequence
from typing import assert_never

from consensus.certificates import FinalityCertificate, QuorumCertificate, TimeoutCertificate
from consensus.effects import (
    Broadcast,
    CheckPayload,
    ComputeBeacon,
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
    BeaconComputed,
    Event,
    EvidenceFound,
    LocalEvent,
    OperationSubmitted,
    PayloadBuilt,
    PayloadReady,
    PeerLost,
    Received,
    Started,
    Timer,
    TimerFired,
    TransactionsWaiting,
)
from consensus.evidence import SignedLeaf
from consensus.leaf import Block, EpochProof, Leaf
from consensus.messages import (
    EpochEnd,
    EvidenceNotice,
    LeafResponse,
    OperationNotice,
    ProposalEcho,
    QuorumProposal,
    QuorumVote,
    RangeResponse,
    SingleMessage,
    Snapshot,
    StatusRequest,
    StatusResponse,
    TimeoutVote,
    Vote,
)
from consensus.replica_state import ReplicaState
from consensus.safety import EntryCertificate
from consensus.types import Commitment, Microseconds, ValidatorId, View
from consensus.validation import Deferred, Foreign, Unjustified, Verified


class Replica(ReplicaState):
    """The pure state machine behind a node. Nothing in it awaits, reads a clock or draws a random number."""

    def inherit(self, former: "Replica") -> None:
        """What the epoch before has taught about the network: how long a view takes, and whose connection is gone."""
        self._pacemaker.inherit(former._pacemaker)
        self._peers.lost |= former._peers.lost

    def handle(self, event: Event, now: Microseconds) -> list[Effect]:
        """Run one event to completion; `now` must not decrease. An input that is not valid changes nothing."""
        self._now = now
        effects: list[Effect] = []
        self._effects = effects
        if self.epoch_proof is not None:
            return effects
        if isinstance(event, Received):
            self._peers.lost.discard(event.sender)  # whoever speaks is connected
            if isinstance(event.item, Deferred):  # most of what comes
                self._on_vote(event.sender, event.item.vote)
            else:
                self._on_item(event.sender, event.item)
        else:
            self._on_local(event)
        if self._certifier.findings:
            effects += self._certifier.take_findings()
        if self._fetcher.is_busy:
            effects += self._fetcher.take_requests(now, self._peers.lost)
        return effects

    def _on_local(self, event: LocalEvent) -> None:
        """What happens at this node, not at others."""
        match event:
            case TransactionsWaiting():
                if not self._has_timed_out and self._pacemaker.shorten_view_timer(self._now):
                    self._emit(SetTimer(Timer.VIEW, self._pacemaker.deadline))
            case PayloadReady(leaf, accepted):
                self._on_payload_ready(leaf, accepted=accepted)
            case PayloadBuilt():
                self._on_payload_built(event)
            case TimerFired(timer):
                self._on_timer(timer)
            case PeerLost(validator):
                self._peers.lost.add(validator)
                self._suspect()
            case Started():
                self._on_started()
            case BeaconComputed(epoch, result):
                if epoch == self._context.epoch:
                    self._proposals.beacon = result
            case OperationSubmitted() | EvidenceFound():
                pass  # the docket's, not the replica's
            case _:
                assert_never(event)

    def _on_started(self) -> None:
        """R8: send again exactly what was signed last, and ask what was missed."""
        record = self._safety.record
        self._emit(SetTimer(Timer.VIEW, self._pacemaker.start_view_timer(self._now)))
        self._emit(Broadcast(StatusRequest(self._context.epoch, self.view)))
        for vote in (record.last_vote, record.last_finalize):
            if vote is not None:  # behind a sync: a process that was killed may have left its record unsynced
                self._persist(Broadcast(vote))
                self._count_vote(vote, genuine=True)
        self._emit(ComputeBeacon(self._context.epoch, self._context.genesis.commitment))
        self._on_qc(record.high_qc)
        proposed = None if record.proposed_leaf is None else self.chain.get(record.proposed_leaf)
        if proposed is not None and proposed.leaf.view == self.view:
            self._propose(proposed)
        self._lead()
        if self._has_timed_out:
            self._time_out("restarted")

    def _on_item(self, sender: ValidatorId, item: Verified[SingleMessage] | Unjustified | Foreign) -> None:
        match item:
            case Unjustified(header):
                if self._oldest_view <= header.view <= self.view + self._view_window:
                    self._effects += self._certifier.note_unjustified(header)
                self._emit(Drop(sender, "unjustified", f"a leaf of view {header.view} that breaks R3c"))
            case Foreign(epoch):
                self._emit(Drop(sender, "wrong_epoch", f"a message of epoch {epoch}, this is {self._context.epoch}"))
            case _:
                self._on_message(sender, item)

    def _on_message(self, sender: ValidatorId, item: Verified[SingleMessage]) -> None:
        message = item.message
        match message:
            case QuorumProposal() as proposal:
                self._on_proposal(sender, proposal, item.commitment)
            case TimeoutVote() as vote:
                self._on_timeout_vote(sender, vote)
            case StatusRequest(view=view):
                self._peers.on_view(sender, view)
                self._answer(sender)
            case StatusResponse(high_qc, fc, entry_tc):
                self._on_qc(high_qc)
                self._on_fc(fc)
                self._on_tc(entry_tc)
            case LeafResponse() as response:
                self._on_leaf(sender, Block(response.leaf, response.payload))
            case RangeResponse() as response:
                self._on_range(sender, response)
            case ProposalEcho(_, view, leaf, proposer, signature):
                self._note_signed(view, proposer, SignedLeaf(leaf, signature))
            case EpochEnd(proof=proof):
                self._on_epoch_end(proof)
            case EvidenceNotice() | OperationNotice() | Snapshot():
                pass  # the docket's and the joiner's, not the replica's
            case _:
                assert_never(message)

    def _on_vote(self, sender: ValidatorId, vote: Vote) -> None:
        view = vote.view
        self._peers.on_view(sender, view)
        if self._oldest_view <= view <= self.view + self._view_window:
            self._count_vote(vote)
        else:
            reason = "far_ahead" if view > self.view else "stale"
            self._emit(Drop(sender, reason, f"vote of view {view} in view {self.view}"))
        echo = self._proposals.make_echo(view, vote.leaf) if isinstance(vote, QuorumVote) else None
        if echo is not None:
            self._emit(Send(sender, echo))
        if view < self.view - 1:
            self._answer(sender)

    def _on_proposal(self, sender: ValidatorId, proposal: QuorumProposal, commitment: Commitment | None) -> None:
        """R3: the certificates first, then the leaf."""
        leaf = proposal.leaf
        self._peers.on_view(leaf.proposer, leaf.view)
        self._on_qc(leaf.justify_qc)
        self._on_tc(leaf.timeout_certificate)
        block = Block(leaf, proposal.payload, commitment)
        self._note_signed(leaf.view, leaf.proposer, SignedLeaf(block.commitment, proposal.signature))
        if leaf.view < self.view:
            self._on_late_block(sender, block)
        else:
            self._consider(self._proposals.consider(sender, block, self._now))

    def _note_signed(self, view: View, proposer: ValidatorId, signed: SignedLeaf) -> None:
        if self.view - 1 <= view <= self.view + 1:
            self._effects += self._proposals.note_signed(view, proposer, signed)

    def _on_timeout_vote(self, sender: ValidatorId, vote: TimeoutVote) -> None:
        """R7: its certificates bring this replica up to the view of the vote (P2 sees to it that they can)."""
        self._peers.on_view(sender, vote.view)
        self._on_qc(vote.high_qc)
        self._on_tc(vote.entry_tc)
        if vote.view < self.view:
            self._effects += self._certifier.note_timeout(vote)
            self._answer(sender)
        else:
            self._count_timeout(vote)

    def _on_leaf(self, sender: ValidatorId, block: Block) -> None:
        if self._fetcher.is_wanted(block.commitment):
            self._on_blocks(self._arrivals.accept(sender, block, self._now))
        elif block.commitment not in self.chain:
            self._emit(Drop(sender, "unsolicited", f"{block} was not asked for"))

    def _on_range(self, sender: ValidatorId, response: RangeResponse) -> None:
        """L5: decided blocks; those after the last one that came lead to the FC, through closing leaves perhaps."""
        blocks = self._arrivals.take_range(response)
        if not blocks:
            self._emit(Drop(sender, "useless_range", f"nothing that continues height {self.tip.leaf.height}"))
            return
        path = [*(entry.leaf for entry in response.blocks), *response.path]
        self._advance(blocks, response.fc, [leaf for leaf in path if self._context.is_closing(leaf.height)])
        self._arrivals.on_range(response, self._now)
        self._on_fc(response.fc)

    def _on_epoch_end(self, proof: EpochProof) -> None:
        """T2: the epoch is over, and this is why; what is missing here is fetched first.

        Whether it is the end shows only then; its FC is worth as much as any other.
        """
        self._on_qc(proof.qc)
        if proof.leaf not in self.chain:
            self._on_fc(proof.fc)
        path = self.chain.compute_path(proof.leaf)
        if path is None:
            self._arrivals.keep_epoch_proof(proof, self._now)
        elif path and path[-1].leaf.height == self._context.last_height:
            self._advance(path, proof.fc, proof.path)

    def _on_timer(self, timer: Timer) -> None:
        """A view timer that fires early is set again; the fetch timer only wakes, every event ends with what is due."""
        if timer is Timer.VIEW and self._now < self._pacemaker.deadline:
            self._emit(SetTimer(Timer.VIEW, self._pacemaker.deadline))
        elif timer is Timer.VIEW:
            self._time_out("timer")
            self._on_qc(self.high_qc)  # asks for its leaf once more, should that still be missing

    def _on_payload_built(self, built: PayloadBuilt) -> None:
        """R2: the leader proposes, unless its view is over."""
        if self._has_timed_out:
            return
        block = self._leading.make_block(built, self.view, self.high_qc, self._now)
        if block is None:
            self._lead()
        else:
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
        if qc.view < self.chain.tip.leaf.view:
            return
        if qc.leaf not in self.chain:  # also when the QC is known: bounded buffers may have lost the leaf since
            self._want(qc)
        if not self._certifier.note_qc(qc):
            return
        self._safety.raise_high_qc(qc)
        self._finalize(qc)
        has_entered = self._enter(qc)
        fc = self._certifier.find_fc(qc.view)
        if fc is not None:
            self._on_fc(fc)
        if not has_entered:  # else it was asked whether to lead already
            self._lead()

    def _on_tc(self, tc: TimeoutCertificate | None) -> None:
        if tc is not None:
            self._effects += self._certifier.note_tc(tc)
            self._on_qc(tc.high_qc)
            self._enter(tc)

    def _on_fc(self, fc: FinalityCertificate | None) -> None:
        """R6: decide the leaf and its ancestors, as soon as they are all here."""
        if fc is None:
            return
        self._certifier.note_fc(fc)
        self._on_qc(fc.qc)
        if self._fc is None or fc.view > self._fc.view:
            self._fc = fc
        if fc.view <= self.tip.leaf.view or self.epoch_proof is not None:
            return
        path = self.chain.compute_path(fc.leaf)
        if path is not None:
            closing = [block.leaf for block in path if self._context.is_closing(block.leaf.height)]
            self._advance(path[: len(path) - len(closing)], fc, closing)
        elif self._arrivals.keep_fc(fc):
            self._want(fc.qc)

    def _enter(self, certificate: EntryCertificate) -> bool:
        """R1: enter view v+1 on a certificate of view v, never otherwise; views never go back. Whether it has."""
        view = View(certificate.view + 1)
        if view <= self.view:
            return False
        timed_out = isinstance(certificate, TimeoutCertificate)
        self._safety.enter(certificate)
        self._pacemaker.enter(view, self._now, timed_out=timed_out)
        self.view = view
        self._leading.start_view()
        self._proposals.start_view(view)
        self._emit(EnteredView(view, self.leader, timed_out))
        self._persist()
        self._emit(SetTimer(Timer.VIEW, self._pacemaker.start_view_timer(self._now)))
        self._move_window()
        for peer in self._peers.get_behind(View(certificate.view - 1)):
            self._answer(peer)
        self._lead()
        self._suspect()
        return True

    def _vote(self, block: Block) -> None:
        """R3: the vote is durable, with the block that it is for, before it leaves."""
        if block.leaf.view == self.view:
            self._cast(self._safety.sign_vote(block), block)

    def _finalize(self, qc: QuorumCertificate) -> None:
        """R5: once per view, never after a timeout of a view ≥ v; the leaf and its payload are here."""
        block = self.chain.get(qc.leaf)
        if block is None or qc.view <= self.chain.tip.leaf.view:
            return
        voted = self._safety.record.last_vote
        is_stored = voted is not None and voted.leaf == block.commitment
        self._cast(self._safety.sign_finalize(qc), *([] if is_stored else [block]))

    def _cast(self, vote: Vote | Unsafe, *blocks: Block) -> None:
        if not isinstance(vote, Unsafe):
            self._persist(Broadcast(vote), blocks=blocks)
            self._count_vote(vote, genuine=True)

    def _time_out(self, cause: str) -> None:
        """R7: stop voting in this view and say so; a repetition is the same signature with the newest certificates."""
        is_first = not self._has_timed_out
        vote = self._safety.sign_timeout(self.view)
        if isinstance(vote, Unsafe) and self._safety.can_sign:
            raise InvariantViolation(f"cannot time out in view {self.view}: {vote.detail}")
        if isinstance(vote, Unsafe):  # without a vote in this epoch all that it can do is ask
            self._emit(Broadcast(StatusRequest(self._context.epoch, self.view)))
            self._emit(SetTimer(Timer.VIEW, self._pacemaker.start_repeat_timer(self._now)))
            return
        if is_first:
            self._pacemaker.on_timeout()
            self._emit(TimedOut(self.view, cause))
        self._persist(Broadcast(vote))
        self._emit(SetTimer(Timer.VIEW, self._pacemaker.start_repeat_timer(self._now)))
        self._count_timeout(vote)

    def _count_vote(self, vote: Vote, *, genuine: bool = False) -> None:
        certifier = self._certifier
        qc = fc = None
        if isinstance(vote, QuorumVote):
            qc = certifier.add_quorum_vote(vote, genuine=genuine)
        else:
            fc = certifier.add_finalize_vote(vote, genuine=genuine)
        if certifier.findings:
            self._effects += certifier.take_findings()
        if qc is not None:
            self._on_qc(qc)
        elif fc is not None:
            self._on_fc(fc)

    def _count_timeout(self, vote: TimeoutVote) -> None:
        """R7: a quorum of timeouts ends the view; one honest timeout is followed."""
        tc = self._certifier.add_timeout(vote)
        if tc is not None:
            self._on_tc(tc)
        elif self._certifier.is_timeout_honest(vote.view) and not self._has_timed_out:
            self._time_out("others")

    def _lead(self) -> None:
        """R2: the leader of this view asks for a payload, once it holds the leaf of its highest QC."""
        if not self._is_view_over:
            self._effects += self._leading.request(self.view, self.high_qc, self._now)

    def _propose(self, block: Block) -> None:
        """R2: the proposal is durable, as a fact and as a block, before it leaves."""
        proposal = self._safety.sign_proposal(block)
        if isinstance(proposal, Unsafe):
            return
        self._proposals.adopt(block)
        self._proposals.note_signed(
            self.view, self._safety.validator_id, SignedLeaf(block.commitment, proposal.signature)
        )
        self._persist(Broadcast(proposal), blocks=(block,))
        self._pacemaker.on_proposal(self._now)
        self._vote(block)

    def _suspect(self) -> None:
        """L2: the connection to the leader is gone and its proposal has not come: time out now."""
        if not self._peers.lost:
            return
        is_awaited = self._proposals.candidate is None and not self._is_view_over and self._safety.can_sign
        if self.leader in self._peers.lost and is_awaited:
            self._time_out("leader_lost")

    def _consider(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._emit(effect)
            if isinstance(effect, CheckPayload):
                self._pacemaker.on_proposal(self._now)

    def _on_late_block(self, sender: ValidatorId, block: Block) -> None:
        """A proposal of a view that is over: of use only when its leaf was certified meanwhile."""
        if self._certifier.get_qc_of(block) is not None and block.commitment not in self.chain:
            self._on_blocks(self._arrivals.accept(sender, block, self._now))

    def _on_blocks(self, blocks: Sequence[Block]) -> None:
        """These blocks are on the chain now: everything that waited for them goes on (R2, R3, R5, R6)."""
        for block in blocks:
            qc = self._certifier.get_qc_of(block)
            if qc is not None:
                self._finalize(qc)
        for block in reversed(blocks):
            self._on_fc(self._certifier.get_fc_of(block))
        self._on_fc(self._arrivals.take_fc())
        proof = self._arrivals.take_epoch_proof()
        if proof is not None:
            self._on_epoch_end(proof)
        if self.epoch_proof is None:
            self._consider(self._proposals.reconsider(self._now))
            self._lead()
            self._suspect()

    def _advance(self, blocks: tuple[Block, ...], fc: FinalityCertificate, closing: Sequence[Leaf]) -> None:
        """R6: decided in order of height, once each. T2: at the last height the epoch is over."""
        before = self.chain.ledger
        changes = self.chain.advance(blocks)
        self._leading.on_decide()
        self._pacemaker.on_decide()
        self._emit(Decide(blocks, fc))
        if self.chain.ledger is not before:
            self._emit(LedgerAdvanced(self.chain.ledger, changes))
        if self.tip.leaf.height == self._context.last_height:
            self.epoch_proof = EpochProof(fc, tuple(closing))
            self._safety.retire()
            return
        self._move_window()
        self._on_blocks(self._arrivals.on_decide())

    def _move_window(self) -> None:
        """L4: the view or the tip has risen."""
        self._oldest_view = self._compute_oldest_view()
        self._certifier.forget_below(self._oldest_view)

    def _want(self, qc: QuorumCertificate) -> None:
        blocks = self._arrivals.want(qc, self._now)
        if blocks:
            self._on_blocks(blocks)

    def _answer(self, peer: ValidatorId) -> None:
        """L3: the highest certificates for a peer that is behind, at most once per fetch interval."""
        if self._peers.may_answer(peer, self._now):
            self._emit(Send(peer, StatusResponse(self.high_qc, self._fc, self._safety.entry_tc)))

    def _persist(self, *then: Broadcast | Send, blocks: tuple[Block, ...] = ()) -> None:
        self._emit(Persist(self._safety.record, blocks, then))

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)
