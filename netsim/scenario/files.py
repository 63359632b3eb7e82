"""Scenario files: TOML in and out, with errors that name the key."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from netsim.scenario.model import Scenario


class ScenarioError(Exception):
    """A scenario cannot be used. The text says which file, which key and what is wrong with it."""


def read_scenario(path: Path) -> Scenario:
    """Raises `ScenarioError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ScenarioError(f"cannot read the scenario {path}: {reason}. Name a TOML file") from error
    return parse_scenario(text, str(path))


def parse_scenario(text: str, source: str) -> Scenario:
    """Raises `ScenarioError`; `source` is what it names."""
    try:
        return msgspec.convert(tomllib.loads(text), Scenario)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{source} is not valid TOML: {error}. Correct the file at that line") from error
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{source}: {error}. docs/scenarios.md lists every key") from error


def format_scenario(scenario: Scenario) -> str:
    """TOML that `parse_scenario` reads back as the same scenario. Defaults are left out."""
    return tomli_w.dumps(_without_none(msgspec.to_builtins(scenario)))


def write_scenario(path: Path, scenario: Scenario) -> None:
    path.write_text(format_scenario(scenario), encoding="utf-8")


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(part) for key, part in value.items() if part is not None}
    return [_without_none(part) for part in value] if isinstance(value, list) else value
