"""The undecided part of the chain, and how it becomes decided (R6)."""

from collections.abc import Collection, Iterable

from consensus.errors import InvariantViolation
from consensus.leaf import Block
from consensus.ledger import Ledger, LedgerChange, LedgerParameters, apply_leaf, describe_changes
from consensus.types import Commitment, Height


class Chain:
    """A tree of blocks over the last decided one, the tip. Every block in it is connected to the tip.

    At most one block per proposal that was considered and per leaf that was asked for enters, so it grows only while
    views pass without a decide.
    """

    def __init__(
        self, tip: Block, ledger: Ledger, parameters: LedgerParameters, undecided: Iterable[Block] = ()
    ) -> None:
        self.tip = tip
        self.ledger = ledger
        """After the tip."""
        self.ledger_before = ledger
        """After the tip's parent, once a block has been decided here."""
        self._parameters = parameters
        self._blocks: dict[Commitment, Block] = {}
        self._ledgers: dict[Commitment, Ledger] = {}
        for block in sorted(undecided, key=lambda block: block.leaf.height):
            if block.leaf.parent in self:
                self.add(block)

    def __contains__(self, commitment: object) -> bool:
        return commitment in self._blocks or commitment == self.tip.commitment

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def blocks(self) -> Collection[Block]:
        """The undecided ones, parents before their children."""
        return self._blocks.values()

    @property
    def undecided_bytes(self) -> int:
        return sum(len(block.payload) for block in self._blocks.values())

    def get(self, commitment: Commitment) -> Block | None:
        return self.tip if commitment == self.tip.commitment else self._blocks.get(commitment)

    def get_ledger(self, commitment: Commitment) -> Ledger:
        """The ledger after a block that is in the chain (S1)."""
        return self.ledger if commitment == self.tip.commitment else self._ledgers[commitment]

    def add(self, block: Block) -> None:
        """The parent must be in the chain. Adding a block twice is harmless."""
        if block.commitment in self:
            return
        parent = self.get(block.leaf.parent)
        if parent is None:
            raise InvariantViolation(f"{block} was added without its parent")
        self._blocks[block.commitment] = block
        before = self.get_ledger(parent.commitment)
        self._ledgers[block.commitment] = apply_leaf(before, parent.leaf, block.leaf, self._parameters)

    def compute_path(self, commitment: Commitment) -> tuple[Block, ...] | None:
        """Undecided blocks up to and including this one, oldest first; empty for the tip; None when it is not here."""
        path: list[Block] = []
        while commitment != self.tip.commitment:
            block = self._blocks.get(commitment)
            if block is None:
                return None
            path.append(block)
            commitment = block.leaf.parent
        path.reverse()
        return tuple(path)

    def advance(self, blocks: tuple[Block, ...]) -> tuple[tuple[Height, tuple[LedgerChange, ...]], ...]:
        """These blocks, oldest first, are decided; whatever does not descend from the last of them is dropped.

        Returns what they changed in the ledger, by height.
        """
        told: list[tuple[Height, tuple[LedgerChange, ...]]] = []
        for block in blocks:
            parent, leaf = self.tip, block.leaf
            if (leaf.parent, leaf.height) != (parent.commitment, parent.leaf.height + 1):
                raise InvariantViolation(f"{block} was decided on top of {parent}, which is not its parent")
            if leaf.ledger != self.ledger.commitment:
                raise InvariantViolation(f"{block} was decided on another ledger than the one computed here")
            after = self._ledgers.get(block.commitment) or apply_leaf(self.ledger, parent.leaf, leaf, self._parameters)
            if after is not self.ledger:
                changes = describe_changes(self.ledger, after, leaf.view - parent.leaf.view - 1)
                if changes:
                    told.append((leaf.height, tuple(changes)))
            self.tip, self.ledger_before, self.ledger = block, self.ledger, after
        kept: dict[Commitment, Block] = {}
        for commitment, block in self._blocks.items():  # parents stand before their children
            if block.leaf.parent in kept or block.leaf.parent == self.tip.commitment:
                kept[commitment] = block
        self._blocks = kept
        self._ledgers = {commitment: self._ledgers[commitment] for commitment in kept}
        return tuple(told)
