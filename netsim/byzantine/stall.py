"""L1: proposes at the last moment."""

from consensus.messages import Message, QuorumProposal
from consensus.types import Microseconds
from netsim.byzantine.actor import Actor

STALL_PERCENT = 75
"""Of the shortest view timer: late enough to hurt, early enough not to miss the slot."""


class Stall(Actor):
    """Holds each proposal back until shortly before the others give up on it."""

    def compute_delay(self, message: Message) -> Microseconds:
        if isinstance(message, QuorumProposal):
            return Microseconds(self.means.parameters.timeout_floor * STALL_PERCENT // 100)
        return Microseconds(0)
