"""What the ledger holds and what it did: stake, standing, slashing, the mode, epochs."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from consensus.ledger import Ledger, LedgerChange
from consensus.ledger.changes import EpochBegan, FallbackActivated, FallbackEnded, Slashed, Tombstoned
from sequencer.ledger_log import describe_kind
from sequencer.metrics.entries import Entry, Section
from sequencer.metrics.roster import Roster
from sequencer.metrics.voting import SAFETY_RULES
from sequencer.operation_codec import KINDS
from sequencer.standing import STANDINGS, describe_standing

OPERATION_OUTCOMES: Final = ("accepted", "refused", "included")
SLASHING_RULES: Final = ("J1", *SAFETY_RULES)
TRANSITIONS: Final = ("skipped_views", "clean_leaves")

EPOCH: Final = Entry(
    "sequencer_epoch",
    "gauge",
    "Epoch that this node is in.",
    "The same at all nodes but for a moment; one that stays behind does not follow the chain.",
)
EPOCH_TRANSITIONS: Final = Entry(
    "sequencer_epoch_transitions", "counter", "Epochs that began here.", "Stake that was bonded counts two later."
)
BEACON_MISSED: Final = Entry(
    "sequencer_beacon_missed",
    "counter",
    "Epochs whose beacon came too late for their leaves (T4).",
    "Machines are too slow for beacon_difficulty: the seed of the epoch is weaker, nothing stops.",
)
TOTAL_STAKE: Final = Entry(
    "sequencer_total_stake", "gauge", "Stake of this epoch's table, in the smallest unit.", "Quorums are parts of it."
)
VALIDATORS: Final = Entry(
    "sequencer_validators",
    "gauge",
    "Validators, by how they stand: pending, active, benched, jailed, exiting, tombstoned.",
    "Benched and jailed ones vote and do not lead. Jailed ones come back when their owner asks for it.",
    ("status",),
)
VALIDATOR_STATUS: Final = Entry(
    "sequencer_validator_status",
    "gauge",
    "1 for how a validator stands.",
    "GET /v1/validators tells why.",
    ("validator", "status"),
)
VALIDATOR_STAKE: Final = Entry(
    "sequencer_validator_stake",
    "gauge",
    "Bonded stake of a validator, in the smallest unit.",
    "Falls when it is slashed or its owner takes stake out.",
    ("validator",),
)
MISSED_SLOTS: Final = Entry(
    "sequencer_validator_missed_slots",
    "gauge",
    "Own slots that a validator has missed, of the last ones that the ledger remembers (leader_window).",
    "Rises before somebody is benched and jailed: the time to help.",
    ("validator",),
)
LEDGER_CHANGES: Final = Entry(
    "sequencer_ledger_changes",
    "counter",
    "Transitions of the ledger in decided leaves, by kind.",
    "What happened when. GET /v1/changes has the words.",
    ("kind",),
)
FALLBACK_ACTIVE: Final = Entry(
    "sequencer_fallback_active",
    "gauge",
    "1 while the fallback committee has the lead.",
    "The primary committee failed several views in a row (S4): alert FallbackActive. It gets the lead back after "
    "enough leaves without a skipped view.",
)
FALLBACK_TRANSITIONS: Final = Entry(
    "sequencer_fallback_transitions",
    "counter",
    "Changes of the committee that leads, by reason: skipped_views gave it to the fallback committee, clean_leaves "
    "back to the primary.",
    "Many in an hour: the primary committee comes back before it is well.",
    ("reason",),
)
SLASHINGS: Final = Entry(
    "sequencer_slashings",
    "counter",
    "Slashes, by the rule that was broken: J1 is for slots that were missed, the others for lies.",
    "Any: alert Slashing. GET /v1/slashings tells who and how much.",
    ("rule",),
)
SLASHED_STAKE: Final = Entry(
    "sequencer_slashed_stake", "counter", "Stake that was slashed, in the smallest unit.", "What offences have cost."
)
EVIDENCE: Final = Entry(
    "sequencer_evidence",
    "counter",
    "Proofs of safety offences in decided leaves, by rule.",
    "Any: somebody's key signed what it must not sign. It is tombstoned.",
    ("rule",),
)
EVIDENCE_PENDING: Final = Entry(
    "sequencer_evidence_pending",
    "gauge",
    "Proofs that this node knows and that no decided leaf has punished yet.",
    "Back to 0 within some views. If not, leaders leave them out or nothing is decided.",
)
POOL: Final = Entry(
    "sequencer_insurance_pool", "gauge", "Tokens in the insurance pool, in the smallest unit.", "Pays broken promises."
)
BURNED: Final = Entry(
    "sequencer_burned", "gauge", "Tokens that slashing has burned, in the smallest unit.", "For ever."
)
OPERATIONS: Final = Entry(
    "sequencer_operations",
    "counter",
    "Stake operations, by kind and outcome: accepted or refused here, included in decided leaves.",
    "Accepted ones that are never included have become invalid, or the chain halts.",
    ("kind", "outcome"),
)

SECTION: Final = Section(
    "Ledger: stake, slashing, committees, epochs",
    (
        EPOCH,
        EPOCH_TRANSITIONS,
        BEACON_MISSED,
        TOTAL_STAKE,
        VALIDATORS,
        VALIDATOR_STATUS,
        VALIDATOR_STAKE,
        MISSED_SLOTS,
        LEDGER_CHANGES,
        FALLBACK_ACTIVE,
        FALLBACK_TRANSITIONS,
        SLASHINGS,
        SLASHED_STAKE,
        EVIDENCE,
        EVIDENCE_PENDING,
        POOL,
        BURNED,
        OPERATIONS,
    ),
)


class LedgerMetrics(Collector):
    """What the ledger holds is read when somebody asks; what it did is counted when it is durable."""

    def __init__(self, registry: CollectorRegistry, roster: Roster) -> None:
        self._roster = roster
        self.changes = LEDGER_CHANGES.bounded(registry)
        self.fallback_active = FALLBACK_ACTIVE.gauge(registry)
        self.fallback_transitions = FALLBACK_TRANSITIONS.bounded(registry, TRANSITIONS)
        self.slashings = SLASHINGS.bounded(registry, SLASHING_RULES)
        self.slashed_stake = SLASHED_STAKE.counter(registry)
        self.evidence = EVIDENCE.bounded(registry, SAFETY_RULES)
        self.evidence_pending = EVIDENCE_PENDING.gauge(registry)
        self.epoch_transitions = EPOCH_TRANSITIONS.counter(registry)
        self.beacon_missed = BEACON_MISSED.counter(registry)
        operations = OPERATIONS.counter(registry)
        self.operations = {
            (kind, outcome): operations.labels(kind, outcome) for kind in KINDS for outcome in OPERATION_OUTCOMES
        }
        registry.register(self)

    def on_ledger(self, ledger: Ledger) -> None:
        """The ledger stands so, and is durable."""
        self.fallback_active.set(ledger.state.mode.is_fallback)

    def on_change(self, change: LedgerChange) -> None:
        """Sections 6 to 8: each is counted by its kind; what has a figure of its own changes that too."""
        self.changes.inc(describe_kind(change))
        match change:
            case Slashed(rule=rule, amount=amount):
                self.slashings.inc(rule)
                self.slashed_stake.inc(amount)
            case Tombstoned(rule=rule):
                self.evidence.inc(rule)
            case FallbackActivated():
                self.fallback_transitions.inc("skipped_views")
            case FallbackEnded():
                self.fallback_transitions.inc("clean_leaves")
            case EpochBegan(was_beacon_missing=was_beacon_missing):
                self.epoch_transitions.inc()
                self.beacon_missed.inc(was_beacon_missing)
            case _:
                pass

    def count_operation(self, kind: str, outcome: str) -> None:
        """One of `KINDS`, and one of `OPERATION_OUTCOMES`: what this node answered, or what decided leaves carry."""
        self.operations[kind, outcome].inc()

    def watch_evidence(self, pending: Callable[[], int]) -> None:
        """Called at each scrape."""
        self.evidence_pending.set_function(pending)

    def collect(self) -> Iterable[Metric]:
        ledger = self._roster.ledger
        if ledger is None:
            return
        state = ledger.state
        yield EPOCH.gauge_family(ledger.epoch)
        yield POOL.gauge_family(state.pool)
        yield BURNED.gauge_family(state.burned)
        yield TOTAL_STAKE.gauge_family(ledger.total_stake)
        standings = {validator.id: describe_standing(validator, ledger).status for validator in state.validators}
        counts = Counter(standings.values())
        validators = VALIDATORS.gauge_family()
        for status in STANDINGS:
            validators.add_metric([status], counts[status])
        yield validators
        statuses, stakes = VALIDATOR_STATUS.gauge_family(), VALIDATOR_STAKE.gauge_family()
        missed = MISSED_SLOTS.gauge_family()
        for validator in self._roster.shown():
            name = self._roster.name_of(validator.id)
            statuses.add_metric([name, standings[validator.id]], 1)
            stakes.add_metric([name], validator.stake)
            missed.add_metric([name], validator.leader.missed_slots)
        yield from (statuses, stakes, missed)
