"""Finalized blocks: one by height, hash or `latest`, and ranges with a cursor."""

from collections.abc import Sequence
from typing import Final

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response

from consensus.leaf import Block
from consensus.types import Height
from sequencer.api.certificates import CertificateWriter, find_finality
from sequencer.api.encoding import JSON_MEDIA_TYPE, to_hex
from sequencer.api.finding import find_height, make_not_found
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, check_accepts_json
from sequencer.directory import Directory
from sequencer.light.finality import Finality
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
        self._certificates = CertificateWriter(node, directory)

    async def get(self, request: Request) -> Response:
        check_accepts_json(request)
        query = Query(request, frozenset({"transactions", "finality"}))
        form, is_proven = _read_form(query, default="hashes"), query.read_flag("finality")
        self._directory.update(self._node.status().ledger)
        block = self._find(request.path_params["block_id"])
        answer = self._to_json(block, form)
        if is_proven and block.leaf.height:
            answer.finality = self._certificates.write_finality(block.commitment, find_finality(self._node, block.leaf))
        return Response(msgspec.json.encode(answer), media_type=JSON_MEDIA_TYPE)

    async def range(self, request: Request) -> Response:
        check_accepts_json(request)
        query = Query(request, frozenset({"from", "limit", "transactions", "finality"}))
        form, is_proven = _read_form(query, default="none"), query.read_flag("finality")
        start = Height(query.read_integer("from", 0, least=0, most=_HEIGHT_MAX))
        limit = query.read_integer("limit", RANGE_BLOCKS_MAX, least=1, most=RANGE_BLOCKS_MAX)
        latest = self._node.storage.latest_height
        blocks = self._node.storage.read_decided(start, blocks_max=limit, bytes_max=RANGE_PAYLOAD_BYTES_MAX)
        self._directory.update(self._node.status().ledger)
        answer = RangeJson([], None, latest)
        for block in blocks:
            answer.blocks.append(self._to_json(block, form))
            await trio.lowlevel.checkpoint()
        if is_proven:
            self._prove(blocks, answer)
        after = start + len(blocks)
        if blocks and after <= latest:
            answer.next = after
        return Response(msgspec.json.encode(answer), media_type=JSON_MEDIA_TYPE)

    def _find(self, block_id: str) -> Block:
        storage = self._node.storage
        block = storage.read_decided_at(find_height(storage, block_id))
        if block is None:
            raise make_not_found(storage, block_id)
        return block

    def _prove(self, blocks: Sequence[Block], answer: RangeJson) -> None:
        """From the top down: where a block has no certificate of its own, that of the next one is about it as well."""
        above: Finality | None = None
        for block, shown in reversed(list(zip(blocks, answer.blocks, strict=True))):
            if not block.leaf.height:
                continue
            fc = self._node.storage.read_finality(block.leaf.height)
            if fc is not None:
                above = Finality((block.leaf,), fc)
            elif above is None or above.fc.epoch != block.leaf.epoch:
                above = find_finality(self._node, block.leaf)
            shown.finality = self._certificates.write_finality(block.commitment, above, of=block.leaf)

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
