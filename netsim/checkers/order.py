"""R6: each node decides heights in order, once each, with an FC for the last of them or for a descendant."""

from collections.abc import Container, Sequence

from consensus.effects import Decide
from consensus.leaf import Block
from consensus.safety import SafetyRecord
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.violation import Violation
from netsim.observer import Observer


class DecideOrder(Observer):
    """A node that starts again goes on from what is on its disk: blocks that were lost there it decides once more."""

    def __init__(self, byzantine: Container[ValidatorId] = ()) -> None:
        self._byzantine = byzantine
        self._tips: dict[ValidatorId, Block] = {}
        self.decides = 0

    def on_start(self, now: Microseconds, node: ValidatorId, record: SafetyRecord, decided: Sequence[Block]) -> None:
        self._tips[node] = decided[-1]

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        if node in self._byzantine:
            return
        if not decide.blocks:
            raise Violation("R6", f"node {node} decided nothing")
        for block in decide.blocks:
            tip = self._tips[node].leaf
            if block.leaf.height != tip.height + 1:
                raise Violation("R6", f"node {node} decided height {block.leaf.height} right after {tip.height}")
            if block.leaf.view <= tip.view:
                raise Violation("R6", f"node {node} decided view {block.leaf.view} on top of view {tip.view}")
            self._tips[node] = block
            self.decides += 1
        last = decide.blocks[-1]
        if decide.fc.view == last.leaf.view:
            justified = decide.fc.leaf == last.commitment
        else:
            justified = decide.fc.view > last.leaf.view
        if not justified:
            raise Violation("R6", f"node {node} decided {last} by an FC of view {decide.fc.view} for another leaf")
