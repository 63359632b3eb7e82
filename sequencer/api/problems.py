"""Errors of the API: problem details (RFC 9457) with a stable `code` that programs may rely on.

`code` and `status` never change for a kind; `detail` says what happened in this case and what to do about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"

CLIENT_GONE_STATUS: Final = 499
"""By this number proxies log a client that did not wait for its answer."""

RETRY_AFTER_SECONDS: Final = 1
"""What a client is told to wait before it tries again: a few blocks, enough for a full mempool to drain some."""
RETRY_STATUSES: Final = (429, 503)
"""Which of them come with the header."""

_COUNT: Final[Mapping[str, Any]] = {"type": "integer", "minimum": 0}
_TEXT: Final[Mapping[str, Any]] = {"type": "string"}
_BATCH: Final[Mapping[str, Mapping[str, Any]]] = {
    "accepted": _COUNT,
    "duplicate": _COUNT,
    "finalized": _COUNT,
    "rejected": {"type": "array", "items": {"$ref": "#/components/schemas/RejectedJson"}},
    "hashes": {"type": "array", "items": {"type": "string"}},
}


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One row of the catalogue of errors. `members` are those that may stand beside the standard ones, with their JSON
    Schemas; `advice` is what to do about any problem of this kind.
    """

    code: str
    status: int
    title: str
    advice: str
    members: Mapping[str, Mapping[str, Any]] | None = None


