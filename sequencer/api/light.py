"""Leaves, payloads, finality certificates and epochs: what a client needs that trusts no node (see `sequencer.light`).

Each has a canonical encoding, which is what proves something; it stands in the JSON as hexadecimal, and is the whole
answer for whoever accepts application/octet-stream or application/vnd.msgpack and no JSON.
"""

from collections.abc import Callable
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from consensus.epochs import compute_last_height
from consensus.leaf import Leaf, compute_leaf_commitment, encode_leaf
from consensus.messages import encode
from consensus.types import Epoch
from sequencer.api.accepting import choose_media_type
from sequencer.api.certificates import CertificateWriter, find_finality
from sequencer.api.encoding import answer_json, to_hex
from sequencer.api.finding import BLOCK_ID, find_height, make_not_found
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, parse_integer
from sequencer.api.problems import (
    BAD_BLOCK_ID,
    BAD_EPOCH,
    BAD_HASH,
    BLOCK_NOT_FOUND,
    EPOCH_NOT_FOUND,
    FINALITY_NOT_FOUND,
    Problem,
)
from sequencer.api.route import JSON, RAW, Answer, PathParameter, Route
from sequencer.directory import Directory
from sequencer.light.finality import encode_finality
from sequencer.schema.light import EpochTableJson, FinalityJson, LeafJson, SeatJson
from sequencer.standing import compute_first_height

EPOCH_MAX: Final = 2**32
"""What is larger is no epoch that anybody will see, and would have heights beyond any database."""

EPOCH: Final = PathParameter(
    "epoch",
    "Number of an epoch, counted from 0, or latest for the one under way.",
    {"type": "string", "pattern": "^([0-9]{1,9}|latest)$"},
    "latest",
)
_ENCODING: Final = tuple(
    Answer(description="The canonical encoding.", media_type=media_type, schema={"type": "string", "format": "binary"})
    for media_type in RAW
)
_ABSENT: Final = (BAD_BLOCK_ID, BAD_HASH, BLOCK_NOT_FOUND)


