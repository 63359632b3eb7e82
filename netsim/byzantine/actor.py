"""What stands between a liar's replica and the world, and what it may use."""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from msgspec.structs import replace

from consensus.certificates import QuorumCertificate, TimeoutCertificate, make_timeout_subject
from consensus.leaf import Leaf, compute_leaf_commitment
from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote, TimeoutVote
from consensus.parameters import ConsensusParameters
from consensus.signatures import Domain, Signer, make_statement
from consensus.types import Commitment, Epoch, Microseconds, NetworkId, ValidatorId, View

PROPOSALS_MAX = 64
"""Proposals that an actor remembers; what it lies about is never older."""


@dataclass(frozen=True, slots=True)
class Means:
    """What one liar has: its identity, its key, what the network is set to, and a source of whims."""

    network_id: NetworkId
    validator_id: ValidatorId
    signer: Signer
    parameters: ConsensusParameters
    random: Random


class Actor:
    """Honest as it stands; a behaviour overrides `send`.

    Its replica follows the protocol and knows nothing of it, so an actor always knows enough to lie about the present,
    and whatever a rule says about what a replica does, the world sees only what the actor makes of it.
    """

    def __init__(self, means: Means) -> None:
        self.means = means
        self.id = means.validator_id
        self.random = means.random
        self.proposals: dict[Commitment, QuorumProposal] = {}
        """The last ones, of its own replica and of others, by leaf."""

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        """What leaves for one peer instead of what the replica says; called for each peer of a broadcast."""
        return (message,)

    def compute_delay(self, message: Message) -> Microseconds:
        """How long a message that `send` let through is held back."""
        return Microseconds(0)

    def hear(self, message: Message) -> None:
        """Somebody else sends this to the liar; nothing in it has been checked."""
        if isinstance(message, QuorumProposal):
            self.remember(message)

    def remember(self, proposal: QuorumProposal) -> None:
        while len(self.proposals) >= PROPOSALS_MAX:
            del self.proposals[next(iter(self.proposals))]
        self.proposals[compute_leaf_commitment(proposal.leaf)] = proposal

    # What it can sign: anything, but only as itself.

    def sign_proposal(self, leaf: Leaf, payload: bytes) -> QuorumProposal:
        subject = compute_leaf_commitment(leaf)
        return QuorumProposal(leaf, payload, self._sign(Domain.PROPOSAL, leaf.epoch, leaf.view, subject))

    def sign_vote(self, epoch: Epoch, view: View, leaf: Commitment) -> QuorumVote:
        return QuorumVote(epoch, view, leaf, self.id, self._sign(Domain.QUORUM_VOTE, epoch, view, leaf))

    def sign_finalize(self, epoch: Epoch, view: View, leaf: Commitment) -> FinalizeVote:
        return FinalizeVote(epoch, view, leaf, self.id, self._sign(Domain.FINALIZE_VOTE, epoch, view, leaf))

    def sign_timeout(
        self,
        view: View,
        high_qc_view: View,
        high_qc: QuorumCertificate,
        entry_tc: TimeoutCertificate | None,
    ) -> TimeoutVote:
        epoch = high_qc.epoch
        signature = self._sign(Domain.TIMEOUT_VOTE, epoch, view, make_timeout_subject(high_qc_view))
        return TimeoutVote(epoch, view, high_qc_view, self.id, signature, high_qc, entry_tc)

    def sign_again(self, message: Message) -> Message:
        """The same statement with a signature that is right, when it is one of its own."""
        match message:
            case QuorumProposal(leaf, payload) if leaf.proposer == self.id:
                return self.sign_proposal(leaf, payload)
            case QuorumVote(epoch, view, leaf, voter) if voter == self.id:
                return self.sign_vote(epoch, view, leaf)
            case FinalizeVote(epoch, view, leaf, voter) if voter == self.id:
                return self.sign_finalize(epoch, view, leaf)
            case TimeoutVote(epoch, view, high_qc_view, voter) if voter == self.id:
                subject = make_timeout_subject(high_qc_view)
                return replace(message, signature=self._sign(Domain.TIMEOUT_VOTE, epoch, view, subject))
            case _:
                return message

    def _sign(self, domain: Domain, epoch: Epoch, view: View, subject: bytes) -> bytes:
        return self.means.signer.sign(make_statement(self.means.network_id, domain, epoch, view, subject))
