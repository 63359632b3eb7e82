"""How the chain goes forward: views, their phases and leaders, decides."""

import time
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from consensus.leaf import Block
from consensus.types import Commitment, Height, ValidatorId, View
from sequencer.metrics.entries import OTHER, Entry, Section
from sequencer.metrics.roster import Roster

OPEN_PROPOSALS_MAX: Final = 1024
"""Proposals whose decide is still awaited. Far above the undecided chain; orphans are forgotten oldest first."""

CHECKPOINT_BLOCKS: Final = 128
"""Between two checkpoints: some seconds of a busy chain, a minute of an idle one."""
CHECKPOINT_SLOTS: Final = 8
"""Checkpoints that are told: enough that nodes scraped seconds apart, or behind, have one in common."""

_DIGEST_BYTES: Final = 6
"""Of a commitment: as many as a float holds exactly."""

UNKNOWN: Final = "unknown"
"""Leader of a view that ended before this node had the block that tells."""

VIEW: Final = Entry(
    "sequencer_view",
    "gauge",
    "View that this node is in.",
    "Rises all the time. A node whose view stays behind that of others is cut off or catching up.",
)
HEIGHT: Final = Entry(
    "sequencer_height",
    "gauge",
    "Height of the highest certified leaf.",
    "One or two above the decided height. A growing distance means that leaves get a QC and no FC.",
)
DECIDED_HEIGHT: Final = Entry(
    "sequencer_decided_height",
    "gauge",
    "Height of the last decided leaf: everything up to it is final.",
    "The figure of the chain. Compare nodes with max() - min(): who is behind by more than a few blocks catches up.",
)
LAST_DECIDE: Final = Entry(
    "sequencer_last_decide_timestamp_seconds",
    "gauge",
    "Unix time at which this node last decided something; until it has, when it started.",
    "time() minus this is how long nothing has been decided: alert NoDecide. An idle chain decides twice a second.",
)
VIEWS: Final = Entry(
    "sequencer_views",
    "counter",
    "Views that ended, by outcome: certified (a QC), timed_out (a TC), unseen (this node was elsewhere).",
    "The rate of timed_out is how often leaders fail. unseen rises while a node catches up.",
    ("outcome",),
)
VIEW_SECONDS: Final = Entry(
    "sequencer_view_seconds",
    "histogram",
    "Time spent in a view. An idle leader waits for transactions, which is in it.",
    "Under load: one round trip and the work for a block. At the view timer: leaders fail.",
)
PHASE_SECONDS: Final = Entry(
    "sequencer_phase_seconds",
    "histogram",
    "Time of one phase of a view as seen here: proposal (from entering the view until the proposal is here), quorum "
    "(until the QC), finalize (from the QC to the FC).",
    "Tells what is slow: proposal is the leader or nothing to propose, quorum and finalize are network, disks and "
    "signatures of the validators.",
    ("phase",),
)
PROPOSAL_TO_DECIDE: Final = Entry(
    "sequencer_proposal_to_decide_seconds",
    "histogram",
    "From the moment this node saw or made a proposal to its decide.",
    "What a client waits for at least. Some milliseconds on one machine, two round trips between regions.",
)
TIMEOUTS: Final = Entry(
    "sequencer_timeouts",
    "counter",
    "Views in which this node stopped voting, by cause: its timer, others that timed out, a lost connection.",
    "Above sequencer_views_total{outcome='timed_out'}: this node alone finds leaders slow, so look at its network.",
    ("cause",),
)
LEADER_VIEWS: Final = Entry(
    "sequencer_leader_views",
    "counter",
    "Views that this node saw through, by who led them and whether they were certified or timed_out.",
    "A validator with many timed_out ones is down, slow or cut off: alert LeaderFailing. It is benched soon (S3).",
    ("validator", "outcome"),
)
DECIDED_BLOCKS: Final = Entry(
    "sequencer_decided_blocks", "counter", "Blocks decided.", "Its rate is the speed of the chain in blocks a second."
)
DECIDED_PAYLOAD_BYTES: Final = Entry(
    "sequencer_decided_payload_bytes",
    "counter",
    "Payload bytes of decided blocks.",
    "Divided by the blocks: how full they are. Near payload_bytes_max the network is at its limit.",
)
DECIDED_TRANSACTIONS: Final = Entry(
    "sequencer_decided_transactions", "counter", "Transactions in decided blocks.", "Its rate is the throughput."
)
BEHIND: Final = Entry(
    "sequencer_behind",
    "gauge",
    "1 while this node knows of certified blocks that it has not got.",
    "For moments after a start. For long: it cannot fetch blocks, look at its peers and its log.",
)
IS_LEADER: Final = Entry(
    "sequencer_is_leader",
    "gauge",
    "1 when this node leads its view at the moment of the scrape.",
    "Goes round among the committee. On a dashboard it shows who led, sampled.",
)
CHECKPOINT_HEIGHT: Final = Entry(
    "sequencer_checkpoint_height",
    "gauge",
    f"Heights of the last {CHECKPOINT_SLOTS} decided leaves whose height is a multiple of {CHECKPOINT_BLOCKS}; the "
    "slots are used in turn.",
    "Only together with sequencer_checkpoint_digest.",
    ("slot",),
)
CHECKPOINT_DIGEST: Final = Entry(
    "sequencer_checkpoint_digest",
    "gauge",
    f"First {_DIGEST_BYTES} bytes of the commitment of the leaf in that slot, as a number: all that was decided up to "
    "it.",
    "Nodes with one height in a slot must have one digest there: two are two histories, alert ConflictingFinality.",
    ("slot",),
)

