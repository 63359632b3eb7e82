"""Stake operations outside of leaves: as bytes that are submitted, and as fields that people and JSON can read.

The bytes are those under the operation's id; one operation has one encoding (P4). In the fields everything binary is
hexadecimal with 0x before it, and `kind` stands for the type.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from consensus.leaf import Leaf
from consensus.operations import Bond, Operation, RotateKey, Unbond, Unjail, compute_operation_id
from consensus.types import Commitment, Height

INCLUDED_KEPT_MAX: Final = 4096
"""Operations in decided leaves that a node remembers, so that whoever handed one in hears what became of it."""

_TYPES: Final[dict[str, type[Operation]]] = {
    "bond": Bond,
    "unbond": Unbond,
    "unjail": Unjail,
    "rotate-key": RotateKey,
}
KINDS: Final = tuple(_TYPES)
_BINARY: Final = frozenset({"account", "signature", "public_key", "possession"})
_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Operation] = msgspec.msgpack.Decoder(Operation)

encode_operation = _encode


def get_kind(operation: Operation) -> str:
    """One of `KINDS`."""
    return next(kind for kind, type_ in _TYPES.items() if isinstance(operation, type_))


def decode_operation(data: bytes) -> Operation:
    """Raises `ValueError` for what is no operation, or not in its one form."""
    try:
        operation = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"these bytes are no operation: {error}") from None
    if _encode(operation) != data:
        raise ValueError("these bytes are not the one encoding of their operation")
    return operation


def describe_operation(operation: Operation) -> dict[str, object]:
    """Fields that `parse_operation` takes."""
    fields = {name: getattr(operation, name) for name in operation.__struct_fields__}
    shown = {name: "0x" + value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    return {"kind": get_kind(operation)} | shown


def parse_operation(fields: Mapping[str, Any]) -> Operation:
    """Raises `ValueError` that names the field."""
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
    known = _TYPES[kind].__struct_fields__
    for name in fields:
        if name not in known and name != "kind":
            raise ValueError(f"{kind} has no field {name!r}; it has {', '.join(known)}")
    values: list[object] = [kind]
    for name in known:
        if name not in fields:
            raise ValueError(f"the field {name!r} is missing")
        values.append(_parse_hex(name, fields[name]) if name in _BINARY else _parse_plain(fields[name]))
    try:
        return decode_operation(_encode(values))
    except OverflowError:
        raise ValueError("a number in it is too large") from None


def _parse_plain(value: object) -> object:
    """7.0 is the integer 7 in JSON, and some libraries write it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _parse_hex(name: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string of hexadecimal digits")
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except ValueError as error:
        raise ValueError(f"{name} is not hexadecimal: {error}") from None


@dataclass(frozen=True, slots=True)
class OperationPlace:
    """An operation that a node knows. `height` is that of the decided leaf that carries it, None while it waits."""

    operation: Operation
    height: Height | None


class IncludedOperations:
    """The newest operations in decided leaves."""

    def __init__(self, kept_max: int = INCLUDED_KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._places: OrderedDict[Commitment, OperationPlace] = OrderedDict()

    def add(self, leaf: Leaf) -> None:
        """`leaf` is decided."""
        for operation in leaf.operations:
            self._places[compute_operation_id(operation)] = OperationPlace(operation, leaf.height)
        while len(self._places) > self._kept_max:
            self._places.popitem(last=False)

    def find(self, operation_id: Commitment) -> OperationPlace | None:
        return self._places.get(operation_id)
