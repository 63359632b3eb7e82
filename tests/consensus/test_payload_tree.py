"""P3: the payload's tree is RFC 6962's, and a proof of some chunks proves these and nothing else."""

from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.payload_tree import (
    CHUNK_BYTES,
    EMPTY_ROOT,
    Piece,
    are_pieces_proven,
    compute_payload_commitment,
    compute_root,
    count_chunks,
    cut_pieces,
    prove_pieces,
)
from consensus.types import Commitment

RFC_INPUTS = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
RFC_ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""Of the first 0 to 8 inputs: the vectors that Certificate Transparency's implementations share."""


def compute_by_the_book(chunks: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1."""
    if not chunks:
        return sha256().digest()
    if len(chunks) == 1:
        return sha256(b"\0" + chunks[0]).digest()
    k = max(2**power for power in range(64) if 2**power < len(chunks))
    return sha256(b"\1" + compute_by_the_book(chunks[:k]) + compute_by_the_book(chunks[k:])).digest()


def prove_by_the_book(m: int, chunks: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1: from the leaf to the root."""
    if len(chunks) == 1:
        return []
    k = max(2**power for power in range(64) if 2**power < len(chunks))
    if m < k:
        return [*prove_by_the_book(m, chunks[:k]), compute_by_the_book(chunks[k:])]
    return [*prove_by_the_book(m - k, chunks[k:]), compute_by_the_book(chunks[:k])]


def cut(payload: bytes) -> list[bytes]:
    return [payload[start : start + CHUNK_BYTES] for start in range(0, len(payload), CHUNK_BYTES)]


payloads = st.builds(
    lambda seed, size: b"".join(sha256(seed + bytes([i])).digest() for i in range(-(-size // 32)))[:size],
    st.binary(max_size=4),
    st.one_of(st.integers(1, 8 * CHUNK_BYTES - 1), st.sampled_from([CHUNK_BYTES * count for count in range(1, 8)])),
)
"""Up to eight chunks, all different."""


@st.composite
def proven(draw: st.DrawFn) -> tuple[bytes, tuple[Piece, ...], tuple[Commitment, ...]]:
    """A payload, some pieces of it and their proof."""
    payload = draw(payloads)
    starts = draw(st.lists(st.integers(0, len(payload) - 1), min_size=1, max_size=4))
    spans = [(start, draw(st.integers(start + 1, len(payload)))) for start in starts]
    pieces = cut_pieces(payload, spans)
    return payload, pieces, prove_pieces(payload, pieces)


@pytest.mark.parametrize("count", range(len(RFC_ROOTS)))
def test_the_tree_has_the_roots_that_certificate_transparency_computes(count: int) -> None:
    inputs = [bytes.fromhex(text) for text in RFC_INPUTS[:count]]
    assert compute_root(inputs).hex() == RFC_ROOTS[count]
    assert compute_by_the_book(inputs).hex() == RFC_ROOTS[count]


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 2047, 2048, 2049, 3 * 1024, 5 * 1024 + 1, 100 * 1024 + 17])
def test_the_commitment_is_the_root_over_chunks_of_a_kib(size: int) -> None:
    payload = bytes(number % 251 for number in range(size))
    assert compute_payload_commitment(payload) == compute_by_the_book(cut(payload))
    assert count_chunks(size) == len(cut(payload))


def test_an_empty_payload_costs_nothing_and_a_small_one_a_hash() -> None:
    """Most views have no payload, so its commitment is no computation at all."""
    assert compute_payload_commitment(b"") is EMPTY_ROOT
    assert compute_payload_commitment(b"small") == sha256(b"\0small").digest()


@given(payloads)
def test_the_proof_of_one_chunk_is_the_rfcs_audit_path(payload: bytes) -> None:
    chunks = cut(payload)
    for number, chunk in enumerate(chunks):
        proof = prove_pieces(payload, [Piece(number, chunk)])
        assert sorted(proof) == sorted(prove_by_the_book(number, chunks))


@given(proven())
def test_what_is_cut_out_is_proven(case: tuple[bytes, tuple[Piece, ...], tuple[Commitment, ...]]) -> None:
    payload, pieces, proof = case
    assert are_pieces_proven(compute_payload_commitment(payload), len(payload), pieces, proof)
    for piece in pieces:
        start = piece.first * CHUNK_BYTES
        assert payload[start : start + len(piece.content)] == piece.content


@given(payloads, st.data())
def test_every_byte_of_a_span_is_in_a_piece(payload: bytes, data: st.DataObject) -> None:
    spans = []
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(payload) - 1))
        spans.append((start, data.draw(st.integers(start + 1, len(payload)))))
    pieces = cut_pieces(payload, spans)
    assert all(one.end < other.first for one, other in pairwise(pieces))
    for start, stop in spans:
        assert any(p.first * CHUNK_BYTES <= start and stop <= p.first * CHUNK_BYTES + len(p.content) for p in pieces)


