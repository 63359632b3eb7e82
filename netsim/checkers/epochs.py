"""T1 to T3: every node ends an epoch with the same leaf and begins the next with the same ledger, once it is proven.

An epoch decides its own heights and no other, and its first leaf carries the proof that it may begin.
"""

from collections.abc import Container, Sequence

from consensus.context import EpochContext
from consensus.effects import Decide
from consensus.epochs import EpochStart
from consensus.leaf import Leaf
from consensus.ledger import LedgerChange
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.certificates import Certificates
from netsim.checkers.commitments import compute_commitment
from netsim.checkers.violation import Violation
from netsim.observer import Observer


class EpochBoundaries(Observer):
    def __init__(
        self, context: EpochContext, certificates: Certificates, byzantine: Container[ValidatorId] = ()
    ) -> None:
        self._byzantine = byzantine
        self._certificates = certificates
        self._blocks = context.ledger_parameters.epochs.epoch_blocks
        self._begun: dict[int, tuple[bytes, bytes]] = {}

    @property
    def epoch(self) -> int:
        """The highest that anyone has begun."""
        return max(self._begun, default=0)

    def on_epoch(
        self, now: Microseconds, node: ValidatorId, start: EpochStart, changes: Sequence[LedgerChange]
    ) -> None:
        epoch, last = int(start.ledger.state.epoch), start.block.leaf
        self._certificates.add_epoch(start)
        if node in self._byzantine:
            return
        if last.height != epoch * self._blocks:
            raise Violation("T2", f"node {node} begins epoch {epoch} after height {last.height}")
        self._check_proof(node, last, epoch - 1, start.proof.fc.epoch)
        self._follow_path(start.proof.path, compute_commitment(last), start.proof.fc.leaf)
        self._certificates.check(start.proof.fc)
        self._certificates.check(start.proof.qc)
        own = (compute_commitment(last), bytes(start.ledger.commitment))
        if self._begun.setdefault(epoch, own) != own:
            raise Violation("T2", f"node {node} begins epoch {epoch} with another leaf or ledger than others did")

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        if node in self._byzantine:
            return
        for block in decide.blocks:
            leaf = block.leaf
            if leaf.epoch != (leaf.height - 1) // self._blocks:
                raise Violation("T2", f"node {node} decided height {leaf.height} in epoch {leaf.epoch}")
            is_first = leaf.epoch > 0 and leaf.height == leaf.epoch * self._blocks + 1
            if is_first != (leaf.epoch_proof is not None):
                raise Violation("T2", f"height {leaf.height} of epoch {leaf.epoch}: epoch proof {leaf.epoch_proof}")
            if leaf.epoch_proof is not None:
                self._follow_path(leaf.epoch_proof.path, leaf.parent, leaf.epoch_proof.fc.leaf)
                self._certificates.check(leaf.epoch_proof.fc)

    def _check_proof(self, node: ValidatorId, last: Leaf, ended: int, proven: int) -> None:
        if last.epoch != ended or proven != ended:
            raise Violation("T2", f"node {node} ends epoch {ended} by an FC of epoch {proven}, leaf of {last.epoch}")

    def _follow_path(self, path: Sequence[Leaf], first: bytes, last: bytes) -> None:
        for leaf in path:
            if leaf.parent != first or leaf.justify_qc.leaf != first:
                raise Violation("T2", f"the closing leaf of view {leaf.view} does not follow the one before")
            if leaf.payload_bytes or leaf.operations or leaf.evidence or leaf.beacon:
                raise Violation("T2", f"the closing leaf of view {leaf.view} is not empty")
            first = compute_commitment(leaf)
        if first != last:
            raise Violation("T2", "an epoch proof whose FC certifies another leaf")
