"""What a payload holds of a namespace, and that a transaction stands in it: proven against its leaf, and nothing else.

Prover and verifier read a payload in the same way (`sequencer.payload_format`): the one all of it, taking down what it
looked at, the other only the pieces that it was given. A proof is what was looked at, no more and no less, with the
hashes that join it to the payload's commitment. That the leaf is final, `finality` shows.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from consensus.payload_tree import (
    CHUNK_BYTES,
    Piece,
    are_pieces_proven,
    count_chunks,
    cut_pieces,
    prove_pieces,
)
from consensus.types import Commitment, WireCommitment
from sequencer.light.errors import ProofError
from sequencer.payload import compute_transaction_hash
from sequencer.payload_format import PayloadError, Read, Region, read_region, read_table, read_transaction
from sequencer.schema.namespaces import NamespaceJson, PayloadProofJson, PieceJson, TransactionProofJson

_HEX: Final = "0x"

Answer = TypeVar("Answer")


class PayloadProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pieces of a payload, and the hashes of what lies between them, from left to right."""

    pieces: tuple[Piece, ...]
    nodes: tuple[WireCommitment, ...]


def prove_namespace(payload: bytes, namespace: int) -> tuple[list[bytes], PayloadProof]:
    """The data of its transactions, none when it is not there, and the proof of either. Raises `PayloadError`."""
    return _prove(payload, lambda read: _read_namespace(read, len(payload), namespace))


def prove_transaction(payload: bytes, namespace: int, position: int) -> tuple[bytes, PayloadProof]:
    """The data of the transaction that has `position` others of its namespace before it. Raises `PayloadError`."""
    return _prove(payload, lambda read: _read_one(read, len(payload), namespace, position))


def verify_namespace(commitment: Commitment, payload_bytes: int, namespace: int, proof: PayloadProof) -> list[bytes]:
    """The data of all transactions of the namespace in the payload of a leaf, in order; none when there are none.

    `commitment` and `payload_bytes` are the leaf's. Raises `ProofError`.
    """
    return _verify(commitment, payload_bytes, proof, lambda read: _read_namespace(read, payload_bytes, namespace))


def verify_transaction(
    commitment: Commitment, payload_bytes: int, namespace: int, position: int, proof: PayloadProof
) -> bytes:
    """The data of the transaction that has `position` others of its namespace before it in the payload of a leaf.

    `commitment` and `payload_bytes` are the leaf's. Raises `ProofError`.
    """
    return _verify(commitment, payload_bytes, proof, lambda read: _read_one(read, payload_bytes, namespace, position))


def check_namespace(commitment: Commitment, payload_bytes: int, namespace: int, answer: NamespaceJson) -> list[bytes]:
    """As `verify_namespace`, for the answer of GET /v1/blocks/{block_id}/namespaces/{namespace}: of what it says the
    proof alone is believed, and what else it says must agree with that.
    """
    transactions = verify_namespace(commitment, payload_bytes, namespace, parse_proof(answer.proof))
    said = (
        answer.payload_hash,
        answer.payload_bytes,
        answer.namespace,
        [_parse_hex(each) for each in answer.transactions],
    )
    if said != (_HEX + commitment.hex(), payload_bytes, namespace, transactions):
        raise ProofError("P4", "contradiction", "the answer says something else than what its proof proves")
    return transactions


def check_transaction(
    commitment: Commitment, payload_bytes: int, namespace: int, data: bytes, answer: TransactionProofJson
) -> None:
    """That this transaction stands in the payload, by the answer of GET /v1/transactions/{hash}/proof. Raises
    `ProofError`.
    """
    proof = parse_proof(answer.proof)
    proven = verify_transaction(commitment, payload_bytes, namespace, answer.position_in_namespace, proof)
    said = (answer.payload_hash, answer.payload_bytes, answer.namespace, _parse_hex(answer.transaction))
    name = _HEX + compute_transaction_hash(namespace, proven).hex()
    if (answer.hash, *said) != (name, _HEX + commitment.hex(), payload_bytes, namespace, proven):
        raise ProofError("P4", "contradiction", "the answer says something else than what its proof proves")
    if proven != data:
        raise ProofError("P4", "another_transaction", "it is the proof of another transaction of the same namespace")


