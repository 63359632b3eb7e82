"""What `sequencer verify` is to prove, out of its options. Raises `CommandError` for what makes no question."""

from typing import Final

from consensus.types import Commitment, Height
from sequencer.failures import CommandError, ExitCode
from sequencer.light.questions import (
    HEIGHT_MAX,
    RANGE_HEIGHTS_MAX,
    BlockAt,
    BlockNamed,
    LatestBlock,
    NamespaceRange,
    Question,
    TransactionIn,
)

_HASH_DIGITS: Final = 64
_HEX: Final = frozenset("0123456789abcdef")


def read_question(
    block: str | None, transaction: str | None, namespace: int | None, first: int | None, last: int | None
) -> Question:
    """One of the three, or the latest block when none is given."""
    given = [
        name
        for name, value in (("--block", block), ("--transaction", transaction), ("--namespace", namespace))
        if value is not None
    ]
    if len(given) > 1:
        raise CommandError(f"{' and '.join(given)} are two questions: ask one at a time", ExitCode.USAGE)
    if namespace is None and (first is not None or last is not None):
        raise CommandError("--from and --to belong to --namespace: say which one", ExitCode.USAGE)
    if transaction is not None:
        return TransactionIn(_read_hash("--transaction", transaction, "the SHA-256 that `tx submit` prints"))
    if namespace is not None:
        return _read_range(namespace, first, last)
    return _read_block(block)


def _read_range(namespace: int, first: int | None, last: int | None) -> NamespaceRange:
    if first is None:
        raise CommandError("--namespace needs the height at which to begin: --from 1", ExitCode.USAGE)
    last = first if last is None else last
    if not first <= last < first + RANGE_HEIGHTS_MAX:
        raise CommandError(
            f"--from {first} --to {last} are not 1 to {RANGE_HEIGHTS_MAX} blocks; go on later from where you ended",
            ExitCode.USAGE,
        )
    return NamespaceRange(namespace, Height(first), Height(last))


def _read_block(block: str | None) -> Question:
    if block is None or block == "latest":
        return LatestBlock()
    if block == "0":
        raise CommandError("the block at height 0 needs no proof: it follows from the network file", ExitCode.USAGE)
    if block.isascii() and block.isdigit() and len(block) < _HASH_DIGITS and int(block) <= HEIGHT_MAX:
        return BlockAt(Height(int(block)))
    return BlockNamed(_read_hash("--block", block, "a height, a hash, or latest"))


def _read_hash(option: str, text: str, form: str) -> Commitment:
    digits = text.removeprefix("0x").lower()
    if len(digits) != _HASH_DIGITS or set(digits) - _HEX:
        raise CommandError(
            f'{option}: "{text}" is not {form}; a hash has {_HASH_DIGITS} hex digits, with or without 0x',
            ExitCode.USAGE,
        )
    return Commitment(bytes.fromhex(digits))
