"""S7: leads as if the leaf before its own had never been certified."""

from collections.abc import Iterable

from msgspec.structs import replace

from consensus.leaf import Block, Leaf, make_leaf
from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote, StatusResponse
from consensus.types import ValidatorId
from netsim.byzantine.actor import Actor, Means


class ForkTail(Actor):
    """Answers each proposal of others with a TimeoutVote, as if it had seen nothing of it, and finalizes nothing: what
    it says is no offence.

    When it leads by a TC and holds a QC that is newer than the TC knows, it drops the leaf of that QC from the chain
    and extends the one before: R3c allows it. More than that the others would not follow, and votes go to everyone, so
    it cannot keep a QC to itself.
    """

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self.forks = 0
        """Leaves that it has tried to drop."""

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        match message:
            case QuorumVote(view=view, leaf=leaf) if leaf in self.proposals:
                proposed = self.proposals[leaf].leaf
                qc, tc = proposed.justify_qc, proposed.timeout_certificate
                return (message if proposed.proposer == self.id else self.sign_timeout(view, qc.view, qc, tc),)
            case FinalizeVote():
                return ()
            case StatusResponse():  # its replica's FC holds the FinalizeVote that it keeps to itself
                return (replace(message, fc=None),)
            case QuorumProposal(leaf, payload):
                self.remember(message)
                fork = self._fork(leaf, payload)
                return (message if fork is None else self.sign_proposal(fork, payload),)
            case _:
                return (message,)

    def _fork(self, leaf: Leaf, payload: bytes) -> Leaf | None:
        tc = leaf.timeout_certificate
        if tc is None or tc.high_qc.view >= leaf.justify_qc.view:
            return None
        parent = self.proposals.get(tc.high_qc.leaf)
        heirs = [each.leaf for each in self.proposals.values() if each.leaf.parent == tc.high_qc.leaf]
        if parent is None or not heirs:
            return None
        self.forks += 1
        return make_leaf(
            Block(parent.leaf, parent.payload),
            epoch=leaf.epoch,
            view=leaf.view,
            proposer=self.id,
            timestamp_ms=leaf.timestamp_ms,
            payload=payload,
            ledger=heirs[0].ledger,
            justify_qc=tc.high_qc,
            timeout_certificate=tc,
        )
