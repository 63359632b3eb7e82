"""E1, E2, E3: when it leads, two proposals in one view."""

from collections.abc import Iterable

from msgspec.structs import replace

from consensus.leaf import compute_leaf_commitment
from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote
from consensus.types import Commitment, Epoch, ValidatorId, View
from netsim.byzantine.actor import PROPOSALS_MAX, Actor, Means

_GOSSIP = 3
"""Of so many peers in a row one gets a mixture, sometimes both halves: else nobody would ever hold the proof."""


class Equivocate(Actor):
    """One proposal for some peers, another for the rest, and votes for both of them in the same way."""

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self._others: dict[tuple[Epoch, View], Commitment] = {}

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        other: Message
        match message:
            case QuorumProposal(leaf, payload):
                other = self.sign_proposal(replace(leaf, timestamp_ms=leaf.timestamp_ms + 1), payload)
                self._note(leaf.epoch, leaf.view, compute_leaf_commitment(other.leaf))
            case QuorumVote(epoch, view) if (epoch, view) in self._others:
                other = self.sign_vote(epoch, view, self._others[epoch, view])
            case FinalizeVote(epoch, view) if (epoch, view) in self._others:
                other = self.sign_finalize(epoch, view, self._others[epoch, view])
            case _:
                return (message,)
        ways = ((message,), (other,), (message, other), (other, message))
        return ways[self.random.randrange(4) if (to - self.id) % _GOSSIP == 1 else to % 2]

    def _note(self, epoch: Epoch, view: View, leaf: Commitment) -> None:
        self._others[epoch, view] = leaf
        if len(self._others) > PROPOSALS_MAX:
            del self._others[next(iter(self._others))]
