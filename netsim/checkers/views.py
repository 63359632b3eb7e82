"""R1 and R8: views never regress, restarts included.

Within one process each view entered is higher than the last. After a restart a node may not be below a view in which it
has signed something that others have seen.
"""

from collections.abc import Container, Sequence

from consensus.effects import EnteredView
from consensus.leaf import Block
from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote, TimeoutVote
from consensus.safety import SafetyRecord
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.violation import Violation
from netsim.observer import Observer


class ViewsAdvance(Observer):
    def __init__(self, byzantine: Container[ValidatorId] = ()) -> None:
        self._byzantine = byzantine
        self._entered: dict[ValidatorId, int] = {}
        self._signed: dict[ValidatorId, int] = {}

    def on_start(self, now: Microseconds, node: ValidatorId, record: SafetyRecord, decided: Sequence[Block]) -> None:
        view = record.entry.view + 1
        if node not in self._byzantine and view < self._signed.get(node, 0):
            raise Violation("R8", f"node {node} starts in view {view}, having signed in view {self._signed[node]}")
        self._entered[node] = view

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        if isinstance(message, QuorumVote | FinalizeVote | TimeoutVote):
            view = int(message.view)
        elif isinstance(message, QuorumProposal):
            view = int(message.leaf.view)
        else:
            return
        self._signed[node] = max(view, self._signed.get(node, 0))

    def on_enter(self, now: Microseconds, node: ValidatorId, entered: EnteredView) -> None:
        if node not in self._byzantine and entered.view <= self._entered.get(node, 0):
            raise Violation("R1", f"node {node} entered view {entered.view} after view {self._entered[node]}")
        self._entered[node] = entered.view
