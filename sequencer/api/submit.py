"""Transactions: submit one or many, wait until they are final, ask where one stands.

Submitting is idempotent: what is pending or final already is reported so, and a client that is in doubt sends again.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sequencer.api.body import read_body, read_media_type
from sequencer.api.encoding import (
    answer_json,
    parse_hash,
    parse_json_transaction,
    parse_msgpack_batch,
    parse_ndjson_batch,
    parse_public_key,
    to_hex,
)
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, flag, integer, option, text
from sequencer.api.problems import (
    BAD_BODY,
    BAD_HASH,
    BAD_PARAMETER,
    BATCH_TOO_LONG,
    MEMPOOL_FULL,
    NO_PROMISE,
    NOT_FINALIZED_IN_TIME,
    SHUTTING_DOWN,
    TRANSACTION_EMPTY,
    TRANSACTION_EXPIRED,
    TRANSACTION_TOO_LARGE,
    Problem,
)
from sequencer.api.route import JSON, MSGPACK, OCTETS, Answer, Body, PathParameter, Route
from sequencer.api.waiting import TIMEOUT, Ended, Wait, wait_finalized
from sequencer.directory import Directory
from sequencer.mempool import Admission
from sequencer.payload import DEFAULT_NAMESPACE, compute_hashes, get_namespace, make_transaction
from sequencer.payload_format import NAMESPACE_MAX
from sequencer.promises import PromiseRefusedError
from sequencer.schema.transactions import (
    BATCH_BYTES_MAX,
    BATCH_TRANSACTIONS_MAX,
    BatchJson,
    PromiseJson,
    RejectedJson,
    SoftJson,
    TransactionBodyJson,
    TransactionJson,
)
from sequencer.storage import TransactionLocation

NDJSON: Final = "application/x-ndjson"

_ONE_TYPES: Final = {OCTETS: bytes, JSON: parse_json_transaction}
_BATCH_TYPES: Final[dict[str, Callable[[bytes], list[bytes]]]] = {
    MSGPACK: parse_msgpack_batch,
    NDJSON: parse_ndjson_batch,
}
_TAKEN: Final = (Admission.ACCEPTED, Admission.DUPLICATE, Admission.FINALIZED)
_JSON_FRAME_BYTES: Final = 256
"""Room for braces, the key and blanks around the digits of a transaction."""

HASH: Final = PathParameter(
    "hash",
    "SHA-256 of a transaction: 64 hexadecimal digits, with or without 0x.",
    {"type": "string", "pattern": "^(0x)?[0-9a-fA-F]{64}$"},
    "0x9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
)


def _describe_items(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1, "maxItems": BATCH_TRANSACTIONS_MAX}


def _parse_beneficiary(text: str) -> bytes:
    try:
        return parse_public_key(text)
    except Problem as problem:
        raise ValueError("a public key: of Ed25519 one has 64 hexadecimal digits") from problem


_NAMESPACE: Final = integer(
    "namespace",
    "Whose transactions these are. A rollup chooses a number and reads what has it; the sequencer keeps the "
    "transactions of a namespace together, and proves that none is missing.",
    default=DEFAULT_NAMESPACE,
    least=0,
    most=NAMESPACE_MAX,
)
_WAIT_ONE: Final = option(
    "wait",
    "finalized: answer when it is final. soft: answer with the next leader's promise to include it. "
    "Absent: answer as soon as it is pending.",
    ("finalized", "soft"),
)
_WAIT_BATCH: Final = option(
    "wait",
    "finalized: answer when all that was taken is final. Absent: answer as soon as it is pending.",
    ("finalized",),
)
_BENEFICIARY: Final = text(
    "beneficiary",
    "Public key of the account that is compensated should the promise be broken. Only with wait=soft; absent: nobody.",
    _parse_beneficiary,
    pattern="^(0x)?([0-9a-fA-F]{2}){16,96}$",
    default=b"",
)
_HASHES: Final = flag("hashes", "Whether to name the hash of every transaction of the batch.")
_BATCH_BODIES: Final = (
    Body(
        MSGPACK,
        f"Each transaction a MessagePack bin object, one after the other without an array around them; "
        f"{BATCH_BYTES_MAX} bytes at most.",
        schema=_describe_items({"type": "string", "format": "binary", "minLength": 1}),
    ),
    Body(
        NDJSON,
        "One transaction a line, in hexadecimal digits with or without 0x, with or without quotation marks; "
        f"{BATCH_BYTES_MAX} bytes at most.",
        schema=_describe_items({"type": "string", "pattern": "^(0x)?([0-9a-fA-F]{2})+$"}),
        example=["0x616263", "0x646566"],
    ),
)
_REFUSALS: Final = (
    TRANSACTION_EMPTY,
    TRANSACTION_TOO_LARGE,
    MEMPOOL_FULL,
    SHUTTING_DOWN,
    TRANSACTION_EXPIRED,
    NOT_FINALIZED_IN_TIME,
)


class Submit:
    """The routes under /v1/transactions."""

    def __init__(self, node: NodeView, directory: Directory, closing: trio.Event) -> None:
        self._node = node
        self._directory = directory
        self._closing = closing
        self._transaction_bytes_max = node.network.transactions.transaction_bytes_max

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/v1/transactions",
                handler=self.one,
                name="submitTransaction",
                tag="Transactions",
                summary="Submit one transaction",
                description="The sequencer does not look into it: any bytes will do. Sending the same again does no "
                "harm, nothing is ordered twice.",
                parameters=(_NAMESPACE, _WAIT_ONE, TIMEOUT, _BENEFICIARY),
                bodies=_describe_one(self._transaction_bytes_max),
                answers=(
                    Answer((TransactionJson,), "It is pending.", status=202),
                    Answer(
                        (TransactionJson, SoftJson),
                        "It is final (at once, or with wait=finalized), or promised (with wait=soft).",
                    ),
                ),
                problems=(*_REFUSALS, NO_PROMISE),
            ),
            Route(
                method="POST",
                path="/v1/transactions/batch",
                handler=self.batch,
                name="submitBatch",
                tag="Transactions",
                summary="Submit many transactions",
                description="All or nothing is read: when one item is malformed, none is submitted. What is well "
                "formed is taken one by one, and the answer lists what was refused.",
                parameters=(_NAMESPACE, _WAIT_BATCH, TIMEOUT, _HASHES),
                bodies=_BATCH_BODIES,
                answers=(
                    Answer((BatchJson,), "What was taken is pending.", status=202),
                    Answer((BatchJson,), "With wait=finalized: all that was taken is final."),
                ),
                problems=(*_REFUSALS, BATCH_TOO_LONG),
            ),
            Route(
                method="GET",
                path="/v1/transactions/{hash}",
                handler=self.find,
                name="getTransaction",
                tag="Transactions",
                summary="Where a transaction stands",
                description="Pending here, in a finalized block, or unknown to this node.",
                path_parameters=(HASH,),
                answers=(Answer((TransactionJson,)),),
                problems=(BAD_HASH,),
            ),
        )

    async def one(self, request: Request, query: Query) -> Response:
        mode = query.read(_WAIT_ONE)
        if mode != "soft" and _BENEFICIARY in query:
            raise Problem(BAD_PARAMETER, "beneficiary means nothing without wait=soft.", parameter="beneficiary")
        beneficiary = query.read(_BENEFICIARY)
        wait = Wait.read(query, is_wanted=mode == "finalized")
        namespace = query.read(_NAMESPACE)
        transaction = make_transaction(namespace, await self._read_one(request))
        hashes = compute_hashes([transaction])
        admissions, _ = self._submit([transaction], hashes)
        match admissions[0]:
            case Admission.FINALIZED if self._node.storage.find_transaction(hashes[0]) is not None:
                return self._answer_one(hashes[0], namespace)
            case Admission.ACCEPTED | Admission.DUPLICATE | Admission.FINALIZED:
                pass  # What is decided in the current turn is not on disk yet: until then it is pending.
            case refused:
                raise self._explain(refused)
        if mode == "soft":
            return await self._answer_softly(transaction, hashes[0], beneficiary)
        if wait.is_wanted:
            await self._wait(hashes, request, wait)
            return self._answer_one(hashes[0], namespace)
        return answer_json(TransactionJson(to_hex(hashes[0]), "pending", namespace), 202)

    async def _answer_softly(self, transaction: bytes, hash_: bytes, beneficiary: bytes) -> Response:
        try:
            promise = await self._node.promise(transaction, hash_, beneficiary)
        except PromiseRefusedError as error:
            if self._node.storage.find_transaction(hash_) is not None:  # by now: there is nothing left to promise
                return self._answer_one(hash_, get_namespace(transaction))
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
        return answer_json(SoftJson(to_hex(hash_), "promised", shown))

    async def batch(self, request: Request, query: Query) -> Response:
        wait = Wait.read(query, is_wanted=query.read(_WAIT_BATCH) == "finalized")
        media_type = read_media_type(request, _BATCH_TYPES)
        data = _BATCH_TYPES[media_type](await read_body(request, BATCH_BYTES_MAX, "Send several batches."))
        if not data:
            raise Problem(BAD_BODY, "The batch is empty: there is no transaction in the body.")
        namespace = query.read(_NAMESPACE)
        transactions = [make_transaction(namespace, each) for each in data]
        hashes = compute_hashes(transactions)
        admissions, answer = self._submit(transactions, hashes)
        if query.read(_HASHES):
            answer.hashes = list(map(to_hex, hashes))
        if Admission.FULL in admissions:
            raise _full(answer)
        if wait.is_wanted:
            taken = [hash_ for hash_, admission in zip(hashes, admissions, strict=True) if admission in _TAKEN]
            await self._wait(taken, request, wait)
            return answer_json(answer)
        return answer_json(answer, 202)

    async def find(self, request: Request, _query: Query) -> Response:
        return self._answer_one(parse_hash(request.path_params["hash"]))

    async def _read_one(self, request: Request) -> bytes:
        media_type = read_media_type(request, _ONE_TYPES)
        hint = f"A transaction has at most {self._transaction_bytes_max} bytes on this network."
        if media_type == OCTETS:
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
                    f"A transaction has at most {self._transaction_bytes_max} bytes on this network; its namespace is "
                    "not counted.",
                    bytes_max=self._transaction_bytes_max,
                )
            case Admission.EMPTY:
                return Problem(TRANSACTION_EMPTY, "A transaction has at least one byte; its namespace is not counted.")
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

    def _answer_one(self, transaction_hash: bytes, namespace: int | None = None) -> Response:
        """Whoever knows the namespace says it; else the block is read for it."""
        location = self._node.storage.find_transaction(transaction_hash)
        if location is not None:
            namespace = self._read_namespace(location) if namespace is None else namespace
            return answer_json(
                TransactionJson(to_hex(transaction_hash), "finalized", namespace, location.height, location.position)
            )
        pending = self._node.find_pending(transaction_hash)
        if pending is None:
            return answer_json(TransactionJson(to_hex(transaction_hash), "unknown"))
        return answer_json(TransactionJson(to_hex(transaction_hash), "pending", get_namespace(pending)))

    def _read_namespace(self, location: TransactionLocation) -> int | None:
        """None where the block itself has not come to this node."""
        block = self._node.storage.read_decided_at(location.height)
        return None if block is None else get_namespace(self._node.payloads.open(block).transactions[location.position])


def _describe_one(bytes_max: int) -> tuple[Body, ...]:
    return (
        Body(
            OCTETS,
            f"The transaction itself, at most {bytes_max} bytes on this network.",
            schema={"type": "string", "format": "binary", "minLength": 1, "maxLength": bytes_max},
            example="a transaction",
        ),
        Body(
            JSON, "The transaction in hexadecimal.", shapes=(TransactionBodyJson,), example={"transaction": "0x616263"}
        ),
    )


def _full(answer: BatchJson) -> Problem:
    refused = len(answer.rejected)
    return Problem(
        MEMPOOL_FULL,
        f"The mempool has no room for the whole batch: {refused} were refused, each is listed. "
        "Send the same batch again after the time in Retry-After; what was taken counts as duplicate then.",
        **msgspec.structs.asdict(answer),
    )
