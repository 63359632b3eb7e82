"""Section 4: an honest validator is never framed. Whoever is accused is Byzantine, in reports as in decided leaves."""

from collections.abc import Container

from consensus.effects import Decide
from consensus.evidence import Evidence, get_rule
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.violation import Violation
from netsim.observer import Observer


class OnlyByzantineAccused(Observer):
    """Whatever Byzantine validators say, and however many there are: honest nodes name none of their own."""

    def __init__(self, byzantine: Container[ValidatorId] = ()) -> None:
        self._byzantine = byzantine
        self.accusations = 0

    def on_report(self, now: Microseconds, node: ValidatorId, evidence: Evidence) -> None:
        if node not in self._byzantine:
            self._check(f"node {node} reports", evidence)

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        for block in decide.blocks:
            if block.leaf.evidence and node not in self._byzantine:
                for evidence in block.leaf.evidence:
                    self._check(f"node {node} decided at height {block.leaf.height}", evidence)

    def _check(self, where: str, evidence: Evidence) -> None:
        self.accusations += 1
        if evidence.offender not in self._byzantine:
            raise Violation("framed", f"{where} a proof of {get_rule(evidence)} against honest {evidence.offender}")
