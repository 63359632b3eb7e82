"""Whoever waits for transactions is told when the last is decided and never too early, and when one has expired."""

from collections.abc import Collection

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sequencer.waiters import FinalityWaiters


def nothing_decided(_: Collection[bytes]) -> frozenset[bytes]:
    return frozenset()


async def test_a_batch_is_waited_for_until_its_last_transaction(autojump_clock: MockClock) -> None:
    waiters = FinalityWaiters()
    results: list[bool] = []

    async def wait() -> None:
        results.append(await waiters.wait([b"a", b"b", b"b"], nothing_decided))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        waiters.on_decide(frozenset({b"a", b"x"}))
        await wait_all_tasks_blocked()
        assert results == []
        waiters.on_decide(frozenset({b"b"}))
    assert results == [True]
    assert len(waiters) == 0


async def test_what_is_decided_already_is_not_waited_for() -> None:
    waiters = FinalityWaiters()
    assert await waiters.wait([b"a", b"b"], lambda hashes: set(hashes))
    assert await waiters.wait([], nothing_decided)


async def test_a_batch_of_which_one_has_expired_is_not_waited_for_any_longer() -> None:
    waiters = FinalityWaiters()
    results: dict[bytes, bool] = {}

    async def wait(*hashes: bytes) -> None:
        results[hashes[0]] = await waiters.wait(hashes, nothing_decided)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, b"a", b"b")
        nursery.start_soon(wait, b"c")
        await wait_all_tasks_blocked()
        waiters.on_decide(frozenset({b"a"}))
        waiters.on_expire([b"a", b"b", b"x"])
        await wait_all_tasks_blocked()
        assert results == {b"a": False}
        waiters.on_expire([b"x"])
        waiters.on_decide(frozenset({b"c"}))
    assert results == {b"a": False, b"c": True}


async def test_nothing_is_left_of_a_wait_that_was_given_up(autojump_clock: MockClock) -> None:
    waiters = FinalityWaiters()
    with trio.move_on_after(1) as scope:
        await waiters.wait([b"a"], nothing_decided)
    assert scope.cancelled_caught
    assert len(waiters) == 0
