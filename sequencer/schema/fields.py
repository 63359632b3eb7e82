"""Types of fields that several answers share.

Patterns are published but not checked again by whoever decodes: the node has written them.
"""

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

HEIGHT_MAX: Final = 2**63 - 1
"""Of what the database and a query can hold; views and epochs likewise."""

Hash: TypeAlias = Annotated[
    str,
    Meta(
        description="A SHA-256 hash: 0x and 64 hexadecimal digits.",
        examples=["0x9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
        extra_json_schema={"pattern": "^0x[0-9a-f]{64}$"},
    ),
]
Hex: TypeAlias = Annotated[
    str,
    Meta(
        description="Bytes: 0x and two hexadecimal digits for each.",
        examples=["0x616263"],
        extra_json_schema={"pattern": "^0x([0-9a-f]{2})*$"},
    ),
]
PublicKey: TypeAlias = Annotated[
    str,
    Meta(
        description="A public key: 0x and its hexadecimal digits, of Ed25519 64.",
        examples=["0x3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"],
        extra_json_schema={"pattern": "^0x([0-9a-f]{2}){16,96}$"},
    ),
]
Namespace: TypeAlias = Annotated[
    int, Meta(ge=0, le=2**32 - 1, description="A namespace: the number by which a rollup knows its transactions.")
]
ValidatorName: TypeAlias = Annotated[str, Meta(description="Name of a validator.", examples=["n0"])]
ValidatorStatus: TypeAlias = Annotated[
    Literal["pending", "active", "benched", "jailed", "exiting", "tombstoned"],
    Meta(
        description="How a validator stands. pending: bonded, waits for a stake table. active: votes and leads. "
        "benched: sits out its next turns (S3). jailed: votes but does not lead (J1). exiting: all of its stake is "
        "unbonding. tombstoned: never comes back (J3)."
    ),
]
Height: TypeAlias = Annotated[
    int, Meta(ge=0, le=HEIGHT_MAX, description="Height of a block; 0 is genesis.", examples=[17])
]
View: TypeAlias = Annotated[int, Meta(ge=0, le=HEIGHT_MAX, description="Number of a view.", examples=[18])]
Epoch: TypeAlias = Annotated[int, Meta(ge=0, le=HEIGHT_MAX, description="Number of an epoch.")]
Amount: TypeAlias = Annotated[
    int, Meta(ge=0, le=HEIGHT_MAX, description="Money or stake, in the smallest unit.", examples=[100])
]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=HEIGHT_MAX, description="A number of things.")]
TimestampMs: TypeAlias = Annotated[
    int, Meta(ge=0, le=HEIGHT_MAX, description="Milliseconds since 1970 in UTC.", examples=[1764086400000])
]
