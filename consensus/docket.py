"""What waits to be put into a leaf: stake operations (J5) and evidence (J4).

One docket serves a validator through all epochs. It holds what the ledger would accept right now and nothing else: one
proof per offender, and a bounded number of operations per account and in all. What a decided leaf has settled, or made
impossible, is dropped.
"""

from collections.abc import Callable, Sequence
from typing import Final

from consensus.evidence import BrokenPromise, Evidence
from consensus.leaf import Leaf
from consensus.ledger import Ledger
from consensus.ledger.admission import Admission
from consensus.messages import EvidenceNotice, OperationNotice
from consensus.operations import Operation, compute_operation_id
from consensus.types import Commitment, Height, ValidatorId

OPERATIONS_PENDING_MAX: Final = 1024
ACCOUNT_OPERATIONS_MAX: Final = 16
"""Of one account: its nonces are taken in order, so more than a leaf or two would only wait."""
REPEAT_HEIGHTS: Final = 16
"""Decided blocks after which what came in or was noticed here, and still waits, is sent out again."""


def _confirm_nothing(_claim: BrokenPromise) -> bool:
    return False


class Docket:
    """Pending operations and evidence, in the order in which they came.

    `confirm` says whether this node's decided blocks show that a promise was broken; without it no such claim is taken.
    """

    def __init__(self, admission: Admission, confirm: Callable[[BrokenPromise], bool] = _confirm_nothing) -> None:
        self.admission = admission
        self._confirm = confirm
        self._operations: dict[Commitment, Operation] = {}
        self._own: dict[Commitment, Height] = {}
        self._evidence: dict[ValidatorId, Evidence] = {}
        self._told: dict[ValidatorId, Height] = {}

    @property
    def operations(self) -> Sequence[Operation]:
        return tuple(self._operations.values())

    @property
    def evidence(self) -> Sequence[Evidence]:
        return tuple(self._evidence.values())

    def find_operation_flaw(self, operation: Operation, ledger: Ledger) -> str | None:
        """None when it may wait here: acceptable behind what the same account has waiting already, else the reason."""
        if compute_operation_id(operation) in self._operations:
            return None
        waiting = [known for known in self._operations.values() if known.account == operation.account]
        if len(waiting) >= ACCOUNT_OPERATIONS_MAX:
            return f"{len(waiting)} operations of this account wait already"
        if len(self._operations) >= OPERATIONS_PENDING_MAX:
            return f"{len(self._operations)} operations wait already"
        return self._find_flaw_behind(waiting, operation, ledger)

    def add_operation(self, operation: Operation, ledger: Ledger, height: Height | None = None) -> bool:
        """Whether it is new here and acceptable. `height` marks one that came in at this node, see `take_overdue`."""
        operation_id = compute_operation_id(operation)
        if operation_id in self._operations or self.find_operation_flaw(operation, ledger) is not None:
            return False
        self._operations[operation_id] = operation
        if height is not None:
            self._own[operation_id] = height
        return True

    def add_evidence(self, evidence: Evidence, ledger: Ledger, height: Height) -> bool:
        """Whether it is the first acceptable proof against its offender; `height` is when it came."""
        if evidence.offender in self._evidence or self.admission.check_evidence(ledger, evidence) is not None:
            return False
        if isinstance(evidence, BrokenPromise) and not self._confirm(evidence):
            return False
        self._evidence[evidence.offender] = evidence
        self._told[evidence.offender] = height
        return True

    def find_unconfirmed(self, leaf: Leaf) -> str | None:
        """R3b: what a leaf says about promises must be true by this node's own blocks; None when it is."""
        for evidence in leaf.evidence:
            if isinstance(evidence, BrokenPromise) and not self._confirm(evidence):
                return f"the promise of validator {evidence.offender} is not broken as far as is known here"
        return None

    def select(self, ledger: Ledger) -> tuple[tuple[Operation, ...], tuple[Evidence, ...]]:
        """What the next leaf may carry on top of this state."""
        if not self._operations and not self._evidence:
            return (), ()
        return self.admission.select(ledger, self.operations, self.evidence)

    def on_ledger(self, ledger: Ledger) -> None:
        """Decided leaves have changed the ledger: keep what it still accepts."""
        for offender, evidence in list(self._evidence.items()):
            if self.admission.check_evidence(ledger, evidence) is not None:
                del self._evidence[offender], self._told[offender]
        accounts: dict[bytes, list[Operation]] = {}
        for operation in self._operations.values():
            accounts.setdefault(operation.account, []).append(operation)
        kept: set[Operation] = set()
        for waiting in accounts.values():
            kept.update(self.admission.select(ledger, waiting, ())[0])
        self._operations = {known: operation for known, operation in self._operations.items() if operation in kept}
        self._own = {known: height for known, height in self._own.items() if known in self._operations}

    def take_overdue(self, height: Height) -> list[OperationNotice | EvidenceNotice]:
        """What waits too long: whoever was to include it may never have had it, and this node need not ever lead."""
        notices: list[OperationNotice | EvidenceNotice] = []
        if not self._own and not self._told:
            return notices
        for operation_id in [known for known, since in self._own.items() if height - since >= REPEAT_HEIGHTS]:
            self._own[operation_id] = height
            notices.append(OperationNotice(self._operations[operation_id]))
        for offender in [known for known, since in self._told.items() if height - since >= REPEAT_HEIGHTS]:
            self._told[offender] = height
            notices.append(EvidenceNotice(self._evidence[offender]))
        return notices

    def _find_flaw_behind(self, waiting: Sequence[Operation], operation: Operation, ledger: Ledger) -> str | None:
        selected, _ = self.admission.select(ledger, (*waiting, operation), ())
        if operation in selected:
            return None
        return self.admission.check_operation(ledger, operation) or "it contradicts an operation that waits already"
