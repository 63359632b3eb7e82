"""R2, R3a, R5, R7: one proposal and one vote of each kind per (validator, epoch, view), over the whole message log.

Restarts included: whatever a validator's earlier processes sent counts as its own.
"""

from collections.abc import Container

from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote, TimeoutVote
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.commitments import compute_commitment
from netsim.checkers.violation import Violation
from netsim.observer import Observer


class OneVotePerView(Observer):
    """Reads the sender's own signed statements; what it passes on of others is theirs."""

    def __init__(self, byzantine: Container[ValidatorId] = ()) -> None:
        self._byzantine = byzantine
        self._said: dict[tuple[str, int, int, int], bytes] = {}
        self.statements = 0

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        if node in self._byzantine:
            return
        if isinstance(message, QuorumVote):
            self._check(node, message.voter, "quorum vote", message.epoch, message.view, message.leaf)
        elif isinstance(message, FinalizeVote):
            self._check(node, message.voter, "finalize vote", message.epoch, message.view, message.leaf)
        elif isinstance(message, TimeoutVote):
            subject = message.high_qc_view.to_bytes(8, "big")
            self._check(node, message.voter, "timeout vote", message.epoch, message.view, subject)
        elif isinstance(message, QuorumProposal):
            leaf = message.leaf
            self._check(node, leaf.proposer, "proposal", leaf.epoch, leaf.view, compute_commitment(leaf))

    def _check(self, node: int, signer: int, kind: str, epoch: int, view: int, subject: bytes) -> None:
        if signer != node:
            raise Violation("one vote", f"node {node} sent a {kind} of {signer} in view {view}")
        known = self._said.setdefault((kind, node, epoch, view), subject)
        self.statements += 1
        if known != subject:
            raise Violation(
                "one vote",
                f"node {node} sent two different {kind}s in view {view}: {known.hex()[:16]} and {subject.hex()[:16]}",
            )