@given(proven(), st.data())
def test_a_changed_byte_is_never_proven(
    case: tuple[bytes, tuple[Piece, ...], tuple[Commitment, ...]], data: st.DataObject
) -> None:
    """In a chunk, in the proof or in the root."""
    payload, pieces, proof = case
    root = compute_payload_commitment(payload)
    parts = [*(piece.content for piece in pieces), *proof, root]
    number = data.draw(st.integers(0, len(parts) - 1))
    position = data.draw(st.integers(0, len(parts[number]) - 1))
    changed = bytearray(parts[number])
    changed[position] ^= data.draw(st.integers(1, 255))
    parts[number] = bytes(changed)
    forged = [replace(piece, content=content) for piece, content in zip(pieces, parts, strict=False)]
    assert not are_pieces_proven(Commitment(parts[-1]), len(payload), forged, parts[len(pieces) : -1])


@given(proven(), st.data())
def test_a_proof_with_something_more_less_or_elsewhere_is_refused(
    case: tuple[bytes, tuple[Piece, ...], tuple[Commitment, ...]], data: st.DataObject
) -> None:
    payload, pieces, proof = case
    root, size = compute_payload_commitment(payload), len(payload)
    assert not are_pieces_proven(root, size, pieces, [*proof, root])
    assert not are_pieces_proven(root, size, pieces, [*proof, b""])
    assert not are_pieces_proven(root, size, pieces, proof[:-1]) or not proof
    assert not are_pieces_proven(root, size, (), [root])
    assert not are_pieces_proven(root, size, (*pieces, pieces[-1]), proof)
    assert not are_pieces_proven(root, size, (*pieces, Piece(pieces[-1].end + 1, b"")), proof)
    index = data.draw(st.integers(0, len(pieces) - 1))
    piece = pieces[index]
    first = data.draw(st.integers(-3, 12).filter(lambda first: first != piece.first))
    moved = [*pieces[:index], replace(piece, first=first), *pieces[index + 1 :]]
    assert not are_pieces_proven(root, size, moved, proof)
    cut_short = [*pieces[:index], replace(piece, content=piece.content[:-1]), *pieces[index + 1 :]]
    assert not are_pieces_proven(root, size, cut_short, proof)
    if len(piece.content) > CHUNK_BYTES:
        halves = piece.content[:CHUNK_BYTES], piece.content[CHUNK_BYTES:]
        touching = (Piece(piece.first, halves[0]), Piece(piece.first + 1, halves[1]))
        assert not are_pieces_proven(root, size, [*pieces[:index], *touching, *pieces[index + 1 :]], proof)
    if len(pieces) > 1:
        assert not are_pieces_proven(root, size, pieces[::-1], proof)


@given(payloads, st.integers(0, 20 * CHUNK_BYTES))
def test_the_last_chunk_tells_where_the_payload_ends(payload: bytes, size: int) -> None:
    """The length comes with the leaf; whoever has the end of the payload sees whether it is right."""
    pieces = cut_pieces(payload, [(len(payload) - 1, len(payload))])
    proof = prove_pieces(payload, pieces)
    is_proven = are_pieces_proven(compute_payload_commitment(payload), size, pieces, proof)
    assert is_proven == (size == len(payload))


def test_nothing_is_proven_of_an_empty_payload_but_that_it_is_empty() -> None:
    assert are_pieces_proven(EMPTY_ROOT, 0, (), ())
    assert not are_pieces_proven(compute_payload_commitment(b"x"), 0, (), ())
    assert not are_pieces_proven(EMPTY_ROOT, 0, (Piece(0, b"x"),), ())
    assert not are_pieces_proven(EMPTY_ROOT, 0, (), (EMPTY_ROOT,))
    assert not are_pieces_proven(EMPTY_ROOT, 1, (Piece(0, b""),), ())


def test_a_leaf_is_no_node_and_a_node_no_leaf() -> None:
    """The two prefixes keep the hashes of two chunks from passing for a chunk."""
    payload = bytes(2 * CHUNK_BYTES)
    pair = b"".join(sha256(b"\0" + chunk).digest() for chunk in cut(payload))
    root = compute_payload_commitment(payload)
    assert compute_payload_commitment(pair) != root
    assert not are_pieces_proven(root, len(pair), (Piece(0, pair),), ())
