"""Votes in, certificates out (R4, R6, R7): the tallies, and what they need to make a certificate of a quorum.

Everything that passes here is shown to the watch, which finds those who contradict themselves (E2 to E5).
"""

from collections.abc import Iterable
from typing import TypeAlias

from consensus.certificates import (
    FinalityCertificate,
    QuorumCertificate,
    TimeoutCertificate,
    assemble_finality_certificate,
    assemble_quorum_certificate,
    assemble_timeout_certificate,
)
from consensus.context import EpochContext
from consensus.effects import Drop, Report
from consensus.evidence import DoubleFinalize, DoubleVote, Evidence, SignedLeaf, make_pair
from consensus.header import LeafHeader
from consensus.leaf import Block
from consensus.messages import FinalizeVote, QuorumVote, TimeoutVote, Vote
from consensus.tally import Conflict, Forged, Quorum, Repeated, TimeoutTally, VoteTally, forget_below, select_high_qc
from consensus.types import View
from consensus.validation import MessageValidator
from consensus.watch import Watch

Finding: TypeAlias = Report | Drop
"""What was noticed besides a quorum: an offence, or a forgery."""


class Certifier:
    """Counts the votes of one replica's view of the network and assembles each certificate once.

    What comes to light while votes are counted and certificates are noted is kept for `take_findings`; there is nearly
    always nothing. Each offender is reported once by each rule.
    """

    def __init__(self, context: EpochContext, validator: MessageValidator) -> None:
        self._context = context
        self._verified = validator.certificates
        self._votes: VoteTally[QuorumVote] = VoteTally(context.stake_table, validator.is_genuine)
        self._finalizes: VoteTally[FinalizeVote] = VoteTally(context.stake_table, validator.is_genuine)
        self._timeouts = TimeoutTally(context.stake_table)
        self._qcs: dict[View, QuorumCertificate] = {}
        self._fcs: dict[View, FinalityCertificate] = {}
        self._floor = View(-1)
        self._has_late = False
        """Whether something from below the floor is kept: of use at the moment, and forgotten with the next view."""
        self._watch = Watch(context.network_id, context.epoch, context.stake_table, context.scheme)
        self.findings: list[Finding] = []
        """What `take_findings` will return."""

    def get_qc_of(self, block: Block) -> QuorumCertificate | None:
        """The QC of exactly this block."""
        qc = self._qcs.get(block.leaf.view)
        return qc if qc is not None and qc.leaf == block.commitment else None

    def get_fc_of(self, block: Block) -> FinalityCertificate | None:
        """The FC of exactly this block."""
        fc = self.find_fc(block.leaf.view)
        return fc if fc is not None and fc.leaf == block.commitment else None

    def note_qc(self, qc: QuorumCertificate) -> bool:
        """Remember a verified QC; False when one of its view is known already."""
        known = self._qcs.get(qc.view)
        if known is None or known.leaf != qc.leaf:
            found = self._watch.note_qc(qc)
            if found:
                self._report(found)
        if known is not None:
            return False
        self._qcs[qc.view] = qc
        self._has_late = self._has_late or qc.view < self._floor
        return True

    def note_tc(self, tc: TimeoutCertificate) -> list[Report]:
        """E4: its signers may have finalized what it denies. To be told of every verified TC that comes."""
        return _make_reports(self._watch.note_tc(tc))

    def note_timeout(self, vote: TimeoutVote) -> list[Report]:
        """E4: a verified TimeoutVote of a view that is over counts no more, but its signer may have forgotten."""
        return _make_reports(self._watch.note_timeout(vote))

    def note_unjustified(self, header: LeafHeader) -> list[Report]:
        """E5: whoever votes, or has voted, for this leaf. Its proposer's signature has been checked, its certificates
        need not have been.
        """
        return _make_reports(self._watch.note_unjustified(header))

    def take_findings(self) -> list[Finding]:
        """What counting votes and noting QCs and FCs has brought to light since the last call."""
        findings, self.findings = self.findings, []
        return findings

    def add_quorum_vote(self, vote: QuorumVote, *, genuine: bool) -> QuorumCertificate | None:
        """R4: QuorumVotes of success_threshold for one leaf make its QC."""
        context = self._context
        self._has_late = self._has_late or vote.view < self._floor
        qc: QuorumCertificate | None = None
        for outcome in self._votes.add(vote, genuine=genuine):
            match outcome:
                case Quorum(view, leaf, signatures):
                    qc = assemble_quorum_certificate(
                        context.scheme, context.stake_table, context.epoch, view, leaf, signatures
                    )
                    self._verified.remember(qc)
                case Conflict(first, second):
                    self._report_pair(DoubleVote, first, second)
                case Forged(voter):
                    self.findings.append(Drop(voter, "bad_signature", f"quorum vote of view {vote.view}"))
                case Repeated(voter):
                    self.findings.append(Drop(voter, "repeated", f"quorum vote of view {vote.view}"))
                    return None
        found = self._watch.note_vote(vote)
        if found:
            self._report(found)
        return qc

    def add_finalize_vote(self, vote: FinalizeVote, *, genuine: bool) -> FinalityCertificate | None:
        """R6: FinalizeVotes of success_threshold for one leaf, with its QC, make its FC."""
        self._has_late = self._has_late or vote.view < self._floor
        fc: FinalityCertificate | None = None
        for outcome in self._finalizes.add(vote, genuine=genuine):
            match outcome:
                case Quorum(view):
                    fc = self.find_fc(view)
                case Conflict(first, second):
                    self._report_pair(DoubleFinalize, first, second)
                case Forged(voter):
                    self.findings.append(Drop(voter, "bad_signature", f"finalize vote of view {vote.view}"))
                case Repeated(voter):
                    self.findings.append(Drop(voter, "repeated", f"finalize vote of view {vote.view}"))
                    return None
        found = self._watch.note_finalize(vote)
        if found:
            self._report(found)
        return fc

    def find_fc(self, view: View) -> FinalityCertificate | None:
        """The FC of this view: one that came, or one made of its votes and its QC, in whichever order they came."""
        if view in self._fcs:
            return self._fcs[view]
        quorum, qc = self._finalizes.get_quorum(view), self._qcs.get(view)
        if quorum is None or qc is None or qc.leaf != quorum.leaf:
            return None
        fc = assemble_finality_certificate(self._context.scheme, self._context.stake_table, qc, quorum.signatures)
        self._verified.remember(fc)
        self._fcs[view] = fc
        return fc

    def note_fc(self, fc: FinalityCertificate) -> None:
        """Remember a verified FC: should its leaf not be here yet, any of them decides, not only the newest.

        L4: but none from below the window. There is one of each block that was ever decided, and all are genuine.
        """
        found = self._watch.note_fc(fc)
        if found:
            self._report(found)
        if fc.view >= self._floor:
            self._fcs.setdefault(fc.view, fc)

    def add_timeout(self, vote: TimeoutVote) -> TimeoutCertificate | None:
        """R7: TimeoutVotes of success_threshold make the TC of their view."""
        context, view = self._context, vote.view
        self._timeouts.add(vote)
        self._report(self._watch.note_timeout(vote))
        if self._timeouts.compute_stake(view) < context.stake_table.success_threshold:
            return None
        votes = self._timeouts.get_votes(view)
        signed = {voter: (vote.high_qc_view, vote.signature) for voter, vote in votes.items()}
        tc = assemble_timeout_certificate(
            context.scheme, context.stake_table, context.epoch, view, signed, select_high_qc(votes)
        )
        self._verified.remember(tc)
        return tc

    def is_timeout_honest(self, view: View) -> bool:
        """R7: at least one honest validator has timed out in this view."""
        return self._timeouts.compute_stake(view) >= self._context.stake_table.one_honest_threshold

    def forget_below(self, view: View) -> None:
        """L4: nothing about views below this one is needed any more."""
        if view < self._floor or (view == self._floor and not self._has_late):
            return
        self._floor = view
        self._has_late = False
        self._votes.forget_below(view)
        self._finalizes.forget_below(view)
        self._watch.forget_below(view)
        forget_below(self._qcs, view)
        forget_below(self._fcs, view)

    def _report_pair(self, kind: type[DoubleVote] | type[DoubleFinalize], first: Vote, second: Vote) -> None:
        halves = [SignedLeaf(vote.leaf, vote.signature) for vote in (first, second)]
        self._report(self._watch.report(make_pair(kind, first.voter, first.epoch, first.view, *halves)))

    def _report(self, found: Iterable[Evidence]) -> None:
        self.findings += _make_reports(found)


def _make_reports(found: Iterable[Evidence]) -> list[Report]:
    return [Report(evidence) for evidence in found]
