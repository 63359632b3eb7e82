"""P1, R3b: says what it has to say, but for one thing, and signs that."""

from collections.abc import Iterable, Sequence
from hashlib import sha256

from msgspec.structs import replace

from consensus.leaf import Leaf
from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote, TimeoutVote
from consensus.types import Commitment, Epoch, Height, ValidatorId, View
from netsim.byzantine.actor import Actor

MUTATED_PERCENT = 40


class MutateSlightly(Actor):
    """A view or a height too high or too low, an old value, a digest that is nobody's, an empty signature, two kinds
    exchanged. Whatever is its own is signed again, so the signature is right where it is there.
    """

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        if isinstance(message, QuorumProposal):
            self.remember(message)
        if self.random.randrange(100) >= MUTATED_PERCENT:
            return (message,)
        mutants = self._list_mutants(message)
        return (self.random.choice(mutants) if mutants else message,)

    def _list_mutants(self, message: Message) -> Sequence[Message]:
        match message:
            case QuorumVote() | FinalizeVote():
                return self._list_votes(message)
            case TimeoutVote(view=view, high_qc_view=signed, high_qc=high_qc):
                bent = [replace(message, view=other) for other in _around(view)]
                bent += [replace(message, high_qc_view=other) for other in _around(signed)]
                bent += [replace(message, entry_tc=None), replace(message, high_qc=replace(high_qc, view=view))]
                old = [replace(message, high_qc=self.proposals[leaf].leaf.justify_qc) for leaf in self.proposals]
                return [*map(self.sign_again, bent + old[:2]), replace(message, signature=b"")]
            case QuorumProposal(leaf, payload):
                mutants: list[Message] = [self.sign_proposal(other, payload) for other in self._list_leaves(leaf)]
                return [*mutants, self.sign_proposal(leaf, payload + b"\0"), replace(message, signature=b"")]
            case _:
                return ()

    def _list_votes(self, vote: QuorumVote | FinalizeVote) -> list[Message]:
        bent = [replace(vote, view=other) for other in _around(vote.view)]
        bent += [replace(vote, leaf=known) for known in list(self.proposals)[-3:]]
        bent += [replace(vote, leaf=_tweak(vote.leaf)), replace(vote, epoch=Epoch(vote.epoch + 1))]
        exchanged = FinalizeVote if isinstance(vote, QuorumVote) else QuorumVote
        other = exchanged(vote.epoch, vote.view, vote.leaf, vote.voter, vote.signature)
        return [*map(self.sign_again, bent), replace(vote, signature=b""), other]

    def _list_leaves(self, leaf: Leaf) -> list[Leaf]:
        known = [proposal.leaf for proposal in self.proposals.values() if proposal.leaf != leaf]
        return [
            *(replace(leaf, view=other) for other in _around(leaf.view)),
            *(replace(leaf, height=Height(leaf.height + step)) for step in (1, -1)),
            replace(leaf, parent=_tweak(leaf.parent)),
            replace(leaf, ledger=_tweak(leaf.ledger)),
            replace(leaf, payload=_tweak(leaf.payload)),
            replace(leaf, payload_bytes=leaf.payload_bytes + 1),
            replace(leaf, timestamp_ms=leaf.timestamp_ms + 3_600_000),
            replace(leaf, timestamp_ms=0),
            replace(leaf, version=leaf.version + 1),
            replace(leaf, proposer=ValidatorId(leaf.proposer + 1)),
            *(replace(leaf, parent=old.parent, height=old.height) for old in known[-2:]),
            *(replace(leaf, parent=old.parent, justify_qc=old.justify_qc) for old in known[-2:]),
        ]


def _around(view: View) -> tuple[View, View]:
    return View(view + 1), View(max(0, view - 1))


def _tweak(digest: Commitment) -> Commitment:
    return Commitment(sha256(digest).digest())
