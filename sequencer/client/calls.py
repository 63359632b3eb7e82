"""Every request of the API as a value: what is sent, and which shape comes back.

Both clients are made from these functions, so a route is described here once. Nothing is sent here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar
from urllib.parse import quote

import msgpack
import msgspec

from sequencer.schema.blocks import BlockJson, RangeJson, TransactionForm
from sequencer.schema.faults import FaultsJson
from sequencer.schema.ledger import AccountJson, CommitteesJson, LedgerJson, ScheduleJson
from sequencer.schema.light import EpochTableJson, FinalityJson, LeafJson
from sequencer.schema.namespaces import NamespaceJson, NamespacesJson, TransactionProofJson
from sequencer.schema.operations import OperationJson, PendingJson
from sequencer.schema.records import ChangesJson, EvidenceListJson
from sequencer.schema.status import LimitsJson, ReadyJson, StatusJson
from sequencer.schema.transactions import BatchJson, SoftJson, TransactionJson
from sequencer.schema.validators import ValidatorJson, ValidatorsJson
from sequencer.schema.views import ViewJson, ViewsJson

Answer = TypeVar("Answer")

OCTETS: Final = "application/octet-stream"
MSGPACK: Final = "application/vnd.msgpack"

PROMISED: Final = "promised"


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One request, and how its answer is read: `decode` raises `msgspec.MsgspecError` for another shape.

    Every call may be repeated: reading changes nothing, and submitting the same again orders nothing twice.
    """

    method: str
    path: str
    decode: Callable[[bytes], Answer]
    query: Mapping[str, str] | None = None
    body: bytes | None = None
    media_type: str | None = None
    accept: str | None = None
    extra_seconds: float = 0.0
    """For which the node may wait on purpose before it answers."""
    absent: str | None = None
    """Code of the problem by which a node says that there is no such thing: the answer is None then."""

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Content-Type": self.media_type} if self.media_type else {}
        return headers | ({"Accept": self.accept} if self.accept else {})


class _Status(msgspec.Struct):
    status: str


def _decode_promise(body: bytes) -> SoftJson | TransactionJson:
    if msgspec.json.decode(body, type=_Status).status == PROMISED:
        return msgspec.json.decode(body, type=SoftJson)
    return msgspec.json.decode(body, type=TransactionJson)


def _json(shape: type[Answer]) -> Callable[[bytes], Answer]:
    return partial(msgspec.json.decode, type=shape)


def _get(path: str, shape: type[Answer], **query: object) -> Call[Answer]:
    return Call("GET", path, _json(shape), _make_query(query))


def _get_raw(path: str) -> Call[bytes]:
    return Call("GET", path, bytes, accept=OCTETS)


def _make_query(query: Mapping[str, object]) -> dict[str, str] | None:
    """None is left out, and a name may end in _ where Python has a word of its own."""
    given = {name.rstrip("_"): _write(value) for name, value in query.items() if value is not None}
    return given or None


