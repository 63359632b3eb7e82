"""The connection that reads: what a node starts from, and blocks for peers and people. Never waits for the writer.

Blocks are checked against their commitments as they are read, so a damaged disk is found here and not by a peer.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from consensus.certificates import FinalityCertificate
from consensus.leaf import Block, Leaf, compute_payload_commitment
from consensus.ledger import Ledger, LedgerState
from consensus.safety import SafetyRecord
from consensus.types import Commitment, Height, NetworkId, ValidatorId
from sequencer.storage.errors import NEW_KEY, StorageError, explaining
from sequencer.storage.schema import (
    HEIGHT_SHIFT,
    Origin,
    check_origin,
    closing_on_failure,
    open_reader,
    read_database_id,
    read_origin,
)
from sequencer.storage.turn import ChainState

_decode_leaf = msgspec.msgpack.Decoder(Leaf).decode
_decode_fc = msgspec.msgpack.Decoder(FinalityCertificate).decode
_decode_ledger = msgspec.msgpack.Decoder(LedgerState).decode
_decode_record = msgspec.msgpack.Decoder(SafetyRecord).decode

_SELECT_BLOCK = "SELECT id, commitment, leaf, payload FROM blocks"
_SELECT_DECIDED = (
    "SELECT blocks.id, commitment, leaf, payload FROM decided JOIN blocks ON blocks.id = decided.block "
    "WHERE height >= ? ORDER BY height LIMIT ?"
)
_SELECT_PATH = (
    "SELECT leaf, fc FROM decided JOIN blocks ON blocks.id = decided.block WHERE height BETWEEN ? AND ? ORDER BY height"
)


class Reader:
    """Everything is checked when it is opened, apart from blocks below the tip: those when they are read."""

    def __init__(self, path: Path, network_id: NetworkId, validator_id: ValidatorId, genesis: Block) -> None:
        self._path = path
        self._genesis = genesis
        self._connection = open_reader(path)
        with closing_on_failure(self._connection), explaining(path):
            self.origin: Origin = read_origin(self._connection)
            check_origin(path, self.origin, network_id, validator_id)
            self.database_id = read_database_id(path, self.origin)
            self.record = self._read_record()
            self.tip = self._read_tip()
            self.undecided = self._read_undecided()
            ledger = self.origin.get("ledger", b"")
            self.ledger = Ledger(_decode_ledger(ledger)) if ledger else None
            early_fc = self.origin.get("early_fc", b"")
            self._early_fc = _decode_fc(early_fc) if early_fc else None

    def compute_state(self) -> ChainState:
        """Where the writer goes on. To be called once, before it does."""
        return ChainState(
            height=self.tip.leaf.height,
            tip=self.tip.commitment,
            undecided={block.commitment: id_ for id_, block in self.undecided},
            early_fc=self._early_fc,
        )

    def read_block(self, commitment: Commitment) -> Block | None:
        if commitment == self._genesis.commitment:
            return self._genesis
        with explaining(self._path):
            rows = self._connection.execute(f"{_SELECT_BLOCK} WHERE commitment = ?", (commitment,)).fetchall()
            return self._make_block(*rows[0])[1] if rows else None

    def read_decided(self, from_height: Height, blocks_max: int, bytes_max: int) -> list[Block]:
        """In order; stops before `bytes_max` of payload, but never before one block."""
        blocks: list[Block] = []
        size = 0
        for block in self._iterate_decided(from_height, blocks_max):
            size += len(block.payload)
            if blocks and size > bytes_max:
                break
            blocks.append(block)
        return blocks

    def read_finality(self, height: Height) -> FinalityCertificate | None:
        with explaining(self._path):
            rows = self._connection.execute("SELECT fc FROM decided WHERE height = ?", (height,)).fetchall()
            return _decode_fc(rows[0][0]) if rows and rows[0][0] is not None else None

    def read_finality_proof(
        self, height: Height, leaves_max: int
    ) -> tuple[tuple[Leaf, ...], FinalityCertificate] | None:
        """Reads leaves without their payloads."""
        leaves: list[Leaf] = []
        with (
            explaining(self._path),
            closing(self._connection.execute(_SELECT_PATH, (height, height + leaves_max))) as rows,
        ):
            for encoded_leaf, encoded_fc in rows:
                leaf = _decode_leaf(encoded_leaf)
                if leaf.height > height:
                    leaves.append(leaf)
                if encoded_fc is not None:
                    return tuple(leaves), _decode_fc(encoded_fc)
        return None

    def close(self) -> None:
        self._connection.close()

    def _iterate_decided(self, from_height: Height, blocks_max: int) -> Iterator[Block]:
        """Genesis is the only height that is not on disk."""
        if from_height <= 0 < blocks_max:
            yield self._genesis
            blocks_max -= 1
        first = max(1, from_height)
        with explaining(self._path), closing(self._connection.execute(_SELECT_DECIDED, (first, blocks_max))) as rows:
            for row in rows:
                yield self._make_block(*row)[1]

    def _read_record(self) -> SafetyRecord:
        rows = self._connection.execute("SELECT record FROM safety").fetchall()
        if not rows:
            raise StorageError(self._path, "it has no safety record", NEW_KEY)
        return _decode_record(rows[0][0])

    def _read_tip(self) -> Block:
        ((height,),) = self._connection.execute("SELECT max(height) FROM decided").fetchall()
        if height is None:
            return self._genesis
        blocks = self.read_decided(Height(height), 1, 0)
        if not blocks:
            raise StorageError(self._path, f"the decided block at height {height} is missing", NEW_KEY)
        return blocks[0]

    def _read_undecided(self) -> list[tuple[int, Block]]:
        above = self.tip.leaf.height + 1 << HEIGHT_SHIFT
        rows = self._connection.execute(f"{_SELECT_BLOCK} WHERE id >= ? ORDER BY id", (above,)).fetchall()
        return [self._make_block(*row) for row in rows]

    def _make_block(self, id_: int, commitment: bytes, encoded_leaf: bytes, payload: bytes) -> tuple[int, Block]:
        height = id_ >> HEIGHT_SHIFT
        block = Block(_decode_leaf(encoded_leaf), payload)
        if (block.commitment, block.leaf.height) != (commitment, height):
            raise StorageError(self._path, f"the leaf at height {height} is not what was written", NEW_KEY)
        if compute_payload_commitment(payload) != block.leaf.payload:
            raise StorageError(self._path, f"the payload at height {height} is not what was written", NEW_KEY)
        return id_, block
