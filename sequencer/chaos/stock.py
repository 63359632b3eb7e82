"""Where scenarios are found: a file by its path, a stock scenario by its name."""

from pathlib import Path
from typing import Final

from netsim.scenario.files import ScenarioError, read_scenario
from netsim.scenario.model import Scenario
from sequencer.failures import CommandError, ExitCode

ALL: Final = "all"
"""Stands for every stock scenario."""
_FOLDERS: Final = (
    Path(__file__).parent / "scenarios",
    Path(__file__).parents[2] / "configs" / "scenarios",
)
"""Of an installed package, and of a working copy."""


def list_stock() -> dict[str, Path]:
    """By name, in alphabetical order."""
    found = {path.stem: path for folder in _FOLDERS for path in folder.glob("*.toml")}
    return dict(sorted(found.items()))


def find_scenarios(names: list[str]) -> list[tuple[str, Scenario]]:
    """In the order given, each with the name or path by which it is found again.

    Raises `CommandError` (usage) for one that is not there or cannot be used.
    """
    stock = list_stock()
    paths: list[tuple[str, Path]] = []
    for name in names:
        if name == ALL:
            paths += stock.items()
        elif name in stock:
            paths.append((name, stock[name]))
        elif name.endswith(".toml") or "/" in name:
            paths.append((name, Path(name)))
        else:
            raise CommandError(
                f'there is no scenario "{name}". There are {", ".join(stock)}; {ALL} stands for all of them, and a '
                "path leads to one of your own",
                ExitCode.USAGE,
            )
    try:
        return [(name, read_scenario(path)) for name, path in paths]
    except ScenarioError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error
