"""Waiting until transactions are finalized: one event per waiting batch, one set operation per batch and decide."""

from collections.abc import Callable, Collection, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

import trio

from sequencer.payload import Hash


class FinalityWatch:
    """One batch that someone waits for. Made by `FinalityWaiters.watch`."""

    def __init__(self, hashes: Collection[Hash]) -> None:
        self.remaining = set(hashes)
        """Hashes that are not finalized yet."""
        self._count = len(self.remaining)
        self._done = trio.Event()

    @property
    def finalized(self) -> int:
        """How many distinct transactions of the batch are finalized by now."""
        return self._count - len(self.remaining)

    def discard(self, hashes: AbstractSet[Hash]) -> None:
        """These are finalized, or need no waiting for another reason."""
        self.remaining.difference_update(hashes)
        if not self.remaining:
            self._done.set()

    async def wait(self) -> None:
        """Until nothing remains. Bound it with a cancel scope: a transaction may also expire."""
        await self._done.wait()


class FinalityWaiters:
    """Every batch that someone waits for, told of each decide."""

    def __init__(self) -> None:
        self._watches: dict[FinalityWatch, None] = {}

    def __len__(self) -> int:
        return len(self._watches)

    @contextmanager
    def watch(
        self, hashes: Collection[Hash], select_decided: Callable[[Collection[Hash]], AbstractSet[Hash]]
    ) -> Iterator[FinalityWatch]:
        """Watch these transactions while the block lasts; what is decided already, by `select_decided`, is discarded.

        Afterwards the watch still says what was reached, so that a caller who gave up knows.
        """
        watch = FinalityWatch(hashes)
        watch.discard(select_decided(hashes))
        self._watches[watch] = None
        try:
            yield watch
        finally:
            del self._watches[watch]

    async def wait(
        self, hashes: Collection[Hash], select_decided: Callable[[Collection[Hash]], AbstractSet[Hash]]
    ) -> int:
        """Until all of them are finalized; returns how many distinct ones they are."""
        with self.watch(hashes, select_decided) as watch:
            await watch.wait()
            return watch.finalized

    def on_decide(self, hashes: Collection[Hash]) -> None:
        """These transactions are final, and `select_decided` knows it."""
        if not self._watches:
            return
        decided = hashes if isinstance(hashes, AbstractSet) else frozenset(hashes)
        for watch in self._watches:
            watch.discard(decided)
