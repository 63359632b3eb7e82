"""R3c, E5: undo the parent."""

from collections.abc import Iterable

from consensus.leaf import Block, Leaf, compute_leaf_commitment, make_leaf
from consensus.messages import Message, QuorumProposal, QuorumVote
from consensus.types import Commitment, ValidatorId
from netsim.byzantine.actor import Actor, Means


class ProposeStale(Actor):
    """Extends the grandparent by its own, older QC, and votes for that: whoever followed would undo the parent."""

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self._stale: Leaf | None = None

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        match message:
            case QuorumProposal(leaf):
                self.remember(message)
                stale = self._make_stale(leaf)
                if stale is not None:
                    self._stale = stale
                    return (self.sign_proposal(stale, b""),)
            case QuorumVote(epoch, view) if self._stale is not None and self._stale.view == view:
                return (self.sign_vote(epoch, view, compute_leaf_commitment(self._stale)),)
            case _:
                pass
        return (message,)

    def _make_stale(self, leaf: Leaf) -> Leaf | None:
        parent = self._find(leaf.parent)
        grandparent = None if parent is None else self._find(parent.leaf.parent)
        if parent is None or grandparent is None:
            return None
        return make_leaf(
            grandparent,
            epoch=leaf.epoch,
            view=leaf.view,
            proposer=self.id,
            timestamp_ms=leaf.timestamp_ms,
            payload=b"",
            ledger=parent.leaf.ledger,
            justify_qc=parent.leaf.justify_qc,
            timeout_certificate=leaf.timeout_certificate,
        )

    def _find(self, commitment: Commitment) -> Block | None:
        known = self.proposals.get(commitment)
        return None if known is None else Block(known.leaf, known.payload)
