"""S7: leads as if the leaf before its own had never been certified."""

from collections.abc import Iterable

from msgspec.structs import replace

from consensus.certificates import QuorumCertificate, TimeoutCertificate
from consensus.leaf import Block, Leaf, compute_leaf_commitment, make_leaf
from consensus.messages import (
    FinalizeVote,
    Message,
    ProposalEcho,
    QuorumProposal,
    QuorumVote,
    StatusResponse,
    TimeoutVote,
)
from consensus.types import ValidatorId, View
from netsim.byzantine.actor import Actor, Means

VIEWS_MAX = 4
"""Views whose TimeoutVotes it remembers: it needs those of the view before its own."""
HELD_OF_8 = 4
"""Views of eight in which it would hold its proposal back: enough for it to lead now and then."""


class ForkTail(Actor):
    """Answers each proposal of others with a TimeoutVote, as if it had seen nothing of it, and finalizes nothing: what
    it says is no offence.

    When it leads it holds its proposal back, in half of the views, until it would time out itself. Have others given
    up on the view before meanwhile, because only some have seen its QC, then it makes a TC of the TimeoutVotes that
    know less than that QC and of one of its own, and extends what that leads to: the leaf of the QC is dropped from
    the chain. R3c allows it. More than that the others would not follow, and votes go to everyone, so it cannot keep a
    QC to itself.
    """

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self._timeouts: dict[View, dict[ValidatorId, TimeoutVote]] = {}
        self._held: QuorumProposal | None = None
        self._forks: dict[View, Leaf | None] = {}
        """What it has made of the view that it leads."""
        self.forks = 0
        """Leaves that it has tried to drop."""

    def hear(self, message: Message) -> None:
        super().hear(message)
        if isinstance(message, TimeoutVote):
            self._timeouts.setdefault(message.view, {}).setdefault(message.voter, message)
            if len(self._timeouts) > VIEWS_MAX:
                del self._timeouts[min(self._timeouts)]

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        match message:
            case QuorumVote(view=view, leaf=leaf) if leaf in self.proposals:
                proposed = self.proposals[leaf].leaf
                qc, tc = proposed.justify_qc, proposed.timeout_certificate
                if proposed.proposer == self.id:
                    return () if self._held is not None and self._held.leaf == proposed else (message,)
                return (self.sign_timeout(view, qc.view, qc, tc),)
            case FinalizeVote() | ProposalEcho():  # its replica would tell of the proposal that it holds back
                return ()
            case StatusResponse():  # its replica's FC holds the FinalizeVote that it keeps to itself
                return (replace(message, fc=None),)
            case QuorumProposal(leaf):
                self.remember(message)
                self._held = message if leaf.view % 8 < HELD_OF_8 else None
                return () if self._held is not None else (message,)
            case TimeoutVote(view=view) if self._held is not None and self._held.leaf.view == view:
                if view not in self._forks:  # once: two of them would be an offence
                    self._forks = {view: self._fork(self._held.leaf, self._held.payload)}
                fork = self._forks[view]
                if fork is None:
                    return (message,)
                proposal = self.sign_proposal(fork, self._held.payload)
                return (proposal, self.sign_vote(fork.epoch, view, compute_leaf_commitment(fork)))
            case _:
                return (message,)

    def _fork(self, leaf: Leaf, payload: bytes) -> Leaf | None:
        """A leaf on what the others knew when they gave up on the view before this one."""
        tc = self._make_tc(View(leaf.view - 1), leaf.justify_qc)
        parent = None if tc is None else self.proposals.get(tc.high_qc.leaf)
        if tc is None or parent is None:
            return None
        heirs = [each.leaf for each in self.proposals.values() if each.leaf.parent == tc.high_qc.leaf]
        if not heirs:  # what the ledger holds after the parent stands in them
            return None
        self.forks += 1
        return make_leaf(
            Block(parent.leaf, parent.payload),
            epoch=leaf.epoch,
            view=leaf.view,
            proposer=self.id,
            timestamp_ms=leaf.timestamp_ms,
            payload=payload,
            ledger=heirs[0].ledger,
            justify_qc=tc.high_qc,
            timeout_certificate=tc,
        )

    def _make_tc(self, view: View, high_qc: QuorumCertificate) -> TimeoutCertificate | None:
        """A TC of this view that knows nothing of `high_qc`; whether a quorum stands behind it is for others to see.

        It takes ids for positions in the stake table.
        """
        heard = self._timeouts.get(view, {})
        votes = {voter: vote for voter, vote in heard.items() if vote.high_qc.view < high_qc.view}
        if not votes:
            return None
        highest = max((vote.high_qc for vote in votes.values()), key=lambda qc: qc.view)
        votes[self.id] = self.sign_timeout(view, highest.view, highest, None)
        voters, size = sorted(votes), len(high_qc.signers)
        if voters[-1] >= 8 * size:
            return None
        signers = sum(1 << voter for voter in voters).to_bytes(size, "little")
        proof = self.means.signer.scheme.combine([votes[voter].signature for voter in voters])
        signed = tuple(votes[voter].high_qc_view for voter in voters)
        return TimeoutCertificate(high_qc.epoch, view, signers, proof, signed, highest)
