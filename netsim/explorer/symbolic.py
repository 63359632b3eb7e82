"""Signatures as terms: `sign(key, statement)` is the key followed by the statement, as in a symbolic model.

Nothing is computed and nothing hidden. A term is valid for exactly one key and one statement, which is all that the
rules ask of a signature; who may make which term is the explorer's to keep. Never for a network.
"""

from collections.abc import Sequence


def make_term(key: bytes, statement: bytes) -> bytes:
    """The signature of the holder of `key` over `statement`."""
    return key + statement


class Symbolic:
    """Secret = public key. A proof is the terms one after the other."""

    name = "symbolic"

    def derive_public_key(self, secret: bytes) -> bytes:
        return secret

    def sign(self, secret: bytes, statement: bytes) -> bytes:
        return make_term(secret, statement)

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        return signature == make_term(public_key, statement)

    def combine(self, signatures: Sequence[bytes]) -> bytes:
        return b"".join(signatures)

    def split(self, proof: bytes, count: int) -> tuple[bytes, ...] | None:
        """The terms of one certificate are equally long."""
        if count == 0 or len(proof) % count:
            return None
        size = len(proof) // count
        return tuple(proof[at : at + size] for at in range(0, len(proof), size))

    def verify_combined(self, public_keys: Sequence[bytes], statements: Sequence[bytes], proof: bytes) -> bool:
        if len(statements) != len(public_keys):
            return False
        return b"".join(map(make_term, public_keys, statements)) == proof
