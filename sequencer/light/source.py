"""A node that is asked for proofs and not trusted: what it sends is bounded in size, and all of it in time."""

import time
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec

from sequencer.api_client import ApiProblem, Unreachable
from sequencer.failures import CommandError, ExitCode
from sequencer.light.errors import ProofError

JSON_BYTES_MAX: Final = 1024 * 1024
"""Of what is only read to know what to ask for next."""
PATIENCE_SECONDS_MAX: Final = 10.0
"""For each piece of an answer, within the time that is left for all."""
RAW: Final = {"Accept": "application/octet-stream"}

_json: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


class NodeSource:
    """One node's API. `seconds` bound all that it is asked for together.

    Raises `Unreachable`, `ApiProblem` for what the node refuses, `CommandError` with `INCONCLUSIVE` when time is up,
    and `ProofError` for more bytes than any honest answer has.
    """

    def __init__(self, url: str, *, seconds: float, transport: httpx.BaseTransport | None = None) -> None:
        self.url = (url if "//" in url else f"http://{url}").rstrip("/")
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        try:
            # As it is: what is small on the way could fill the memory once it is unpacked.
            headers = {"Accept-Encoding": "identity"}
            self._client = httpx.Client(base_url=self.url, headers=headers, transport=transport, trust_env=False)
        except (httpx.InvalidURL, ValueError) as error:
            message = f'"{url}" is no URL of a node; write it like http://127.0.0.1:27700'
            raise CommandError(message, ExitCode.USAGE) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def get_json(self, path: str) -> dict[str, Any]:
        body = self._get(path, {}, JSON_BYTES_MAX)
        try:
            return _json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProofError("P4", "malformed", f"{path} answers no JSON object") from error

    def get_json_bytes(self, path: str, bytes_max: int) -> bytes:
        """For whoever decodes it into a shape."""
        return self._get(path, {}, bytes_max)

    def get_raw(self, path: str, bytes_max: int) -> bytes:
        """A canonical encoding."""
        return self._get(path, RAW, bytes_max)

    def _get(self, path: str, headers: dict[str, str], bytes_max: int) -> bytes:
        try:
            with self._client.stream("GET", path, headers=headers, timeout=self._compute_patience()) as response:
                body = self._read(response, path, bytes_max)
        except httpx.InvalidURL as error:
            raise CommandError(f'"{self.url}" is no URL of a node', ExitCode.USAGE) from error
        except httpx.TimeoutException as error:
            self._compute_patience()
            raise Unreachable(self.url, "no answer in time") from error
        except (httpx.HTTPError, OSError) as error:
            raise Unreachable(self.url, str(error) or type(error).__name__) from error
        if response.status_code != httpx.codes.OK:
            raise ApiProblem(self.url, response.status_code, _parse_problem(body))
        return body

    def _read(self, response: httpx.Response, path: str, bytes_max: int) -> bytes:
        body = bytearray()
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


def _parse_problem(body: bytes) -> dict[str, Any]:
    try:
        return _json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"detail": body[:200].decode(errors="replace")}
