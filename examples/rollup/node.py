"""A node of the rollup: follows its namespace on the sequencer's stream and executes what comes, block by block."""

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from examples.rollup.ledger import Ledger, Outcome
from sequencer.client import AsyncClient
from sequencer.schema.blocks import BlockJson


@dataclass
class RollupNode:
    """`urls` are sequencer nodes that it may ask, the first one as long as that is there.

    A real one writes `height` and the accounts to its disk in one transaction, and after a restart follows from
    `height + 1`: the stream begins anywhere, so nothing else has to be remembered.
    """

    name: str
    urls: Sequence[str]
    ledger: Ledger
    height: int = 0
    """Of the last block that it has executed."""
    roots: dict[int, bytes] = field(default_factory=dict)
    """State root after each block that had a transaction of this rollup."""
    outcomes: Counter[Outcome] = field(default_factory=Counter)

    async def follow(self) -> None:
        """Until cancelled. The client reconnects by itself, to another node if need be, and leaves no block out."""
        async with AsyncClient(self.urls) as client:
            stream = client.stream_blocks(self.height + 1, transactions="full", namespace=self.ledger.namespace)
            async with aclosing(stream) as blocks:
                async for block in blocks:
                    self.execute(block)

    def execute(self, block: BlockJson) -> None:
        """The next block, in which `transactions` are those of this namespace alone; most blocks have none."""
        if block.height != self.height + 1:
            raise ValueError(f"{self.name} has executed height {self.height} and is given {block.height}")
        for transaction in block.transactions or ():
            self.outcomes[self.ledger.execute(bytes.fromhex(transaction.removeprefix("0x")))] += 1
        self.height = block.height
        if block.transactions:
            self.roots[block.height] = self.ledger.compute_root()
