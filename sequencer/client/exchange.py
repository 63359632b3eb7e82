"""What both clients share: which node is asked, what an answer means, and when another node is tried."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from sequencer.client.calls import Call
from sequencer.client.errors import ApiProblem, JsonObject, UnexpectedAnswer, Unreachable
from sequencer.failures import CommandError, ExitCode

Answer = TypeVar("Answer")
OnTurn: TypeAlias = Callable[[str, str], None]
"""Told the URL of the node that does not answer, and of the one that is asked first from now on."""

TIMEOUT_SECONDS: Final = 5.0
"""For each wait for the network, unless the caller says otherwise."""
ELSEWHERE: Final = frozenset({"shutting_down", "too_many_streams"})
"""Refusals that another node need not repeat."""
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""How an answer in another form, or in none, is noticed."""
RESET: Final = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""The connection ended under the request: a node closes one that was idle, or has crashed."""


class Nodes:
    """Base URLs of nodes that stand in for each other; the one that answered last is asked first."""

    def __init__(self, urls: str | Sequence[str], on_turn: OnTurn | None = None) -> None:
        given = [urls] if isinstance(urls, str) else list(urls)
        if not given:
            raise CommandError("no URL of a node was given", ExitCode.USAGE)
        self.urls = list(dict.fromkeys(map(normalize_url, given)))
        self._first = 0
        self._on_turn = on_turn

    @property
    def current(self) -> str:
        return self.urls[self._first]

    def turn_from(self, url: str) -> None:
        """Ask another one first from now on, if `url` still is."""
        if self.current == url:
            self._first = (self._first + 1) % len(self.urls)
            if self._on_turn is not None and self.current != url:
                self._on_turn(url, self.current)

    def in_order(self) -> list[str]:
        return [*self.urls[self._first :], *self.urls[: self._first]]


def normalize_url(url: str) -> str:
    """With http:// where no scheme is given. Raises `CommandError` for what is no base URL."""
    text = url if "//" in url else f"http://{url}"
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_good = False
    if not is_good:
        raise CommandError(f'"{url}" is no URL of a node; write it like http://127.0.0.1:27700', ExitCode.USAGE)
    return text.rstrip("/")


def make_options(urls: Sequence[str], timeout_seconds: float, transport: Any) -> dict[str, Any]:
    """Arguments of both kinds of httpx clients."""
    options: dict[str, Any] = {
        "timeout": timeout_seconds,
        # A proxy of the environment is for the web; nodes are on this machine or in a private network.
        "trust_env": False,
        # As it is: packing small answers costs more than it saves.
        "headers": {"Accept-Encoding": "identity"},
    }
    if transport is not None:
        options["transport"] = transport
    elif all(url.startswith("http:") for url in urls):
        # Nothing to verify; loading the certificates of the web would cost 15 ms.
        options["verify"] = False
    return options


def make_arguments(call: Call[Any], base_url: str, timeout_seconds: float) -> dict[str, Any]:
    """Of one request, as httpx takes them."""
    return {
        "method": call.method,
        "url": base_url + call.path,
        "params": call.query,
        "content": call.body,
        "headers": call.headers,
        "timeout": httpx.Timeout(timeout_seconds, read=timeout_seconds + call.extra_seconds),
    }


def read_answer(call: Call[Answer], url: str, response: httpx.Response) -> Answer:
    """Raises `ApiProblem` for a refusal, `UnexpectedAnswer` for what cannot be read."""
    if response.status_code >= httpx.codes.BAD_REQUEST:
        problem = make_problem(url, response.status_code, response.content)
        if problem.code == call.absent:
            return None  # type: ignore[return-value]  # such a call is one of a type or None
        raise problem
    try:
        return call.decode(response.content)
    except UNREADABLE as error:
        raise UnexpectedAnswer(f"{url}{call.path}", str(error)) from error


def make_problem(url: str, status: int, body: bytes) -> ApiProblem:
    return ApiProblem(url, status, _parse_problem(body))


def make_unreachable(url: str, error: Exception) -> Unreachable:
    return Unreachable(url, describe(error))


def is_worth_another(error: CommandError) -> bool:
    """Whether another node may answer what this one has not."""
    return isinstance(error, Unreachable) or (isinstance(error, ApiProblem) and error.code in ELSEWHERE)


def describe(error: Exception) -> str:
    """A failure of the network in a few words."""
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "no answer in time"
    text = _get_reason(error) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def _get_reason(error: BaseException | None) -> str | None:
    """What the operating system said, wherever in the chain of causes."""
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return "connection refused"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        # Of several addresses that were tried, the first one tells.
        cause = error.__cause__ or error.__context__
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else cause
    return None


def _parse_problem(body: bytes) -> JsonObject:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except UNREADABLE:
        return {"detail": body[:200].decode(errors="replace")}
