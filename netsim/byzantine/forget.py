"""E4: a TimeoutVote as if it had never seen the QCs for which it has sent FinalizeVotes."""

from collections.abc import Iterable

from consensus.messages import FinalizeVote, Message, QuorumProposal, TimeoutVote
from consensus.types import ValidatorId, View
from netsim.byzantine.actor import Actor

FORGET_EVERY = 4
"""In one of so many views it gives up on a view that it has just finalized."""


class Forget(Actor):
    """An amnesiac, as if its safety record had been put back to an old copy."""

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        match message:
            case TimeoutVote(view=view, high_qc=high_qc, entry_tc=entry_tc):
                return (self.sign_timeout(view, View(0), high_qc, entry_tc),)
            case FinalizeVote(view=view, leaf=leaf) if view % FORGET_EVERY == 0 and leaf in self.proposals:
                forgotten = self.proposals[leaf].leaf
                qc, tc = forgotten.justify_qc, forgotten.timeout_certificate
                return (message, self.sign_timeout(view, qc.view, qc, tc))
            case QuorumProposal():
                self.remember(message)
            case _:
                pass
        return (message,)
