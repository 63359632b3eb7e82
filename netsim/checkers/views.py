"""R1 and R8: views never regress within an epoch, nor epochs, restarts included.

Within one process each view entered is higher than the last. After a restart a node may not be below a view in which it
has signed something that others have seen.
"""

from collections.abc import Container, Sequence

from consensus.effects import EnteredView
from consensus.epochs import EpochStart
from consensus.leaf import Block
from consensus.ledger import LedgerChange
from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote, TimeoutVote
from consensus.safety import SafetyRecord
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.violation import Violation
from netsim.observer import Observer

_NONE = (-1, 0)


class ViewsAdvance(Observer):
    def __init__(self, byzantine: Container[ValidatorId] = ()) -> None:
        self._byzantine = byzantine
        self._epochs: dict[ValidatorId, int] = {}
        self._entered: dict[ValidatorId, tuple[int, int]] = {}
        self._signed: dict[ValidatorId, tuple[int, int]] = {}

    def on_start(self, now: Microseconds, node: ValidatorId, record: SafetyRecord, decided: Sequence[Block]) -> None:
        view = (int(record.epoch), record.entry.view + 1)
        if node not in self._byzantine and view < self._signed.get(node, _NONE):
            raise Violation("R8", f"node {node} starts in view {view}, having signed in view {self._signed[node]}")
        self._entered[node], self._epochs[node] = view, record.epoch

    def on_epoch(
        self, now: Microseconds, node: ValidatorId, start: EpochStart, changes: Sequence[LedgerChange]
    ) -> None:
        self._epochs[node] = start.ledger.state.epoch

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        view: tuple[int, int]
        match message:
            case QuorumVote() | FinalizeVote() | TimeoutVote():
                view = (message.epoch, message.view)
            case QuorumProposal():
                view = (message.leaf.epoch, message.leaf.view)
            case _:
                return
        if view > self._signed.get(node, _NONE):
            self._signed[node] = view

    def on_enter(self, now: Microseconds, node: ValidatorId, entered: EnteredView) -> None:
        view = (self._epochs.get(node, 0), entered.view)
        if node not in self._byzantine and view <= self._entered.get(node, _NONE):
            raise Violation("R1", f"node {node} entered (epoch, view) {view} after {self._entered[node]}")
        self._entered[node] = view
