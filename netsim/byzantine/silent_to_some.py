"""L3: speaks to half of its peers only."""

from collections.abc import Iterable

from consensus.messages import Message
from consensus.types import ValidatorId
from netsim.byzantine.actor import Actor


class SilentToSome(Actor):
    """Nothing it says reaches peers with an even number, so honest nodes see different worlds."""

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        return () if to % 2 == 0 else (message,)
