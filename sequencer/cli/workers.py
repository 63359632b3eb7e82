"""The processes of a campaign on this machine."""

import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from types import FrameType


@contextmanager
def open_workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """So many, started anew, because one that is forked off beside threads may hang.

    An interrupt is for whoever started them, and so is SIGTERM, which would leave them behind otherwise: both raise
    `KeyboardInterrupt` here. At the end what has not begun is dropped, and what runs is waited for.
    """
    former = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ProcessPoolExecutor(count, get_context("spawn"), initializer=_ignore_interrupts) as executor:
            try:
                yield executor
            finally:
                executor.shutdown(cancel_futures=True)
    finally:
        signal.signal(signal.SIGTERM, former)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
