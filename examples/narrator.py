"""Tells what a demo does, one checked line per step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


class Narrator:
    """A line per step, when it has ended well; with a spinner on a terminal until then."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)

    @contextmanager
    def step(self, doing: str) -> Iterator[Callable[[str], None]]:
        """Yields a function that takes what has been achieved; it is printed when the step ends well."""
        done: list[str] = []
        if self.console.is_terminal:
            with self.console.status(doing):
                yield done.append
        else:
            yield done.append
        self.console.print(f"[green]✓[/] {done[-1] if done else doing}")
