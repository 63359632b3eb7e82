"""What is known of the way to one peer. No input or output happens here.

A peer has two connections: frames for it go out on the one that this node dialled, frames from it come in on the one
that it dialled. When either breaks, the peer is taken for lost at once; it is found when the outgoing one stands and
no incoming one has broken since. The first of two broken connections is reported, the second is no news.
"""

import trio

from consensus.types import ValidatorId
from sequencer.transport import Found, Lost
from sequencer.transport.counters import DropLog, PeerCounters
from sequencer.transport.outbox import OFFLINE_LIMIT, ONLINE_LIMIT, Outbox

RETRY_FIRST_SECONDS = 0.05
"""A process that was restarted listens again after a few hundred milliseconds."""
RETRY_MAX_SECONDS = 2.0
"""A peer that comes back dials us, and is dialled at once then. This is for the case that only we can reach it."""
RETRY_JITTER_LEAST = 0.4
"""A delay is drawn between this share of it and all of it, so that peers which lost each other together do not stay
in step."""


def compute_retry_delay(attempt: int, fraction: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 0); `fraction` in [0, 1) is the jitter drawn."""
    # The exponent is capped before the power, which would overflow after a day of failures.
    delay: float = min(RETRY_FIRST_SECONDS * 2 ** min(attempt, 16), RETRY_MAX_SECONDS)
    return delay * (RETRY_JITTER_LEAST + (1 - RETRY_JITTER_LEAST) * fraction)


class PeerLink:
    """The state of both connections, the outbox and the counters of one peer.

    Each `on_` method answers what there is to report, or None.
    """

    def __init__(self, peer: ValidatorId, drops: DropLog, counters: PeerCounters | None = None) -> None:
        self.peer = peer
        self.counters = counters or PeerCounters()
        self.outbox = Outbox(self._on_outbox_drop)
        self.is_found = False
        self._drops = drops
        self._is_dialled = False
        self._accepted: trio.CancelScope | None = None
        self._is_ended = False
        self._is_stale = False
        self._outgoing = trio.CancelScope()
        self._redial = trio.Event()

    def on_dialled(self) -> Found | None:
        """The peer has welcomed us on the connection that we dialled."""
        self._is_dialled = True
        self.counters.connections += 1
        self.outbox.set_limit(ONLINE_LIMIT)
        return self._find()

    def on_dialled_lost(self) -> Lost | None:
        self._is_dialled = False
        self.outbox.set_limit(OFFLINE_LIMIT)
        return self._lose()

    def on_accepted(self, connection: trio.CancelScope) -> Found | None:
        """The peer has dialled us. An older connection of it is ended: the peer would not have dialled if it had
        one."""
        if self._accepted is not None:
            self._accepted.cancel()
        self._accepted = connection
        self._redial.set()
        return self._find() if self._is_dialled else None

    def on_accepted_lost(self, connection: trio.CancelScope) -> Lost | None:
        if self._accepted is not connection:
            return None
        self._accepted = None
        return self._lose()

    def start_attempt(self) -> None:
        """From now on a peer that dials us ends the next wait."""
        self._redial = trio.Event()
        self._is_stale = self._is_ended

    def open_scope(self) -> trio.CancelScope:
        """For what concerns the outgoing connection alone: cancelled when the attempt that it belongs to is given up.

        Reports stay outside, so that none is lost.
        """
        self._outgoing = trio.CancelScope()
        if self._is_stale:
            self._outgoing.cancel()
        return self._outgoing

    def redial(self) -> None:
        """The peer is elsewhere: give up the attempt or connection that leads to its old address, and do not wait."""
        self._is_stale = True
        self._outgoing.cancel()
        self._redial.set()

    def end(self) -> None:
        """It is no peer any more: both connections end, and no wait for another begins."""
        self._is_ended = True
        self.redial()
        if self._accepted is not None:
            self._accepted.cancel()

    async def wait_retry(self, seconds: float) -> bool:
        """Wait before the next attempt. True when the wait was cut short because the peer has shown itself."""
        with trio.move_on_after(seconds):
            await self._redial.wait()
            return True
        return False

    def _find(self) -> Found | None:
        if self.is_found:
            return None
        self.is_found = True
        return Found(self.peer)

    def _lose(self) -> Lost | None:
        if not self.is_found:
            return None
        self.is_found = False
        return Lost(self.peer)

    def _on_outbox_drop(self, reason: str, frames: int) -> None:
        self.counters.frames_dropped += frames
        if reason == OFFLINE_LIMIT.reason:
            # That the peer is away has been said; that its frames go nowhere would be said until it is back.
            self._drops.count(reason, self.peer, frames)
        else:
            self._drops.drop(reason, self.peer, frames)
