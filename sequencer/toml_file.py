"""TOML files as typed values: errors that point at the key, and files that document themselves.

A field's documentation stands in its `msgspec.Meta(description=…)`. From there it reaches the written files, the error
messages and `sequencer config show`.
"""

import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

_COMMENT_WIDTH = 110
_SIMILARITY_LEAST = 0.7
"""Of a mistyped key to a known one: two letters of eight may be wrong."""
_PLACE = re.compile(r"(?P<problem>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN_KEY = re.compile(r"Object contains unknown field `(?P<key>.*)`")
_MISSING_KEY = re.compile(r"Object missing required field `(?P<key>.*)`")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


class ConfigError(Exception):
    """A setting, or a file that settings come from, is wrong. The text says where, what, and what to do about it.

    `source` is a file, an environment variable or a flag; `key` is the path of the setting inside it, or None.
    """

    is_unsafe = False
    """Going on in spite of it could cost the validator its stake."""

    def __init__(self, source: Path | str, key: str | None, problem: str, action: str = "") -> None:
        self.source = str(source)
        self.key = key
        self.problem = problem
        self.action = action
        place = f"{source}: {key}" if key else str(source)
        super().__init__(" ".join([f"{place}:", _end_sentence(problem), _end_sentence(action)]).rstrip())


def read_table(path: Path, *, action: str = "") -> dict[str, Any]:
    """The file as plain values. Raises `ConfigError`; `action` is what to do when there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(path, None, "no such file", action) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, None, f"cannot be read: {error}") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(path, None, f"not valid TOML: {error}", "Correct the file at that line") from error


def convert_table(table: Mapping[str, Any], kind: type[T], source: Path | str) -> T:
    """Plain values -> `kind`. Raises `ConfigError` that names the key, what it must be and the nearest known key."""
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise _explain(str(error), table, kind, source) from error


def describe_problem(problem: str, hint: Any, value: object) -> str:
    """What msgspec says about a value, with what would be right and what it is instead."""
    choices = get_args(_strip(hint)) if get_origin(_strip(hint)) is Literal else ()
    if choices:
        problem = f"expected {' or '.join(map(_render_scalar, choices))}"
    is_scalar = isinstance(value, (bool, int, str))
    got = f", got {_render_scalar(value)}" if is_scalar and "got" not in problem else ""
    return problem[:1].lower() + problem[1:] + (got if choices or problem.startswith("Expected") else "")


def describe_fields(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Field name -> its documentation, in the order of the file."""
    return {name: _get_description(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}


def render_toml(value: msgspec.Struct) -> str:
    """The value as a TOML file in which every key carries its documentation. Reading it back gives an equal value."""
    return "\n".join(_render_struct(value, "")).strip() + "\n"


def _render_struct(value: msgspec.Struct, prefix: str) -> Iterator[str]:
    docs = describe_fields(type(value))
    tables: list[tuple[str, object]] = []
    for name in value.__struct_fields__:
        item = getattr(value, name)
        if isinstance(item, (msgspec.Struct, dict, tuple)):
            tables.append((name, item))
            continue
        yield from _render_comment(docs[name])
        yield f"{name} = {_render_scalar(item)}"
    for name, item in tables:
        path = f"{prefix}{name}"
        yield ""
        yield from _render_comment(docs[name])
        match item:
            case msgspec.Struct():
                yield f"[{path}]"
                yield from _render_struct(item, f"{path}.")
            case dict():
                yield f"[{path}]"
                yield from (f"{_render_key(key)} = {_render_scalar(entry)}" for key, entry in item.items())
            case tuple():
                yield from _render_rows(path, item)
            case _:
                raise TypeError(f"a section cannot be a {type(item).__name__}")


def _render_rows(path: str, rows: tuple[msgspec.Struct, ...]) -> Iterator[str]:
    for name, doc in describe_fields(type(rows[0])).items() if rows else ():
        yield from _render_comment(f"{name}: {doc}")
    for position, row in enumerate(rows):
        yield from [""] * (position > 0) + [f"[[{path}]]"]
        yield from (f"{name} = {_render_scalar(getattr(row, name))}" for name in row.__struct_fields__)


def _render_comment(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, _COMMENT_WIDTH, initial_indent="# ", subsequent_indent="# ")


def _render_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _render_scalar(key)


def _render_scalar(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            # JSON's escapes are a subset of TOML's, except that TOML forbids a bare DEL.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case _:
            raise TypeError(f"a setting cannot be a {type(value).__name__}")


def _explain(text: str, table: Mapping[str, Any], kind: type[msgspec.Struct], source: Path | str) -> ConfigError:
    match = _PLACE.fullmatch(text)
    problem, path = (match["problem"], match["path"] or "") if match else (text, "")
    if "[...]" in path:
        path = path.replace("[...]", f".{_find_wrong_entry(path, table)}")
    path = path.lstrip(".")
    if unknown := _UNKNOWN_KEY.fullmatch(problem):
        return _explain_unknown_key(unknown["key"], path, kind, source)
    if missing := _MISSING_KEY.fullmatch(problem):
        hint = _find_hint(_join(path, missing["key"]), kind)
        return ConfigError(source, _join(path, missing["key"]), "is missing", _say_meaning(hint))
    hint = _find_hint(path, kind)
    return ConfigError(
        source, path or None, describe_problem(problem, hint, _find_value(path, table)), _say_meaning(hint)
    )


def _explain_unknown_key(key: str, path: str, kind: type[msgspec.Struct], source: Path | str) -> ConfigError:
    owner = _strip(_find_hint(path, kind))
    known = list(get_type_hints(owner)) if isinstance(owner, type) else []
    near = get_close_matches(key, known, n=1, cutoff=_SIMILARITY_LEAST)
    action = f'Did you mean "{near[0]}"?' if near else f"Known here: {', '.join(known)}"
    return ConfigError(source, _join(path, key), "is not a known key", action)


def _find_wrong_entry(path: str, table: Mapping[str, Any]) -> str:
    """msgspec says `[...]` for an entry of a table with free keys: look for the one that is no string."""
    entries = table.get(path.partition("[...]")[0].lstrip("."), {})
    return next((key for key, value in entries.items() if not isinstance(value, str)), "…")


def _find_value(path: str, table: Mapping[str, Any]) -> object:
    value: Any = table
    for name, index in _STEP.findall(path):
        value = value[name] if name else value[int(index)]
    return value


def _find_hint(path: str, kind: Any) -> Any:
    """The annotation at a path such as `validators[0].stake`."""
    hint: Any = kind
    for name, _index in _STEP.findall(path):
        owner = _strip(hint)
        if name == "" or get_origin(owner) is dict:
            hint = get_args(owner)[0 if name == "" else 1]
        else:
            hint = get_type_hints(owner, include_extras=True).get(name, str)
    return hint


def _strip(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _get_description(hint: Any) -> str:
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((note.description for note in notes if isinstance(note, msgspec.Meta) and note.description), "")


def _say_meaning(hint: Any) -> str:
    description = _get_description(hint)
    is_setting = not (isinstance(_strip(hint), type) and issubclass(_strip(hint), msgspec.Struct))
    return f"Its meaning: {description}" if description and is_setting else ""


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _end_sentence(text: str) -> str:
    return text if not text or text[-1] in ".?!" else text + "."
