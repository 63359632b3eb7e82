"""Agreement: one block a height, on every node, for ever; and each height's block is a child of the one below."""

from collections.abc import Container, Sequence

from consensus.effects import Decide
from consensus.leaf import Block
from consensus.safety import SafetyRecord
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.commitments import compute_commitment, compute_payload_commitment
from netsim.checkers.violation import Violation
from netsim.observer import Observer


class Agreement(Observer):
    """Holds every node against the first one that decided a height."""

    def __init__(self, genesis: Block, byzantine: Container[ValidatorId] = ()) -> None:
        self._byzantine = byzantine
        self._chain: list[bytes] = [compute_commitment(genesis.leaf)]
        self._decider: list[ValidatorId | None] = [None]
        self._payloads: list[bytes] = [genesis.payload]

    @property
    def height(self) -> int:
        """Highest height that anyone has decided."""
        return len(self._chain) - 1

    def on_start(self, now: Microseconds, node: ValidatorId, record: SafetyRecord, decided: Sequence[Block]) -> None:
        if node not in self._byzantine:
            for block in decided:
                self._check(node, block)

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        if node in self._byzantine:
            return
        for block in decide.blocks:
            self._check(node, block)
            if block.payload != self._payloads[block.leaf.height]:  # mostly the same object, so seldom compared
                raise Violation("agreement", f"node {node} decided {block} with a payload that is not its own")

    def _check(self, node: ValidatorId, block: Block) -> None:
        leaf = block.leaf
        commitment = compute_commitment(leaf)
        if leaf.height > len(self._chain):
            raise Violation(
                "agreement", f"node {node} decided {block}, but nobody has decided height {leaf.height - 1}"
            )
        if leaf.height < len(self._chain):
            if self._chain[leaf.height] != commitment:
                raise Violation(
                    "agreement",
                    f"two blocks at height {leaf.height}: node {self._decider[leaf.height]} decided "
                    f"{self._chain[leaf.height].hex()[:8]}, node {node} decided {block}",
                )
            return
        if leaf.parent != self._chain[-1]:
            raise Violation("agreement", f"node {node} decided {block}, no child of height {leaf.height - 1}")
        if leaf.payload != compute_payload_commitment(block.payload):
            raise Violation("agreement", f"node {node} decided {block} with a payload that is not its own")
        self._chain.append(commitment)
        self._decider.append(node)
        self._payloads.append(block.payload)
