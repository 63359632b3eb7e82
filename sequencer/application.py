"""What the transactions mean, for those who want to know: one of the five pluggable protocols.

A sequencer orders bytes; the rollup behind it gives them a meaning. An application may refuse a payload before its node
votes for it, and is told what was decided, once, in order.
"""

from typing import Protocol

from consensus.leaf import Block, Leaf
from sequencer.payload import Payload


class Application(Protocol):
    """Both are plain calls on the consensus path: what takes longer than a millisecond costs every view."""

    def accept(self, payload: Payload, leaf: Leaf) -> bool:
        """Whether this node may vote for the payload (R3b).

        Must be the same on all nodes, or leaves that some accept and others do not will cost views.
        """
        ...

    def on_decide(self, block: Block, payload: Payload) -> None:
        """The block is final. Called in order, once per height; after a restart only for what comes next."""
        ...


class Opaque:
    """The default: transactions are bytes, all of them welcome."""

    def accept(self, payload: Payload, leaf: Leaf) -> bool:
        return True

    def on_decide(self, block: Block, payload: Payload) -> None:
        pass
