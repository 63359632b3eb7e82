"""The state of one replica of one epoch, and what can be asked of it. `Replica` is what changes it."""

from collections.abc import Sequence

from consensus.arrivals import Arrivals
from consensus.certificates import FinalityCertificate, QuorumCertificate
from consensus.certifier import Certifier
from consensus.chain import Chain
from consensus.context import EpochContext
from consensus.docket import Docket
from consensus.effects import Effect
from consensus.fetch import Fetcher
from consensus.leading import Leading
from consensus.leaf import Block, EpochProof
from consensus.ledger import Ledger
from consensus.pacemaker import Pacemaker
from consensus.peers import Peers
from consensus.proposals import Proposals
from consensus.safety import SafetyRules
from consensus.schedule import LeaderSchedule
from consensus.types import Microseconds, ValidatorId, View
from consensus.validation import MessageValidator


class ReplicaState:
    """Made of its parts, each of which owns one rule or two. Asking changes nothing."""

    def __init__(
        self,
        context: EpochContext,
        schedule: LeaderSchedule,
        validator: MessageValidator,
        safety: SafetyRules,
        *,
        tip: Block,
        ledger: Ledger,
        tip_fc: FinalityCertificate | None,
        undecided: Sequence[Block],
        docket: Docket,
    ) -> None:
        self._context = context
        self._safety = safety
        self.chain = Chain(tip, ledger, context.ledger_parameters, undecided)
        self._fc = tip_fc
        self._pacemaker = Pacemaker(context.parameters, View(safety.record.entry.view + 1))
        interval = context.parameters.fetch_interval
        self._fetcher = Fetcher(self.chain, safety.validator_id, context.stake_table.ids, interval)
        self._proposals = Proposals(context, schedule, self.chain, docket)
        self._arrivals = Arrivals(context, self.chain, self._fetcher, self._proposals)
        self._certifier = Certifier(context, validator)
        self._peers = Peers(interval)
        self.epoch_proof: EpochProof | None = None
        """T2: set when the last leaf of the epoch is decided; this replica signs nothing more then."""
        self._leading = Leading(context, self._proposals, safety)
        self.view = self._pacemaker.view
        """The current view; `_enter` moves it."""
        self._view_window = context.parameters.view_window
        self._oldest_view = self._compute_oldest_view()
        """Votes of lower views are of no use. `_move_window` moves it; every vote is held against it."""
        self._certifier.forget_below(self._oldest_view)
        self._now = Microseconds(0)
        self._effects: list[Effect] = []

    @property
    def leader(self) -> ValidatorId | None:
        """Leader of the current view; None while the block that it extends is missing here."""
        return self._proposals.compute_leader(self.view, self.high_qc)

    @property
    def tip(self) -> Block:
        """The last decided block."""
        return self.chain.tip

    @property
    def high_qc(self) -> QuorumCertificate:
        return self._safety.record.high_qc

    @property
    def high_block(self) -> Block | None:
        """The block that `high_qc` certifies, once it is here."""
        return self.chain.get(self.high_qc.leaf)

    @property
    def proposed_view(self) -> View:
        """The highest view in which this replica has proposed, in this epoch."""
        return self._safety.record.proposed_view

    @property
    def candidate(self) -> Block | None:
        """The current view's proposal, once a valid one is here."""
        return self._proposals.candidate

    @property
    def is_behind(self) -> bool:
        """Whether decided blocks are known to be missing here."""
        return self._arrivals.is_behind

    def compute_next_leaders(self, count: int) -> tuple[ValidatorId, ...]:
        """Who proposes next, as far as is known; the current leader first, while its proposal is awaited."""
        return self._proposals.compute_next_leaders(self.view, self.high_qc, count)

    @property
    def _has_timed_out(self) -> bool:
        return self._safety.record.timed_out_view >= self.view

    @property
    def _is_view_over(self) -> bool:
        """Nothing more is to be begun in this view: it has timed out here, or its QC is being handled right now, or the
        epoch is over.
        """
        record, view = self._safety.record, self.view
        return record.timed_out_view >= view or record.high_qc.view >= view or self.epoch_proof is not None

    def _compute_oldest_view(self) -> View:
        """L4: nothing below the last decided view or the window is needed."""
        decided, in_window = self.chain.tip.leaf.view, self.view - self._view_window
        return decided if decided >= in_window else View(in_window)
