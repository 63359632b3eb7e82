"""What a run is judged by: when each height was first decided, what has been reached, who was accused."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from consensus.effects import Decide, EnteredView, LedgerChanges, TimedOut
from consensus.epochs import EpochStart
from consensus.evidence import Evidence
from consensus.leaf import Block
from consensus.ledger import Ledger, LedgerChange
from consensus.ledger.changes import (
    Benched,
    Bonded,
    FallbackActivated,
    FallbackEnded,
    Jailed,
    KeyRotated,
    Slashed,
    Unbonded,
)
from consensus.safety import SafetyRecord
from consensus.types import Microseconds, ValidatorId
from netsim.observer import Observer
from netsim.scenario.faults import EventName
from netsim.scenario.stage import Stage

_EVENTS: dict[type[object], EventName] = {
    FallbackActivated: "fallback",
    FallbackEnded: "handback",
    Benched: "benched",
    Slashed: "slashed",
}
_MARKS: dict[type[object], str] = {
    FallbackActivated: "fallbacks",
    FallbackEnded: "handbacks",
    Benched: "benchings",
    Jailed: "jailings",
    Slashed: "slashings",
    Bonded: "operations",
    Unbonded: "operations",
    KeyRotated: "operations",
}


class FirstDecide(NamedTuple):
    """When any node decided a height for the first time."""

    now: int
    height: int
    view: int


def _ignore(_: object) -> None:
    """Nobody waits."""


class Recorder(Observer):
    """`on_event`, `on_height` and `on_view` tell the director of what a trigger may wait for, at most once a step."""

    def __init__(self) -> None:
        self.marks: Counter[str] = Counter()
        self.first_decides: list[FirstDecide] = []
        self.height = 0
        self.view = 0
        self.accused: set[ValidatorId] = set()
        self.on_event: Callable[[EventName], None] = _ignore
        self.on_height: Callable[[int], None] = _ignore
        self.on_view: Callable[[int], None] = _ignore
        self._started: set[ValidatorId] = set()
        self._skipped: set[int] = set()
        self._epoch = 0
        self._ledger_height = 0

    def on_start(self, now: Microseconds, node: ValidatorId, record: SafetyRecord, decided: Sequence[Block]) -> None:
        if node in self._started:
            self.marks["restarts"] += 1
            self.on_event("restart")
        self._started.add(node)
        # Blocks that its former process wrote and never told of.
        for block in decided[max(0, self.height + 1 - decided[0].leaf.height) :]:
            self._note(now, block)

    def on_enter(self, now: Microseconds, node: ValidatorId, entered: EnteredView) -> None:
        if entered.timed_out and entered.view not in self._skipped:
            self._skipped.add(entered.view)
            self.marks["skipped_views"] += 1
        if entered.view > self.view:
            self.view = entered.view
            self.on_view(self.view)

    def on_timeout(self, now: Microseconds, node: ValidatorId, timed_out: TimedOut) -> None:
        self.marks["timeouts"] += 1
        self.on_event("timeout")

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        if decide.blocks[-1].leaf.height > self.height:
            for block in decide.blocks:
                if block.leaf.height > self.height:
                    self._note(now, block)

    def on_ledger(self, now: Microseconds, node: ValidatorId, ledger: Ledger, changes: LedgerChanges) -> None:
        for height, told in changes:
            if height > self._ledger_height:
                self._ledger_height = height
                self._count(told)

    def on_epoch(
        self, now: Microseconds, node: ValidatorId, start: EpochStart, changes: Sequence[LedgerChange]
    ) -> None:
        epoch = start.ledger.state.epoch
        if epoch > self._epoch:
            self._epoch = epoch
            self.marks["epochs"] += 1
            self._count(changes)
            self.on_event("epoch")

    def on_report(self, now: Microseconds, node: ValidatorId, evidence: Evidence) -> None:
        self._accuse(evidence.offender)

    def _note(self, now: int, block: Block) -> None:
        leaf = block.leaf
        self.height = leaf.height
        self.first_decides.append(FirstDecide(now, leaf.height, leaf.view))
        self.on_height(leaf.height)
        self.on_event("decide")

    def _count(self, changes: Sequence[LedgerChange]) -> None:
        for change in changes:
            kind = type(change)
            if kind in _MARKS:
                self.marks[_MARKS[kind]] += 1
            if isinstance(change, Slashed) and change.rule != "J1":
                self._accuse(change.validator)
            if kind in _EVENTS:
                self.on_event(_EVENTS[kind])

    def _accuse(self, validator: ValidatorId) -> None:
        if validator not in self.accused:
            self.accused.add(validator)
            self.marks["evidence"] += 1


def count_marks(recorder: Recorder, stage: Stage) -> dict[str, int]:
    """Those of the recorder, and those that faults, links and disks have counted; what was not reached is left out."""
    cluster = stage.cluster
    counters = cluster.network.counters
    disks = [process.disk for process in cluster.processes]
    marks = {
        **recorder.marks,
        **stage.marks,
        "restarts_with_journal": sum(process.restarts_with_journal for process in cluster.processes),
        "decides": recorder.height,
        "messages_lost": counters.lost,
        "messages_cut": counters.cut,
        "messages_duplicated": counters.duplicated,
        "messages_reordered": counters.reordered,
        "messages_clogged": counters.clogged,
        "messages_corrupted": counters.corrupted,
        "connections_reset": counters.resets,
        "writes_lost": sum(disk.writes_lost for disk in disks),
    }
    return {name: count for name, count in marks.items() if count}
