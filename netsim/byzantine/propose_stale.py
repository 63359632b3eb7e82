"""R3c: undo the parent."""

from collections.abc import Iterable

from consensus.leaf import Block, Leaf, make_leaf
from consensus.messages import Message, QuorumProposal
from consensus.types import Commitment, ValidatorId
from netsim.byzantine.actor import Actor, Means


class ProposeStale(Actor):
    """Extends the grandparent by its own, older QC: whoever followed would undo the parent."""

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self.stale: Leaf | None = None
        """What it proposed last."""

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        if isinstance(message, QuorumProposal):
            self.remember(message)
            stale = self._make_stale(message.leaf)
            if stale is not None:
                self.stale = stale
                return (self.sign_proposal(stale, b""),)
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
