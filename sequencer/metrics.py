"""What a node tells Prometheus: one registry per node, names with the prefix `sequencer_`, base units.

Labels are bounded, and the child of every label value is made once: on the hot path a count costs an addition (0.4 µs),
not a look-up by label (1.3 µs). What can be read at scrape time (sizes, connections) costs a turn nothing.
"""

import platform
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from consensus.leaf import Block
from consensus.ledger import Ledger, LedgerChange
from consensus.ledger.changes import EpochBegan, Slashed, Tombstoned
from consensus.messages import FinalizeVote, QuorumVote, TimeoutVote
from consensus.types import Commitment, Height, ValidatorId, View
from sequencer.directory import Directory
from sequencer.fault_log import FAULTS, FaultLog
from sequencer.ledger_log import describe_kind
from sequencer.operation_codec import KINDS
from sequencer.standing import STANDINGS, describe_standing

log = structlog.get_logger("metrics")

DURATION_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds. From one loopback view to the longest view timer with its back-off."""

FSYNC_BUCKETS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
"""Seconds. An idle NVMe commits in 0.2 ms, a contended disk in tens of milliseconds."""

OTHER: Final = "other"
"""Label of what is none of the values that are known."""

LABEL_VALUES_MAX: Final = 64
"""Children of one metric whose label is not an enumeration here. Further values are counted as "other"."""

OPEN_PROPOSALS_MAX: Final = 1024
"""Proposals whose decide is still awaited. Far above the undecided chain; orphans are forgotten oldest first."""

VALIDATORS_SHOWN_MAX: Final = 256
"""Validators with figures of their own: those with the most stake. Anybody can bond a new one, a page must end."""

VOTE_KINDS: Final[dict[type, str]] = {QuorumVote: "quorum", FinalizeVote: "finalize", TimeoutVote: "timeout"}
VOTE_STATUSES: Final = ("sent", "received")
OPERATION_OUTCOMES: Final = ("accepted", "refused", "included")
SUBMISSION_RESULTS: Final = ("accepted", "duplicate", "finalized", "rejected")
PROMISE_OUTCOMES: Final = ("given", "refused", "kept", "broken")

# A `_created` series beside each counter doubles the page and tells what nobody asks.
disable_created_metrics()  # type: ignore[no-untyped-call]


class NodeMetrics:
    """Every figure of one node. The verbs are called by the node, at most a few times per turn."""

    def __init__(self, version: str, network: str, validator: str) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        build = Info("sequencer_build", "What is running here.", registry=self.registry)
        build.info(
            {"version": version, "network": network, "validator": validator, "python": platform.python_version()}
        )
        self._open_proposals: dict[Commitment, float] = {}
        self._view_entered: float | None = None
        self._make_consensus()
        self._make_votes()
        self._make_traffic()

    def _make_consensus(self) -> None:
        registry = self.registry
        self.view = Gauge("sequencer_view", "View that this node is in.", registry=registry)
        self.height = Gauge("sequencer_height", "Height of the highest certified leaf.", registry=registry)
        self.decided_height = Gauge("sequencer_decided_height", "Height of the last decided leaf.", registry=registry)
        views = Counter("sequencer_views", "Views that ended, by outcome.", ["outcome"], registry=registry)
        self.views_certified = views.labels("certified")
        self.views_timed_out = views.labels("timed_out")
        self.view_seconds = Histogram(
            "sequencer_view_seconds", "Time spent in a view.", buckets=DURATION_BUCKETS, registry=registry
        )
        self.proposal_to_decide_seconds = Histogram(
            "sequencer_proposal_to_decide_seconds",
            "From the moment this node saw or made a proposal to its decide.",
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.timeouts = BoundedCounter(
            "sequencer_timeouts", "Views in which this node stopped voting, by cause.", "cause", registry
        )
        self.ledger_changes = BoundedCounter(
            "sequencer_ledger_changes", "Transitions of the ledger in decided leaves, by kind.", "kind", registry
        )
        self.fallback_active = Gauge(
            "sequencer_fallback_active", "1 while the fallback committee has the lead.", registry=registry
        )
        self._make_ledger()
        self.decided_blocks = Counter("sequencer_decided_blocks", "Blocks decided.", registry=registry)
        self.decided_payload_bytes = Counter(
            "sequencer_decided_payload_bytes", "Payload bytes of decided blocks.", registry=registry
        )
        self.decided_transactions = Counter(
            "sequencer_decided_transactions", "Transactions in decided blocks.", registry=registry
        )
        self.fsync_seconds = Histogram(
            "sequencer_fsync_seconds",
            "Time to make one turn's write durable.",
            buckets=FSYNC_BUCKETS,
            registry=registry,
        )

    def _make_ledger(self) -> None:
        registry = self.registry
        self._ledger_figures = _LedgerFigures()
        registry.register(self._ledger_figures)
        self.slashings = BoundedCounter(
            "sequencer_slashings", "Slashes, by the rule that was broken.", "rule", registry
        )
        self.slashed_stake = Counter(
            "sequencer_slashed_stake", "Stake that was slashed, in the smallest unit.", registry=registry
        )
        self.evidence = BoundedCounter(
            "sequencer_evidence", "Proofs of safety offences in decided leaves, by rule.", "rule", registry
        )
        self.epoch_transitions = Counter("sequencer_epoch_transitions", "Epochs that began here.", registry=registry)
        self.beacon_missed = Counter(
            "sequencer_beacon_missed", "Epochs whose beacon came too late for their leaves (T4).", registry=registry
        )
        operations = Counter(
            "sequencer_operations", "Stake operations, by kind and outcome.", ["kind", "outcome"], registry=registry
        )
        self.operations = {
            (kind, outcome): operations.labels(kind, outcome) for kind in KINDS for outcome in OPERATION_OUTCOMES
        }

    def _make_votes(self) -> None:
        votes = Counter("sequencer_votes", "Votes, by kind and status.", ["kind", "status"], registry=self.registry)
        self.votes = {
            status: {message: votes.labels(kind, status) for message, kind in VOTE_KINDS.items()}
            for status in VOTE_STATUSES
        }

    def _make_traffic(self) -> None:
        registry = self.registry
        self.mempool_transactions = Gauge(
            "sequencer_mempool_transactions", "Transactions accepted and not yet decided.", registry=registry
        )
        self.mempool_bytes = Gauge("sequencer_mempool_bytes", "Bytes of those transactions.", registry=registry)
        submitted = Counter(
            "sequencer_transactions_submitted", "Transactions submitted here, by result.", ["result"], registry=registry
        )
        self.submitted = {result: submitted.labels(result) for result in SUBMISSION_RESULTS}
        promises = Counter(
            "sequencer_promises",
            "Soft confirmations: given and refused by this node, kept and broken by those that it has asked.",
            ["outcome"],
            registry=registry,
        )
        self.promises = {outcome: promises.labels(outcome) for outcome in PROMISE_OUTCOMES}
        self.peers_connected = Gauge("sequencer_peers_connected", "Validators connected to.", registry=registry)
        self.dropped_frames = BoundedCounter(
            "sequencer_dropped_frames", "Frames of peers that changed nothing, by reason.", "reason", registry
        )

    def on_entered_view(self, view: View, *, timed_out: bool, now: float) -> None:
        """R1. `timed_out`: the view before ended by a TC. `now`: seconds of a monotonic clock, one for all verbs."""
        self.view.set(view)
        (self.views_timed_out if timed_out else self.views_certified).inc()
        if self._view_entered is not None:
            self.view_seconds.observe(now - self._view_entered)
        self._view_entered = now

    def on_proposal(self, leaf: Commitment, now: float) -> None:
        """This node made a proposal or received a valid one; the first call per leaf counts."""
        if leaf in self._open_proposals:
            return
        if len(self._open_proposals) >= OPEN_PROPOSALS_MAX:
            del self._open_proposals[next(iter(self._open_proposals))]
        self._open_proposals[leaf] = now

    def on_decide(self, blocks: Iterable[Block], transactions: int, now: float) -> None:
        """R6. `transactions`: how many stand in these blocks. Blocks that came by catch-up have no proposal to time."""
        for block in blocks:
            seen = self._open_proposals.pop(block.commitment, None)
            if seen is not None:
                self.proposal_to_decide_seconds.observe(now - seen)
            self.decided_blocks.inc()
            self.decided_payload_bytes.inc(block.leaf.payload_bytes)
            self.decided_height.set(block.leaf.height)
        self.decided_transactions.inc(transactions)

    def on_certified(self, height: Height) -> None:
        """R5: `high_qc` now certifies a leaf of this height."""
        self.height.set(height)

    def count_message(self, message: object, status: str) -> None:
        """Counts a vote under one of `VOTE_STATUSES`; any other message is ignored."""
        child = self.votes[status].get(type(message))
        if child is not None:
            child.inc()

    def on_ledger(self, ledger: Ledger, directory: Directory) -> None:
        """The ledger stands so, and is durable. It is looked at when somebody scrapes."""
        self._ledger_figures.show(ledger, directory)
        self.fallback_active.set(ledger.state.mode.is_fallback)

    def on_ledger_change(self, change: LedgerChange) -> None:
        """Sections 6 to 8: each is counted by its kind; what has a figure of its own changes that too."""
        self.ledger_changes.inc(describe_kind(change))
        match change:
            case Slashed(rule=rule, amount=amount):
                self.slashings.inc(rule)
                self.slashed_stake.inc(amount)
            case Tombstoned(rule=rule):
                self.evidence.inc(rule)
            case EpochBegan(was_beacon_missing=was_beacon_missing):
                self.epoch_transitions.inc()
                self.beacon_missed.inc(was_beacon_missing)
            case _:
                pass

    def count_operation(self, kind: str, outcome: str) -> None:
        """One of `KINDS`, and one of `OPERATION_OUTCOMES`: what this node answered, or what decided leaves carry."""
        self.operations[kind, outcome].inc()

    def on_drop(self, reason: str, peer: ValidatorId | None = None, count: int = 1) -> None:
        """`count` frames were dropped. The log says whose they were: a label per peer would be unbounded."""
        self.dropped_frames.inc(reason, count)

    def watch_mempool(self, transactions: Callable[[], int], bytes_: Callable[[], int]) -> None:
        """Both are called at each scrape."""
        self.mempool_transactions.set_function(transactions)
        self.mempool_bytes.set_function(bytes_)

    def watch_peers(self, connected: Callable[[], int]) -> None:
        """Called at each scrape."""
        self.peers_connected.set_function(connected)

    def watch_traffic(self, received: Callable[[], int], sent: Callable[[], int]) -> None:
        """Bytes read from and written to peers; both are called at each scrape."""
        self.registry.register(_Traffic(received, sent))

    def watch_faults(self, log: FaultLog) -> None:
        """Read at each scrape."""
        self.registry.register(_Faults(log))

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Page and content type that suit the `Accept` header of a scraper: Prometheus text or OpenMetrics."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class _Traffic(Collector):
    """Counters that live elsewhere and are read when somebody asks."""

    def __init__(self, received: Callable[[], int], sent: Callable[[], int]) -> None:
        self._received = received
        self._sent = sent

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily("sequencer_network_received_bytes", "Bytes read from peers.", self._received())
        yield CounterMetricFamily("sequencer_network_sent_bytes", "Bytes written to peers.", self._sent())


class _Faults(Collector):
    """Faults of the cluster that are on, read when somebody asks."""

    def __init__(self, log: FaultLog) -> None:
        self._log = log

    def collect(self) -> Iterable[Metric]:
        active = GaugeMetricFamily(
            "sequencer_fault_active",
            "Faults that are being done to this cluster on purpose at this moment, by kind.",
            labels=["fault"],
        )
        try:
            kinds = [fault.fault if fault.fault in FAULTS else OTHER for fault in self._log.read_active()]
        except OSError as error:
            log.warning("fault_log_unreadable", path=str(self._log.path), reason=error.strerror)
            return
        for kind in (*FAULTS, OTHER):
            active.add_metric([kind], kinds.count(kind))
        yield active


class _LedgerFigures(Collector):
    """What the ledger holds, read when somebody asks."""

    def __init__(self) -> None:
        self._shown: tuple[Ledger, Directory] | None = None

    def show(self, ledger: Ledger, directory: Directory) -> None:
        self._shown = ledger, directory

    def collect(self) -> Iterable[Metric]:
        if self._shown is None:
            return
        ledger, directory = self._shown
        state = ledger.state
        yield GaugeMetricFamily("sequencer_epoch", "Epoch that this node is in.", ledger.epoch)
        yield GaugeMetricFamily("sequencer_insurance_pool", "Tokens in the insurance pool.", state.pool)
        yield GaugeMetricFamily("sequencer_burned", "Tokens that slashing has burned.", state.burned)
        yield GaugeMetricFamily("sequencer_total_stake", "Stake of this epoch's table.", ledger.total_stake)
        standings = {validator.id: describe_standing(validator, ledger).status for validator in state.validators}
        counts = GaugeMetricFamily("sequencer_validators", "Validators, by how they stand.", labels=["status"])
        for status in STANDINGS:
            counts.add_metric([status], list(standings.values()).count(status))
        yield counts
        shown = sorted(state.validators, key=lambda validator: (-validator.stake, validator.id))[:VALIDATORS_SHOWN_MAX]
        statuses = GaugeMetricFamily(
            "sequencer_validator_status", "1 for how a validator stands.", labels=["validator", "status"]
        )
        stakes = GaugeMetricFamily("sequencer_validator_stake", "Bonded stake of a validator.", labels=["validator"])
        for validator in shown:
            name = directory.name_of(validator.id)
            statuses.add_metric([name, standings[validator.id]], 1)
            stakes.add_metric([name], validator.stake)
        yield statuses
        yield stakes


class BoundedCounter:
    """A counter with one label whose values are short stable words from elsewhere, at most `LABEL_VALUES_MAX`."""

    def __init__(self, name: str, documentation: str, label: str, registry: CollectorRegistry) -> None:
        self._counter = Counter(name, documentation, [label], registry=registry)
        self._children: dict[str, Counter] = {}

    def inc(self, value: str, amount: int = 1) -> None:
        child = self._children.get(value)
        if child is None:
            child = self._make_child(value)
        child.inc(amount)

    def _make_child(self, value: str) -> Counter:
        if len(self._children) >= LABEL_VALUES_MAX:
            return self._counter.labels(OTHER)
        child = self._children[value] = self._counter.labels(value)
        return child
