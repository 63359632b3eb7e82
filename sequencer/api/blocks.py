"""Finalized blocks: one by height, hash or `latest`, and ranges with a cursor."""

from typing import Final

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response

from consensus.leaf import Block
from consensus.types import Commitment, Height
from sequencer.api.encoding import HASH_DIGITS, JSON_MEDIA_TYPE, parse_hash, to_hex
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, check_accepts_json, parse_integer
from sequencer.api.problems import BAD_BLOCK_ID, BLOCK_NOT_FOUND, Problem
from sequencer.directory import Directory
from sequencer.schema.blocks import BlockJson, RangeJson

RANGE_BLOCKS_MAX: Final = 100
"""Blocks in one answer, unless `RANGE_PAYLOAD_BYTES_MAX` ends it before."""

RANGE_PAYLOAD_BYTES_MAX: Final = 2 * 1024 * 1024
"""Payload bytes behind one answer: the size of one full block, which takes 5 ms to write as JSON."""

_TRANSACTION_FORMS: Final = ("full", "hashes", "none")
_HEIGHT_MAX: Final = 2**63 - 1


class Blocks:
    """The routes under /v1/blocks."""

    def __init__(self, node: NodeView, directory: Directory) -> None:
        self._node = node
        self._directory = directory

    async def get(self, request: Request) -> Response:
        check_accepts_json(request)
        form = _read_form(Query(request, frozenset({"transactions"})), default="hashes")
        self._directory.update(self._node.status().ledger)
        block = self._find(request.path_params["block_id"])
        return Response(msgspec.json.encode(self._to_json(block, form)), media_type=JSON_MEDIA_TYPE)

    async def range(self, request: Request) -> Response:
        check_accepts_json(request)
        query = Query(request, frozenset({"from", "limit", "transactions"}))
        form = _read_form(query, default="none")
        start = Height(query.read_integer("from", 0, least=0, most=_HEIGHT_MAX))
        limit = query.read_integer("limit", RANGE_BLOCKS_MAX, least=1, most=RANGE_BLOCKS_MAX)
        latest = self._node.storage.latest_height
        blocks = self._node.storage.read_decided(start, blocks_max=limit, bytes_max=RANGE_PAYLOAD_BYTES_MAX)
        self._directory.update(self._node.status().ledger)
        answer = RangeJson([], None, latest)
        for block in blocks:
            answer.blocks.append(self._to_json(block, form))
            await trio.lowlevel.checkpoint()
        after = start + len(blocks)
        if blocks and after <= latest:
            answer.next = after
        return Response(msgspec.json.encode(answer), media_type=JSON_MEDIA_TYPE)

    def _find(self, block_id: str) -> Block:
        storage = self._node.storage
        if block_id == "latest":
            height: int | None = storage.latest_height
        else:
            height = parse_integer(block_id)
        if height is not None:
            block = storage.read_decided_at(Height(height)) if height <= storage.latest_height else None
        elif len(block_id.removeprefix("0x")) == HASH_DIGITS:
            block = self._find_by_hash(Commitment(parse_hash(block_id)))
        else:
            raise Problem(
                BAD_BLOCK_ID,
                f"{block_id[:80]!r} is none of: a height such as 17, {HASH_DIGITS} hexadecimal digits, latest.",
            )
        if block is None:
            raise Problem(
                BLOCK_NOT_FOUND,
                f"No finalized block {block_id}; the latest has height {storage.latest_height}. "
                "If it is to come, ask again later.",
                latest=storage.latest_height,
            )
        return block

    def _find_by_hash(self, commitment: Commitment) -> Block | None:
        """Storage also knows blocks that this node voted for; those are nobody's business until they are final."""
        storage = self._node.storage
        block = storage.read_block(commitment)
        if block is None or block.leaf.height > storage.latest_height:
            return None
        decided = storage.read_decided_at(block.leaf.height)
        return block if decided is not None and decided.commitment == commitment else None

    def _to_json(self, block: Block, form: str) -> BlockJson:
        leaf = block.leaf
        return BlockJson(
            height=leaf.height,
            view=leaf.view,
            epoch=leaf.epoch,
            hash=to_hex(block.commitment),
            parent=to_hex(leaf.parent),
            proposer=self._directory.name_of(leaf.proposer),
            timestamp_ms=leaf.timestamp_ms,
            payload_hash=to_hex(leaf.payload),
            payload_bytes=leaf.payload_bytes,
            transactions=self._list_transactions(block, form),
        )

    def _list_transactions(self, block: Block, form: str) -> list[str] | None:
        if form == "none":
            return None
        payload = self._node.payloads.open(block)
        return list(map(to_hex, payload.transactions if form == "full" else payload.hashes))


def _read_form(query: Query, *, default: str) -> str:
    return query.read_choice("transactions", _TRANSACTION_FORMS, default)
