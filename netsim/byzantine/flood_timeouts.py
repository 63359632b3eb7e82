"""L3, L4: with each word a dozen TimeoutVotes of views that are over."""

from collections.abc import Iterable

from consensus.messages import Message, QuorumProposal, TimeoutVote
from consensus.types import ValidatorId, View
from netsim.byzantine.actor import Actor

OLD_TIMEOUTS = 12


class FloodTimeouts(Actor):
    """Each of its old TimeoutVotes is valid by itself, and asks to be answered."""

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        if isinstance(message, QuorumProposal):
            self.remember(message)
        return (*self._make_old_timeouts(), message)

    def _make_old_timeouts(self) -> list[TimeoutVote]:
        certificates = [proposal.leaf.justify_qc for proposal in self.proposals.values()]
        return [self.sign_timeout(View(qc.view + 1), qc.view, qc, None) for qc in certificates[-OLD_TIMEOUTS:]]
