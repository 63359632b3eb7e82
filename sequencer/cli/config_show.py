"""`sequencer config show`: every setting that a node would run with, and where each value comes from."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer

from sequencer.cli.output import OutputFormat, OutputOption
from sequencer.config import LoadedNode, NodeConfig, describe_fields, load_node
from sequencer.network_config import NetworkConfig
from sequencer.toml_file import read_table

_VALUE_WIDTH_MAX = 32


class Setting(NamedTuple):
    """One row: `origin` names the flag, the variable, the file, or "default"."""

    key: str
    value: object
    origin: str
    meaning: str


def config_show(
    folder: Annotated[Path, typer.Argument(help="Folder of a node, or its node.toml.")] = Path(),
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")] = False,
    meaning: Annotated[bool, typer.Option("--meaning", help="Say what each setting is for.")] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Show the settings of a node: flag > environment (SEQUENCER_…) > file > default. Secrets are not among them."""
    settings = list(list_settings(load_node(folder)))
    if output is OutputFormat.JSON:
        rows = {s.key: {"value": s.value, "origin": s.origin, "meaning": s.meaning} for s in settings}
        typer.echo(json.dumps(rows, indent=2))
    else:
        for line in _render_lines(settings, origin=origin, meaning=meaning):
            typer.echo(line)


def list_settings(node: LoadedNode) -> Iterator[Setting]:
    """The node's own settings under their names, then the network's under `network.…` without keys, stakes and
    balances."""
    for key, meaning in describe_fields(NodeConfig).items():
        yield Setting(key, getattr(node.config, key), node.origins[key], meaning)
    table = read_table(node.network_path)
    file = _shorten(node.network_path)
    yield Setting("network.id", node.network.network_id.hex(), "computed", "Hash of everything in the network file.")
    for key, meaning in describe_fields(NetworkConfig).items():
        value = getattr(node.network, key)
        if isinstance(value, msgspec.Struct):
            for name, text in describe_fields(type(value)).items():
                source = file if name in table.get(key, {}) else "default"
                yield Setting(f"network.{key}.{name}", getattr(value, name), source, text)
        elif isinstance(value, tuple):
            source = file if key in table else "default"
            yield Setting(f"network.{key}", [entry.name for entry in value], source, f"Names of the {key}.")
        else:
            yield Setting(f"network.{key}", value, file, meaning)


def _shorten(path: Path) -> str:
    """Without detours, and from the working directory where it leads there."""
    resolved, here = path.resolve(), Path.cwd()
    return str(resolved.relative_to(here) if resolved.is_relative_to(here) else resolved)


def _render_lines(settings: list[Setting], *, origin: bool, meaning: bool) -> Iterator[str]:
    """One setting a line, so that it can be searched; what it means goes below it."""
    key_width = max(len(setting.key) for setting in settings)
    values = [_render(setting.value) for setting in settings]
    # A long list of peers must not push every origin off the screen.
    value_width = max(len(value) for value in values if len(value) <= _VALUE_WIDTH_MAX)
    for setting, value in zip(settings, values, strict=True):
        yield f"{setting.key:{key_width}}  {value:{value_width}}  {setting.origin if origin else ''}".rstrip()
        if meaning:
            yield f"    {setting.meaning}"


def _render(value: object) -> str:
    match value:
        case dict():
            return ", ".join(f"{name}={address}" for name, address in value.items())
        case list():
            return ", ".join(map(str, value))
        case _:
            return str(value)
