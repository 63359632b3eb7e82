"""Ed25519 through libsodium. A proof is the signatures one after the other.

libsodium refuses small-order keys and non-canonical scalars, so a signature cannot be altered into another valid one.
"""

from collections.abc import Sequence

import nacl.bindings
import nacl.exceptions

SECRET_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


class Ed25519:
    """Secrets are 32-byte seeds, public keys 32 bytes, signatures 64."""

    name = "ed25519"

    def derive_public_key(self, secret: bytes) -> bytes:
        public_key, _ = self._expand(secret)
        return public_key

    def sign(self, secret: bytes, statement: bytes) -> bytes:
        _, expanded = self._expand(secret)
        return nacl.bindings.crypto_sign(statement, expanded)[:SIGNATURE_BYTES]

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        if len(signature) != SIGNATURE_BYTES or len(public_key) != PUBLIC_KEY_BYTES:
            return False
        try:
            nacl.bindings.crypto_sign_open(signature + statement, public_key)
        except nacl.exceptions.BadSignatureError:
            return False
        return True

    def combine(self, signatures: Sequence[bytes]) -> bytes:
        return b"".join(signatures)

    def split(self, proof: bytes, count: int) -> tuple[bytes, ...] | None:
        if len(proof) != SIGNATURE_BYTES * count:
            return None
        return tuple(proof[at : at + SIGNATURE_BYTES] for at in range(0, len(proof), SIGNATURE_BYTES))

    def verify_combined(self, public_keys: Sequence[bytes], statements: Sequence[bytes], proof: bytes) -> bool:
        if len(proof) != SIGNATURE_BYTES * len(public_keys) or len(statements) != len(public_keys):
            return False
        signatures = (proof[at : at + SIGNATURE_BYTES] for at in range(0, len(proof), SIGNATURE_BYTES))
        return all(map(self.verify, public_keys, statements, signatures))

    @staticmethod
    def _expand(secret: bytes) -> tuple[bytes, bytes]:
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"an Ed25519 secret is {SECRET_BYTES} bytes long, not {len(secret)}")
        # libsodium's expanded key is the seed followed by the public key; deriving it again would double the cost.
        cached = _EXPANDED.get(secret)
        if cached is None:
            cached = _EXPANDED[secret] = nacl.bindings.crypto_sign_seed_keypair(secret)
        return cached


_EXPANDED: dict[bytes, tuple[bytes, bytes]] = {}
"""One entry per secret that this process signs with: one in a node, one per validator in a simulation."""
