"""An executor that leaves nothing to chance: what is submitted runs when the test says so, in the test's own thread."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class StepExecutor(Executor):
    """`run` does everything that was submitted so far; while `at_once` is set nobody has to call it."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once = at_once
        self._waiting: list[Callable[[], None]] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)

        self._waiting.append(work)
        if self.at_once:
            self.run()
        return future

    def run(self) -> None:
        while self._waiting:
            self._waiting.pop(0)()

    def shutdown(self, *_: Any, **__: Any) -> None:
        self.run()
