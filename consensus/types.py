"""The few names that everything else is written in.

A view is one attempt of one leader, a height is a position in the decided chain, an epoch is one instance of
the protocol with a fixed stake table. They are all integers and never to be mixed, hence the new types.
"""

from typing import Annotated, NewType

from msgspec import Meta

View = NewType("View", int)
Height = NewType("Height", int)
Epoch = NewType("Epoch", int)
ValidatorId = NewType("ValidatorId", int)
"""Number of a validator, given once by the network file and never reused; not a position in a stake table."""
Commitment = NewType("Commitment", bytes)
"""SHA-256 over a domain tag and the canonical encoding of what it commits to; 32 bytes."""
NetworkId = NewType("NetworkId", bytes)
"""SHA-256 of the canonical network file; 32 bytes. Two nodes that differ in one setting are on two networks."""
Microseconds = NewType("Microseconds", int)
"""A point in time (since the Unix epoch, never running backwards within a process) or a duration."""

COMMITMENT_BYTES = 32

# Wire forms: the same types with their bounds, which the decoder enforces.
# 2**63 - 1 keeps every number inside SQLite's and every other language's signed 64-bit integer.
_MAX_INTEGER = 2**63 - 1
WireView = Annotated[View, Meta(ge=0, le=_MAX_INTEGER)]
WireHeight = Annotated[Height, Meta(ge=0, le=_MAX_INTEGER)]
WireEpoch = Annotated[Epoch, Meta(ge=0, le=_MAX_INTEGER)]
WireValidatorId = Annotated[ValidatorId, Meta(ge=0, le=2**16 - 1)]
WireCommitment = Annotated[Commitment, Meta(min_length=COMMITMENT_BYTES, max_length=COMMITMENT_BYTES)]
WireCount = Annotated[int, Meta(ge=0, le=_MAX_INTEGER)]
WireSignature = Annotated[bytes, Meta(max_length=128)]
"""One signature of any scheme: 64 bytes for Ed25519, 96 for BLS."""
WirePublicKey = Annotated[bytes, Meta(min_length=16, max_length=96)]
"""One public key of any scheme: 32 bytes for Ed25519, 96 for BLS."""
