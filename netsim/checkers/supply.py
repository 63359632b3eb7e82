"""J4: stake moves, and is burned, but none is made and none is lost: sums are conserved to the last unit."""

from collections.abc import Container, Sequence

from consensus.context import EpochContext
from consensus.effects import LedgerChanges
from consensus.epochs import EpochStart
from consensus.ledger import Ledger, LedgerChange, LedgerState
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.violation import Violation
from netsim.observer import Observer


class SupplyConserved(Observer):
    """Adds up accounts, bonded and unbonding stake, pool and burned units whenever a node's ledger has changed."""

    def __init__(self, context: EpochContext, byzantine: Container[ValidatorId] = ()) -> None:
        self._byzantine = byzantine
        self._latest = context.genesis_ledger.state
        self._supply = sum(_list_amounts(self._latest))

    def on_ledger(self, now: Microseconds, node: ValidatorId, ledger: Ledger, changes: LedgerChanges) -> None:
        self._check(node, ledger.state)

    def on_epoch(
        self, now: Microseconds, node: ValidatorId, start: EpochStart, changes: Sequence[LedgerChange]
    ) -> None:
        self._check(node, start.ledger.state)

    def _check(self, node: ValidatorId, state: LedgerState) -> None:
        if node in self._byzantine or state is self._latest or state == self._latest:
            return
        amounts = _list_amounts(state)
        if sum(amounts) != self._supply:
            raise Violation("J4", f"node {node} has a ledger with {sum(amounts)} units, there were {self._supply}")
        if min(amounts) < 0:
            raise Violation("J4", f"node {node} has a ledger in which somebody owns {min(amounts)} units")
        self._latest = state


def _list_amounts(state: LedgerState) -> list[int]:
    amounts = [state.pool, state.burned]
    amounts += [account.balance for account in state.accounts]
    for validator in state.validators:
        amounts.append(validator.stake)
        amounts += [part.amount for part in validator.unbonding]
    return amounts
