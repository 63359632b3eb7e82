"""All forgeries in a mixture, drawn anew for each word and peer."""

from collections.abc import Iterable

from consensus.messages import Message, QuorumProposal
from consensus.types import ValidatorId
from netsim.byzantine.actor import Actor, Means
from netsim.byzantine.do_anything import DoAnything
from netsim.byzantine.flood_signatures import FloodSignatures
from netsim.byzantine.forge_certificates import ForgeCertificates
from netsim.byzantine.fork_tail import ForkTail
from netsim.byzantine.frame import Frame
from netsim.byzantine.mutate_anything import MutateAnything
from netsim.byzantine.mutate_slightly import MutateSlightly
from netsim.byzantine.replay import Replay
from netsim.byzantine.serve_lies import ServeLies
from netsim.byzantine.speak_ahead import SpeakAhead

_WEIGHTS: tuple[tuple[type[Actor], int], ...] = (
    (Actor, 4),
    (DoAnything, 2),
    (ForgeCertificates, 2),
    (Replay, 2),
    (SpeakAhead, 2),
    (ServeLies, 3),
    (MutateSlightly, 3),
    (MutateAnything, 3),
    (FloodSignatures, 1),
    (Frame, 2),
    (ForkTail, 1),
)


class ForgeAnything(Actor):
    """An adversary with an hour to try everything, where `do_anything` keeps to what a replica could sign."""

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self._actors = [kind(means) for kind, _ in _WEIGHTS]
        self._weights = [weight for _, weight in _WEIGHTS]

    def hear(self, message: Message) -> None:
        for actor in self._actors:
            actor.hear(message)

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        if isinstance(message, QuorumProposal):
            for actor in self._actors:
                actor.remember(message)
        return self.random.choices(self._actors, self._weights)[0].send(message, to)
