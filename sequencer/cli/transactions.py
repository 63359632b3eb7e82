"""Reading transactions: from a file, from stdin, or from the command line; all checked before any is sent."""

import sys
from binascii import Error as HexError
from binascii import unhexlify
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sequencer.failures import CommandError, ExitCode

FAULTS_SHOWN_MAX = 5
"""Of many bad lines the first few tell what kind of file it is."""
_SHOWN_CHARACTERS = 40


def read_transactions(sources: Sequence[str], *, bytes_max: int | None = None) -> list[bytes]:
    """Each source is a transaction in hex, a file with one on each line, or `-` for lines from stdin.

    Blank lines and lines that begin with # are passed over. Raises `CommandError` that names source and line of what is
    wrong; then nothing has been sent.
    """
    faults: list[str] = []
    transactions: list[bytes] = []
    for place, text in _iterate_lines(sources):
        try:
            transactions.append(parse_transaction(text, bytes_max))
        except ValueError as error:
            faults.append(f"{place}: {error}")
    if faults:
        shown = "\n  ".join(faults[:FAULTS_SHOWN_MAX])
        more = f"\n  and {len(faults) - FAULTS_SHOWN_MAX} more" if len(faults) > FAULTS_SHOWN_MAX else ""
        raise CommandError(f"nothing was sent, because not every line is a transaction in hex:\n  {shown}{more}")
    if not transactions:
        raise CommandError("there is no transaction in the input; give one in hex on each line", ExitCode.USAGE)
    return transactions


def parse_transaction(text: str, bytes_max: int | None = None) -> bytes:
    """Hex digits with or without 0x -> bytes. Raises `ValueError` that says what is wrong."""
    digits = text.removeprefix("0x")
    try:
        transaction = unhexlify(digits)
    except (HexError, ValueError):
        if len(digits) % 2 and all(character in "0123456789abcdefABCDEF" for character in digits):
            raise ValueError(f"an odd number of hex digits ({len(digits)})") from None
        raise ValueError(f"not hex: {_shorten(text)!r}") from None
    if not transaction:
        raise ValueError("an empty transaction")
    if bytes_max is not None and len(transaction) > bytes_max:
        raise ValueError(f"{len(transaction)} bytes, and this network takes at most {bytes_max}")
    return transaction


def _iterate_lines(sources: Iterable[str]) -> Iterator[tuple[str, str]]:
    for source in sources:
        if source == "-":
            yield from _number_lines("stdin", sys.stdin)
        elif not _is_hex(source) and Path(source).exists():
            with Path(source).open(encoding="utf-8", errors="replace") as file:
                yield from _number_lines(source, file)
        elif not _is_hex(source):
            raise CommandError(
                f'"{_shorten(source)}" is neither a file nor a transaction in hex. '
                "Try: sequencer tx submit examples/ethereum-mainnet-transactions.hex",
                ExitCode.USAGE,
            )
        else:
            yield "argument", source


def _number_lines(name: str, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield f"{name}, line {number}", text


def _is_hex(text: str) -> bool:
    digits = text.removeprefix("0x")
    return bool(digits) and all(character in "0123456789abcdefABCDEF" for character in digits)


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
