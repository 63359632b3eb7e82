"""What somebody wants to have proven."""

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from consensus.types import WireCommitment, WireHeight
from sequencer.payload_format import NAMESPACE_MAX

HEIGHT_MAX: Final = 2**63 - 1
RANGE_HEIGHTS_MAX: Final = 4096
"""Blocks whose namespace is proven in one go: each is a certificate to verify."""

WireNamespace: TypeAlias = Annotated[int, Meta(ge=0, le=NAMESPACE_MAX)]


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


class TransactionIn(_Question, frozen=True, tag="transaction"):
    """A final block has the transaction with this hash."""

    hash: WireCommitment


class NamespaceRange(_Question, frozen=True, tag="namespace"):
    """All transactions of a namespace in the blocks from `first` to `last`, both included."""

    namespace: WireNamespace
    first: WireHeight
    last: WireHeight


Question: TypeAlias = LatestBlock | BlockAt | BlockNamed | TransactionIn | NamespaceRange


def describe_question(question: Question) -> str:
    """In words, to follow "proven: " or "not proven: "."""
    match question:
        case LatestBlock():
            return "the latest block that the node had is final"
        case BlockAt(height=height):
            return f"the block at height {height} is final"
        case BlockNamed(hash=hash_):
            return f"the block 0x{hash_.hex()} is final"
        case TransactionIn(hash=hash_):
            return f"the transaction 0x{hash_.hex()} is final"
        case NamespaceRange(namespace=namespace, first=first, last=last):
            return f"what namespace {namespace} has in the final blocks from height {first} to {last}, and nothing else"
