"""The payload's tree: what stands under its root, and what a proof of some of it is worth. P3."""

from tests.mutants.mutant import Mutant, plant

TREE = "consensus/payload_tree.py"
NEAR = ("tests/consensus/test_payload_tree.py",)

MUTANTS: tuple[Mutant, ...] = (
    plant(
        "node-without-a-prefix",
        "P3",
        "a node is hashed like a leaf: two hashes pass for a chunk of 64 bytes",
        TREE,
        'sha256(b"\\1" + left + right).digest() for',
        'sha256(b"\\0" + left + right).digest() for',
        near=NEAR,
    ),
    plant(
        "odd-chunk-paired-with-itself",
        "P3",
        "the last of an odd number is hashed with itself, so two payloads share a commitment",
        TREE,
        "        odd = level[-1:] if len(level) % 2 else []\n",
        '        odd = [sha256(b"\\1" + level[-1] * 2).digest()] if len(level) % 2 else []\n',
        near=NEAR,
    ),
    plant(
        "last-chunk-not-covered",
        "P3",
        "what is left over after the last whole chunk is not under the commitment",
        TREE,
        "    return -(-payload_bytes // CHUNK_BYTES)\n",
        "    return max(1, payload_bytes // CHUNK_BYTES)\n",
        near=NEAR,
    ),
    plant(
        "proof-with-leftovers",
        "P3",
        "hashes that nobody asked for may follow a proof: one object has many encodings",
        TREE,
        "return computed == root and next(nodes, None) is None",
        "return computed == root",
        near=NEAR,
    ),
    plant(
        "piece-of-any-length",
        "P3",
        "a piece is believed to hold the chunks that it says, however long it is",
        TREE,
        " or len(piece.content) != stop - piece.first * CHUNK_BYTES:",
        " or len(piece.content) > stop:",
        near=NEAR,
    ),
    plant(
        "pieces-in-any-order",
        "P3",
        "pieces may overlap: what the first says counts, what the second says is believed",
        TREE,
        "if piece.first <= before or not piece.content",
        "if piece.first < 0 or not piece.content",
        near=NEAR,
    ),
    plant(
        "payload-not-compared-with-its-commitment",
        "R3b",
        "only the length of a payload is compared with the leaf",
        "consensus/validation.py",
        "if len(payload) != leaf.payload_bytes or compute_payload_commitment(payload) != leaf.payload:",
        "if len(payload) != leaf.payload_bytes:",
        near=("tests/paper/test_forgeries.py", "tests/paper/test_views.py"),
    ),
)