def _write(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _quote(value: object) -> str:
    return quote(str(value), safe="")


# The node


def status() -> Call[StatusJson]:
    """Where the node stands."""
    return _get("/v1/status", StatusJson)


def limits() -> Call[LimitsJson]:
    """What the API refuses beyond."""
    return _get("/v1/limits", LimitsJson)


def ready() -> Call[ReadyJson]:
    """Whether it has decided and is not behind; `ApiProblem` `not_ready` when not."""
    return _get("/readyz", ReadyJson)


def metrics() -> Call[str]:
    """The page for Prometheus."""
    return Call("GET", "/metrics", bytes.decode)


# Transactions


def submit(
    transaction: bytes, *, namespace: int | None = None, wait_seconds: float | None = None
) -> Call[TransactionJson]:
    """One transaction. With `wait_seconds` the answer comes when it is final, or an `ApiProblem` after that time."""
    return _submit_one(
        _json(TransactionJson), transaction, wait_seconds or 0.0, **_wait(wait_seconds), namespace=namespace
    )


def promise(
    transaction: bytes, *, namespace: int | None = None, beneficiary: str | None = None
) -> Call[SoftJson | TransactionJson]:
    """One transaction, and the next leader's promise to include it; just where it stands when it is final already.

    `ApiProblem` `no_promise` when there is none; the transaction is pending then.
    """
    return _submit_one(_decode_promise, transaction, 0.0, wait="soft", namespace=namespace, beneficiary=beneficiary)


def submit_batch(
    transactions: Sequence[bytes],
    *,
    namespace: int | None = None,
    hashes: bool | None = None,
    wait_seconds: float | None = None,
) -> Call[BatchJson]:
    """Many transactions; `split_batches` makes them fit. `wait_seconds` as for `submit`."""
    query = _make_query({**_wait(wait_seconds), "namespace": namespace, "hashes": hashes})
    body = b"".join(map(pack, transactions))
    return Call(
        "POST", "/v1/transactions/batch", _json(BatchJson), query, body, MSGPACK, extra_seconds=wait_seconds or 0.0
    )


def transaction(transaction_hash: str) -> Call[TransactionJson]:
    """Where it stands."""
    return _get(f"/v1/transactions/{_quote(transaction_hash)}", TransactionJson)


def transaction_proof(transaction_hash: str) -> Call[TransactionProofJson]:
    """That it stands in a block; `sequencer.light` verifies it."""
    return _get(f"/v1/transactions/{_quote(transaction_hash)}/proof", TransactionProofJson)


def pack(transaction: bytes) -> bytes:
    """As it stands in the body of a batch."""
    packed: bytes = msgpack.packb(transaction, use_bin_type=True)
    return packed


def _wait(seconds: float | None) -> dict[str, object]:
    return {} if seconds is None else {"wait": "finalized", "timeout_s": seconds}


def _submit_one(decode: Callable[[bytes], Answer], data: bytes, extra_seconds: float, **query: object) -> Call[Answer]:
    return Call("POST", "/v1/transactions", decode, _make_query(query), data, OCTETS, extra_seconds=extra_seconds)


# Blocks


def block(
    block_id: int | str = "latest", *, transactions: TransactionForm | None = None, finality: bool | None = None
) -> Call[BlockJson]:
    """By height, by hash or the latest one. By default with the hashes of its transactions."""
    return _get(f"/v1/blocks/{_quote(block_id)}", BlockJson, transactions=transactions, finality=finality)


def blocks(
    from_: int | None = None,
    *,
    limit: int | None = None,
    transactions: TransactionForm | None = None,
    namespace: int | None = None,
    finality: bool | None = None,
) -> Call[RangeJson]:
    """One page: from a height on, or the newest ones. `iterate_blocks` walks over all pages."""
    return _get(
        "/v1/blocks",
        RangeJson,
        from_=from_,
        limit=limit,
        transactions=transactions,
        namespace=namespace,
        finality=finality,
    )


def namespaces(block_id: int | str = "latest") -> Call[NamespacesJson]:
    """Which namespaces have transactions in a block."""
    return _get(f"/v1/blocks/{_quote(block_id)}/namespaces", NamespacesJson)


def namespace(number: int, block_id: int | str = "latest") -> Call[NamespaceJson]:
    """All transactions of a namespace in a block, with the proof that these are they."""
    return _get(f"/v1/blocks/{_quote(block_id)}/namespaces/{number}", NamespaceJson)


def finality(block_id: int | str = "latest") -> Call[FinalityJson]:
    """Why a block is final."""
    return _get(f"/v1/blocks/{_quote(block_id)}/finality", FinalityJson)


def leaf(block_id: int | str = "latest") -> Call[LeafJson]:
    """All that consensus has agreed on about a block."""
    return _get(f"/v1/leaves/{_quote(block_id)}", LeafJson)


def payload(block_id: int | str = "latest") -> Call[bytes]:
    """The bytes to which the leaf commits."""
    return _get_raw(f"/v1/payloads/{_quote(block_id)}")


# Consensus and ledger


def epoch(number: int | str = "latest") -> Call[EpochTableJson]:
    """Who votes in it, which heights it decides, and how it ended."""
    return _get(f"/v1/epochs/{_quote(number)}", EpochTableJson)


def snapshot(number: int) -> Call[bytes]:
    """With what the epoch after this one begins, in its canonical encoding."""
    return _get_raw(f"/v1/epochs/{number}/snapshot")


def views(from_: int | None = None, *, limit: int | None = None) -> Call[ViewsJson]:
    """From a view on, or the latest ones, as the node saw them."""
    return _get("/v1/views", ViewsJson, from_=from_, limit=limit)


def view(number: int | str = "latest") -> Call[ViewJson]:
    """One view, as the node saw it."""
    return _get(f"/v1/views/{_quote(number)}", ViewJson)


def committees() -> Call[CommitteesJson]:
    """Both committees of this epoch."""
    return _get("/v1/committees", CommitteesJson)


def schedule(count: int | None = None) -> Call[ScheduleJson]:
    """Who leads the next views, and why."""
    return _get("/v1/schedule", ScheduleJson, views=count)


def ledger() -> Call[LedgerJson]:
    """Epoch, mode, committees, and where all the money is."""
    return _get("/v1/ledger", LedgerJson)


def find_account(public_key: bytes) -> Call[AccountJson | None]:
    """What it has, and its next nonce; None for one that never held anything."""
    return Call("GET", f"/v1/accounts/{public_key.hex()}", _json(AccountJson), absent="account_not_found")


# Stake and records


def validators() -> Call[ValidatorsJson]:
    """All that the ledger knows."""
    return _get("/v1/validators", ValidatorsJson)


def find_validator(name: int | str) -> Call[ValidatorJson | None]:
    """By name or number; None when the ledger has no such validator."""
    return Call("GET", f"/v1/validators/{_quote(name)}", _json(ValidatorJson), absent="validator_not_found")


def submit_operation(operation: bytes) -> Call[OperationJson]:
    """A signed operation in its encoded form; `ApiProblem` with the ledger's reason when it is refused."""
    return Call("POST", "/v1/operations", _json(OperationJson), body=operation, media_type=OCTETS)


def operations(from_: str | None = None, *, limit: int | None = None) -> Call[PendingJson]:
    """Those that wait for a leader."""
    return _get("/v1/operations", PendingJson, from_=from_, limit=limit)


def operation(operation_id: str) -> Call[OperationJson]:
    """Where it stands."""
    return _get(f"/v1/operations/{_quote(operation_id)}", OperationJson)


def changes(from_: int | str | None = None, *, limit: int | None = None) -> Call[ChangesJson]:
    """Of the ledger: from a height or cursor on, or the newest ones."""
    return _get("/v1/changes", ChangesJson, from_=from_, limit=limit)


def slashings(from_: int | str | None = None, *, limit: int | None = None) -> Call[ChangesJson]:
    """Of the changes those by which somebody lost stake or liberty, or got them back."""
    return _get("/v1/slashings", ChangesJson, from_=from_, limit=limit)


def evidence(from_: int | str | None = None, *, limit: int | None = None) -> Call[EvidenceListJson]:
    """Proofs of broken rules."""
    return _get("/v1/evidence", EvidenceListJson, from_=from_, limit=limit)


def faults(*, limit: int | None = None) -> Call[FaultsJson]:
    """What was done to the cluster on purpose, as far as it keeps a log of that."""
    return _get("/v1/faults", FaultsJson, limit=limit)
