"""R3a, L4: says again what has been said."""

from collections import deque
from collections.abc import Iterable

from consensus.messages import Message
from consensus.types import ValidatorId
from netsim.byzantine.actor import Actor, Means

REMEMBERED_MAX = 256
"""Messages, its own and those of others as they were heard: some views back with four validators."""
REPEATED = 2


class Replay(Actor):
    """With each word two old ones of anybody's: votes, proposals, certificates, answers that nobody has asked for."""

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self._said: deque[Message] = deque(maxlen=REMEMBERED_MAX)

    def hear(self, message: Message) -> None:
        self._said.append(message)

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        old = [self.random.choice(self._said) for _ in range(REPEATED)] if self._said else []
        self._said.append(message)
        return (*old, message)
