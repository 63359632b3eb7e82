"""R4, R6: no vote of it makes anybody's quorum."""

from collections.abc import Iterable

from consensus.messages import FinalizeVote, Message, QuorumVote
from consensus.types import ValidatorId
from netsim.byzantine.actor import Actor


class WithholdVotes(Actor):
    """Proposes and times out like everyone, and votes for nothing."""

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        return () if isinstance(message, QuorumVote | FinalizeVote) else (message,)
