"""What can be followed: things with ascending numbers that are kept elsewhere, and of which new ones come."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from consensus.types import Height
from sequencer.api.blocks import Blocks
from sequencer.api.finding import make_not_found
from sequencer.api.node_view import NodeView
from sequencer.directory import Directory
from sequencer.schema.blocks import TransactionForm


class Feed(Protocol):
    """A source of events for any number of readers, numbered as they come. What a reader wants of each is its
    selection; what clients know them by is their id.
    """

    @property
    def event(self) -> str:
        """Name of its events."""
        ...

    @property
    def repeats(self) -> bool:
        """Whether what has an id may be told again, because it has changed."""
        ...

    @property
    def first(self) -> int:
        """Number of the first one that was not forgotten."""
        ...

    @property
    def latest(self) -> int:
        """Number of the last one."""
        ...

    def find(self, id_: int) -> int:
        """Number with which a reader begins that wants what has this id, and what follows."""
        ...

    def get_id(self, number: int) -> int:
        """Of one from `first` to `latest`."""
        ...

    def seek(self, number: int) -> int:
        """The lowest number from this one on that is, or will be, worth telling."""
        ...

    def render(self, number: int, selection: Hashable) -> bytes:
        """As JSON on one line. Not above `latest`, and one that `seek` has answered."""
        ...

    async def wait_news(self) -> None:
        """Return when there is a new one. No checkpoint may lie between a look at `latest` and the call."""
        ...


@dataclass(frozen=True, slots=True)
class BlockSelection:
    """How the transactions of blocks are shown, and whether only those of one namespace are."""

    form: TransactionForm
    namespace: int | None


class BlockFeed:
    """Finalized blocks by height, from storage. One without transactions of the selected namespace comes all the same:
    its reader knows that it has missed none.
    """

    event = "block"
    repeats = False

    def __init__(self, node: NodeView, directory: Directory, blocks: Blocks) -> None:
        self._node = node
        self._directory = directory
        self._blocks = blocks

    @property
    def latest(self) -> int:
        return self._node.storage.latest_height

    @property
    def first(self) -> int:
        first = self._node.storage.first_height
        return 0 if first <= 1 else first

    def find(self, id_: int) -> int:
        return id_

    def get_id(self, number: int) -> int:
        return number

    def seek(self, number: int) -> int:
        return max(number, self.first)

    def render(self, number: int, selection: Hashable) -> bytes:
        if not isinstance(selection, BlockSelection):
            raise TypeError(f"blocks are not selected by {selection!r}")
        block = self._node.storage.read_decided_at(Height(number))
        if block is None:
            raise make_not_found(self._node.storage, str(number))
        self._directory.update(self._node.status().ledger)
        return msgspec.json.encode(self._blocks.show(block, selection.form, selection.namespace))

    async def wait_news(self) -> None:
        await self._node.wait_decide()