def write_proof(proof: PayloadProof) -> PayloadProofJson:
    pieces = [PieceJson(piece.first, _HEX + piece.content.hex()) for piece in proof.pieces]
    return PayloadProofJson(pieces, [_HEX + node.hex() for node in proof.nodes])


def parse_proof(shown: PayloadProofJson) -> PayloadProof:
    """Raises `ProofError`."""
    pieces = tuple(Piece(piece.first, _parse_hex(piece.content)) for piece in shown.pieces)
    return PayloadProof(pieces, tuple(Commitment(_parse_hex(node)) for node in shown.nodes))


class _Pieces:
    """Reads what is there, and takes down what was read: spans of bytes, from and to."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self.spans: list[tuple[int, int]] = []

    def read(self, start: int, stop: int) -> bytes:
        """Raises `ProofError` for what is in none of the pieces."""
        self.spans.append((start, stop))
        for piece in self._pieces:
            offset = start - piece.first * CHUNK_BYTES
            if offset >= 0 and offset + stop - start <= len(piece.content):
                return piece.content[offset : offset + stop - start]
        raise ProofError("P3", "incomplete", f"the proof lacks the bytes from {start} to {stop} of the payload")


def _prove(payload: bytes, look: Callable[[Read], Answer]) -> tuple[Answer, PayloadProof]:
    whole = _Pieces([Piece(0, payload)])
    found = look(whole.read)
    pieces = cut_pieces(payload, whole.spans)
    return found, PayloadProof(pieces, prove_pieces(payload, pieces) if payload else ())


def _verify(commitment: Commitment, payload_bytes: int, proof: PayloadProof, look: Callable[[Read], Answer]) -> Answer:
    if not are_pieces_proven(commitment, payload_bytes, proof.pieces, proof.nodes):
        raise ProofError("P3", "bad_payload_proof", "the pieces and hashes do not lead to the payload's commitment")
    given = _Pieces(proof.pieces)
    try:
        found = look(given.read)
    except PayloadError as error:
        # Voters refuse such a payload, so either its leaf is not final or more than a third of the stake is corrupt.
        raise ProofError("P4", error.reason, error.detail) from error
    needed = {chunk for start, stop in given.spans for chunk in range(start // CHUNK_BYTES, count_chunks(stop))}
    if needed != {chunk for piece in proof.pieces for chunk in range(piece.first, piece.end)}:
        raise ProofError("P4", "non_canonical", "the proof has more pieces than are needed")
    return found


def _read_namespace(read: Read, size: int, namespace: int) -> list[bytes]:
    region = _find_region(read, size, namespace)
    return [] if region is None else read_region(read, region)


def _read_one(read: Read, size: int, namespace: int, position: int) -> bytes:
    region = _find_region(read, size, namespace)
    if region is None:
        raise PayloadError("absent", f"the payload has no transaction of namespace {namespace}")
    return read_transaction(read, region, position)


def _find_region(read: Read, size: int, namespace: int) -> Region | None:
    """Looks at the whole table: that its namespaces ascend is why there is no second region."""
    regions = read_table(read, size) if size else []
    return next((region for region in regions if region.namespace == namespace), None)


def _parse_hex(text: str) -> bytes:
    digits = text.removeprefix(_HEX)
    try:
        data = bytes.fromhex(digits)
    except ValueError as error:
        raise ProofError("P4", "malformed", f"{text[:40]!r} is not hexadecimal") from error
    if digits != data.hex() or digits == text:
        raise ProofError("P4", "non_canonical", f"{text[:40]!r} is not 0x and two lower-case digits a byte")
    return data
