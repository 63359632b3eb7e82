"""What the transactions mean, for those who want to know: one of the five pluggable protocols.

A sequencer orders bytes; the rollup behind it gives them a meaning. An application may refuse a payload before its node
votes for it, and is told what was decided, once, in order.
"""

from typing import Protocol

from consensus.leaf import Block, Leaf
from consensus.types import Height
from sequencer.payload import Payload


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
