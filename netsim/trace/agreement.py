"""Agreement over journals: they may begin anywhere in a chain, and a killed process has not told all it decided."""

from collections.abc import Container, Sequence

from consensus.effects import Decide
from consensus.leaf import Block, Leaf
from consensus.safety import SafetyRecord
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.commitments import compute_commitment
from netsim.checkers.violation import Violation
from netsim.observer import Observer


class TraceAgreement(Observer):
    """One leaf a height on all nodes, each a child of the one below where that one is known; ledgers equal with it."""

    def __init__(self, byzantine: Container[ValidatorId] = ()) -> None:
        self._byzantine = byzantine
        self._chain: dict[int, tuple[bytes, bytes, ValidatorId]] = {}

    @property
    def heights(self) -> int:
        """How many heights above genesis are known."""
        return len(self._chain) - (0 in self._chain)

    def on_start(self, now: Microseconds, node: ValidatorId, record: SafetyRecord, decided: Sequence[Block]) -> None:
        self._check_all(node, decided)

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        self._check_all(node, decide.blocks)

    def _check_all(self, node: ValidatorId, blocks: Sequence[Block]) -> None:
        if node not in self._byzantine:
            for block in blocks:
                self._check(node, block.leaf)

    def _check(self, node: ValidatorId, leaf: Leaf) -> None:
        height, commitment = int(leaf.height), compute_commitment(leaf)
        known = self._chain.setdefault(height, (commitment, leaf.parent, node))
        if known[0] != commitment:
            raise Violation(
                "agreement",
                f"two leaves at height {height}: node {known[2]} decided {known[0].hex()[:8]}, "
                f"node {node} decided {commitment.hex()[:8]}",
            )
        below, above = self._chain.get(height - 1), self._chain.get(height + 1)
        if below is not None and below[0] != leaf.parent:
            raise Violation("agreement", f"node {node} decided height {height}, no child of height {height - 1}")
        if above is not None and above[1] != commitment:
            raise Violation(
                "agreement", f"node {node} decided height {height}, which height {height + 1} does not extend"
            )
