"""The API of a node as far as light clients ask it, over a chain that a test has made and may bend."""

from collections.abc import Callable

import httpx

from sequencer.light.finality import encode_finality
from sequencer.light.source import NodeSource
from tests.node.signed_chain import SignedChain

URL = "http://node"


class LightNode:
    """Answers by path; `bend` lets it lie: it is asked with each path before the truth is told."""

    def __init__(self, chain: SignedChain) -> None:
        self.chain = chain
        self.asked: list[str] = []
        self.bend: dict[str, Callable[[], bytes]] = {}

    def open_source(self, *, seconds: float = 60.0) -> NodeSource:
        return NodeSource(URL, seconds=seconds, transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        content = self.bend[path]() if path in self.bend else self._tell(path)
        if content is None:
            return httpx.Response(404, json={"code": "block_not_found", "detail": f"Nothing at {path}."})
        return httpx.Response(200, content=content)

    def _tell(self, path: str) -> bytes | None:
        chain = self.chain
        match path.removeprefix("/v1/").split("/"):
            case ["status"]:
                return b'{"network_id": "0x%s"}' % chain.context.network_id.hex().encode()
            case ["epochs", number, "snapshot"] if int(number) < len(chain.snapshots):
                return chain.snapshots[int(number)]
            case ["blocks", block_id, "finality"]:
                height = self._find(block_id)
                return None if height is None else encode_finality(chain.finality(height))
            case _:
                return None

    def _find(self, block_id: str) -> int | None:
        blocks = self.chain.blocks
        if block_id == "latest":
            return len(blocks) - 1
        if block_id.isdigit() and len(block_id) < 64:
            return int(block_id) if int(block_id) < len(blocks) else None
        return next((block.leaf.height for block in blocks if block.commitment.hex() == block_id), None)
