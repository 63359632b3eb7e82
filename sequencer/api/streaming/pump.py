"""Who writes when: every reader in its turn, a few at a time, and never at the cost of consensus.

Theory of operation. A reader that has read everything is parked in the lot of its feed. News moves the whole lot to
those that are ready, which costs a microsecond for each and wakes nobody. From there the pump wakes a few at a time;
what they spend of the thread, which they share with consensus, is charged, and the pump rests until it is no more than
`SHARE` of the time. So a thousand readers get a block a little later than ten do, several at once if need be, and the
next view does not wait for them. A reader whose client takes nothing is nowhere in here: it waits in its own write.
"""

from typing import Final

import trio
from trio.lowlevel import ParkingLot

from sequencer.api.streaming.feed import Feed

QUIET_SECONDS: Final = 15
"""Without news for so long, readers show their clients that the node is alive; proxies cut what is silent for a minute.
"""
SHARE: Final = 0.1
"""Of the node's one thread, at most, when there is more to write than that."""
BURST_SECONDS: Final = 0.02
"""What may be spent at once before that: the readers of a usual node get their block without any rest."""
GROUP_READERS: Final = 16
"""Woken together: they hold up everything else for about a millisecond."""
WRITE_SECONDS: Final = 120e-6
"""What one write costs on the way through the server: measured 72 to 79 on a quiet machine, 150 on one with more to do.
"""
BYTE_SECONDS: Final = 3e-9
"""What each of its bytes costs to be copied and sent."""


class Pump:
    """Wakes readers; see above. They wait for ever unless `run` runs."""

    def __init__(self) -> None:
        self.is_closing = False
        """The node goes down: every reader takes leave at once."""
        self._feeds: dict[Feed, ParkingLot] = {}
        self._ready = ParkingLot()
        self._behind = ParkingLot()
        self._empty = ParkingLot()
        self._spent_seconds = 0.0

    def add(self, feed: Feed) -> None:
        """Before `run`."""
        self._feeds[feed] = ParkingLot()

    async def wait_news(self, feed: Feed) -> None:
        """For a reader that has read everything: its turn after there is news, or after `QUIET_SECONDS` without any."""
        await self._feeds[feed].park()

    async def wait_turn(self, *, is_live: bool) -> None:
        """For a reader that has something to write. Live ones want the same, which is encoded once for all of them;
        others come one at a time, because what they want has to be read and encoded.
        """
        self._empty.unpark_all()
        await (self._ready if is_live else self._behind).park()

    def charge(self, seconds: float, bytes_written: int) -> None:
        """A reader has spent so much on preparing its write, and writes so much."""
        self._spent_seconds += seconds + WRITE_SECONDS + bytes_written * BYTE_SECONDS

    async def run(self, closing: trio.Event) -> None:
        """Until `closing` is set; then everybody has their last turn."""
        async with trio.open_nursery() as nursery:
            for feed in self._feeds:
                nursery.start_soon(self._follow, feed)
            nursery.start_soon(self._give_turns)
            await closing.wait()
            nursery.cancel_scope.cancel()
        self.is_closing = True
        for lot in (self._ready, self._behind, *self._feeds.values()):
            lot.unpark_all()

    async def _follow(self, feed: Feed) -> None:
        while True:
            with trio.move_on_after(QUIET_SECONDS):
                await feed.wait_news()
            self._feeds[feed].repark_all(self._ready)
            self._empty.unpark_all()

    async def _give_turns(self) -> None:
        credit_seconds, last = BURST_SECONDS, trio.current_time()
        while True:
            if not self._ready and not self._behind:
                await self._empty.park()
            self._ready.unpark(count=GROUP_READERS)
            self._behind.unpark()
            await trio.lowlevel.checkpoint()
            now = trio.current_time()
            earned = (now - last) * SHARE
            credit_seconds = min(BURST_SECONDS, credit_seconds + earned) - self._spent_seconds
            last, self._spent_seconds = now, 0.0
            if credit_seconds < 0:
                await trio.sleep(-credit_seconds / SHARE)
