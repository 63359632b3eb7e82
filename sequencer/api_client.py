"""A small synchronous client of the HTTP API, for tools that ask now and then: command line, clusters, tests.

One client is one connection that is kept open, so a client belongs to one thread. Load generators bring their own.
"""

import http.client
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import quote, urlencode, urlsplit

import msgpack

from sequencer.failures import CommandError, ExitCode

BATCH_MEDIA_TYPE: Final = "application/vnd.msgpack"

_Json = dict[str, Any]


class Unreachable(CommandError):
    """Nothing answers at this URL, or not in time."""

    def __init__(self, url: str, reason: str) -> None:
        message = f"cannot reach {url}: {reason}. Is the node running? `sequencer devnet` starts some on this machine."
        super().__init__(message, ExitCode.UNREACHABLE)
        self.url = url
        self.reason = reason


class ApiProblem(CommandError):
    """The node refused, with a problem document. `code` is stable, `body` holds all members."""

    def __init__(self, url: str, status: int, body: _Json) -> None:
        self.status = status
        self.code = str(body.get("code", "unknown"))
        self.body = body
        detail = body.get("detail") or body.get("title") or f"HTTP status {status}"
        super().__init__(f"{url} refused ({self.code}): {detail}")


class ApiClient:
    """Talks to one node. Raises `Unreachable` and `ApiProblem`; `timeout_seconds` bounds each wait for the network."""

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname:
            raise CommandError(f'"{url}" is no URL of a node; write it like http://127.0.0.1:27700', ExitCode.USAGE)
        self.url = f"http://{parts.netloc}"
        self.timeout_seconds = timeout_seconds
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def get(self, path: str, **query: object) -> _Json:
        return json.loads(self._request("GET", path, query))  # type: ignore[no-any-return]

    def get_text(self, path: str) -> str:
        return self._request("GET", path, {}).decode()

    def status(self) -> _Json:
        return self.get("/v1/status")

    def read_height(self) -> int:
        """Height of the last block that this node serves: final and on its disk."""
        return int(self.get("/v1/blocks/latest", transactions="none")["height"])

    def is_ready(self) -> bool:
        """Has decided and is not behind. False also when nothing answers."""
        try:
            self.get("/readyz")
        except (Unreachable, ApiProblem):
            return False
        return True

    def find(self, transaction_hash: str) -> _Json:
        return self.get(f"/v1/transactions/{transaction_hash}")

    def submit(self, transactions: Sequence[bytes], *, namespace: int = 0, wait_seconds: float | None = None) -> _Json:
        """One batch. With `wait_seconds` the answer comes when all are final, or an `ApiProblem` after that time."""
        query: dict[str, object] = {"namespace": namespace} if namespace else {}
        if wait_seconds is not None:
            query |= {"wait": "finalized", "timeout_s": f"{wait_seconds:g}"}
        body = b"".join(map(_pack, transactions))
        extra_seconds = wait_seconds or 0.0
        answer = self._request(
            "POST", "/v1/transactions/batch", query, body, BATCH_MEDIA_TYPE, self.timeout_seconds + extra_seconds
        )
        return json.loads(answer)  # type: ignore[no-any-return]

    def promise(self, transaction: bytes, *, namespace: int = 0, beneficiary: str = "") -> _Json:
        """Submit one transaction and get the next leader's promise. Raises `ApiProblem` `no_promise` when there is
        none; the transaction is pending then.
        """
        query: dict[str, object] = {"wait": "soft"}
        query |= ({"namespace": namespace} if namespace else {}) | ({"beneficiary": beneficiary} if beneficiary else {})
        answer = self._request("POST", "/v1/transactions", query, transaction, "application/octet-stream")
        return json.loads(answer)  # type: ignore[no-any-return]

    def ledger(self) -> _Json:
        return self.get("/v1/ledger")

    def validators(self) -> list[_Json]:
        """All that the ledger knows, in ascending order of number."""
        return self.get("/v1/validators")["validators"]  # type: ignore[no-any-return]

    def find_validator(self, name: str) -> _Json | None:
        """By name or number; None when the ledger has no such validator."""
        return self._find(f"/v1/validators/{quote(name, safe='')}", "validator_not_found")

    def find_account(self, public_key: bytes) -> _Json | None:
        """None for one that never held anything."""
        return self._find(f"/v1/accounts/{public_key.hex()}", "account_not_found")

    def pending_operations(self) -> list[_Json]:
        return self.get("/v1/operations")["operations"]  # type: ignore[no-any-return]

    def find_operation(self, operation_id: str) -> _Json:
        return self.get(f"/v1/operations/{operation_id}")

    def submit_operation(self, operation: bytes) -> _Json:
        """A signed operation in its encoded form. Raises `ApiProblem` with the ledger's reason when it is refused."""
        answer = self._request("POST", "/v1/operations", {}, operation, "application/octet-stream")
        return json.loads(answer)  # type: ignore[no-any-return]

    def iterate_blocks(self, from_height: int, *, transactions: str = "none") -> Iterator[_Json]:
        """Every finalized block from this height up to the latest one; `transactions` is none, hashes or full."""
        next_height: int | None = from_height
        while next_height is not None:
            page = self.get("/v1/blocks", **{"from": next_height, "transactions": transactions})
            yield from page["blocks"]
            next_height = page["next"]

    def _find(self, path: str, absent: str) -> _Json | None:
        try:
            return self.get(path)
        except ApiProblem as problem:
            if problem.code != absent:
                raise
            return None

    def _request(
        self,
        method: str,
        path: str,
        query: dict[str, object] | dict[str, str],
        body: bytes | None = None,
        media_type: str | None = None,
        timeout_seconds: float | None = None,
    ) -> bytes:
        target = f"{path}?{urlencode(query)}" if query else path
        headers = {"Content-Type": media_type} if media_type else {}
        timeout = timeout_seconds or self.timeout_seconds
        is_reused = self._connection.sock is not None
        try:
            status, answer = self._exchange(method, target, body, headers, timeout)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            if not is_reused:
                raise Unreachable(self.url, _describe(error)) from error
            # The node closed an idle connection; submitting twice does no harm, so a second try is safe.
            status, answer = self._exchange_again(method, target, body, headers, timeout)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(self.url, _describe(error)) from error
        if status >= HTTPStatus.BAD_REQUEST:
            raise ApiProblem(self.url, status, _parse_problem(answer))
        return answer

    def _exchange_again(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str], timeout: float
    ) -> tuple[int, bytes]:
        self.close()
        try:
            return self._exchange(method, target, body, headers, timeout)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(self.url, _describe(error)) from error

    def _exchange(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str], timeout: float
    ) -> tuple[int, bytes]:
        connection = self._connection
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        connection.request(method, target, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()


def split_batches(transactions: Iterable[bytes], *, bytes_max: int, transactions_max: int) -> Iterator[list[bytes]]:
    """Batches that fit into one request each, in order."""
    batch: list[bytes] = []
    size = 0
    for transaction in transactions:
        packed = len(_pack(transaction))
        if batch and (size + packed > bytes_max or len(batch) >= transactions_max):
            yield batch
            batch, size = [], 0
        batch.append(transaction)
        size += packed
    if batch:
        yield batch


def _pack(transaction: bytes) -> bytes:
    packed: bytes = msgpack.packb(transaction, use_bin_type=True)
    return packed


def _parse_problem(answer: bytes) -> _Json:
    with suppress(ValueError):
        body = json.loads(answer)
        if isinstance(body, dict):
            return body
    return {"detail": answer[:200].decode(errors="replace")}


def _describe(error: Exception) -> str:
    match error:
        case ConnectionRefusedError():
            return "connection refused"
        case TimeoutError():
            return "no answer in time"
        case OSError(strerror=str(text)):
            return text[:1].lower() + text[1:]
        case _:
            return str(error) or type(error).__name__
