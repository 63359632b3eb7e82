"""Stake operations (J5): submit one that is signed, and ask what became of it.

Submitting is idempotent: the id covers the signature and the nonce, so the same operation never happens twice.
"""

import re
from typing import Final

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response

from consensus.operations import Operation, compute_operation_id
from consensus.types import Commitment, ValidatorId
from sequencer.api.encoding import JSON_MEDIA_TYPE, parse_hash, parse_json_operation, parse_operation_bytes, to_hex
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, check_accepts_json, read_body, read_media_type
from sequencer.api.problems import OPERATION_REFUSED, SHUTTING_DOWN, Problem
from sequencer.directory import Directory
from sequencer.operation_codec import OPERATION_BYTES_MAX, describe_operation, get_kind
from sequencer.schema.operations import OperationJson, PendingJson

_TYPES: Final = {"application/octet-stream": parse_operation_bytes, JSON_MEDIA_TYPE: parse_json_operation}
_BODY_BYTES_MAX: Final = 2 * OPERATION_BYTES_MAX + 256
"""In hexadecimal, with room for braces and names."""
_VALIDATOR: Final = re.compile(r"\bvalidator ([0-9]+)\b")
"""The ledger knows numbers alone."""


class Operations:
    """The routes under /v1/operations."""

    def __init__(self, node: NodeView, directory: Directory, closing: trio.Event) -> None:
        self._node = node
        self._directory = directory
        self._closing = closing

    async def submit(self, request: Request) -> Response:
        check_accepts_json(request)
        Query(request)
        media_type = read_media_type(request, _TYPES)
        body = await read_body(request, _BODY_BYTES_MAX, "No operation is larger.")
        operation = _TYPES[media_type](body)
        operation_id = compute_operation_id(operation)
        known = self._node.find_operation(operation_id)
        if known is not None and known.height is not None:
            return _answer(OperationJson(to_hex(operation_id), "included", get_kind(operation), known.height), 200)
        if self._closing.is_set():
            raise Problem(SHUTTING_DOWN, "Nothing was submitted: this node takes nothing new. Send it to another node.")
        self._submit(operation)
        return _answer(OperationJson(to_hex(operation_id), "pending", get_kind(operation)), 202)

    async def list(self, request: Request) -> Response:
        check_accepts_json(request)
        Query(request)
        pending = [
            {"id": to_hex(compute_operation_id(operation))} | describe_operation(operation)
            for operation in self._node.pending_operations()
        ]
        return _answer(PendingJson(pending), 200)

    async def find(self, request: Request) -> Response:
        check_accepts_json(request)
        Query(request)
        operation_id = Commitment(parse_hash(request.path_params["id"]))
        place = self._node.find_operation(operation_id)
        if place is None:
            return _answer(OperationJson(to_hex(operation_id), "unknown"), 200)
        answer = OperationJson(to_hex(operation_id), "pending", get_kind(place.operation), place.height)
        if place.height is not None:
            answer.status = "included"
        return _answer(answer, 200)

    def _submit(self, operation: Operation) -> None:
        reason = self._node.submit_operation(operation)
        self._node.metrics.count_operation(get_kind(operation), "accepted" if reason is None else "refused")
        if reason is not None:
            self._directory.update(self._node.status().ledger)
            reason = _VALIDATOR.sub(lambda found: self._directory.name_of(ValidatorId(int(found[1]))), reason)
            raise Problem(OPERATION_REFUSED, f"The ledger says: {reason}.", reason=reason)


def _answer(answer: msgspec.Struct, status: int) -> Response:
    return Response(msgspec.json.encode(answer), status, media_type=JSON_MEDIA_TYPE)
