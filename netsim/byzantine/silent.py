"""L1, S3: never proposes."""

from collections.abc import Iterable

from consensus.messages import Message, QuorumProposal
from consensus.types import ValidatorId
from netsim.byzantine.actor import Actor


class Silent(Actor):
    """Votes like everyone, so nothing shows that it is alive and unwilling but the views that it loses."""

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        return () if isinstance(message, QuorumProposal) else (message,)
