"""S1, P3: every node's own ledger is what the leaves commit to, after every decide and at every start.

Agreement holds the leaves of a height to be one; here each node's state, hashed again, is held against the leaf above
it. So two nodes whose ledgers differ are found at the first decide after that, or at the end of the run.
"""

from collections.abc import Container, Sequence

from consensus.context import EpochContext
from consensus.effects import Decide, LedgerChanges
from consensus.epochs import EpochStart
from consensus.ledger import Ledger, LedgerChange, LedgerState
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.commitments import compute_ledger_commitment
from netsim.checkers.violation import Violation
from netsim.observer import Observer
from netsim.process import Process


class LedgerCommitments(Observer):
    def __init__(self, context: EpochContext, byzantine: Container[ValidatorId] = ()) -> None:
        self._byzantine = byzantine
        state = context.genesis_ledger.state
        self._latest: tuple[LedgerState, bytes] = (state, compute_ledger_commitment(state))
        self._own: dict[ValidatorId, bytes] = {}

    def on_ledger(self, now: Microseconds, node: ValidatorId, ledger: Ledger, changes: LedgerChanges) -> None:
        self._own[node] = self._compute(ledger)

    def on_epoch(
        self, now: Microseconds, node: ValidatorId, start: EpochStart, changes: Sequence[LedgerChange]
    ) -> None:
        self._own[node] = self._compute(start.ledger)

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        leaf = decide.blocks[0].leaf
        own = self._own[node]
        if own != leaf.ledger and node not in self._byzantine:
            raise Violation(
                "S1",
                f"node {node} has the ledger {own.hex()[:16]} after height {leaf.height - 1}, but the leaf above it "
                f"commits to {leaf.ledger.hex()[:16]}",
            )

    def on_end(self, now: Microseconds, processes: Sequence[Process], submitted: int) -> None:
        """Of the last height no leaf tells yet."""
        known: dict[tuple[int, int], tuple[ValidatorId, bytes]] = {}
        for process in processes:
            if process.id in self._byzantine or not process.is_alive:
                continue
            member = process.member
            height, own = int(member.replica.tip.leaf.height), self._compute(member.ledger)
            other, commitment = known.setdefault((int(member.epoch), height), (process.id, own))
            if own != commitment:
                raise Violation(
                    "S1", f"nodes {other} and {process.id} have different ledgers after the same block at {height}"
                )

    def _compute(self, ledger: Ledger) -> bytes:
        """Nodes come to the same state one after another, and comparing is cheaper than hashing."""
        state, commitment = self._latest
        if ledger.state is not state and ledger.state != state:
            commitment = compute_ledger_commitment(ledger.state)
            self._latest = (ledger.state, commitment)
        return commitment
