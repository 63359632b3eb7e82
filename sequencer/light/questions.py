"""What somebody wants to have proven."""

from typing import Final, TypeAlias

import msgspec

from consensus.types import WireCommitment, WireHeight

HEIGHT_MAX: Final = 2**63 - 1
RANGE_HEIGHTS_MAX: Final = 4096
"""Blocks whose namespace is proven in one go: each is a certificate to verify."""


class _Question(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    pass


class LatestBlock(_Question, frozen=True, tag="latest"):
    """Whatever block the node gave for its latest one. That there is no later one, nobody can prove."""


class BlockAt(_Question, frozen=True, tag="height"):
    """The block of this height."""

    height: WireHeight


class BlockNamed(_Question, frozen=True, tag="hash"):
    """The block with this hash."""

    hash: WireCommitment


Question: TypeAlias = LatestBlock | BlockAt | BlockNamed


def describe_question(question: Question) -> str:
    """In words, to follow "proven: " or "not proven: "."""
    match question:
        case LatestBlock():
            return "the latest block that the node had is final"
        case BlockAt(height=height):
            return f"the block at height {height} is final"
        case BlockNamed(hash=hash_):
            return f"the block 0x{hash_.hex()} is final"
