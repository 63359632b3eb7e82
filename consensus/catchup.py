"""How a replica that missed blocks gets them, and how others serve it (L3, L5)."""

from typing import Protocol

from consensus.certificates import FinalityCertificate
from consensus.leaf import Block, EpochProof, Leaf, encode_leaf
from consensus.messages import (
    RANGE_BLOCKS_MAX,
    RANGE_PATH_MAX,
    LeafRequest,
    LeafResponse,
    RangeRequest,
    RangeResponse,
    Snapshot,
    SnapshotRequest,
    StorageRequest,
)
from consensus.types import Commitment, Epoch, Height

RANGE_BYTES_MAX = 4 * 1024 * 1024
"""Payload bytes in one answer, give or take the last block: two full payloads. With the two bounds below, and the
certificates of hundreds of validators, an answer stays inside a frame of 16 MiB."""

RANGE_LEAVES_BYTES_MAX = 3 * 1024 * 1024
"""Leaves of these blocks, give or take the last one: each carries a certificate or three, so with hundreds of
validators it is they that fill a frame."""

RANGE_PATH_BYTES_MAX = 5 * 1024 * 1024
"""Leaves between the blocks and the FC: hundreds even where a leaf carries a hundred signatures. Whoever has no FC
nearer than that leaves the answer to others, rather than send a frame that is refused."""


class BlockSource(Protocol):
    """What serving a peer needs of storage. Reads only."""

    def read_block(self, commitment: Commitment) -> Block | None:
        """A block that this node has voted for or decided."""
        ...

    def read_decided(self, from_height: Height, *, blocks_max: int, bytes_max: int) -> list[Block]:
        """Decided blocks from this height on, in order; stops before `bytes_max` of payload, but never before one
        block.
        """
        ...

    def read_finality_proof(
        self, height: Height, *, leaves_max: int
    ) -> tuple[tuple[Leaf, ...], FinalityCertificate] | None:
        """The leaves above `height` up to the nearest one with an FC, and that FC; no leaves when `height` has one
        itself. All of one epoch: at its end closing leaves may be among them (T2).

        None when there is none within `leaves_max`.
        """
        ...

    def read_epoch_proof(self, epoch: Epoch) -> EpochProof | None:
        """T2: the proof that this epoch is over; None when it is not, or not known here."""
        ...

    def read_snapshot(self, epoch: Epoch) -> Snapshot | None:
        """T5: what the ledger held at the end of this epoch; None when it is not over, or not known here."""
        ...


def answer(request: StorageRequest, source: BlockSource) -> LeafResponse | RangeResponse | Snapshot | None:
    """None when this node has nothing to offer. Genesis is never served: everyone computes it."""
    match request:
        case LeafRequest(leaf=commitment):
            block = source.read_block(commitment)
            return None if block is None else LeafResponse(block.leaf, block.payload)
        case SnapshotRequest(epoch=epoch):
            return source.read_snapshot(epoch)
        case RangeRequest(from_height=from_height):
            blocks = source.read_decided(
                Height(max(1, from_height)), blocks_max=RANGE_BLOCKS_MAX, bytes_max=RANGE_BYTES_MAX
            )
            if not blocks:
                return None
            blocks = _trim([block for block in blocks if block.leaf.epoch == blocks[0].leaf.epoch])
            proof = source.read_finality_proof(blocks[-1].leaf.height, leaves_max=RANGE_PATH_MAX)
            if proof is None:
                return None
            path, fc = proof
            if sum(len(encode_leaf(leaf)) for leaf in path) > RANGE_PATH_BYTES_MAX:
                return None
            return RangeResponse(tuple(LeafResponse(block.leaf, block.payload) for block in blocks), path, fc)


def _trim(blocks: list[Block]) -> list[Block]:
    """As many of the first ones as their leaves leave room for, at least one."""
    size = 0
    for count, block in enumerate(blocks):
        size += len(encode_leaf(block.leaf))
        if size > RANGE_LEAVES_BYTES_MAX and count:
            return blocks[:count]
    return blocks
