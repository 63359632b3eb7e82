"""What the transport counts and says: bytes and frames per peer, and everything that it had to drop.

Peers can make a node drop as often as they like, so a drop is always counted but logged at most once a while per
reason."""

from dataclasses import dataclass
from typing import Protocol

import structlog
import trio

from consensus.types import ValidatorId

LOG_INTERVAL_SECONDS = 5.0
"""Between two log lines for the same reason and peer: enough to be seen, too little to fill a disk."""


class TransportMetrics(Protocol):
    """Where drops are counted."""

    def on_drop(self, reason: str, peer: ValidatorId | None, count: int) -> None:
        """`count` frames or connections were dropped. `peer` is None when nobody has proven to be one."""
        ...


class NoMetrics:
    """Counts nothing."""

    def on_drop(self, reason: str, peer: ValidatorId | None, count: int) -> None:
        pass


@dataclass(slots=True)
class PeerCounters:
    """Since the start of the process. Bytes are those of the stream, lengths included, without the handshake."""

    frames_in: int = 0
    bytes_in: int = 0
    frames_out: int = 0
    bytes_out: int = 0
    frames_dropped: int = 0
    """Outgoing frames that were dropped unsent."""
    connections: int = 0
    """Times that a connection to the peer was established."""


class DropLog:
    """Counts every drop, and logs the first of its kind and then one line per interval that says how many it stands
    for."""

    def __init__(self, metrics: TransportMetrics) -> None:
        self._metrics = metrics
        self._log = structlog.get_logger("transport")
        # One entry per reason and peer: reasons are words of this package, peers those of the stake table.
        self._last_logged: dict[tuple[str, ValidatorId | None], float] = {}
        self._unlogged: dict[tuple[str, ValidatorId | None], int] = {}

    def count(self, reason: str, peer: ValidatorId | None, count: int = 1) -> None:
        """Without a word: for what follows from something that has been logged."""
        self._metrics.on_drop(reason, peer, count)

    def drop(self, reason: str, peer: ValidatorId | None, count: int = 1, **details: object) -> None:
        """`reason` is a stable label, `details` go into the log line."""
        self._metrics.on_drop(reason, peer, count)
        kind = (reason, peer)
        total = self._unlogged.pop(kind, 0) + count
        now = trio.current_time()
        if now - self._last_logged.get(kind, -LOG_INTERVAL_SECONDS) < LOG_INTERVAL_SECONDS:
            self._unlogged[kind] = total
            return
        self._last_logged[kind] = now
        self._log.warning("dropped", reason=reason, peer=peer, count=total, **details)
