"""The screen and the keys: a thread asks the nodes every second, this one draws and listens."""

import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live

from sequencer.survey import Place
from sequencer.watch.picture import Picture, draw_picture
from sequencer.watch.reading import take_reading
from sequencer.watch.screen import draw

_END_KEYS: Final = frozenset({"q", "Q", "\x03", "\x1b"})
"""The last two are Ctrl-C, where the terminal does not make a signal of it, and Escape."""
REACTION_SECONDS: Final = 0.1
"""Within which a key, a new picture and a new size of the window show."""


class Follower:
    """Looks again and again, in a thread of its own, so that no slow node holds up the screen. A context manager."""

    def __init__(self, places: Sequence[Place], interval_seconds: float) -> None:
        self._places = places
        self._interval_seconds = interval_seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.picture: Picture | None = None
        self.defect: BaseException | None = None
        """What ended the thread, if anything did."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                self.picture = draw_picture(take_reading(self._places))
                self._end.wait(self._interval_seconds)
        except BaseException as error:  # told by the thread that draws
            self.defect = error


def show(places: Sequence[Place], console: Console, interval_seconds: float) -> None:
    """Until q or Ctrl-C."""
    is_helping = False
    with (
        suppress(KeyboardInterrupt),
        Follower(places, interval_seconds) as follower,
        _listen() as read_key,
        Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live,
    ):
        drawn: object = None
        while True:
            if follower.defect is not None:
                raise follower.defect
            state = (follower.picture, console.size, is_helping)
            if state != drawn:
                live.update(_compose(follower.picture, console, is_helping=is_helping), refresh=True)
                drawn = state
            key = read_key()
            if key in _END_KEYS:
                return
            if key == "?":
                is_helping = not is_helping


def _compose(picture: Picture | None, console: Console, *, is_helping: bool) -> Group:
    if picture is None:
        return Group("Asking the nodes…")
    width, height = console.size
    return Group(*draw(picture, width, height, is_helping=is_helping))


@contextmanager
def _listen() -> Iterator[Callable[[], str | None]]:
    """Keys one by one and unechoed, where stdin is a terminal; waits at most `REACTION_SECONDS`, None for no key."""
    if not sys.stdin.isatty():

        def rest() -> None:
            time.sleep(REACTION_SECONDS)

        yield rest
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def read_key() -> str | None:
        ready, _, _ = select.select([descriptor], [], [], REACTION_SECONDS)
        # All that an arrow key sends is one key; what is pasted is not to be taken for commands either.
        return os.read(descriptor, 64).decode(errors="replace") if ready else None

    try:
        tty.setcbreak(descriptor)
        yield read_key
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
