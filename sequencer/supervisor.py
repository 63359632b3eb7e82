"""What a service manager is told, and what it watches: sd_notify(3), without a library.

`READY=1` means that the node listens. Whether the network decides does not depend on this node alone, so a manager that
waited for that could end the very node that is missing. With `WatchdogSec=` the manager also hears from the event loop
at regular times, and restarts a node whose loop hangs.
"""

import os
import socket
from typing import Final

import trio

_PINGS_PER_PERIOD: Final = 3
"""So that one late turn of the loop is no alarm."""


def notify(state: str) -> None:
    """Tell systemd (`Type=notify`), when it is there to listen. Nothing is ever waited for."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A leading @ stands for Linux's abstract names.
    path = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), path)


async def keep_watchdog() -> None:
    """Say that the loop turns, as often as the manager wants to hear it. Returns at once when it does not want to."""
    period = compute_watchdog_seconds()
    while period is not None:
        notify("WATCHDOG=1")
        await trio.sleep(period / _PINGS_PER_PERIOD)


def compute_watchdog_seconds() -> float | None:
    """How long the manager waits for a sign of life; None when it is not for this process, or not wanted."""
    text, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not text.isdecimal() or int(text) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(text) / 1e6
