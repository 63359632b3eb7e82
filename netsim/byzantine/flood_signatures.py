"""L4: with each word a dozen signatures to check, none of which is right."""

from collections.abc import Iterable

from msgspec.structs import replace

from consensus.messages import FinalizeVote, Message, ProposalEcho, QuorumProposal, QuorumVote, TimeoutVote
from consensus.types import Commitment, ValidatorId, View
from netsim.byzantine.actor import Actor

FORGERIES = 4
"""Of each kind, with each vote."""


class FloodSignatures(Actor):
    """Votes with bad signatures, for leaves of its own making and in the name of others; proposals and echoes too."""

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        match message:
            case QuorumVote(epoch, view, leaf) | FinalizeVote(epoch, view, leaf):
                flood: list[Message] = []
                for number in range(FORGERIES):
                    digest, signature = Commitment(self.random.randbytes(32)), self.random.randbytes(16)
                    flood += [
                        QuorumVote(epoch, View(view + number), digest, self.id, signature),
                        FinalizeVote(epoch, view, leaf, ValidatorId(number), signature),
                        ProposalEcho(epoch, view, digest, ValidatorId(number), signature),
                    ]
                return (*flood, message)
            case TimeoutVote():
                return (*(self._spoil(message) for _ in range(FORGERIES)), message)
            case QuorumProposal():
                return (*(self._spoil(message) for _ in range(FORGERIES)), message)
            case _:
                return (message,)

    def _spoil(self, message: QuorumProposal | TimeoutVote) -> Message:
        return replace(message, signature=self.random.randbytes(len(message.signature)))
