"""Forms of the API: hexadecimal, batches of transactions, blocks as JSON.

A batch is parsed as a whole or not at all: when one item cannot be read, nothing of the body is submitted, and the
error names the item. A transaction of 512 bytes costs 0.13 µs in the binary form, 1.7 µs in the textual one, and
0.7 µs to hash.
"""

from base64 import b64decode
from binascii import Error as HexError
from binascii import unhexlify
from itertools import islice
from typing import Any, Final

import msgpack
import msgspec
from starlette.responses import Response

from consensus.operations import Operation
from consensus.types import COMMITMENT_BYTES
from sequencer.api.problems import BAD_BODY, BAD_HASH, BAD_PUBLIC_KEY, BATCH_TOO_LONG, Problem
from sequencer.api.route import JSON
from sequencer.operation_codec import decode_operation, parse_operation
from sequencer.schema.transactions import BATCH_TRANSACTIONS_MAX, TransactionBodyJson

HASH_DIGITS: Final = 2 * COMMITMENT_BYTES
PUBLIC_KEY_BYTES_MIN: Final = 16
PUBLIC_KEY_BYTES_MAX: Final = 96
"""As on the wire, see `consensus.types.WirePublicKey`."""

_END_MARK: Final = b"\xc0"
"""MessagePack's nil."""


_json_transaction = msgspec.json.Decoder(TransactionBodyJson)
_json_object: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


def answer_json(answer: msgspec.Struct, status: int = 200) -> Response:
    return Response(msgspec.json.encode(answer), status, media_type=JSON)


def to_hex(data: bytes) -> str:
    return "0x" + data.hex()


def parse_hash(text: str) -> bytes:
    """64 hexadecimal digits, with or without 0x -> 32 bytes. Raises `Problem`."""
    try:
        value = _unhex(text.encode())
    except (HexError, UnicodeEncodeError):
        value = b""
    if len(value) != COMMITMENT_BYTES:
        raise Problem(
            BAD_HASH, f"{text[:80]!r} is not {HASH_DIGITS} hexadecimal digits, with or without 0x before them."
        )
    return value


def parse_public_key(text: str) -> bytes:
    """Hexadecimal digits, with or without 0x -> a key of any scheme. Raises `Problem`."""
    try:
        key = _unhex(text.encode())
    except (HexError, UnicodeEncodeError):
        key = b""
    if not PUBLIC_KEY_BYTES_MIN <= len(key) <= PUBLIC_KEY_BYTES_MAX:
        raise Problem(BAD_PUBLIC_KEY, f"{text[:80]!r} is no public key: of Ed25519 one has 64 hexadecimal digits.")
    return key


def parse_json_operation(body: bytes) -> Operation:
    """`{"operation": "0x…"}` with the encoded operation, or its fields under their names. Raises `Problem`."""
    try:
        fields = _json_object.decode(body)
        if set(fields) == {"operation"}:
            return parse_operation_bytes(_unhex(str(fields["operation"]).encode()))
        if set(fields) == {"operation_base64"}:
            return parse_operation_bytes(b64decode(str(fields["operation_base64"]), validate=True))
        return parse_operation(fields)
    except (ValueError, msgspec.DecodeError) as error:
        raise Problem(
            BAD_BODY,
            f'{error}. Send {{"operation": "0x…"}} or {{"operation_base64": "…"}} with the encoded operation, or its '
            'fields: {"kind": "bond", "account": "0x…", …}.',
        ) from None


def parse_operation_bytes(data: bytes) -> Operation:
    """The encoded operation itself. Raises `Problem`."""
    try:
        return decode_operation(data)
    except ValueError as error:
        raise Problem(BAD_BODY, f"{error}.") from None


def parse_json_transaction(body: bytes) -> bytes:
    """Raises `Problem`."""
    try:
        return _unhex(_json_transaction.decode(body).transaction.encode())
    except (msgspec.DecodeError, UnicodeError, HexError) as error:
        raise Problem(BAD_BODY, f'{error}. Send {{"transaction": "0x…"}} with an even number of digits.') from None


def parse_msgpack_batch(body: bytes) -> list[bytes]:
    """Concatenated MessagePack bin objects -> transactions. Raises `Problem` with the index of the first bad item."""
    # Lengths of zero: arrays, maps and extensions with anything in them fail at their head, before an object is made.
    unpacker = msgpack.Unpacker(max_buffer_size=len(body) + 1, max_array_len=0, max_map_len=0, max_ext_len=0)
    unpacker.feed(body)
    items: list[bytes] = []
    try:
        # `extend` keeps what was read before an error, so the length is the index of the bad item.
        items.extend(islice(unpacker, BATCH_TRANSACTIONS_MAX + 1))
        _check_length(items)
        # The unpacker stops without a word inside an unfinished item; such an item swallows the mark.
        unpacker.feed(_END_MARK)
        is_whole = next(unpacker, _END_MARK) is None
    except (ValueError, msgpack.UnpackException) as error:
        raise _bad_item(len(items), f"cannot be read ({error or type(error).__name__})") from None
    if set(map(type, items)) - {bytes}:
        index = next(index for index, item in enumerate(items) if type(item) is not bytes)
        raise _bad_item(index, f"is a {type(items[index]).__name__}, not a bin")
    if not is_whole:
        raise _bad_item(len(items), "is cut off by the end of the body")
    return items


def parse_ndjson_batch(body: bytes) -> list[bytes]:
    """One transaction a line, as hexadecimal digits or a JSON string of them -> transactions. Raises `Problem`."""
    lines = body.rstrip().splitlines()
    _check_length(lines)
    transactions: list[bytes] = []
    try:
        transactions.extend(map(_unhex_line, lines))
    except HexError as error:
        raise _bad_item(len(transactions), f"is not hexadecimal ({error})") from None
    return transactions


def _unhex_line(line: bytes) -> bytes:
    if line[:1] == b'"':
        if line[-1:] != b'"' or len(line) < 2:
            raise HexError("a quotation mark is missing")
        line = line[1:-1]
    if not line:
        raise HexError("an empty line")
    return _unhex(line)


def _unhex(digits: bytes) -> bytes:
    return unhexlify(digits[2:] if digits[:2] == b"0x" else digits)


def _check_length(items: list[bytes]) -> None:
    if len(items) > BATCH_TRANSACTIONS_MAX:
        raise Problem(
            BATCH_TOO_LONG,
            f"The batch has more than {BATCH_TRANSACTIONS_MAX} transactions, and none was submitted. Send several.",
            transactions_max=BATCH_TRANSACTIONS_MAX,
        )


def _bad_item(index: int, what: str) -> Problem:
    return Problem(
        BAD_BODY,
        f"Item {index} of the batch (counted from 0) {what}. Nothing was submitted: mend it and send the batch again.",
        index=index,
    )
