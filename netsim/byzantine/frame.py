"""Section 4, J4: accuses the honest of what they have not done, with what they have signed."""

from collections.abc import Iterable
from hashlib import sha256

from msgspec.structs import replace

from consensus.evidence import (
    DoubleFinalize,
    DoubleProposal,
    DoubleVote,
    Evidence,
    ForgottenFinalize,
    SignedLeaf,
    UnjustifiedVote,
    make_pair,
)
from consensus.leaf import make_header
from consensus.messages import (
    EvidenceNotice,
    FinalizeVote,
    Message,
    ProposalEcho,
    QuorumProposal,
    QuorumVote,
    TimeoutVote,
)
from consensus.types import Commitment, ValidatorId, View
from netsim.byzantine.actor import Actor, Means

HEARD_MAX = 32
"""Statements of each kind that it has to work with."""


class Frame(Actor):
    """A proof of each kind, half of it genuine, told to everyone with its votes and put into half of its leaves."""

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self._votes: list[QuorumVote] = []
        self._finalizes: list[FinalizeVote] = []
        self._timeouts: list[TimeoutVote] = []

    def hear(self, message: Message) -> None:
        super().hear(message)
        match message:
            case QuorumVote():
                self._votes = [*self._votes, message][-HEARD_MAX:]
            case FinalizeVote():
                self._finalizes = [*self._finalizes, message][-HEARD_MAX:]
            case TimeoutVote():
                self._timeouts = [*self._timeouts, message][-HEARD_MAX:]
            case _:
                pass

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        match message:
            case QuorumProposal(leaf, payload) if self.random.random() < 0.5:
                return (self.sign_proposal(replace(leaf, evidence=tuple(self._fabricate()[:1])), payload),)
            case QuorumVote(epoch, view, leaf) if leaf in self.proposals:
                proposer = self.proposals[leaf].leaf.proposer
                echo = ProposalEcho(epoch, view, _tweak(leaf), proposer, self.proposals[leaf].signature)
                return (message, echo, *map(EvidenceNotice, self._fabricate()))
            case _:
                return (message,)

    def _fabricate(self) -> list[Evidence]:
        """One or two of all, in any order."""
        ways = [self._double(), *self._forgotten(), *self._unjustified(), *self._proposed()]
        found = [evidence for evidence in ways if evidence is not None]
        self.random.shuffle(found)
        return found[:2]

    def _double(self) -> Evidence | None:
        """Two votes: a genuine one, and one that was made up, is of another view, or is of another kind."""
        if not self._votes or not self._finalizes:
            return None
        vote, finalize = self.random.choice(self._votes), self.random.choice(self._finalizes)
        half, final = SignedLeaf(vote.leaf, vote.signature), SignedLeaf(finalize.leaf, finalize.signature)
        others = [each for each in self._votes if each.voter == vote.voter and each.leaf != vote.leaf]
        made_up = SignedLeaf(_tweak(vote.leaf), self.random.choice((vote.signature, self._sign_other(vote))))
        voter, epoch, view = vote.voter, vote.epoch, vote.view
        ways: list[Evidence] = [
            make_pair(DoubleVote, voter, epoch, view, half, made_up),
            make_pair(DoubleVote, voter, epoch, view, half, half),
            make_pair(DoubleFinalize, voter, epoch, view, half, final),
            make_pair(DoubleVote, finalize.voter, epoch, view, half, final),
            *(
                make_pair(DoubleVote, voter, epoch, view, half, SignedLeaf(other.leaf, other.signature))
                for other in others[:1]
            ),
        ]
        return self.random.choice(ways)

    def _sign_other(self, vote: QuorumVote) -> bytes:
        return self.sign_vote(vote.epoch, vote.view, _tweak(vote.leaf)).signature

    def _forgotten(self) -> Iterable[Evidence]:
        """What somebody timed out before it finalized, and what it knew then, said to be less."""
        for timeout in self._timeouts[-1:]:
            for vote in [each for each in self._finalizes if each.voter == timeout.voter][-1:]:
                signed = SignedLeaf(vote.leaf, vote.signature)
                for high_qc_view in {timeout.high_qc_view, View(0)}:
                    yield ForgottenFinalize(
                        vote.voter, vote.epoch, vote.view, signed, timeout.view, high_qc_view, timeout.signature
                    )

    def _unjustified(self) -> Iterable[Evidence]:
        """A header that breaks R3c, which nobody has voted for."""
        for vote in self._votes[-1:]:
            proposal = self.proposals.get(vote.leaf)
            if proposal is not None:
                header = make_header(replace(proposal.leaf, timeout_certificate=None))
                yield UnjustifiedVote(vote.voter, replace(header, view=View(header.view + 1)), vote.signature)

    def _proposed(self) -> Iterable[Evidence]:
        for leaf, proposal in list(self.proposals.items())[-1:]:
            real = SignedLeaf(leaf, proposal.signature)
            other = SignedLeaf(_tweak(leaf), proposal.signature)
            epoch, view = proposal.leaf.epoch, proposal.leaf.view
            yield make_pair(DoubleProposal, proposal.leaf.proposer, epoch, view, real, other)


def _tweak(digest: Commitment) -> Commitment:
    return Commitment(sha256(digest).digest())
