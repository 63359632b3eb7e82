"""The connection that reads: what a node starts from, and blocks for peers and people. Never waits for the writer.

Blocks are checked against their commitments as they are read, so a damaged disk is found here and not by a peer.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from consensus.certificates import FinalityCertificate
from consensus.epochs import EpochStart
from consensus.leaf import Block, EpochProof, Leaf, compute_leaf_commitment
from consensus.ledger import Ledger, LedgerState
from consensus.messages import Snapshot
from consensus.payload_tree import compute_payload_commitment
from consensus.promises import Promise
from consensus.safety import SafetyRecord
from consensus.types import Commitment, Epoch, Height, NetworkId, ValidatorId
from sequencer.storage import PromiseRow
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
_decode_promise = msgspec.msgpack.Decoder(Promise).decode
_decode_proof = msgspec.msgpack.Decoder(EpochProof).decode
_decode_record = msgspec.msgpack.Decoder(SafetyRecord).decode

_SELECT_BLOCK = "SELECT id, commitment, leaf, payload FROM blocks"
_SELECT_DECIDED = (
    "SELECT blocks.id, commitment, leaf, payload FROM decided JOIN blocks ON blocks.id = decided.block "
    "WHERE height >= ? ORDER BY height LIMIT ?"
)
_SELECT_PATH = (
    "SELECT commitment, leaf, fc FROM decided JOIN blocks ON blocks.id = decided.block "
    "WHERE height BETWEEN ? AND ? ORDER BY height"
)
_SELECT_HEIGHT = "SELECT height FROM decided JOIN blocks ON blocks.id = decided.block WHERE commitment = ?"


@dataclass(frozen=True, slots=True)
class Found:
    """What a node starts from. `undecided` are the blocks of the running epoch above the tip, by their ids."""

    record: SafetyRecord
    epoch: EpochStart | None
    tip: Block
    undecided: list[tuple[int, Block]]
    ledger: Ledger | None
    early_fc: FinalityCertificate | None


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
            self.refresh()

    def refresh(self) -> None:
        """Look again at what a node starts from."""
        with explaining(self._path):
            origin = read_origin(self._connection)
            base, ledger, early_fc = (origin.get(key, b"") for key in ("base", "ledger", "early_fc"))
            # What came with a snapshot had no payload, or it lies with the other blocks.
            self._base = Block(_decode_leaf(base), b"") if base else self._genesis
            ((first, last),) = self._connection.execute("SELECT min(height), max(height) FROM decided").fetchall()
            self.first_height = Height(self._base.leaf.height + 1 if first is None else first)
            tip = self._base if last is None else self._read_tip(Height(last))
            self.found = Found(
                record=self._read_record(),
                epoch=self._read_epoch_start(),
                tip=tip,
                undecided=self._read_undecided(tip),
                ledger=Ledger(_decode_ledger(ledger)) if ledger else None,
                early_fc=_decode_fc(early_fc) if early_fc else None,
            )

    def compute_state(self) -> ChainState:
        """Where the writer goes on. To be called once, before it does."""
        found = self.found
        return ChainState(
            epoch=self._genesis.leaf.epoch if found.epoch is None else found.epoch.ledger.epoch,
            height=found.tip.leaf.height,
            tip=found.tip.commitment,
            undecided={block.commitment: id_ for id_, block in found.undecided},
            early_fc=found.early_fc,
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

    def read_leaf_at(self, height: Height) -> Leaf | None:
        """Decided; without its payload, and so without reading that."""
        if height <= 0:
            return self._genesis.leaf if height == 0 and self._base is self._genesis else None
        with explaining(self._path):
            rows = self._connection.execute(_SELECT_PATH, (height, height)).fetchall()
        leaf = _decode_leaf(rows[0][1]) if rows else None
        if leaf is not None and (compute_leaf_commitment(leaf), leaf.height) != (rows[0][0], height):
            raise StorageError(self._path, f"the leaf at height {height} is not what was written", NEW_KEY)
        return leaf

    def find_decided(self, commitment: Commitment) -> Height | None:
        """At which height this leaf is decided."""
        if commitment == self._genesis.commitment:
            return self._genesis.leaf.height if self._base is self._genesis else None
        with explaining(self._path):
            rows = self._connection.execute(_SELECT_HEIGHT, (commitment,)).fetchall()
        return Height(rows[0][0]) if rows else None

    def read_ledger(self, epoch: Epoch) -> Ledger | None:
        """What this epoch began with; None for the network's first one, and for one that has not begun here."""
        with explaining(self._path):
            rows = self._connection.execute("SELECT ledger FROM epochs WHERE epoch = ?", (epoch,)).fetchall()
        return Ledger(_decode_ledger(rows[0][0])) if rows else None

    def read_finality(self, height: Height) -> FinalityCertificate | None:
        with explaining(self._path):
            rows = self._connection.execute("SELECT fc FROM decided WHERE height = ?", (height,)).fetchall()
            return _decode_fc(rows[0][0]) if rows and rows[0][0] is not None else None

    def read_finality_proof(
        self, height: Height, leaves_max: int
    ) -> tuple[tuple[Leaf, ...], FinalityCertificate] | None:
        """Reads leaves without their payloads. Stays within an epoch: at its end the epoch proof completes it (T2)."""
        leaves: list[Leaf] = []
        last: Leaf | None = None
        tip = Commitment(b"")
        with (
            explaining(self._path),
            closing(self._connection.execute(_SELECT_PATH, (height, height + leaves_max))) as rows,
        ):
            for commitment, encoded_leaf, encoded_fc in rows:
                leaf = _decode_leaf(encoded_leaf)
                if leaf.height > height + len(leaves) + 1 or (last is not None and leaf.epoch != last.epoch):
                    break
                if leaf.height > height:
                    leaves.append(leaf)
                if encoded_fc is not None:
                    return tuple(leaves), _decode_fc(encoded_fc)
                last, tip = leaf, commitment
        proof = None if last is None else self.read_epoch_proof(last.epoch)
        if proof is None or proof.leaf != tip or len(leaves) + len(proof.path) > leaves_max:
            return None
        return (*leaves, *proof.path), proof.fc

    def read_epoch_proof(self, epoch: Epoch) -> EpochProof | None:
        """Of the end of this epoch."""
        with explaining(self._path):
            rows = self._connection.execute("SELECT proof FROM epochs WHERE epoch = ?", (epoch + 1,)).fetchall()
            return _decode_proof(rows[0][0]) if rows else None

    def read_snapshot(self, epoch: Epoch) -> Snapshot | None:
        """Of the end of this epoch; None also when its last blocks are not here."""
        with explaining(self._path):
            rows = self._connection.execute("SELECT proof, before FROM epochs WHERE epoch = ?", (epoch + 1,)).fetchall()
            if not rows:
                return None
            proof, before = _decode_proof(rows[0][0]), rows[0][1]
            last = self._read_leaf(proof.leaf)
            parent = None if last is None else self._read_leaf(last.parent)
            return None if last is None or parent is None else Snapshot(proof, parent, last, before)

    def read_promises(self) -> list[PromiseRow]:
        with explaining(self._path):
            rows = self._connection.execute(
                "SELECT transaction_bytes, promise FROM promises ORDER BY epoch, last_view, transaction_hash"
            ).fetchall()
            return [PromiseRow(transaction, _decode_promise(promise)) for transaction, promise in rows]

    def close(self) -> None:
        self._connection.close()

    def _iterate_decided(self, from_height: Height, blocks_max: int) -> Iterator[Block]:
        """Genesis is not on disk; it is left out where a snapshot has taken the place of what followed it."""
        if from_height <= 0 < blocks_max and self._base is self._genesis:
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

    def _read_tip(self, height: Height) -> Block:
        blocks = self.read_decided(height, 1, 0)
        if not blocks:
            raise StorageError(self._path, f"the decided block at height {height} is missing", NEW_KEY)
        return blocks[0]

    def _read_epoch_start(self) -> EpochStart | None:
        """Of the running epoch."""
        rows = self._connection.execute(
            "SELECT proof, before, ledger FROM epochs ORDER BY epoch DESC LIMIT 1"
        ).fetchall()
        if not rows:
            return None
        proof, before, ledger = rows[0]
        proof = _decode_proof(proof)
        block = self.read_block(proof.leaf)
        if block is None and proof.leaf == self._base.commitment:
            block = self._base
        if block is None:
            raise StorageError(
                self._path, f"the block {proof.leaf.hex()[:16]}, which ended an epoch, is missing", NEW_KEY
            )
        return EpochStart(block, proof, Ledger(_decode_ledger(before)), Ledger(_decode_ledger(ledger)))

    def _read_undecided(self, tip: Block) -> list[tuple[int, Block]]:
        above = tip.leaf.height + 1 << HEIGHT_SHIFT
        rows = self._connection.execute(f"{_SELECT_BLOCK} WHERE id >= ? ORDER BY id", (above,)).fetchall()
        return [self._make_block(*row) for row in rows]

    def _read_leaf(self, commitment: Commitment) -> Leaf | None:
        """Without its payload, and so without reading it."""
        if commitment == self._genesis.commitment:
            return self._genesis.leaf
        rows = self._connection.execute("SELECT leaf FROM blocks WHERE commitment = ?", (commitment,)).fetchall()
        if rows:
            return _decode_leaf(rows[0][0])
        return self._base.leaf if commitment == self._base.commitment else None

    def _make_block(self, id_: int, commitment: bytes, encoded_leaf: bytes, payload: bytes) -> tuple[int, Block]:
        height = id_ >> HEIGHT_SHIFT
        block = Block(_decode_leaf(encoded_leaf), payload)
        if (block.commitment, block.leaf.height) != (commitment, height):
            raise StorageError(self._path, f"the leaf at height {height} is not what was written", NEW_KEY)
        if compute_payload_commitment(payload) != block.leaf.payload:
            raise StorageError(self._path, f"the payload at height {height} is not what was written", NEW_KEY)
        return id_, block
