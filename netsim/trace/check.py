"""Journals played to the oracles, as if everything happened again."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from consensus.context import EpochContext
from consensus.effects import Decide, EnteredView, TimedOut
from consensus.leaf import Block
from consensus.trace import Accused, Began, Decided, Entered, EpochBegan, GaveUp, Heard, Opened, Record, Said
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.accusations import OnlyByzantineAccused
from netsim.checkers.certificates import Certificates
from netsim.checkers.epochs import EpochBoundaries
from netsim.checkers.order import DecideOrder
from netsim.checkers.timeouts import FinalizeBeforeTimeout
from netsim.checkers.views import ViewsAdvance
from netsim.checkers.violation import Violation
from netsim.checkers.votes import OneVotePerView
from netsim.observer import Observer
from netsim.trace.agreement import TraceAgreement
from netsim.trace.journals import NodeJournal, merge_records


@dataclass
class TraceSummary:
    """What was in the journals; all of it held."""

    nodes: int = 0
    processes: int = 0
    records: int = 0
    statements: int = 0
    """Signed and sent."""
    views: int = 0
    """Entered, by any node, each once."""
    timeouts: int = 0
    decides: int = 0
    """Leaves decided, by each node."""
    heights: int = 0
    epochs: int = 0
    accused: set[ValidatorId] = field(default_factory=set)
    """By anybody who is no liar."""
    certificates: int = 0
    """Verified again, each once."""
    first: Microseconds | None = None
    last: Microseconds | None = None
    torn: list[Path] = field(default_factory=list)
    """Files whose last record is cut off: their processes were killed while they wrote."""

    @property
    def seconds(self) -> float:
        return 0.0 if self.first is None or self.last is None else (self.last - self.first) / 1e6


def check_trace(
    journals: Sequence[NodeJournal],
    context: EpochContext,
    byzantine: Container[ValidatorId] = (),
    observers: Sequence[Observer] = (),
) -> TraceSummary:
    """`context` is the network's first epoch; what `byzantine` nodes wrote is held against nobody.

    Raises `Violation` for the first rule that was broken, `TraceError` for a journal that cannot be read.
    """
    player = _Player(context, byzantine, observers)
    summary = player.summary
    for node, record in merge_records(journals, summary.torn):
        try:
            player.play(node, record)
        except Violation as violation:
            violation.add_note(f"found in a record of validator {node}, at {record.at / 1e6:.6f} s since the epoch")
            raise
    summary.nodes = len(journals)
    summary.heights, summary.certificates = player.agreement.heights, player.certificates.verified
    summary.views, summary.epochs = len(player.views), len(player.epochs)
    return summary


class _Player:
    def __init__(self, context: EpochContext, byzantine: Container[ValidatorId], observers: Sequence[Observer]) -> None:
        self.summary = TraceSummary()
        self.views: set[int] = set()
        self.epochs: set[int] = set()
        self.certificates = Certificates(context, byzantine)
        self.agreement = TraceAgreement(byzantine)
        self._byzantine = byzantine
        self._observers: list[Observer] = [
            self.agreement,
            EpochBoundaries(context, self.certificates, byzantine),
            OneVotePerView(byzantine),
            FinalizeBeforeTimeout(byzantine),
            DecideOrder(byzantine),
            ViewsAdvance(byzantine),
            OnlyByzantineAccused(byzantine),
            self.certificates,
            *observers,
        ]

    def play(self, node: ValidatorId, record: Record) -> None:
        summary = self.summary
        summary.records += 1
        summary.first = record.at if summary.first is None else summary.first
        summary.last = record.at
        for observer in self._observers:
            _tell(observer, node, record)
        match record:
            case Opened():
                summary.processes += 1
            case Said():
                summary.statements += 1
            case Entered(view=view):
                self.views.add(view)
            case GaveUp():
                summary.timeouts += 1
            case Decided(leaves=leaves):
                summary.decides += len(leaves)
            case EpochBegan(ledger=state):
                self.epochs.add(state.epoch)
            case Accused(evidence=evidence) if node not in self._byzantine:
                summary.accused.add(evidence.offender)
            case _:
                pass


def _tell(observer: Observer, node: ValidatorId, record: Record) -> None:
    now = record.at
    match record:
        case Began(record=safety, tip=tip):
            observer.on_start(now, node, safety, [Block(tip, b"")])
        case Said(message=message):
            observer.on_send(now, node, message)
        case Entered(view=view, timed_out=timed_out):
            observer.on_enter(now, node, EnteredView(view, None, timed_out))
        case GaveUp(view=view, cause=cause):
            observer.on_timeout(now, node, TimedOut(view, cause))
        case Decided(leaves=leaves, fc=fc):
            observer.on_decide(now, node, Decide(tuple(Block(leaf, b"") for leaf in leaves), fc))
        case EpochBegan():
            observer.on_epoch(now, node, record.start, ())
        case Accused(evidence=evidence):
            observer.on_report(now, node, evidence)
        case Opened() | Heard():
            pass
