"""A node that is asked for proofs and not trusted: what it sends is bounded in size, and all of it in time.

`sequencer.client` believes that an answer ends; so its requests are made here, and everything else is as there.
"""

import time
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx
import msgspec

from sequencer.client.calls import Call
from sequencer.client.exchange import make_options, make_problem, make_unreachable, normalize_url
from sequencer.failures import CommandError, ExitCode
from sequencer.light.errors import ProofError

PATIENCE_SECONDS_MAX: Final = 10.0
"""For each piece of an answer, within the time that is left for all."""
PROBLEM_BYTES_MAX: Final = 64 * 1024
"""Of what a node says when it refuses."""

Answer = TypeVar("Answer")


class NodeSource:
    """One node's API. `seconds` bound all that it is asked for together.

    Raises `Unreachable`, `ApiProblem` for what the node refuses, `CommandError` with `INCONCLUSIVE` when time is up,
    and `ProofError` for what no honest node answers.
    """

    def __init__(self, url: str, *, seconds: float, transport: httpx.BaseTransport | None = None) -> None:
        self.url = normalize_url(url)
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._client = httpx.Client(**make_options([self.url], seconds, transport))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def send(self, call: Call[Answer], bytes_max: int) -> Answer:
        """A request that reads, without a query. More than `bytes_max` is not read."""
        patience = self._compute_patience()
        try:
            with self._client.stream(
                call.method, self.url + call.path, headers=call.headers, timeout=patience
            ) as response:
                is_answer = response.status_code == httpx.codes.OK
                body = self._read(response, call.path, bytes_max if is_answer else PROBLEM_BYTES_MAX)
        except (httpx.HTTPError, OSError) as error:
            self._compute_patience()
            raise make_unreachable(self.url, error) from error
        if not is_answer:
            raise make_problem(self.url, response.status_code, body)
        try:
            return call.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ProofError("P4", "malformed", f"the answer at {call.path} cannot be read: {error}") from error

    def _read(self, response: httpx.Response, path: str, bytes_max: int) -> bytes:
        body = bytearray()
        # As it is: what is small on the way could fill the memory once it is unpacked.
        for piece in response.iter_raw():
            body += piece
            if len(body) > bytes_max:
                raise ProofError("L4", "oversized", f"{path} answers more than {bytes_max} bytes")
            self._compute_patience()
        return bytes(body)

    def _compute_patience(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise CommandError(
                f"{self._seconds:g} seconds were not enough to collect the proof from {self.url}. Give more with "
                "--timeout, or begin later in the chain with --checkpoint",
                ExitCode.INCONCLUSIVE,
            )
        return min(left, PATIENCE_SECONDS_MAX)
