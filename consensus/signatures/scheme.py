"""What a signature scheme must offer, and what a signature is made over."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from consensus.types import Commitment, Epoch, NetworkId, View


class Domain(IntEnum):
    """What a signature says. No signature is valid as another kind (P1)."""

    PROPOSAL = 1
    QUORUM_VOTE = 2
    FINALIZE_VOTE = 3
    TIMEOUT_VOTE = 4
    HELLO = 5
    OPERATION = 6
    """A staker's operation (J5); by an account's key."""
    POSSESSION = 7
    """A validator's key agrees to be bonded by an account."""
    PROMISE = 8
    """A leader's promise to include a transaction."""


_PREFIX = b"sequencer/1\0"
_HEAD = struct.Struct(">12s32sBQQ")


def make_statement(
    network_id: NetworkId, domain: Domain, epoch: Epoch, view: View, subject: Commitment | bytes
) -> bytes:
    """The bytes that are signed: network, kind, epoch and view in fixed width, then the subject (P1).

    The subject is a commitment, or for a timeout vote the signed view of `high_qc` as eight bytes. Every field before
    it has a fixed width, so no two statements share their bytes.
    """
    return _HEAD.pack(_PREFIX, network_id, domain, epoch, view) + subject


class SignatureScheme(Protocol):
    """One of the five pluggable protocols.

    A *proof* stands for the signatures of several signers: their concatenation for Ed25519, one aggregate for a
    pairing scheme.
    """

    name: str

    def derive_public_key(self, secret: bytes) -> bytes:
        """Raises `ValueError` when the secret is not one of this scheme."""
        ...

    def sign(self, secret: bytes, statement: bytes) -> bytes: ...

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool: ...

    def combine(self, signatures: Sequence[bytes]) -> bytes:
        """Signatures in signer order -> one proof."""
        ...

    def split(self, proof: bytes, count: int) -> tuple[bytes, ...] | None:
        """The signatures of which `combine` made this proof, in signer order; None for a scheme that cannot tell."""
        ...

    def verify_combined(self, public_keys: Sequence[bytes], statements: Sequence[bytes], proof: bytes) -> bool:
        """`statements[i]` was signed by `public_keys[i]`, for every i, and the proof holds nothing else."""
        ...


@dataclass(frozen=True, slots=True)
class Signer:
    """A secret bound to its scheme. A validator's is used by `consensus.safety` alone."""

    scheme: SignatureScheme
    secret: bytes = field(repr=False)

    @property
    def public_key(self) -> bytes:
        return self.scheme.derive_public_key(self.secret)

    def sign(self, statement: bytes) -> bytes:
        return self.scheme.sign(self.secret, statement)
