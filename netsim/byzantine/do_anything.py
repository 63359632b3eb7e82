"""All offences in a mixture, drawn anew for each word and peer."""

from collections.abc import Iterable

from consensus.messages import Message, QuorumProposal
from consensus.types import Microseconds, ValidatorId
from netsim.byzantine.actor import Actor, Means
from netsim.byzantine.double_vote import DoubleVote
from netsim.byzantine.equivocate import Equivocate
from netsim.byzantine.flood_timeouts import FloodTimeouts
from netsim.byzantine.forget import Forget
from netsim.byzantine.propose_stale import ProposeStale
from netsim.byzantine.stall import Stall
from netsim.byzantine.vote_unjustified import VoteUnjustified
from netsim.byzantine.withhold_votes import WithholdVotes

_WEIGHTS: tuple[tuple[type[Actor], int], ...] = (
    (Actor, 6),
    (Equivocate, 4),
    (DoubleVote, 1),
    (Forget, 2),
    (ProposeStale, 1),
    (VoteUnjustified, 1),
    (FloodTimeouts, 1),
    (WithholdVotes, 2),
)
STALL_ONE_IN = 8


class DoAnything(Actor):
    """No plan at all: what a replica with a corrupted memory might do."""

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self._actors = [kind(means) for kind, _ in _WEIGHTS]
        self._weights = [weight for _, weight in _WEIGHTS]
        self._stall = Stall(means)

    def hear(self, message: Message) -> None:
        for actor in self._actors:
            actor.hear(message)

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        if isinstance(message, QuorumProposal):
            self.hear(message)
        return self.random.choices(self._actors, self._weights)[0].send(message, to)

    def compute_delay(self, message: Message) -> Microseconds:
        return self._stall.compute_delay(message) if self.random.randrange(STALL_ONE_IN) == 0 else Microseconds(0)
