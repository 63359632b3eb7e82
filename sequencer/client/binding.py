"""From a function that describes a request to a method that makes it, with the same parameters and the same answer."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sequencer.client.calls import Call

P = ParamSpec("P")
Answer = TypeVar("Answer")


class Blocking(Protocol):
    def send(self, call: Call[Answer]) -> Answer: ...


class Awaiting(Protocol):
    async def send(self, call: Call[Answer]) -> Answer: ...


def blocking(describe: Callable[P, Call[Answer]]) -> Callable[Concatenate[Any, P], Answer]:
    """A method of a client that blocks."""

    @wraps(describe)
    def ask(client: Blocking, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return client.send(describe(*args, **kwargs))

    return ask


def awaiting(describe: Callable[P, Call[Answer]]) -> Callable[Concatenate[Any, P], Awaitable[Answer]]:
    """A method of a client that is awaited."""

    @wraps(describe)
    async def ask(client: Awaiting, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return await client.send(describe(*args, **kwargs))

    return ask
