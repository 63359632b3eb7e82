"""Errors of the API: problem details (RFC 9457) with a stable `code` that programs may rely on.

`code` and `status` never change for a kind; `detail` says what happened in this case and what to do about it.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"

CLIENT_GONE_STATUS: Final = 499
"""By this number proxies log a client that did not wait for its answer."""

RETRY_AFTER_SECONDS: Final = 1
"""What a client is told to wait before it tries again: a few blocks, enough for a full mempool to drain some."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the catalogue of errors."""

    code: str
    status: int
    title: str


BAD_REQUEST: Final = Kind("bad_request", 400, "The request cannot be understood")
BAD_PARAMETER: Final = Kind("bad_parameter", 400, "A query parameter is unknown or has a bad value")
BAD_HASH: Final = Kind("bad_hash", 400, "That is not a hash")
BAD_BLOCK_ID: Final = Kind("bad_block_id", 400, "That is neither a height, a block hash nor `latest`")
BAD_EPOCH: Final = Kind("bad_epoch", 400, "That is neither the number of an epoch nor `latest`")
BAD_BODY: Final = Kind("bad_body", 400, "The body cannot be read")
BAD_PUBLIC_KEY: Final = Kind("bad_public_key", 400, "That is not a public key")
TRANSACTION_EMPTY: Final = Kind("transaction_empty", 400, "The transaction is empty")
NOT_FOUND: Final = Kind("not_found", 404, "There is no such address")
BLOCK_NOT_FOUND: Final = Kind("block_not_found", 404, "No such finalized block")
EPOCH_NOT_FOUND: Final = Kind("epoch_not_found", 404, "No such epoch, or it is not over yet")
FINALITY_NOT_FOUND: Final = Kind("finality_not_found", 404, "This node holds no finality certificate for the block")
VALIDATOR_NOT_FOUND: Final = Kind("validator_not_found", 404, "No such validator")
ACCOUNT_NOT_FOUND: Final = Kind("account_not_found", 404, "No such account")
METHOD_NOT_ALLOWED: Final = Kind("method_not_allowed", 405, "The address does not take this method")
NOT_ACCEPTABLE: Final = Kind("not_acceptable", 406, "The answer exists in no form that you accept")
BODY_TIMEOUT: Final = Kind("body_timeout", 408, "The body did not arrive in time")
OPERATION_REFUSED: Final = Kind("operation_refused", 409, "The ledger would not take this operation")
BODY_TOO_LARGE: Final = Kind("body_too_large", 413, "The body is too large")
BATCH_TOO_LONG: Final = Kind("batch_too_long", 413, "The batch has too many transactions")
TRANSACTION_TOO_LARGE: Final = Kind("transaction_too_large", 413, "The transaction is too large")
UNSUPPORTED_MEDIA_TYPE: Final = Kind("unsupported_media_type", 415, "The body is in a form that is not read here")
MEMPOOL_FULL: Final = Kind("mempool_full", 429, "The mempool is full")
INTERNAL: Final = Kind("internal", 500, "The node failed to answer")
NO_PROMISE: Final = Kind("no_promise", 503, "No leader has promised to include it")
NOT_READY: Final = Kind("not_ready", 503, "The node is not ready")
SHUTTING_DOWN: Final = Kind("shutting_down", 503, "The node is shutting down")
TRANSACTION_EXPIRED: Final = Kind("transaction_expired", 504, "It was pending for too long")
NOT_FINALIZED_IN_TIME: Final = Kind("not_finalized_in_time", 504, "Not finalized within the time given")

_BY_STATUS: Final = {
    kind.status: kind for kind in (BAD_REQUEST, NOT_FOUND, METHOD_NOT_ALLOWED, NOT_ACCEPTABLE, BODY_TOO_LARGE)
}
"""For errors that the framework raises itself."""

_ROUTES_HINT: Final = (
    "Routes begin with /v1/transactions, /v1/blocks, /v1/leaves, /v1/payloads, /v1/epochs, /v1/status, /v1/ledger, "
    "/v1/validators, /v1/accounts, /v1/committees, /v1/schedule, /v1/operations, /v1/evidence, /v1/slashings, "
    "/v1/changes; besides /livez, /readyz and /metrics; / is the live page."
)


class Problem(Exception):
    """Answer with this problem. `members` stand beside the standard ones in the JSON object."""

    def __init__(self, kind: Kind, detail: str, *, headers: dict[str, str] | None = None, **members: object) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = headers
        self.members = members


def render(problem: Problem) -> Response:
    kind = problem.kind
    body = {
        "type": f"urn:sequencer:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "code": kind.code,
        "detail": problem.detail,
        **problem.members,
    }
    headers = dict(problem.headers or {})
    if kind.status in (429, 503):
        headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    return Response(msgspec.json.encode(body), kind.status, headers, MEDIA_TYPE)


async def on_problem(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    return render(error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: unknown addresses and methods."""
    if not isinstance(error, HTTPException):
        raise error
    kind = _BY_STATUS.get(error.status_code, Kind("bad_request", error.status_code, error.detail))
    headers = dict(error.headers or {})
    match kind.status:
        case 404:
            detail = f"Nothing is served at {request.url.path}. {_ROUTES_HINT}"
        case 405:
            detail = f"{request.url.path} does not take {request.method}; it takes {headers.get('Allow', 'others')}."
        case _:
            detail = error.detail
    return render(Problem(kind, detail, headers=headers))


async def on_client_gone(_request: Request, _error: Exception) -> Response:
    """The client went away in the middle: no defect of anybody, and nobody reads the answer."""
    # Without this header the server would hold the connection, of which nothing is left, for a next request.
    return Response(status_code=CLIENT_GONE_STATUS, headers={"Connection": "close"})


async def on_error(_request: Request, _error: Exception) -> Response:
    """A defect of ours. The traceback goes to the node's log, not to the client."""
    return render(
        Problem(INTERNAL, "An unexpected error; the node's log has the details. The request may be sent again.")
    )
