"""What the transactions mean, for those who want to know: one of the five pluggable protocols.

A sequencer orders bytes; the rollup behind it gives them a meaning. An application may refuse a payload before its node
votes for it, and is told what was decided, once, in order.
"""

from typing import Final, Protocol

from consensus.leaf import Block, Leaf
from consensus.types import Height
from sequencer.payload import Payload, PayloadCache
from sequencer.storage import Storage

REPLAY_BLOCKS: Final = 256
REPLAY_BYTES: Final = 8 * 1024 * 1024
"""Decided blocks that are read in one go for an application that is behind."""


class Application(Protocol):
    """Plain calls on the consensus path: what takes longer than a millisecond costs every view."""

    @property
    def height(self) -> Height | None:
        """The last block that it has taken for good: a starting node brings it up to date from there.

        None for an application that keeps nothing and wants only what comes next.
        """
        ...

    def accept(self, payload: Payload, leaf: Leaf) -> bool:
        """Whether this node may vote for the payload (R3b).

        Must be the same on all nodes, or leaves that some accept and others do not will cost views.
        """
        ...

    def on_decide(self, block: Block, payload: Payload) -> None:
        """The block is final. Called in order of height, each once in a run of the process; see `height`."""
        ...


class Opaque:
    """The default: transactions are bytes, all of them welcome."""

    height: Height | None = None

    def accept(self, payload: Payload, leaf: Leaf) -> bool:
        return True

    def on_decide(self, block: Block, payload: Payload) -> None:
        pass


def replay(application: Application, storage: Storage, payloads: PayloadCache) -> None:
    """What is decided and durable, and the process ended before its application took it."""
    height = application.height
    while height is not None and height < storage.latest_height:
        blocks = storage.read_decided(Height(height + 1), blocks_max=REPLAY_BLOCKS, bytes_max=REPLAY_BYTES)
        for block in blocks:
            application.on_decide(block, payloads.open(block))
        height = blocks[-1].leaf.height
