"""The proposals of one view: making one (R2), judging those of others (R3b), and catching a leader that made two
(E1).
"""

from consensus.certificates import QuorumCertificate, TimeoutCertificate
from consensus.chain import Chain
from consensus.context import EpochContext
from consensus.effects import BuildPayload, CheckPayload, Drop, Effect, Report
from consensus.errors import InvariantViolation
from consensus.evidence import DoubleProposal, SignedLeaf, make_pair
from consensus.leaf import Block, compute_leaf_commitment, make_leaf
from consensus.messages import QuorumProposal
from consensus.schedule import LeaderSchedule
from consensus.types import Commitment, Microseconds, ValidatorId, View
from consensus.validation import find_flaw

UNDECIDED_BYTES_MAX = 64 * 1024 * 1024
"""A leader proposes empty leaves while this much payload waits for a decide: memory stays bounded without finality
(L4)."""
UNDECIDED_BYTES_JUDGED_MAX = 2 * UNDECIDED_BYTES_MAX
"""A voter looks at no more payload than this while it waits for a decide, whoever proposes it (L4). Honest leaders stop
long before: what they propose is undecided with them too."""


class Proposals:
    """What has been proposed in the current view. `start_view` forgets it all.

    At most one block is the candidate for a vote; one per validator may wait for its parent, since who leads depends
    on the parent: until that is here, an impostor's proposal must not crowd out the leader's.
    """

    def __init__(self, context: EpochContext, schedule: LeaderSchedule, chain: Chain) -> None:
        self._context = context
        self._schedule = schedule
        self._chain = chain
        self._proposal: QuorumProposal | None = None
        self._waiting: dict[ValidatorId, tuple[QuorumProposal, Block]] = {}
        self._is_reported = False
        self.candidate: Block | None = None

    def start_view(self) -> None:
        self._proposal = self.candidate = None
        self._waiting.clear()
        self._is_reported = False

    def compute_leader(self, view: View, high_qc: QuorumCertificate) -> ValidatorId | None:
        """Who may extend the leaf of `high_qc` in this view; None while that leaf is missing here."""
        parent = self._chain.get(high_qc.leaf)
        if parent is None:
            return None
        return self._schedule.leader(view, parent.leaf, self._chain.get_ledger(parent.commitment))

    def request_payload(self, view: View, high_qc: QuorumCertificate, deadline: Microseconds) -> BuildPayload:
        """R2, L6: what the leader needs to know of the node's transactions; the leaf of `high_qc` must be here."""
        ancestors = self._chain.compute_path(high_qc.leaf)
        if ancestors is None:
            raise InvariantViolation(f"asked to lead view {view} without the block of its high_qc")
        is_full = self._chain.undecided_bytes >= UNDECIDED_BYTES_MAX
        bytes_max = 0 if is_full else self._context.parameters.payload_bytes_max
        return BuildPayload(view, high_qc.leaf, ancestors, bytes_max, deadline)

    def make_block(
        self,
        proposer: ValidatorId,
        view: View,
        payload: bytes,
        high_qc: QuorumCertificate,
        tc: TimeoutCertificate | None,
        now: Microseconds,
    ) -> Block | None:
        """R2: extend the leaf of `high_qc`; None when it is not here."""
        parent = self._chain.get(high_qc.leaf)
        if parent is None:
            return None
        leaf = make_leaf(
            parent,
            epoch=self._context.epoch,
            view=view,
            proposer=proposer,
            timestamp_ms=now // 1000,
            payload=payload,
            ledger=self._chain.get_ledger(parent.commitment).commitment,
            justify_qc=high_qc,
            timeout_certificate=tc,
        )
        return Block(leaf, payload)

    def adopt(self, proposal: QuorumProposal, block: Block) -> None:
        """This replica's own proposal needs no judging."""
        self._proposal, self.candidate = proposal, block
        self._chain.add(block)

    def consider(self, sender: ValidatorId, proposal: QuorumProposal, block: Block, now: Microseconds) -> list[Effect]:
        """R3b: the leaf must be valid on its parent; the application then has the last word about the payload.

        A flawed proposal leaves no trace, so the leader's own is still welcome after it.
        """
        parent = self._chain.get(block.leaf.parent)
        if parent is None:
            self._waiting.setdefault(block.leaf.proposer, (proposal, block))
            return []
        ledger = self._chain.get_ledger(parent.commitment)
        leader = self._schedule.leader(block.leaf.view, parent.leaf, ledger)
        flaw = find_flaw(block.leaf, parent.leaf, leader, ledger.commitment, now, self._context)
        if flaw is not None:
            return [Drop(sender, "bad_leaf", flaw)]
        if self._proposal is not None:
            return self._compare(self._proposal, proposal)
        if block.payload and self._chain.undecided_bytes >= UNDECIDED_BYTES_JUDGED_MAX:
            return [Drop(sender, "too_much_undecided", f"{block}, with {self._chain.undecided_bytes} bytes undecided")]
        ancestors = self._chain.compute_path(block.leaf.parent) or ()
        self.adopt(proposal, block)
        return [CheckPayload(block, ancestors)]

    def reconsider(self, now: Microseconds) -> list[Effect]:
        """Blocks have arrived: judge what waited for its parent."""
        waiting, self._waiting = self._waiting, {}
        return [
            effect
            for proposer, (proposal, block) in waiting.items()
            for effect in self.consider(proposer, proposal, block, now)
        ]

    def take_waiting(self, commitment: Commitment) -> Block | None:
        """A block that waits for its parent and was certified meanwhile: worth keeping when its view is over."""
        for proposer, (_, block) in self._waiting.items():
            if block.commitment == commitment:
                del self._waiting[proposer]
                return block
        return None

    def _compare(self, first: QuorumProposal, second: QuorumProposal) -> list[Effect]:
        """E1: reported once; the same proposal again is no offence."""
        if first.leaf == second.leaf or self._is_reported:
            return []
        self._is_reported = True
        leaf = first.leaf
        halves = [
            SignedLeaf(compute_leaf_commitment(proposal.leaf), proposal.signature) for proposal in (first, second)
        ]
        return [Report(make_pair(DoubleProposal, leaf.proposer, leaf.epoch, leaf.view, *halves))]