class LightRoutes:
    """The routes /v1/leaves, /v1/payloads, /v1/epochs and /v1/blocks/{block_id}/finality."""

    def __init__(self, node: NodeView, directory: Directory) -> None:
        self._node = node
        self._directory = directory
        self._parameters = node.network.ledger_parameters()
        self._writer = CertificateWriter(node, directory)

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/v1/blocks/{block_id}/finality",
                handler=self.finality,
                name="getFinality",
                tag="Blocks",
                summary="Why a block is final",
                description="The finality certificate of the block, or of one above it with the leaves between: "
                "whoever has the stake table can check it offline.",
                path_parameters=(BLOCK_ID,),
                answers=(Answer((FinalityJson,)), *_ENCODING),
                problems=(*_ABSENT, EPOCH_NOT_FOUND, FINALITY_NOT_FOUND),
            ),
            Route(
                method="GET",
                path="/v1/leaves/{block_id}",
                handler=self.leaf,
                name="getLeaf",
                tag="Blocks",
                summary="The leaf of a block",
                description="All that consensus has agreed on about its height, with the canonical encoding of which"
                " its hash is the commitment.",
                path_parameters=(BLOCK_ID,),
                answers=(Answer((LeafJson,)), *_ENCODING),
                problems=(*_ABSENT, EPOCH_NOT_FOUND),
            ),
            Route(
                method="GET",
                path="/v1/payloads/{block_id}",
                handler=self.payload,
                name="getPayload",
                tag="Blocks",
                summary="The payload of a block",
                description="The bytes to which its leaf commits, and nothing else: there is no JSON of them.",
                path_parameters=(BLOCK_ID,),
                answers=_ENCODING,
                problems=_ABSENT,
            ),
            Route(
                method="GET",
                path="/v1/epochs/{epoch}",
                handler=self.epoch,
                name="getEpoch",
                tag="Consensus",
                summary="One epoch",
                description="Who votes in it, which heights it decides, and the proof that it is over.",
                path_parameters=(EPOCH,),
                answers=(Answer((EpochTableJson,)),),
                problems=(BAD_EPOCH, EPOCH_NOT_FOUND),
            ),
            Route(
                method="GET",
                path="/v1/epochs/{epoch}/snapshot",
                handler=self.snapshot,
                name="getSnapshot",
                tag="Consensus",
                summary="What the next epoch begins with",
                description="The end of this one as a node that joins is sent it (T5), and as a light client goes on"
                " with it.",
                path_parameters=(EPOCH,),
                answers=_ENCODING,
                problems=(BAD_EPOCH, EPOCH_NOT_FOUND),
            ),
        )

    async def leaf(self, request: Request, _query: Query) -> Response:
        leaf = self._look_up(request)
        return _answer(
            request,
            lambda: self._writer.write_leaf(leaf, compute_leaf_commitment(leaf)),
            lambda: encode_leaf(leaf),
        )

    async def finality(self, request: Request, _query: Query) -> Response:
        leaf = self._look_up(request)
        finality = find_finality(self._node, leaf)
        return _answer(
            request,
            lambda: self._writer.write_finality(compute_leaf_commitment(leaf), finality),
            lambda: encode_finality(finality),
        )

    async def payload(self, request: Request, _query: Query) -> Response:
        """The bytes to which the leaf commits, and nothing else: there is no JSON of them."""
        media_type = choose_media_type(request, RAW)
        storage, block_id = self._node.storage, request.path_params["block_id"]
        block = storage.read_decided_at(find_height(storage, block_id))
        if block is None:
            raise make_not_found(storage, block_id)
        return Response(block.payload, media_type=media_type)

    async def epoch(self, request: Request, _query: Query) -> Response:
        epoch = self._read_epoch(request)
        self._directory.update(self._node.status().ledger)
        table, proof = self._writer.tables.get(epoch), self._node.find_epoch_proof(epoch)
        answer = EpochTableJson(
            number=epoch,
            first_height=compute_first_height(epoch, self._parameters),
            last_height=compute_last_height(epoch, self._parameters),
            is_over=proof is not None,
            stake_table=[
                SeatJson(self._directory.name_of(each.id), each.id, to_hex(each.public_key), each.stake)
                for each in table
            ],
            total_stake=table.total,
            success_threshold=table.success_threshold,
            one_honest_threshold=table.one_honest_threshold,
            end=None if proof is None else self._writer.write_end(proof),
        )
        return answer_json(answer)

    async def snapshot(self, request: Request, _query: Query) -> Response:
        """T5: what a node that joins is sent, and what a light client goes on with."""
        media_type = choose_media_type(request, RAW)
        epoch = self._read_epoch(request)
        snapshot = self._node.storage.read_snapshot(epoch)
        if snapshot is None:
            running = self._node.status().epoch
            why = (
                f"Epoch {epoch} is not over: epoch {running} is under way. Ask again when it is."
                if epoch >= running
                else f"This node has not got the last blocks of epoch {epoch}: it joined later. Ask another one."
            )
            raise Problem(EPOCH_NOT_FOUND, why, running=running)
        return Response(encode(snapshot), media_type=media_type)

    def _look_up(self, request: Request) -> Leaf:
        storage, block_id = self._node.storage, request.path_params["block_id"]
        self._directory.update(self._node.status().ledger)
        leaf = storage.read_leaf_at(find_height(storage, block_id))
        if leaf is None:
            raise make_not_found(storage, block_id)
        return leaf

    def _read_epoch(self, request: Request) -> Epoch:
        text = request.path_params["epoch"]
        number = self._node.status().epoch if text == "latest" else parse_integer(text)
        if number is None or number > EPOCH_MAX:
            raise Problem(BAD_EPOCH, f"{text[:80]!r} is neither the number of an epoch nor latest.")
        return Epoch(number)


def _answer(request: Request, write: Callable[[], msgspec.Struct], encode_raw: Callable[[], bytes]) -> Response:
    media_type = choose_media_type(request, (JSON, *RAW))
    if media_type == JSON:
        return Response(msgspec.json.encode(write()), media_type=media_type)
    return Response(encode_raw(), media_type=media_type)