SECTION: Final = Section(
    "Progress",
    (
        VIEW,
        HEIGHT,
        DECIDED_HEIGHT,
        LAST_DECIDE,
        VIEWS,
        VIEW_SECONDS,
        PHASE_SECONDS,
        PROPOSAL_TO_DECIDE,
        TIMEOUTS,
        LEADER_VIEWS,
        IS_LEADER,
        DECIDED_BLOCKS,
        DECIDED_PAYLOAD_BYTES,
        DECIDED_TRANSACTIONS,
        BEHIND,
        CHECKPOINT_HEIGHT,
        CHECKPOINT_DIGEST,
    ),
)


class _Open:
    """A proposal that is not decided. Moments are None until they have come."""

    __slots__ = ("certified_at", "seen_at")

    def __init__(self, seen_at: float) -> None:
        self.seen_at = seen_at
        self.certified_at: float | None = None


class Progress(Collector):
    """Moments are seconds of a monotonic clock, one for all verbs."""

    def __init__(self, registry: CollectorRegistry, roster: Roster, wall: Callable[[], float] = time.time) -> None:
        self._roster = roster
        self._wall = wall
        self._view: View | None = None
        self._entered_at: float | None = None
        self._open: dict[Commitment, _Open] = {}
        self._in_view: _Open | None = None
        """The proposal that was seen in the current view."""
        self._led: dict[ValidatorId | None, list[int]] = {}
        """Certified and timed-out views of each leader; shown when somebody asks."""
        self.view = VIEW.gauge(registry)
        self.height = HEIGHT.gauge(registry)
        self.decided_height = DECIDED_HEIGHT.gauge(registry)
        self.last_decide = LAST_DECIDE.gauge(registry)
        self.last_decide.set(wall())
        views = VIEWS.counter(registry)
        self.views_certified = views.labels("certified")
        self.views_timed_out = views.labels("timed_out")
        self.views_unseen = views.labels("unseen")
        self.view_seconds = VIEW_SECONDS.histogram(registry)
        phases = PHASE_SECONDS.histogram(registry)
        self.proposal_seconds = phases.labels("proposal")
        self.quorum_seconds = phases.labels("quorum")
        self.finalize_seconds = phases.labels("finalize")
        self.proposal_to_decide_seconds = PROPOSAL_TO_DECIDE.histogram(registry)
        self.timeouts = TIMEOUTS.bounded(registry)
        self.decided_blocks = DECIDED_BLOCKS.counter(registry)
        self.decided_payload_bytes = DECIDED_PAYLOAD_BYTES.counter(registry)
        self.decided_transactions = DECIDED_TRANSACTIONS.counter(registry)
        self.behind = BEHIND.gauge(registry)
        self.is_leader = IS_LEADER.gauge(registry)
        self._checkpoint_height = CHECKPOINT_HEIGHT.gauge(registry)
        self._checkpoint_digest = CHECKPOINT_DIGEST.gauge(registry)
        registry.register(self)

    def on_entered_view(self, view: View, *, timed_out: bool, now: float, led_by: ValidatorId | None = None) -> None:
        """R1. `timed_out`: the view before ended by a TC. `led_by`: leader of that view, if it is known by now."""
        self.view.set(view)
        (self.views_timed_out if timed_out else self.views_certified).inc()
        if self._entered_at is not None:
            self.view_seconds.observe(now - self._entered_at)
        if self._view is not None and view == self._view + 1:
            self._led.setdefault(led_by, [0, 0])[timed_out] += 1
            if self._in_view is not None and not timed_out:
                self._in_view.certified_at = now
                self.quorum_seconds.observe(now - self._in_view.seen_at)
        elif self._view is not None and view > self._view + 1:
            self.views_unseen.inc(view - self._view - 1)
        self._view, self._entered_at, self._in_view = view, now, None

    def on_proposal(self, leaf: Commitment, now: float) -> None:
        """This node made a proposal or received a valid one; the first call per leaf counts."""
        if leaf in self._open:
            return
        if len(self._open) >= OPEN_PROPOSALS_MAX:
            del self._open[next(iter(self._open))]
        proposal = self._open[leaf] = _Open(now)
        if self._in_view is None:
            self._in_view = proposal
            if self._entered_at is not None:
                self.proposal_seconds.observe(now - self._entered_at)

    def on_decide(self, blocks: Iterable[Block], transactions: int, now: float) -> None:
        """R6. `transactions`: how many stand in these blocks. Blocks that came by catch-up have no proposal to time."""
        proposal: _Open | None = None
        for block in blocks:
            leaf = block.leaf
            proposal = self._open.pop(block.commitment, None)
            if proposal is not None:
                self.proposal_to_decide_seconds.observe(now - proposal.seen_at)
            self.decided_blocks.inc()
            self.decided_payload_bytes.inc(leaf.payload_bytes)
            self.decided_height.set(leaf.height)
            if leaf.height % CHECKPOINT_BLOCKS == 0:
                slot = str(leaf.height // CHECKPOINT_BLOCKS % CHECKPOINT_SLOTS)
                self._checkpoint_height.labels(slot).set(leaf.height)
                self._checkpoint_digest.labels(slot).set(int.from_bytes(block.commitment[:_DIGEST_BYTES], "big"))
        if proposal is not None and proposal.certified_at is not None:  # the others were decided through this one
            self.finalize_seconds.observe(now - proposal.certified_at)
        self.decided_transactions.inc(transactions)
        self.last_decide.set(self._wall())

    def on_certified(self, height: Height) -> None:
        """R5: `high_qc` now certifies a leaf of this height."""
        self.height.set(height)

    def watch(self, is_behind: Callable[[], bool], is_leading: Callable[[], bool]) -> None:
        """Both are called at each scrape."""
        self.behind.set_function(is_behind)
        self.is_leader.set_function(is_leading)

    def collect(self) -> Iterable[Metric]:
        shown = {validator.id for validator in self._roster.shown()}
        totals = {self._roster.name_of(validator): (0, 0) for validator in sorted(shown)}
        for leader, (certified, timed_out) in self._led.items():
            name = UNKNOWN if leader is None else self._roster.name_of(leader) if leader in shown else OTHER
            before = totals.get(name, (0, 0))
            totals[name] = before[0] + certified, before[1] + timed_out
        family = LEADER_VIEWS.counter_family()
        for name, (certified, timed_out) in totals.items():
            family.add_metric([name, "certified"], certified)
            family.add_metric([name, "timed_out"], timed_out)
        yield family
