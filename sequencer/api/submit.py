"""Transactions: submit one or many, wait until they are final, ask where one stands.

Submitting is idempotent: what is pending or final already is reported so, and a client that is in doubt sends again.
"""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sequencer.api.encoding import (
    JSON_MEDIA_TYPE,
    parse_hash,
    parse_json_transaction,
    parse_msgpack_batch,
    parse_ndjson_batch,
    parse_public_key,
    to_hex,
)
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, check_accepts_json, read_body, read_media_type
from sequencer.api.problems import (
    BAD_BODY,
    BAD_PARAMETER,
    MEMPOOL_FULL,
    NO_PROMISE,
    NOT_FINALIZED_IN_TIME,
    SHUTTING_DOWN,
    TRANSACTION_EMPTY,
    TRANSACTION_EXPIRED,
    TRANSACTION_TOO_LARGE,
    Problem,
)
from sequencer.api.waiting import Ended, Wait, wait_finalized
from sequencer.directory import Directory
from sequencer.mempool import Admission
from sequencer.payload import compute_hashes
from sequencer.promises import PromiseRefusedError
from sequencer.schema.transactions import BatchJson, PromiseJson, RejectedJson, SoftJson, TransactionJson

BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""One body: two full payloads in the binary form, one in the textual."""

_OCTETS: Final = "application/octet-stream"
_ONE_TYPES: Final = {_OCTETS: bytes, JSON_MEDIA_TYPE: parse_json_transaction}
_BATCH_TYPES: Final[dict[str, Callable[[bytes], list[bytes]]]] = {
    "application/vnd.msgpack": parse_msgpack_batch,
    "application/x-ndjson": parse_ndjson_batch,
}
_TAKEN: Final = (Admission.ACCEPTED, Admission.DUPLICATE, Admission.FINALIZED)
_JSON_FRAME_BYTES: Final = 256
"""Room for braces, the key and blanks around the digits of a transaction."""


class Submit:
    """The routes under /v1/transactions."""

    def __init__(self, node: NodeView, directory: Directory, closing: trio.Event) -> None:
        self._node = node
        self._directory = directory
        self._closing = closing
        self._transaction_bytes_max = node.network.transactions.transaction_bytes_max

    async def one(self, request: Request) -> Response:
        check_accepts_json(request)
        query = Query(request, Wait.PARAMETERS | {"beneficiary"})
        is_soft = query.read_choice("wait", ("finalized", "soft"), "finalized") == "soft"
        beneficiary = _read_beneficiary(query, is_soft=is_soft)
        if is_soft and "timeout_s" in query:
            raise Problem(BAD_PARAMETER, "timeout_s means nothing with wait=soft.", parameter="timeout_s")
        wait = Wait(is_wanted=False, seconds=0) if is_soft else Wait.read(query)
        transaction = await self._read_one(request)
        hashes = compute_hashes([transaction])
        admissions, _ = self._submit([transaction], hashes)
        match admissions[0]:
            case Admission.FINALIZED if self._node.storage.find_transaction(hashes[0]) is not None:
                return self._answer_one(hashes[0])
            case Admission.ACCEPTED | Admission.DUPLICATE | Admission.FINALIZED:
                pass  # What is decided in the current turn is not on disk yet: until then it is pending.
            case refused:
                raise self._explain(refused)
        if is_soft:
            return await self._answer_softly(transaction, hashes[0], beneficiary)
        if wait.is_wanted:
            await self._wait(hashes, request, wait)
            return self._answer_one(hashes[0])
        return _json(TransactionJson(to_hex(hashes[0]), "pending"), 202)

    async def _answer_softly(self, transaction: bytes, hash_: bytes, beneficiary: bytes) -> Response:
        try:
            promise = await self._node.promise(transaction, hash_, beneficiary)
        except PromiseRefusedError as error:
            if self._node.storage.find_transaction(hash_) is not None:  # by now: there is nothing left to promise
                return self._answer_one(hash_)
            detail = f"{error}. The transaction is pending all the same: wait for it, or ask for a promise again."
            raise Problem(NO_PROMISE, detail, hash=to_hex(hash_)) from error
        shown = PromiseJson(
            self._directory.name_of(promise.promiser),
            promise.epoch,
            promise.first_view,
            promise.last_view,
            to_hex(promise.transaction),
            to_hex(promise.beneficiary) if promise.beneficiary else None,
            to_hex(promise.signature),
        )
        return _json(SoftJson(to_hex(hash_), "promised", shown), 200)

    async def batch(self, request: Request) -> Response:
        check_accepts_json(request)
        query = Query(request, Wait.PARAMETERS | {"hashes"})
        wait = Wait.read(query)
        with_hashes = query.read_choice("hashes", ("true", "false"), "false") == "true"
        media_type = read_media_type(request, _BATCH_TYPES)
        transactions = _BATCH_TYPES[media_type](await read_body(request, BATCH_BYTES_MAX, "Send several batches."))
        if not transactions:
            raise Problem(BAD_BODY, "The batch is empty: there is no transaction in the body.")
        hashes = compute_hashes(transactions)
        admissions, answer = self._submit(transactions, hashes)
        if with_hashes:
            answer.hashes = list(map(to_hex, hashes))
        if Admission.FULL in admissions:
            raise _full(answer)
        if wait.is_wanted:
            taken = [hash_ for hash_, admission in zip(hashes, admissions, strict=True) if admission in _TAKEN]
            await self._wait(taken, request, wait)
            return _json(answer, 200)
        return _json(answer, 202)

    async def find(self, request: Request) -> Response:
        check_accepts_json(request)
        Query(request)
        return self._answer_one(parse_hash(request.path_params["hash"]))

    async def _read_one(self, request: Request) -> bytes:
        media_type = read_media_type(request, _ONE_TYPES)
        hint = f"A transaction has at most {self._transaction_bytes_max} bytes on this network."
        if media_type == _OCTETS:
            return await read_body(request, self._transaction_bytes_max, hint)
        return parse_json_transaction(
            await read_body(request, 2 * self._transaction_bytes_max + _JSON_FRAME_BYTES, hint)
        )

    def _submit(self, transactions: list[bytes], hashes: list[bytes]) -> tuple[list[Admission], BatchJson]:
        if self._closing.is_set():
            raise Problem(SHUTTING_DOWN, "Nothing was submitted: this node takes nothing new. Send it to another node.")
        admissions = self._node.submit(transactions, hashes)
        accepted, duplicate, finalized = map(admissions.count, _TAKEN)
        refused = len(admissions) - accepted - duplicate - finalized
        rejected = list(self._list_rejected(admissions)) if refused else []
        submitted = self._node.metrics.submitted
        submitted["accepted"].inc(accepted)
        submitted["duplicate"].inc(duplicate)
        submitted["finalized"].inc(finalized)
        submitted["rejected"].inc(refused)
        return admissions, BatchJson(accepted, duplicate, finalized, rejected)

    def _list_rejected(self, admissions: list[Admission]) -> Iterator[RejectedJson]:
        explained = {refused: self._explain(refused) for refused in set(admissions).difference(_TAKEN)}
        for index, admission in enumerate(admissions):
            problem = explained.get(admission)
            if problem is not None:
                yield RejectedJson(index, problem.kind.code, problem.detail)

    def _explain(self, refused: Admission) -> Problem:
        match refused:
            case Admission.TOO_LARGE:
                return Problem(
                    TRANSACTION_TOO_LARGE,
                    f"A transaction has at most {self._transaction_bytes_max} bytes on this network.",
                    bytes_max=self._transaction_bytes_max,
                )
            case Admission.EMPTY:
                return Problem(TRANSACTION_EMPTY, "A transaction has at least one byte.")
            case Admission.FULL:
                return Problem(MEMPOOL_FULL, "The mempool has no room. Send it again in a moment, or to another node.")
            case Admission.ACCEPTED | Admission.DUPLICATE | Admission.FINALIZED:
                raise ValueError(f"{refused} is no refusal")

    async def _wait(self, hashes: list[bytes], request: Request, wait: Wait) -> None:
        """Returns when all are final. Raises `ClientDisconnect` or `Problem` otherwise."""
        match await wait_finalized(self._node, hashes, request, self._closing, wait.seconds):
            case Ended.FINALIZED:
                return
            case Ended.CLIENT_GONE:
                raise ClientDisconnect
            case Ended.EXPIRED:
                raise Problem(
                    TRANSACTION_EXPIRED,
                    "This node has given up on what was not final in time (mempool_expiry_ms); another one may still "
                    "have it. Send the same again, nothing is ordered twice.",
                )
            case Ended.TOO_LATE:
                raise Problem(
                    NOT_FINALIZED_IN_TIME,
                    f"What was accepted is pending, but not all of it was final after {wait.seconds:g} s. "
                    "Ask GET /v1/transactions/{hash} later, or send the same again with a longer timeout_s.",
                )
            case Ended.CLOSING:
                raise Problem(
                    SHUTTING_DOWN,
                    "The node goes down before all is final. What it forwarded may still become final: "
                    "send the same to another node, nothing is ordered twice.",
                )

    def _answer_one(self, transaction_hash: bytes) -> Response:
        location = self._node.storage.find_transaction(transaction_hash)
        if location is not None:
            return _json(
                TransactionJson(to_hex(transaction_hash), "finalized", location.height, location.position), 200
            )
        is_pending = self._node.is_pending(transaction_hash)
        return _json(TransactionJson(to_hex(transaction_hash), "pending" if is_pending else "unknown"), 200)


def _read_beneficiary(query: Query, *, is_soft: bool) -> bytes:
    """Whom a broken promise would compensate; nobody when it is not said."""
    text = query.read_text("beneficiary", "")
    if text and not is_soft:
        raise Problem(BAD_PARAMETER, "beneficiary means nothing without wait=soft.", parameter="beneficiary")
    return parse_public_key(text) if text else b""


def _json(answer: msgspec.Struct, status: int) -> Response:
    return Response(msgspec.json.encode(answer), status, media_type=JSON_MEDIA_TYPE)


def _full(answer: BatchJson) -> Problem:
    refused = len(answer.rejected)
    return Problem(
        MEMPOOL_FULL,
        f"The mempool has no room for the whole batch: {refused} were refused, each is listed. "
        "Send the same batch again after the time in Retry-After; what was taken counts as duplicate then.",
        **msgspec.structs.asdict(answer),
    )
