"""Whoever waits for transactions is told when the last of them is decided, and never too early."""

from collections.abc import Collection

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sequencer.waiters import FinalityWaiters


def nothing_decided(_: Collection[bytes]) -> frozenset[bytes]:
    return frozenset()


async def test_a_batch_is_waited_for_until_its_last_transaction(autojump_clock: trio.testing.MockClock) -> None:
    waiters = FinalityWaiters()
    results: list[int] = []

    async def wait() -> None:
        results.append(await waiters.wait([b"a", b"b", b"b"], nothing_decided))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        waiters.on_decide((b"a", b"x"))
        await wait_all_tasks_blocked()
        assert results == []
        waiters.on_decide(frozenset({b"b"}))
    assert results == [2]
    assert len(waiters) == 0


async def test_what_is_decided_already_is_not_waited_for() -> None:
    waiters = FinalityWaiters()
    assert await waiters.wait([b"a", b"b"], lambda hashes: set(hashes)) == 2
    assert await waiters.wait([], nothing_decided) == 0


async def test_who_gives_up_knows_what_was_reached(autojump_clock: trio.testing.MockClock) -> None:
    waiters = FinalityWaiters()
    with waiters.watch([b"a", b"b"], nothing_decided) as watch, trio.move_on_after(1) as scope:
        waiters.on_decide({b"a"})
        await watch.wait()
    assert scope.cancelled_caught
    assert (watch.finalized, watch.remaining) == (1, {b"b"})
    assert len(waiters) == 0


async def test_a_watch_ends_with_its_block() -> None:
    waiters = FinalityWaiters()
    with pytest.raises(ZeroDivisionError), waiters.watch([b"a"], nothing_decided):
        raise ZeroDivisionError
    assert len(waiters) == 0
