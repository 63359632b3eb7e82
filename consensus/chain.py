"""The undecided part of the chain, and how it becomes decided (R6)."""

from collections.abc import Collection, Iterable

from consensus.errors import InvariantViolation
from consensus.leaf import Block
from consensus.types import Commitment


class Chain:
    """A tree of blocks over the last decided one, the tip. Every block in it is connected to the tip.

    At most one block per proposal that was considered and per leaf that was asked for enters, so it grows only while
    views pass without a decide.
    """

    def __init__(self, tip: Block, undecided: Iterable[Block] = ()) -> None:
        self.tip = tip
        self._blocks: dict[Commitment, Block] = {}
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

    def add(self, block: Block) -> None:
        """The parent must be in the chain. Adding a block twice is harmless."""
        if block.commitment in self:
            return
        if block.leaf.parent not in self:
            raise InvariantViolation(f"{block} was added without its parent")
        self._blocks[block.commitment] = block

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

    def advance(self, blocks: tuple[Block, ...]) -> None:
        """These blocks, oldest first, are decided; whatever does not descend from the last of them is dropped."""
        for block in blocks:
            if (block.leaf.parent, block.leaf.height) != (self.tip.commitment, self.tip.leaf.height + 1):
                raise InvariantViolation(f"{block} was decided on top of {self.tip}, which is not its parent")
            self.tip = block
        kept: dict[Commitment, Block] = {}
        for commitment, block in self._blocks.items():  # parents stand before their children
            if block.leaf.parent in kept or block.leaf.parent == self.tip.commitment:
                kept[commitment] = block
        self._blocks = kept