BAD_REQUEST: Final = Kind("bad_request", 400, "The request cannot be understood", "Mend it; sent again it fails again.")
BAD_PARAMETER: Final = Kind(
    "bad_parameter",
    400,
    "A query parameter is unknown or has a bad value",
    "The member `parameter` names it, the detail says what it may be.",
    {"parameter": _TEXT},
)
BAD_HASH: Final = Kind("bad_hash", 400, "That is not a hash", "Write 64 hexadecimal digits, with or without 0x.")
BAD_BLOCK_ID: Final = Kind(
    "bad_block_id",
    400,
    "That is neither a height, a block hash nor `latest`",
    "Write a height such as 17, the 64 digits of a block's hash, or latest.",
)
BAD_NAMESPACE: Final = Kind(
    "bad_namespace", 400, "That is not a namespace", "Write a whole number from 0 to 4294967295."
)
BAD_EPOCH: Final = Kind(
    "bad_epoch",
    400,
    "That is neither the number of an epoch nor `latest`",
    "Write a number such as 3, or latest for the one under way.",
)
BAD_VIEW: Final = Kind(
    "bad_view", 400, "That is neither the number of a view nor `latest`", "Write a number such as 17, or latest."
)
BAD_BODY: Final = Kind(
    "bad_body",
    400,
    "The body cannot be read",
    "Nothing was submitted. The detail says what is wrong; of a batch, the member `index` names the item.",
    {"index": _COUNT},
)
BAD_PUBLIC_KEY: Final = Kind(
    "bad_public_key", 400, "That is not a public key", "Write its hexadecimal digits; of Ed25519 there are 64."
)
TRANSACTION_EMPTY: Final = Kind(
    "transaction_empty", 400, "The transaction is empty", "Send at least one byte in the body."
)
NOT_FOUND: Final = Kind("not_found", 404, "There is no such address", "GET /openapi.json lists all, /docs shows them.")
BLOCK_NOT_FOUND: Final = Kind(
    "block_not_found",
    404,
    "No such finalized block",
    "The members `first` and `latest` are the lowest and the highest here. If yours is to come, ask again later; "
    "if it is older, ask a node that has been there longer.",
    {"first": _COUNT, "latest": _COUNT},
)
TRANSACTION_NOT_FOUND: Final = Kind(
    "transaction_not_found",
    404,
    "No finalized block of this node has such a transaction",
    "While it is pending, ask again later; what only another node has, ask that one for.",
)
EPOCH_NOT_FOUND: Final = Kind(
    "epoch_not_found",
    404,
    "No such epoch, or it is not over yet",
    "The member `running` is the epoch under way. A node that joined later may not have an old one: ask another.",
    {"running": _COUNT},
)
OPERATION_NOT_PENDING: Final = Kind(
    "operation_not_pending",
    404,
    "The operation of this cursor waits no more",
    "It has been included or dropped since: begin again without from.",
)
FINALITY_NOT_FOUND: Final = Kind(
    "finality_not_found",
    404,
    "This node holds no finality certificate for the block",
    "Ask another node, or for a later block: its certificate proves all below it.",
)
VIEW_NOT_FOUND: Final = Kind(
    "view_not_found",
    404,
    "This node remembers no such view",
    "The members `oldest` and `latest` are the lowest and the highest here; neither stands there before the first one. "
    "A node remembers about a thousand, and none from before it started: ask another node.",
    {"oldest": _COUNT, "latest": _COUNT},
)
VALIDATOR_NOT_FOUND: Final = Kind(
    "validator_not_found", 404, "No such validator", "GET /v1/validators lists all of them."
)
ACCOUNT_NOT_FOUND: Final = Kind(
    "account_not_found",
    404,
    "No such account",
    "It never held anything. Check the key; money that arrives makes the account.",
)
METHOD_NOT_ALLOWED: Final = Kind(
    "method_not_allowed", 405, "The address does not take this method", "The header Allow names those that it takes."
)
NOT_ACCEPTABLE: Final = Kind(
    "not_acceptable",
    406,
    "The answer exists in no form that you accept",
    "Send the Accept header that the detail names, or none.",
)
BODY_TIMEOUT: Final = Kind(
    "body_timeout", 408, "The body did not arrive in time", "Nothing was submitted. Send a smaller body, or faster."
)
OPERATION_REFUSED: Final = Kind(
    "operation_refused",
    409,
    "The ledger would not take this operation",
    "The member `reason` is the ledger's. Check nonce and amount with GET /v1/accounts/{public_key}.",
    {"reason": _TEXT},
)
BODY_TOO_LARGE: Final = Kind(
    "body_too_large",
    413,
    "The body is too large",
    "The member `bytes_max` is the limit; GET /v1/limits has all of them.",
    {"bytes_max": _COUNT},
)
BATCH_TOO_LONG: Final = Kind(
    "batch_too_long",
    413,
    "The batch has too many transactions",
    "Nothing was submitted. Send several batches of at most `transactions_max`.",
    {"transactions_max": _COUNT},
)
TRANSACTION_TOO_LARGE: Final = Kind(
    "transaction_too_large",
    413,
    "The transaction is too large",
    "The member `bytes_max` is the limit of this network.",
    {"bytes_max": _COUNT},
)
UNSUPPORTED_MEDIA_TYPE: Final = Kind(
    "unsupported_media_type",
    415,
    "The body is in a form that is not read here",
    "The header Accept names the media types that are; send one of them as Content-Type.",
)
MEMPOOL_FULL: Final = Kind(
    "mempool_full",
    429,
    "The mempool is full",
    "Send the same again after the time in Retry-After, or to another node; nothing is ordered twice.",
    _BATCH,
)
INTERNAL: Final = Kind(
    "internal", 500, "The node failed to answer", "Send it again, or to another node. The node's log has the details."
)
NO_PROMISE: Final = Kind(
    "no_promise",
    503,
    "No leader has promised to include it",
    "The transaction is pending all the same: wait for it with wait=finalized, or ask for a promise again.",
    {"hash": _TEXT},
)
NOT_READY: Final = Kind("not_ready", 503, "The node is not ready", "Ask again in a moment, or ask another node.")
SHUTTING_DOWN: Final = Kind(
    "shutting_down", 503, "The node is shutting down", "Send it to another node; nothing is ordered twice."
)
TOO_MANY_STREAMS: Final = Kind(
    "too_many_streams",
    503,
    "This node has as many readers of streams as it serves at a time",
    "Follow another node: all of them stream the same. The member `streams_max` is the limit.",
    {"streams_max": _COUNT},
)
TRANSACTION_EXPIRED: Final = Kind(
    "transaction_expired", 504, "It was pending for too long", "Send the same again; nothing is ordered twice."
)
NOT_FINALIZED_IN_TIME: Final = Kind(
    "not_finalized_in_time",
    504,
    "Not finalized within the time given",
    "It is pending: ask GET /v1/transactions/{hash} later, or send the same again.",
)

_BY_STATUS: Final = {
    kind.status: kind for kind in (BAD_REQUEST, NOT_FOUND, METHOD_NOT_ALLOWED, NOT_ACCEPTABLE, BODY_TOO_LARGE)
}
"""For errors that the framework raises itself."""


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
    if kind.status in RETRY_STATUSES:
        headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    return Response(msgspec.json.encode(body), kind.status, headers, MEDIA_TYPE)


async def on_problem(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    return render(error)


async def on_http_exception(_request: Request, error: Exception) -> Response:
    """What the framework itself refuses."""
    if not isinstance(error, HTTPException):
        raise error
    kind = _BY_STATUS.get(error.status_code, BAD_REQUEST)
    return render(Problem(kind, f"{error.detail}. {kind.advice}", headers=dict(error.headers or {})))


async def on_client_gone(_request: Request, _error: Exception) -> Response:
    """The client went away in the middle: no defect of anybody, and nobody reads the answer."""
    # Without this header the server would hold the connection, of which nothing is left, for a next request.
    return Response(status_code=CLIENT_GONE_STATUS, headers={"Connection": "close"})


async def on_error(_request: Request, _error: Exception) -> Response:
    """A defect of ours. The traceback goes to the node's log, not to the client."""
    return render(
        Problem(INTERNAL, "An unexpected error; the node's log has the details. The request may be sent again.")
    )
