"""Waiting until transactions are final: one event per waiting batch, one set operation per batch and decide."""

from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet

import trio

from sequencer.payload import Hash


class _Wait:
    """One batch that someone waits for."""

    __slots__ = ("has_expired", "is_over", "remaining")

    def __init__(self, remaining: set[Hash]) -> None:
        self.remaining = remaining
        self.has_expired = False
        self.is_over = trio.Event()


class FinalityWaiters:
    """Every batch that someone waits for, told of each decide and of what expires."""

    def __init__(self) -> None:
        self._waits: dict[_Wait, None] = {}

    def __len__(self) -> int:
        return len(self._waits)

    async def wait(
        self, hashes: Collection[Hash], select_decided: Callable[[Collection[Hash]], AbstractSet[Hash]]
    ) -> bool:
        """True once all of these are final, False as soon as one of them has expired undecided.

        What `select_decided` returns needs no waiting. The caller bounds the time.
        """
        wait = _Wait(set(hashes) - select_decided(hashes))
        if not wait.remaining:
            return True
        self._waits[wait] = None
        try:
            await wait.is_over.wait()
        finally:
            del self._waits[wait]
        return not wait.has_expired

    def on_decide(self, hashes: AbstractSet[Hash]) -> None:
        """These transactions are final, and `select_decided` knows it."""
        for wait in self._waits:
            wait.remaining -= hashes
            if not wait.remaining:
                wait.is_over.set()

    def on_expire(self, hashes: Collection[Hash]) -> None:
        """These left the mempool undecided: nothing here sees to them any more."""
        for wait in self._waits:
            if not wait.remaining.isdisjoint(hashes):
                wait.has_expired = True
                wait.is_over.set()
