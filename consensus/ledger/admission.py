"""Whether operations and evidence may stand in a leaf: what the ledger says, and whether they are signed (J4, J5)."""

from collections.abc import Iterable
from typing import Final

from consensus.evidence import EVIDENCE_MAX, Evidence, compute_evidence_id, find_evidence_flaw
from consensus.leaf import Leaf
from consensus.ledger.draft import Draft
from consensus.ledger.parameters import LedgerParameters
from consensus.ledger.slashing import find_evidence_objection, punish
from consensus.ledger.staking import apply_operation, find_bonded, find_operation_objection
from consensus.ledger.state import Ledger
from consensus.operations import (
    OPERATIONS_MAX,
    Bond,
    Operation,
    RotateKey,
    compute_operation_id,
    is_possessed,
    is_signed,
)
from consensus.signatures import SignatureScheme
from consensus.types import NetworkId

VERIFIED_MAX: Final = 4096
"""Signatures that are remembered as right: some dozens of full leaves, 64 bytes each."""


class Admission:
    """Judges on top of a state, the one after the parent. Remembers signatures that it has verified, oldest out first.

    The checks of the state are the ones by which `apply_leaf` skips, so what is admitted takes effect.
    """

    def __init__(self, network_id: NetworkId, scheme: SignatureScheme, parameters: LedgerParameters) -> None:
        self._network_id = network_id
        self._scheme = scheme
        self._parameters = parameters
        self._verified: dict[bytes, None] = {}

    def find_flaw(self, ledger: Ledger, leaf: Leaf) -> str | None:
        """None when each of the leaf's evidence and operations is acceptable behind the ones before it."""
        if not leaf.operations and not leaf.evidence:
            return None
        draft = Draft(ledger)
        for evidence in leaf.evidence:
            flaw = self._find_evidence_flaw(draft, evidence)
            if flaw is not None:
                return f"evidence against validator {evidence.offender}: {flaw}"
            punish(draft, evidence, leaf.proposer, self._parameters)
        for number, operation in enumerate(leaf.operations):
            flaw = self._find_operation_flaw(draft, operation)
            if flaw is not None:
                return f"operation {number}: {flaw}"
            apply_operation(draft, operation, self._parameters)
        return None

    def check_operation(self, ledger: Ledger, operation: Operation) -> str | None:
        """None when it is acceptable on top of this state, else the reason."""
        return self._find_operation_flaw(Draft(ledger), operation)

    def check_evidence(self, ledger: Ledger, evidence: Evidence) -> str | None:
        """None when it is acceptable on top of this state, else the reason."""
        return self._find_evidence_flaw(Draft(ledger), evidence)

    def select(
        self, ledger: Ledger, operations: Iterable[Operation], evidence: Iterable[Evidence]
    ) -> tuple[tuple[Operation, ...], tuple[Evidence, ...]]:
        """What one leaf may carry, in the given order: each acceptable behind the ones before it, up to the maxima."""
        draft = Draft(ledger)
        chosen_evidence: list[Evidence] = []
        for proof in evidence:
            if len(chosen_evidence) < EVIDENCE_MAX and self._find_evidence_flaw(draft, proof) is None:
                # Without the reporter's share: an operation must not depend on who proposes.
                punish(draft, proof, None, self._parameters)
                chosen_evidence.append(proof)
        chosen: list[Operation] = []
        for operation in operations:
            if len(chosen) < OPERATIONS_MAX and self._find_operation_flaw(draft, operation) is None:
                apply_operation(draft, operation, self._parameters)
                chosen.append(operation)
        return tuple(chosen), tuple(chosen_evidence)

    def _find_evidence_flaw(self, draft: Draft, evidence: Evidence) -> str | None:
        objection = find_evidence_objection(draft, evidence, self._parameters)
        if objection is not None:
            return objection
        key = draft.before.get_table(evidence.epoch).get_validator(evidence.offender).public_key
        name = compute_evidence_id(evidence) + key
        if name in self._verified:
            return None
        flaw = find_evidence_flaw(evidence, key, self._scheme, self._network_id)
        if flaw is None:
            self._remember(name)
        return flaw

    def _find_operation_flaw(self, draft: Draft, operation: Operation) -> str | None:
        objection = find_operation_objection(draft, operation, self._parameters)
        if objection is not None:
            return objection
        name = compute_operation_id(operation)
        if name not in self._verified:
            if not is_signed(operation, self._scheme, self._network_id):
                return "the signature is not the account's"
            self._remember(name)
        return self._find_possession_flaw(draft, operation, name)

    def _find_possession_flaw(self, draft: Draft, operation: Operation, name: bytes) -> str | None:
        """A key that is new here must have agreed. A top-up needs no such proof, so it is another question."""
        match operation:
            case Bond() if find_bonded(draft, operation.public_key) is not None:
                return None
            case Bond() | RotateKey():
                name = b"possession" + name
                account, possession = operation.account, operation.possession
                if name in self._verified:
                    return None
                if not is_possessed(operation.public_key, account, possession, self._scheme, self._network_id):
                    return "the validator's key has not signed for this account"
                self._remember(name)
            case _:
                pass
        return None

    def _remember(self, name: bytes) -> None:
        while len(self._verified) >= VERIFIED_MAX:
            del self._verified[next(iter(self._verified))]
        self._verified[name] = None
