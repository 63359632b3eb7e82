"""E5: a vote for a leaf that breaks R3c on its face."""

from collections.abc import Iterable

from consensus.leaf import compute_leaf_commitment
from consensus.messages import Message, QuorumVote
from consensus.types import ValidatorId
from netsim.byzantine.propose_stale import ProposeStale


class VoteUnjustified(ProposeStale):
    """Undoes the parent and votes for that, too: proposing it is no offence, but the vote is."""

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        match message:
            case QuorumVote(epoch, view) if self.stale is not None and self.stale.view == view:
                return (self.sign_vote(epoch, view, compute_leaf_commitment(self.stale)),)
            case _:
                return super().send(message, to)
