"""The processes of a campaign on this machine."""

import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context


@contextmanager
def open_workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """So many, started anew, because one that is forked off beside threads may hang.

    An interrupt is for whoever started them. At the end what has not begun is dropped, and what runs is waited for.
    """
    with ProcessPoolExecutor(count, get_context("spawn"), initializer=_ignore_interrupts) as executor:
        try:
            yield executor
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
