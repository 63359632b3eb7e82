"""Asking many nodes at once: each answers, or says in a few words why it does not."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from sequencer.client import ApiProblem, Client, UnexpectedAnswer, Unreachable

T = TypeVar("T")

ASK_SECONDS: Final = 2.0
"""A node that takes longer to say how it is does not count as reachable."""
ASKED_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is asked. `name` is "?" where only its URL was given."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """What came of it: an `answer`, or an `error`."""

    place: Place
    answer: T | None
    error: str | None = None


def ask_all(places: Sequence[Place], ask: Callable[[Client], T], *, seconds: float = ASK_SECONDS) -> list[Reply[T]]:
    """One reply per place, in order. `ask` runs in a thread per node; it may raise `Unreachable` and `ApiProblem`."""

    def ask_one(place: Place) -> Reply[T]:
        try:
            with Client(place.url, timeout_seconds=seconds) as client:
                return Reply(place, ask(client))
        except Unreachable as error:
            return Reply(place, None, error.reason)
        except ApiProblem as error:
            return Reply(place, None, error.code)
        except UnexpectedAnswer:
            return Reply(place, None, "it is of another version")

    with ThreadPoolExecutor(max(1, min(len(places), ASKED_AT_ONCE))) as pool:
        return list(pool.map(ask_one, places))


def make_unreachable(replies: Sequence[Reply[T]]) -> Unreachable:
    """When nobody has answered."""
    urls = ", ".join(reply.place.url for reply in replies)
    return Unreachable(urls, "; ".join(sorted({reply.error or "no answer" for reply in replies})))
