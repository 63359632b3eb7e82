"""One client's way along a feed: from where it wants to begin to the latest, and on with what comes.

Lagging. A reader that was up to date, and then has not got within `lag_seconds` what was ready for it while more has
come, has fallen behind: its client, or the way to it, is slower than the chain or has paused. It is told so, once each
time, with what it needs to know, and then, as it chose with `on_lag`:

- continue: gets everything, as fast as it takes it. This is what nobody has to ask for: a rollup must miss nothing.
- skip: goes on with the latest; the event names what was left out. For a display.
- close: the stream ends; the event says where to go on. For a client that would rather read ranges of blocks.

Someone who reads old blocks does not lag, however many there are, before having been up to date once. Whoever takes
nothing at all for `STALLED_SECONDS_MAX` is cut off by the kernel and cannot be told; it resumes without a gap.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from time import thread_time
from typing import Final, Literal, Protocol, TypeAlias

import msgspec
import trio

from sequencer.api.streaming.feed import Feed
from sequencer.api.streaming.frames import FrameCache, Wire, encode_event
from sequencer.api.streaming.pump import Pump
from sequencer.schema.streams import ClosingJson, LaggingJson, SkippedJson

LAG_SECONDS_DEFAULT: Final = 10.0
"""A client that pauses for a moment is not bothered, nor is a crowd that a burst of blocks keeps busy for a while."""
LAG_SECONDS_MAX: Final = 3600

STEP_BYTES: Final = 32 * 1024
"""Written in one turn, and all that a stalled reader holds in this process: many small blocks, a part of a large one.
"""
STEP_SECONDS: Final = 0.001
"""For reading and encoding in one turn, unless a single event takes longer: consensus waits meanwhile."""

OnLag: TypeAlias = Literal["continue", "skip", "close"]
Reason: TypeAlias = Literal["shutting_down", "lagging"]
"""Why a stream was ended by the node."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asked for."""

    start: int
    """Id of the first event."""
    selection: Hashable
    on_lag: OnLag
    lag_seconds: float


class Outlet(Protocol):
    """Where a reader's frames go to its client. Every call may wait for the client."""

    wire: Wire
    may_split: bool
    """Whether a frame may be written in parts."""

    async def write(self, parts: list[bytes]) -> None: ...
    async def beat(self) -> None:
        """There is nothing new: show that the node is alive, and find out whether the client is."""
        ...


class Reader:
    """A cursor; holds no event between two turns."""

    def __init__(self, pump: Pump, frames: FrameCache, feed: Feed, wish: Wish, outlet: Outlet) -> None:
        self._pump = pump
        self._frames = frames
        self._feed = feed
        self._outlet = outlet
        self._wish = wish
        self._next = feed.find(wish.start)
        self._resume = wish.start
        """Id of what its client needs next."""
        self._offset = 0
        """Bytes of the next event that were written."""
        self._length = 0
        """Of the frame that `_offset` is within."""
        self._was_up_to_date = False
        self._mark: tuple[int, float] | None = None
        """Everything up to this number has been ready since this moment, for a reader that was up to date."""

    async def run(self) -> Reason:
        """Until the node goes down or the client is let go. To be cancelled when the client goes away."""
        while not self._pump.is_closing:
            if self._next > self._feed.latest:
                self._was_up_to_date, self._mark = True, None
                await self._pump.wait_news(self._feed)
            else:
                await self._pump.wait_turn(is_live=self._was_up_to_date)
            if self._pump.is_closing:
                break
            if self._next > self._feed.latest:
                self._pump.charge(0, 0)
                await self._outlet.beat()
            elif self._offset or not await self._look_back():
                await self._write_some()
            elif self._wish.on_lag == "close":
                return await self._take_leave("lagging")
        return await self._take_leave("shutting_down")

    async def _look_back(self) -> bool:
        """Whether this reader has fallen behind; then it knows now."""
        feed, latest = self._feed, self._feed.latest
        is_lagging = self._is_lagging(latest, trio.current_time())
        if self._next >= feed.first and not is_lagging:
            self._next = feed.seek(self._next)
            return False
        is_skipping = is_lagging and self._wish.on_lag == "skip"
        first = latest if is_skipping else feed.seek(self._next)
        skipped, next_id = None, feed.get_id(min(first, latest))
        if (is_skipping or self._next < feed.first) and next_id > self._resume:
            skipped = SkippedJson(self._resume, next_id - 1)
        lagging = LaggingJson(latest - self._next + 1, feed.get_id(latest), next_id, skipped)
        self._was_up_to_date = self._was_up_to_date and not is_lagging
        self._next = first
        await self._outlet.write([self._encode("lagging", lagging)])
        return is_lagging

    def _is_lagging(self, latest: int, now: float) -> bool:
        """Something is ready for this reader, which has its turn."""
        if not self._was_up_to_date:
            return False
        if self._mark is not None and now - self._mark[1] > self._wish.lag_seconds:
            return True
        if self._mark is None or self._next > self._mark[0]:
            self._mark = latest, now
        return False

    async def _write_some(self) -> None:
        """What fits into one turn."""
        started = thread_time()
        parts: list[bytes] = []
        room = STEP_BYTES
        while room > 0 and self._next <= self._feed.latest:
            part = self._take(room)
            parts.append(part)
            room -= len(part)
            if thread_time() - started > STEP_SECONDS:
                break
        self._pump.charge(thread_time() - started, STEP_BYTES - room)
        if parts:
            await self._outlet.write(parts)

    def _take(self, room: int) -> bytes:
        """The next event, or as much of it as there is room for."""
        number, feed = self._next, self._feed
        key = (feed.event, self._outlet.wire, self._wish.selection, number)
        frame = self._frames.get(
            key,
            lambda: encode_event(
                self._outlet.wire, feed.event, feed.get_id(number), feed.render(number, self._wish.selection)
            ),
        )
        if self._offset and len(frame) != self._length:
            raise RuntimeError(f"{feed.event} {number} is another one than when its first part was written")
        part = frame[self._offset : self._offset + room] if self._outlet.may_split else frame
        self._offset, self._length = self._offset + len(part), len(frame)
        if self._offset == len(frame):
            self._offset = 0
            self._resume = feed.get_id(number) + (not feed.repeats)
            self._next = feed.seek(number + 1)
        return part

    async def _take_leave(self, reason: Reason) -> Reason:
        """The last event. One that was begun is finished first."""
        while self._offset:
            await self._outlet.write([self._take(STEP_BYTES)])
        await self._outlet.write([self._encode("closing", ClosingJson(reason, self._resume))])
        return reason

    def _encode(self, event: str, data: msgspec.Struct) -> bytes:
        return encode_event(self._outlet.wire, event, None, msgspec.json.encode(data))
