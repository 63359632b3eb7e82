"""E2, E3: two votes of each kind in a view."""

from collections.abc import Iterable
from hashlib import sha256

from consensus.messages import FinalizeVote, Message, QuorumVote
from consensus.types import Commitment, ValidatorId, View
from netsim.byzantine.actor import Actor


class DoubleVote(Actor):
    """A vote for the leaf that its replica votes for, and one for a competitor: one that it has seen, else one that
    nobody has.
    """

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        match message:
            case QuorumVote(epoch, view, leaf):
                return (message, self.sign_vote(epoch, view, self._find_competitor(view, leaf)))
            case FinalizeVote(epoch, view, leaf):
                return (message, self.sign_finalize(epoch, view, self._find_competitor(view, leaf)))
            case _:
                return (message,)

    def _find_competitor(self, view: View, leaf: Commitment) -> Commitment:
        seen = (known for known, proposal in self.proposals.items() if proposal.leaf.view == view and known != leaf)
        return next(seen, Commitment(sha256(leaf).digest()))
