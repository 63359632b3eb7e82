"""Stake operations (J5): submit one that is signed, and ask what became of it.

Submitting is idempotent: the id covers the signature and the nonce, so the same operation never happens twice.
"""

import re
from typing import Final

import trio
from starlette.requests import Request
from starlette.responses import Response

from consensus.docket import OPERATIONS_PENDING_MAX
from consensus.operations import Operation, compute_operation_id
from consensus.types import Commitment, ValidatorId
from sequencer.api.body import read_body, read_media_type
from sequencer.api.encoding import answer_json, parse_hash, parse_json_operation, parse_operation_bytes, to_hex
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, integer, text
from sequencer.api.problems import BAD_HASH, OPERATION_NOT_PENDING, OPERATION_REFUSED, SHUTTING_DOWN, Problem
from sequencer.api.route import JSON, OCTETS, Answer, Body, PathParameter, Route
from sequencer.directory import Directory
from sequencer.operation_codec import describe_operation, get_kind
from sequencer.schema.operations import (
    OPERATION_BYTES_MAX,
    PENDING_DEFAULT,
    Base64OperationJson,
    BondJson,
    EncodedOperationJson,
    OperationJson,
    PendingJson,
    RotateKeyJson,
    UnbondJson,
    UnjailJson,
)

_TYPES: Final = {OCTETS: parse_operation_bytes, JSON: parse_json_operation}
_BODY_BYTES_MAX: Final = 2 * OPERATION_BYTES_MAX + 256
"""In hexadecimal, with room for braces and names."""
_ID: Final = PathParameter(
    "id",
    "The operation's id: 64 hexadecimal digits, with or without 0x.",
    {"type": "string", "pattern": "^(0x)?[0-9a-fA-F]{64}$"},
    "0x9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
)
_FROM: Final = text(
    "from",
    "Id of the first one, as `next` of an answer before gave it. Absent: from the oldest one on.",
    lambda written: Commitment(parse_hash(written)),
    pattern="^(0x)?[0-9a-fA-F]{64}$",
    default=None,
)
_LIMIT: Final = integer("limit", "How many at most.", default=PENDING_DEFAULT, least=1, most=OPERATIONS_PENDING_MAX)
_BODIES: Final = (
    Body(
        JSON,
        "The encoded operation in hexadecimal or Base64, or its fields under their names.",
        shapes=(EncodedOperationJson, Base64OperationJson, BondJson, UnbondJson, UnjailJson, RotateKeyJson),
    ),
    Body(
        OCTETS,
        "The encoded operation, as `sequencer stake … --offline` writes it.",
        schema={"type": "string", "format": "binary", "minLength": 1, "maxLength": OPERATION_BYTES_MAX},
    ),
)
_VALIDATOR: Final = re.compile(r"\bvalidator ([0-9]+)\b")
"""The ledger knows numbers alone."""


class Operations:
    """The routes under /v1/operations."""

    def __init__(self, node: NodeView, directory: Directory, closing: trio.Event) -> None:
        self._node = node
        self._directory = directory
        self._closing = closing

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/v1/operations",
                handler=self.submit,
                name="submitOperation",
                tag="Stake",
                summary="Submit a stake operation",
                description="Bond, unbond, leave jail or change the key, signed by the account that owns the stake. "
                "Sending the same again does no harm: the signature covers the nonce.",
                bodies=_BODIES,
                answers=(
                    Answer((OperationJson,), "It waits for a leader.", status=202),
                    Answer((OperationJson,), "It stands in a finalized block already."),
                ),
                problems=(OPERATION_REFUSED, SHUTTING_DOWN),
            ),
            Route(
                method="GET",
                path="/v1/operations",
                handler=self.list,
                name="listOperations",
                tag="Stake",
                summary="Operations that wait for a leader",
                description="In the order in which they came to this node.",
                parameters=(_FROM, _LIMIT),
                answers=(Answer((PendingJson,)),),
                problems=(BAD_HASH, OPERATION_NOT_PENDING),
            ),
            Route(
                method="GET",
                path="/v1/operations/{id}",
                handler=self.find,
                name="getOperation",
                tag="Stake",
                summary="Where an operation stands",
                description="By the id that submitting it answered.",
                path_parameters=(_ID,),
                answers=(Answer((OperationJson,)),),
                problems=(BAD_HASH,),
            ),
        )

    async def submit(self, request: Request, _query: Query) -> Response:
        media_type = read_media_type(request, _TYPES)
        body = await read_body(request, _BODY_BYTES_MAX, "No operation is larger.")
        operation = _TYPES[media_type](body)
        operation_id = compute_operation_id(operation)
        known = self._node.find_operation(operation_id)
        if known is not None and known.height is not None:
            return answer_json(OperationJson(to_hex(operation_id), "included", get_kind(operation), known.height))
        if self._closing.is_set():
            raise Problem(SHUTTING_DOWN, "Nothing was submitted: this node takes nothing new. Send it to another node.")
        self._submit(operation)
        return answer_json(OperationJson(to_hex(operation_id), "pending", get_kind(operation)), 202)

    async def list(self, _request: Request, query: Query) -> Response:
        pending = {compute_operation_id(operation): operation for operation in self._node.pending_operations()}
        first = query.read(_FROM)
        if first is not None and first not in pending:
            raise Problem(
                OPERATION_NOT_PENDING,
                f"{to_hex(first)} waits no more; GET /v1/operations/{to_hex(first)} tells what became of it. "
                "Begin again without from.",
            )
        ids = list(pending)
        page = ids[0 if first is None else ids.index(first) :]
        limit = query.read(_LIMIT)
        shown = [{"id": to_hex(each)} | describe_operation(pending[each]) for each in page[:limit]]
        return answer_json(PendingJson(shown, to_hex(page[limit]) if len(page) > limit else None))

    async def find(self, request: Request, _query: Query) -> Response:
        operation_id = Commitment(parse_hash(request.path_params["id"]))
        place = self._node.find_operation(operation_id)
        if place is None:
            return answer_json(OperationJson(to_hex(operation_id), "unknown"))
        answer = OperationJson(to_hex(operation_id), "pending", get_kind(place.operation), place.height)
        if place.height is not None:
            answer.status = "included"
        return answer_json(answer)

    def _submit(self, operation: Operation) -> None:
        reason = self._node.submit_operation(operation)
        self._node.metrics.count_operation(get_kind(operation), "accepted" if reason is None else "refused")
        if reason is not None:
            self._directory.update(self._node.status().ledger)
            reason = _VALIDATOR.sub(lambda found: self._directory.name_of(ValidatorId(int(found[1]))), reason)
            raise Problem(OPERATION_REFUSED, f"The ledger says: {reason}.", reason=reason)
