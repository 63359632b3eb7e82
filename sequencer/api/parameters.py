"""Query parameters: described once, for the document and for the code that reads them.

What is not understood is refused by name: an unknown parameter, one that stands twice, a value out of its bounds.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, overload

from starlette.requests import HTTPConnection

from sequencer.api.problems import BAD_PARAMETER, Problem

INTEGER_DIGITS_MAX: Final = 19
"""Of 2**63 - 1."""

Value = TypeVar("Value")
Choice = TypeVar("Choice", bound=str)


@dataclass(frozen=True, slots=True)
class Parameter(Generic[Value]):
    """One query parameter. `schema` is its JSON Schema, `parse` says in a `ValueError` what a value is not."""

    name: str
    description: str
    schema: Mapping[str, Any]
    default: Value
    parse: Callable[[str], Value]
    example: str | int | float | None = None


@overload
def integer(
    name: str, description: str, *, default: int, least: int, most: int, example: int | None = None
) -> Parameter[int]: ...
@overload
def integer(
    name: str, description: str, *, default: None, least: int, most: int, example: int | None = None
) -> Parameter[int | None]: ...
def integer(
    name: str, description: str, *, default: int | None, least: int, most: int, example: int | None = None
) -> Parameter[Any]:
    """A whole number in plain decimal digits."""

    def parse(text: str) -> int:
        value = parse_integer(text)
        if value is None or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return value

    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    return Parameter(name, description, _with_default(schema, default), default, parse, example)


def choice(
    name: str, description: str, choices: Sequence[Choice], *, default: Choice, example: Choice | None = None
) -> Parameter[Choice]:
    """One of some words."""

    def parse(text: str) -> Choice:
        for word in choices:
            if word == text:
                return word
        raise ValueError(f"one of {', '.join(choices)}")

    schema: dict[str, Any] = {"type": "string", "enum": list(choices)}
    return Parameter(name, description, _with_default(schema, default), default, parse, example)


def option(
    name: str, description: str, choices: Sequence[Choice], *, example: Choice | None = None
) -> Parameter[Choice | None]:
    """One of some words, or nothing."""
    chosen = choice(name, description, choices, default=choices[0])
    schema = {"type": "string", "enum": list(choices)}
    return Parameter(name, description, schema, None, chosen.parse, example)


def flag(name: str, description: str) -> Parameter[bool]:
    """True or false; false unless it is given."""

    def parse(text: str) -> bool:
        if text not in ("true", "false"):
            raise ValueError("one of true, false")
        return text == "true"

    return Parameter(name, description, {"type": "boolean", "default": False}, False, parse)


def seconds(name: str, description: str, *, default: float, most: float) -> Parameter[float]:
    """A positive time, which may have a fraction."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value <= most:
            raise ValueError(f"a number of seconds above 0 and up to {most:g}")
        return value

    schema = {"type": "number", "exclusiveMinimum": 0, "maximum": most, "default": default}
    return Parameter(name, description, schema, default, parse)


def text(
    name: str,
    description: str,
    parse: Callable[[str], Value],
    *,
    pattern: str,
    default: Value,
    example: str | None = None,
) -> Parameter[Value]:
    """A form of its own. `parse` says in a `ValueError` what a value is not, or raises a `Problem`."""
    return Parameter(name, description, {"type": "string", "pattern": pattern}, default, parse, example)


class Query:
    """The query parameters of one request. All are read before the handler begins, so a bad one changes nothing; and
    the handler reads none that its row does not describe.
    """

    def __init__(self, connection: HTTPConnection, known: Mapping[str, Parameter[Any]]) -> None:
        self._known = known
        self._values: dict[str, Any] = {}
        if not connection.scope["query_string"]:
            return
        for name, value in connection.query_params.multi_items():
            if name not in known:
                takes = f"It takes {', '.join(sorted(known))}." if known else "It takes none."
                raise _bad_parameter(name, f"{connection.url.path} does not know the parameter {name!r}. {takes}")
            if name in self._values:
                raise _bad_parameter(name, f"The parameter {name!r} stands twice; give it once.")
            self._values[name] = _parse(known[name], value)

    def __contains__(self, parameter: Parameter[Any]) -> bool:
        return parameter.name in self._values

    def read(self, parameter: Parameter[Value]) -> Value:
        """Its default when it is absent. Raises `KeyError` for a parameter that the route does not describe."""
        if self._known[parameter.name] is not parameter:
            raise KeyError(f"the route describes another {parameter.name!r}")
        value: Value = self._values.get(parameter.name, parameter.default)
        return value


def parse_integer(text: str) -> int | None:
    """At most 19 plain decimal digits -> integer, else None: no sign, no blanks, no other scripts' digits."""
    if not (text.isascii() and text.isdigit() and len(text) <= INTEGER_DIGITS_MAX):
        return None
    return int(text)


def _parse(parameter: Parameter[Value], given: str) -> Value:
    try:
        return parameter.parse(given)
    except ValueError as error:
        raise _bad_parameter(parameter.name, f"{parameter.name}={given[:80]!r} is not {error}.") from None


def _with_default(schema: dict[str, Any], default: object) -> dict[str, Any]:
    return schema if default is None else schema | {"default": default}


def _bad_parameter(name: str, detail: str) -> Problem:
    return Problem(BAD_PARAMETER, detail, parameter=name)
