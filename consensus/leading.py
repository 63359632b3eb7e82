"""The leader's part of a view: when it asks for a payload, and what becomes of that (R2, L6)."""

from consensus.certificates import QuorumCertificate
from consensus.context import EpochContext
from consensus.effects import Effect
from consensus.events import PayloadBuilt
from consensus.leaf import Block
from consensus.proposals import Proposals
from consensus.safety import SafetyRules
from consensus.types import Microseconds, View


class Leading:
    """Asks for at most one payload per view and block to extend. `start_view` forgets what was asked for."""

    def __init__(self, context: EpochContext, proposals: Proposals, safety: SafetyRules) -> None:
        self._idle_interval = context.parameters.idle_interval
        self._proposals = proposals
        self._safety = safety
        self._is_building = False
        self._has_decided = False

    def start_view(self) -> None:
        self._is_building = False

    def on_decide(self) -> None:
        self._has_decided = True

    def request(self, view: View, high_qc: QuorumCertificate, now: Microseconds) -> list[Effect]:
        """Ask for a payload on top of the leaf of `high_qc`, if this replica leads, has not proposed, and holds that
        leaf.
        """
        safety = self._safety
        if self._is_building or not safety.can_sign or safety.record.proposed_view >= view:
            return []
        if self._proposals.compute_leader(view, high_qc) != safety.validator_id:
            return []
        # Neither the first leaf after a start nor one after a lost view is held back: it shows that the network works.
        is_calm = self._has_decided and safety.entry_tc is None
        self._is_building = True
        deadline = Microseconds(now + (self._idle_interval if is_calm else 0))
        return [self._proposals.request_payload(view, high_qc, deadline)]

    def make_block(
        self, built: PayloadBuilt, view: View, high_qc: QuorumCertificate, now: Microseconds
    ) -> Block | None:
        """R2: the block to propose; None when its view is over, or when a newer QC has come while it was built: then
        another payload may be asked for.
        """
        if built.view != view or not self._is_building:
            return None
        self._is_building = False
        if built.parent != high_qc.leaf:
            return None
        return self._proposals.make_block(
            self._safety.validator_id, view, built.payload, high_qc, self._safety.entry_tc, now
        )
