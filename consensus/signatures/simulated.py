"""Signatures for the simulator: a keyed hash that anyone can compute.

An adversary in a simulation may hold only its own secrets, by construction of the simulation; this scheme does not
enforce it. Never for a network. A wrong key, statement or signature still fails to verify, so forgeries are caught.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

SIGNATURE_BYTES = 16
_REMEMBERED_MAX = 4096
"""Signatures kept: each is made once and looked at by every replica and every oracle."""


@lru_cache(maxsize=_REMEMBERED_MAX)
def _compute(key: bytes, statement: bytes) -> bytes:
    return blake2b(statement, digest_size=SIGNATURE_BYTES, key=key).digest()


class Simulated:
    """Secret = public key; a signature is a 16-byte BLAKE2b of the statement keyed by it."""

    name = "simulated"

    def derive_public_key(self, secret: bytes) -> bytes:
        return secret

    def sign(self, secret: bytes, statement: bytes) -> bytes:
        return _compute(secret, statement)

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        return _compute(public_key, statement) == signature

    def combine(self, signatures: Sequence[bytes]) -> bytes:
        return b"".join(signatures)

    def split(self, proof: bytes, count: int) -> tuple[bytes, ...] | None:
        if len(proof) != SIGNATURE_BYTES * count:
            return None
        return tuple(proof[at : at + SIGNATURE_BYTES] for at in range(0, len(proof), SIGNATURE_BYTES))

    def verify_combined(self, public_keys: Sequence[bytes], statements: Sequence[bytes], proof: bytes) -> bool:
        if len(statements) != len(public_keys):
            return False
        return b"".join(map(_compute, public_keys, statements)) == proof
