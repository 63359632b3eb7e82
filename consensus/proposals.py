"""The proposals of one view: making one (R2), judging those of others (R3b), and catching a leader that made two
(E1).
"""

from consensus.beacon import is_beacon_right
from consensus.certificates import QuorumCertificate, TimeoutCertificate
from consensus.chain import Chain
from consensus.context import EpochContext
from consensus.docket import Docket
from consensus.effects import BuildPayload, CheckPayload, Drop, Effect, Report
from consensus.errors import InvariantViolation
from consensus.evidence import DoubleProposal, SignedLeaf, make_pair
from consensus.leaf import BeaconResult, Block, Leaf, make_leaf
from consensus.ledger import Ledger
from consensus.messages import ProposalEcho
from consensus.schedule import LeaderSchedule
from consensus.types import Commitment, Height, Microseconds, ValidatorId, View
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

    def __init__(self, context: EpochContext, schedule: LeaderSchedule, chain: Chain, docket: Docket) -> None:
        self._context = context
        self._schedule = schedule
        self._chain = chain
        self._docket = docket
        self._waiting: dict[ValidatorId, Block] = {}
        self._signed: dict[tuple[View, ValidatorId], SignedLeaf] = {}
        self._reported: set[tuple[View, ValidatorId]] = set()
        self._leader: tuple[View, Commitment, ValidatorId] | None = None
        """The view, the leaf to extend and who leads of which was asked last: it is asked several times a view."""
        self.candidate: Block | None = None
        self.beacon: BeaconResult | None = None
        """This epoch's, once it has been computed here (T4)."""

    def start_view(self, view: View) -> None:
        """What was signed in the view before is kept: its second proposal may come late."""
        self.candidate = None
        self._waiting.clear()
        for key in tuple(self._signed):
            if key[0] < view - 1:
                del self._signed[key]
                self._reported.discard(key)

    def compute_leader(self, view: View, high_qc: QuorumCertificate) -> ValidatorId | None:
        """Who may extend the leaf of `high_qc` in this view; None while that leaf is missing here."""
        parent = self._chain.get(high_qc.leaf)
        if parent is None:
            return None
        known = self._leader
        if known is not None and known[0] == view and known[1] == parent.commitment:
            return known[2]
        leader = self._schedule.leader(view, parent.leaf, self._chain.get_ledger(parent.commitment))
        self._leader = (view, parent.commitment, leader)
        return leader

    def compute_next_leaders(self, view: View, high_qc: QuorumCertificate, count: int) -> tuple[ValidatorId, ...]:
        """Of the views from `view` on, without the current one once its proposal is here; each leader once."""
        first = view if self.candidate is None else view + 1
        leaders = (self.compute_leader(View(number), high_qc) for number in range(first, first + count))
        return tuple(dict.fromkeys(leader for leader in leaders if leader is not None))

    def request_payload(self, view: View, high_qc: QuorumCertificate, deadline: Microseconds) -> BuildPayload:
        """R2, L6: what the leader needs to know of the node's transactions; the leaf of `high_qc` must be here."""
        ancestors = self._chain.compute_path(high_qc.leaf)
        if ancestors is None:
            raise InvariantViolation(f"asked to lead view {view} without the block of its high_qc")
        parent = ancestors[-1] if ancestors else self._chain.tip
        is_closing = self._context.is_closing(Height(parent.leaf.height + 1))
        is_full = is_closing or self._chain.undecided_bytes >= UNDECIDED_BYTES_MAX
        bytes_max = 0 if is_full else self._context.parameters.payload_bytes_max
        return BuildPayload(view, high_qc.leaf, ancestors, bytes_max, deadline, is_closing)

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
        context, height = self._context, Height(parent.leaf.height + 1)
        ledger = self._chain.get_ledger(parent.commitment)
        is_closing = context.is_closing(height)
        operations, evidence = ((), ()) if is_closing else self._docket.select(ledger)
        leaf = make_leaf(
            parent,
            epoch=self._context.epoch,
            view=view,
            proposer=proposer,
            timestamp_ms=now // 1000,
            payload=payload,
            ledger=ledger.commitment,
            justify_qc=high_qc,
            timeout_certificate=tc,
            operations=operations,
            evidence=evidence,
            beacon=self.beacon if ledger.state.beacon is None and not is_closing and self._is_late(height) else None,
            epoch_proof=context.start.proof if context.start is not None and context.is_first(height) else None,
        )
        return Block(leaf, b"" if is_closing else payload)

    def adopt(self, block: Block) -> None:
        """This replica's own proposal needs no judging."""
        self.candidate = block
        self._chain.add(block)

    def note_signed(self, view: View, proposer: ValidatorId, signed: SignedLeaf) -> list[Effect]:
        """E1: two leaves that one validator proposed in one view are an offence, valid or not; reported once."""
        key = (view, proposer)
        first = self._signed.setdefault(key, signed)
        if first.leaf == signed.leaf or key in self._reported:
            return []
        self._reported.add(key)
        return [Report(make_pair(DoubleProposal, proposer, self._context.epoch, view, first, signed))]

    def make_echo(self, view: View, voted: Commitment) -> ProposalEcho | None:
        """What to tell somebody who voted for this leaf, when another one of its view is the candidate here (E1)."""
        block = self.candidate
        if block is None or block.leaf.view != view or block.commitment == voted:
            return None
        proposer = block.leaf.proposer
        signed = self._signed.get((view, proposer))
        if signed is None or signed.leaf != block.commitment:
            return None
        return ProposalEcho(self._context.epoch, view, signed.leaf, proposer, signed.signature)

    def consider(self, sender: ValidatorId, block: Block, now: Microseconds) -> list[Effect]:
        """R3b: the leaf must be valid on its parent; the application then has the last word about the payload.

        A flawed proposal leaves no trace, so the leader's own is still welcome after it.
        """
        parent = self._chain.get(block.leaf.parent)
        if parent is None:
            self._waiting.setdefault(block.leaf.proposer, block)
            return []
        ledger = self._chain.get_ledger(parent.commitment)
        leader = self._schedule.leader(block.leaf.view, parent.leaf, ledger)
        flaw = find_flaw(block.leaf, parent.leaf, leader, ledger.commitment, now, self._context)
        flaw = flaw or self._find_body_flaw(block.leaf, ledger)
        if flaw is not None:
            return [Drop(sender, "bad_leaf", flaw)]
        if self.candidate is not None:
            return []
        if block.payload and self._chain.undecided_bytes >= UNDECIDED_BYTES_JUDGED_MAX:
            return [Drop(sender, "too_much_undecided", f"{block}, with {self._chain.undecided_bytes} bytes undecided")]
        ancestors = self._chain.compute_path(block.leaf.parent) or ()
        self.adopt(block)
        return [CheckPayload(block, ancestors)]

    def reconsider(self, now: Microseconds) -> list[Effect]:
        """Blocks have arrived: judge what waited for its parent."""
        if not self._waiting:
            return []
        waiting, self._waiting = self._waiting, {}
        return [effect for proposer, block in waiting.items() for effect in self.consider(proposer, block, now)]

    def take_waiting(self, commitment: Commitment) -> Block | None:
        """A block that waits for its parent and was certified meanwhile: worth keeping when its view is over."""
        for proposer, block in self._waiting.items():
            if block.commitment == commitment:
                del self._waiting[proposer]
                return block
        return None

    def _is_late(self, height: Height) -> bool:
        """T4: from the middle of the epoch on everyone has had time to compute the beacon and can check it at once."""
        return height > self._context.last_height - self._context.ledger_parameters.epochs.epoch_blocks // 2

    def _find_body_flaw(self, leaf: Leaf, ledger: Ledger) -> str | None:
        """R3b: operations (J5), evidence (J4) and the beacon's result (T4), on top of the state after the parent."""
        if leaf.beacon is not None:
            if ledger.state.beacon is not None:
                return "the beacon's result stands in an earlier leaf of this epoch"
            if leaf.beacon != self.beacon and not is_beacon_right(
                self._context.genesis.commitment, leaf.beacon, self._context.ledger_parameters.epochs
            ):
                return "the beacon's result is wrong"
        if leaf.operations or leaf.evidence:
            return self._docket.admission.find_flaw(ledger, leaf) or self._docket.find_unconfirmed(leaf)
        return None
