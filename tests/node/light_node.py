"""The API of a node as far as light clients ask it, over a chain that a test has made and may bend."""

from collections.abc import Callable

import httpx
import msgspec

from consensus.leaf import Block
from sequencer.api.encoding import to_hex
from sequencer.light.finality import encode_finality
from sequencer.light.payload_proof import prove_namespace, prove_transaction, write_proof
from sequencer.light.source import NodeSource
from sequencer.payload import decode_payload, get_namespace
from sequencer.schema.namespaces import NamespaceJson, TransactionProofJson
from tests.node.signed_chain import SignedChain

URL = "http://node"


class LightNode:
    """Answers by path; `bend` lets it lie: it is asked with each path before the truth is told."""

    def __init__(self, chain: SignedChain) -> None:
        self.chain = chain
        self.asked: list[str] = []
        self.refusal = ""
        """What is said of what is not there, in place of the usual."""
        self.bend: dict[str, Callable[[], bytes]] = {}

    def open_source(self, *, seconds: float = 60.0) -> NodeSource:
        return NodeSource(URL, seconds=seconds, transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        content = self.bend[path]() if path in self.bend else self._tell(path)
        if content is None:
            problem = msgspec.json.encode({"code": "block_not_found", "detail": self.refusal or f"Nothing at {path}."})
            return httpx.Response(404, stream=httpx.ByteStream(problem))
        return httpx.Response(200, stream=httpx.ByteStream(content))

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
            case ["blocks", block_id, "namespaces", namespace]:
                found = self._find(block_id)
                return None if found is None else self.tell_namespace(found, int(namespace))
            case ["transactions", name, "proof"]:
                return self._find_transaction(bytes.fromhex(name))
            case _:
                return None

    def tell_namespace(self, height: int, namespace: int, *, proven: int | None = None) -> bytes:
        """`proven` is the namespace that the proof is about, when it is not this one."""
        block = self.chain.blocks[height]
        transactions, proof = prove_namespace(block.payload, namespace if proven is None else proven)
        answer = NamespaceJson(
            height=height,
            hash=to_hex(block.commitment),
            payload_hash=to_hex(block.leaf.payload),
            payload_bytes=block.leaf.payload_bytes,
            namespace=namespace,
            transactions=list(map(to_hex, transactions)),
            proof=write_proof(proof),
        )
        return msgspec.json.encode(answer)

    def _find_transaction(self, name: bytes) -> bytes | None:
        for block in self.chain.blocks:
            payload = decode_payload(block.payload)
            if name in payload.hash_set:
                return self.tell_transaction(block, payload.hashes.index(name))
        return None

    def tell_transaction(self, block: Block, position: int, *, namespace: int | None = None) -> bytes:
        """`namespace` is what is said of it, when that is not true."""
        payload = decode_payload(block.payload)
        true = get_namespace(payload.transactions[position])
        within = position - payload.namespaces[true].start
        data, proof = prove_transaction(block.payload, true, within)
        answer = TransactionProofJson(
            hash=to_hex(payload.hashes[position]),
            namespace=true if namespace is None else namespace,
            transaction=to_hex(data),
            height=block.leaf.height,
            block=to_hex(block.commitment),
            payload_hash=to_hex(block.leaf.payload),
            payload_bytes=block.leaf.payload_bytes,
            position=position,
            position_in_namespace=within,
            proof=write_proof(proof),
        )
        return msgspec.json.encode(answer)

    def _find(self, block_id: str) -> int | None:
        blocks = self.chain.blocks
        if block_id == "latest":
            return len(blocks) - 1
        if block_id.isdigit() and len(block_id) < 64:
            return int(block_id) if int(block_id) < len(blocks) else None
        return next((block.leaf.height for block in blocks if block.commitment.hex() == block_id), None)
