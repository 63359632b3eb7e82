"""Finalized blocks: one by height, hash or `latest`, and ranges with a cursor."""

from collections.abc import Sequence
from typing import Final

import trio
from starlette.requests import Request
from starlette.responses import Response

from consensus.leaf import Block
from consensus.types import Height
from sequencer.api.certificates import CertificateWriter, find_finality
from sequencer.api.encoding import answer_json, to_hex
from sequencer.api.finding import BLOCK_ID, find_height, make_not_found
from sequencer.api.namespaces import show_transactions
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, choice, flag, integer
from sequencer.api.problems import (
    BAD_BLOCK_ID,
    BAD_HASH,
    BLOCK_NOT_FOUND,
    EPOCH_NOT_FOUND,
    FINALITY_NOT_FOUND,
    Problem,
)
from sequencer.api.route import Answer, Route
from sequencer.directory import Directory
from sequencer.light.finality import Finality
from sequencer.payload_format import NAMESPACE_MAX
from sequencer.schema.blocks import RANGE_BLOCKS_MAX, BlockJson, RangeJson, TransactionForm
from sequencer.schema.fields import HEIGHT_MAX

RANGE_PAYLOAD_BYTES_MAX: Final = 2 * 1024 * 1024
"""Payload bytes behind one answer: the size of one full block, which takes 5 ms to write as JSON."""

_FORMS: Final[tuple[TransactionForm, ...]] = ("full", "hashes", "none")
_ONE_FORM: Final = choice("transactions", "What to show of its transactions.", _FORMS, default="hashes")
_RANGE_FORM: Final = choice("transactions", "What to show of each block's transactions.", _FORMS, default="none")
NAMESPACE: Final = integer(
    "namespace",
    "Show of each block the transactions of this namespace alone; as bytes, unless `transactions` says otherwise. "
    "A block that has none of them is shown without any. Absent: all namespaces.",
    default=None,
    least=0,
    most=NAMESPACE_MAX,
    example=7,
)
_FINALITY: Final = flag("finality", "Whether to add why it is final: a certificate that anybody can check.")
_FROM: Final = integer(
    "from", "Height of the first block. Absent: the newest ones.", default=None, least=0, most=HEIGHT_MAX, example=1
)
_LIMIT: Final = integer(
    "limit",
    f"How many blocks at most. An answer also ends with {RANGE_PAYLOAD_BYTES_MAX} bytes of payload behind it.",
    default=RANGE_BLOCKS_MAX,
    least=1,
    most=RANGE_BLOCKS_MAX,
    example=2,
)


class Blocks:
    """The routes under /v1/blocks."""

    def __init__(self, node: NodeView, directory: Directory) -> None:
        self._node = node
        self._directory = directory
        self._certificates = CertificateWriter(node, directory)

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/v1/blocks",
                handler=self.range,
                name="listBlocks",
                tag="Blocks",
                summary="A range of finalized blocks",
                description="In ascending order, without a gap, from a height on or the newest ones. Ask again from "
                "`next` until it is null: then you have all that are final now.",
                parameters=(_FROM, _LIMIT, _RANGE_FORM, NAMESPACE, _FINALITY),
                answers=(Answer((RangeJson,)),),
                problems=(EPOCH_NOT_FOUND, FINALITY_NOT_FOUND),
            ),
            Route(
                method="GET",
                path="/v1/blocks/{block_id}",
                handler=self.get,
                name="getBlock",
                tag="Blocks",
                summary="One finalized block",
                description="By height, by hash or the latest one. Blocks that may still be replaced are not shown.",
                path_parameters=(BLOCK_ID,),
                parameters=(_ONE_FORM, _FINALITY),
                answers=(Answer((BlockJson,)),),
                problems=(BAD_BLOCK_ID, BAD_HASH, BLOCK_NOT_FOUND, EPOCH_NOT_FOUND, FINALITY_NOT_FOUND),
            ),
        )

    async def get(self, request: Request, query: Query) -> Response:
        form, is_proven = query.read(_ONE_FORM), query.read(_FINALITY)
        self._directory.update(self._node.status().ledger)
        block = self._find(request.path_params["block_id"])
        answer = self.show(block, form)
        if is_proven and block.leaf.height:
            answer.finality = self._certificates.write_finality(block.commitment, find_finality(self._node, block.leaf))
        return answer_json(answer)

    async def range(self, _request: Request, query: Query) -> Response:
        namespace, limit = query.read(NAMESPACE), query.read(_LIMIT)
        form = "full" if namespace is not None and _RANGE_FORM not in query else query.read(_RANGE_FORM)
        latest, first = self._node.storage.latest_height, query.read(_FROM)
        start = Height(max(0, latest - limit + 1) if first is None else first)
        blocks = self._node.storage.read_decided(start, blocks_max=limit, bytes_max=RANGE_PAYLOAD_BYTES_MAX)
        self._directory.update(self._node.status().ledger)
        answer = RangeJson([], None, latest)
        for block in blocks:
            answer.blocks.append(self.show(block, form, namespace))
            await trio.lowlevel.checkpoint()
        if query.read(_FINALITY):
            self._prove(blocks, answer)
        after = start + len(blocks)
        if blocks and after <= latest:
            answer.next = after
        return answer_json(answer)

    def _find(self, block_id: str) -> Block:
        storage = self._node.storage
        block = storage.read_decided_at(find_height(storage, block_id))
        if block is None:
            raise make_not_found(storage, block_id)
        return block

    def _prove(self, blocks: Sequence[Block], answer: RangeJson) -> None:
        """From the top down: where a block has no certificate of its own, that of the next one is about it as well.

        Where there is none yet, nothing is shown.
        """
        above: Finality | None = None
        epoch: int | None = None
        for block, shown in reversed(list(zip(blocks, answer.blocks, strict=True))):
            fc = self._node.storage.read_finality(block.leaf.height)
            if fc is not None:
                above = Finality((block.leaf,), fc)
            elif block.leaf.epoch != epoch:
                above = self._find_finality(block)
            epoch = block.leaf.epoch
            if above is not None and block.leaf.height:
                shown.finality = self._certificates.write_finality(block.commitment, above, of=block.leaf)

    def _find_finality(self, block: Block) -> Finality | None:
        try:
            return find_finality(self._node, block.leaf)
        except Problem:
            return None

    def show(self, block: Block, form: TransactionForm, namespace: int | None = None) -> BlockJson:
        """With the transactions of all namespaces, or of one."""
        leaf = block.leaf
        transactions, namespaces = None, None
        if form != "none":
            transactions, namespaces = show_transactions(self._node.payloads.open(block), form, namespace)
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
            transactions=transactions,
            namespaces=namespaces,
        )
