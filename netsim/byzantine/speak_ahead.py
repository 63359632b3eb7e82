"""L4, T1: speaks in views and epochs that nobody has reached."""

from collections.abc import Iterable

from msgspec.structs import replace

from consensus.leaf import EpochProof
from consensus.messages import (
    EpochEnd,
    FinalizeVote,
    Message,
    QuorumProposal,
    QuorumVote,
    StatusRequest,
    StatusResponse,
    TimeoutVote,
)
from consensus.types import Epoch, ValidatorId, View
from netsim.byzantine.actor import Actor

FAR = 2**40
"""Views ahead: as far as anything would be kept that keeps too much."""


class SpeakAhead(Actor):
    """With each word the same one from the future: the next view, the end of the window, far beyond it, a later epoch.

    It votes for the leaf of today there, so nothing but the window keeps its votes from piling up.
    """

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        window = self.means.parameters.view_window
        ahead = self.random.choice((1, 2, window - 1, window, window + 1, FAR))
        later = self.random.choice((0, 0, 0, 1, 2, FAR))
        match message:
            case QuorumVote(epoch, view, leaf):
                return (message, self.sign_vote(Epoch(epoch + later), View(view + ahead), leaf))
            case FinalizeVote(epoch, view, leaf):
                return (message, self.sign_finalize(Epoch(epoch + later), View(view + ahead), leaf))
            case TimeoutVote(view=view):
                return (message, self.sign_again(replace(message, view=View(view + ahead))))
            case QuorumProposal(leaf, payload):
                future = replace(leaf, epoch=Epoch(leaf.epoch + later), view=View(leaf.view + ahead))
                return (message, self.sign_proposal(future, payload))
            case StatusRequest(epoch, view):
                return (message, StatusRequest(Epoch(epoch + later), View(view + ahead)))
            case StatusResponse(fc=fc) if fc is not None:  # a block in the middle of the epoch, said to be its last
                return (message, EpochEnd(fc.epoch, EpochProof(fc, ())))
            case _:
                return (message,)
