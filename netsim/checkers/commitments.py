"""A leaf's commitment, computed from the text of P3 and not by the code under test."""

from hashlib import sha256

import msgspec

from consensus.leaf import Leaf


def compute_commitment(leaf: Leaf) -> bytes:
    return sha256(b"sequencer/leaf/1\x00" + msgspec.msgpack.encode(leaf)).digest()
