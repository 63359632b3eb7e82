"""R5 against R7: no finalize vote of a view ≤ w after the timeout vote of w, no timeout vote below what was finalized.

The first is the order in which things were signed. A restart repeats its last finalize vote, which may have been signed
but never sent before the crash: so what stands in the record at a start counts as said.
"""

from collections.abc import Container, Sequence

from consensus.leaf import Block
from consensus.messages import FinalizeVote, Message, TimeoutVote
from consensus.safety import SafetyRecord
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.violation import Violation
from netsim.observer import Observer


class FinalizeBeforeTimeout(Observer):
    heard = frozenset({FinalizeVote, TimeoutVote})

    def __init__(self, byzantine: Container[ValidatorId] = ()) -> None:
        self._byzantine = byzantine
        self._finalized: dict[tuple[ValidatorId, int], set[int]] = {}
        self._highest_timeout: dict[tuple[ValidatorId, int], int] = {}
        self.timeouts = 0

    def on_start(self, now: Microseconds, node: ValidatorId, record: SafetyRecord, decided: Sequence[Block]) -> None:
        if record.last_finalize is not None:
            self._finalized.setdefault((node, record.epoch), set()).add(record.last_finalize.view)

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        if node in self._byzantine:
            return
        if isinstance(message, FinalizeVote):
            self._on_finalize(node, message)
        elif isinstance(message, TimeoutVote):
            self._on_timeout(node, message)

    def _on_finalize(self, node: ValidatorId, vote: FinalizeVote) -> None:
        key = (node, vote.epoch)
        if vote.view in self._finalized.setdefault(key, set()):
            return
        highest = self._highest_timeout.get(key, -1)
        if highest >= vote.view:
            raise Violation("R5", f"node {node} finalized view {vote.view} after its timeout of view {highest}")
        self._finalized[key].add(vote.view)

    def _on_timeout(self, node: ValidatorId, vote: TimeoutVote) -> None:
        key = (node, vote.epoch)
        self.timeouts += 1
        self._highest_timeout[key] = max(vote.view, self._highest_timeout.get(key, -1))
        finalized = max((view for view in self._finalized.get(key, ()) if view <= vote.view), default=0)
        if vote.high_qc_view < finalized:
            raise Violation(
                "E4",
                f"node {node} timed out in view {vote.view} with high_qc {vote.high_qc_view} < finalized {finalized}",
            )
