"""What blocks hold of each namespace, with proofs against the payload's commitment (see `sequencer.light`)."""

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from consensus.leaf import Block
from consensus.types import Height
from sequencer.api.encoding import answer_json, parse_hash, to_hex
from sequencer.api.finding import BLOCK_ID, find_height, make_not_found
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, parse_integer
from sequencer.api.problems import (
    BAD_BLOCK_ID,
    BAD_HASH,
    BAD_NAMESPACE,
    BLOCK_NOT_FOUND,
    TRANSACTION_NOT_FOUND,
    Problem,
)
from sequencer.api.route import Answer, PathParameter, Route
from sequencer.api.submit import HASH
from sequencer.light.payload_proof import prove_namespace, prove_transaction, write_proof
from sequencer.payload import NAMESPACE_BYTES, Payload, get_data, get_namespace
from sequencer.payload_format import NAMESPACE_MAX
from sequencer.schema.namespaces import (
    NamespaceCountJson,
    NamespaceJson,
    NamespaceSizeJson,
    NamespacesJson,
    TransactionProofJson,
)

NAMESPACE: Final = PathParameter(
    "namespace",
    f"Number of a namespace, 0 to {NAMESPACE_MAX}.",
    {"type": "integer", "minimum": 0, "maximum": NAMESPACE_MAX},
    7,
)


class Namespaces:
    """The routes under /v1/blocks/{block_id}/namespaces, and /v1/transactions/{hash}/proof."""

    def __init__(self, node: NodeView) -> None:
        self._node = node

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/v1/transactions/{hash}/proof",
                handler=self.transaction,
                name="getTransactionProof",
                tag="Transactions",
                summary="Proof that a transaction stands in a finalized block",
                description="Against the commitment that the block's leaf makes to its payload; why the leaf is final, "
                "/v1/blocks/{block_id}/finality says. The proof grows with the logarithm of the payload.",
                path_parameters=(HASH,),
                answers=(Answer((TransactionProofJson,)),),
                problems=(BAD_HASH, TRANSACTION_NOT_FOUND),
            ),
            Route(
                method="GET",
                path="/v1/blocks/{block_id}/namespaces",
                handler=self.list,
                name="listNamespaces",
                tag="Blocks",
                summary="The namespaces of a block",
                description="Which have transactions there, and how many.",
                path_parameters=(BLOCK_ID,),
                answers=(Answer((NamespacesJson,)),),
                problems=(BAD_BLOCK_ID, BAD_HASH, BLOCK_NOT_FOUND),
            ),
            Route(
                method="GET",
                path="/v1/blocks/{block_id}/namespaces/{namespace}",
                handler=self.get,
                name="getNamespace",
                tag="Blocks",
                summary="The transactions of a namespace in a block, proven",
                description="All of them, in order, with the proof that none is missing, added or moved. A namespace "
                "that has none there is no error: the list is empty, and the proof is of that.",
                path_parameters=(BLOCK_ID, NAMESPACE),
                answers=(Answer((NamespaceJson,)),),
                problems=(BAD_BLOCK_ID, BAD_HASH, BAD_NAMESPACE, BLOCK_NOT_FOUND),
            ),
        )

    async def list(self, request: Request, _query: Query) -> Response:
        block = self._find(request)
        payload = self._node.payloads.open(block)
        namespaces = [
            NamespaceSizeJson(namespace, len(at), _measure(payload.transactions[at.start : at.stop]))
            for namespace, at in payload.namespaces.items()
        ]
        return answer_json(NamespacesJson(block.leaf.height, to_hex(block.commitment), namespaces))

    async def get(self, request: Request, _query: Query) -> Response:
        namespace = _parse_namespace(request.path_params["namespace"])
        block = self._find(request)
        transactions, proof = prove_namespace(block.payload, namespace)
        answer = NamespaceJson(
            height=block.leaf.height,
            hash=to_hex(block.commitment),
            payload_hash=to_hex(block.leaf.payload),
            payload_bytes=block.leaf.payload_bytes,
            namespace=namespace,
            transactions=list(map(to_hex, transactions)),
            proof=write_proof(proof),
        )
        return answer_json(answer)

    async def transaction(self, request: Request, _query: Query) -> Response:
        hash_ = parse_hash(request.path_params["hash"])
        location = self._node.storage.find_transaction(hash_)
        block = None if location is None else self._node.storage.read_decided_at(location.height)
        if location is None or block is None:
            raise Problem(
                TRANSACTION_NOT_FOUND,
                "This node has no finalized block with such a transaction. GET /v1/transactions/{hash} says whether it "
                "is pending.",
            )
        payload = self._node.payloads.open(block)
        namespace = get_namespace(payload.transactions[location.position])
        position = location.position - payload.namespaces[namespace].start
        data, proof = prove_transaction(block.payload, namespace, position)
        answer = TransactionProofJson(
            hash=to_hex(hash_),
            namespace=namespace,
            transaction=to_hex(data),
            height=block.leaf.height,
            block=to_hex(block.commitment),
            payload_hash=to_hex(block.leaf.payload),
            payload_bytes=block.leaf.payload_bytes,
            position=location.position,
            position_in_namespace=position,
            proof=write_proof(proof),
        )
        return answer_json(answer)

    def _find(self, request: Request) -> Block:
        storage, block_id = self._node.storage, request.path_params["block_id"]
        block = storage.read_decided_at(Height(find_height(storage, block_id)))
        if block is None:
            raise make_not_found(storage, block_id)
        return block


def show_transactions(payload: Payload, form: str, namespace: int | None) -> tuple[list[str], list[NamespaceCountJson]]:
    """Data or hashes, of one namespace or of all, and how many in a row are of which namespace."""
    groups = payload.namespaces
    if namespace is None:
        at = slice(len(payload.transactions))
    else:
        place = groups.get(namespace, range(0))
        at = slice(place.start, place.stop)
        groups = {namespace: place} if place else {}
    shown = map(get_data, payload.transactions[at]) if form == "full" else payload.hashes[at]
    return list(map(to_hex, shown)), [NamespaceCountJson(name, len(each)) for name, each in groups.items()]


def _measure(transactions: Sequence[bytes]) -> int:
    return sum(map(len, transactions)) - NAMESPACE_BYTES * len(transactions)


def _parse_namespace(text: str) -> int:
    namespace = parse_integer(text)
    if namespace is None or namespace > NAMESPACE_MAX:
        raise Problem(BAD_NAMESPACE, f"{text[:80]!r} is not a whole number from 0 to {NAMESPACE_MAX}.")
    return namespace
