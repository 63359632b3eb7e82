"""What commands print: tables or JSON on stdout, talk on stderr, colour only on a terminal and never with NO_COLOR."""

import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH_OFF_TERMINAL: Final = 240
"""Columns of a table that goes to a file or a pipe: nothing is cut off, and `grep` finds whole rows."""

_WIDTH_UNBOUNDED: Final = 10_000
"""To ask a table how wide it would like to be."""


class OutputFormat(StrEnum):
    """Shape of what goes to stdout."""

    TABLE = "table"
    JSON = "json"


OutputOption: TypeAlias = Annotated[OutputFormat, typer.Option("--output", "-o", help="Shape of the data on stdout.")]


def make_console(*, is_talk: bool) -> "Console":
    """For stderr when `is_talk`, else for stdout."""
    from rich.console import Console

    stream = sys.stderr if is_talk else sys.stdout
    return Console(stderr=is_talk, highlight=False, width=None if stream.isatty() else WIDTH_OFF_TERMINAL)


def make_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> "Table":
    """Numbers are set to the right, None is a dash."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        is_number = all(isinstance(row[index], (int, float, type(None))) for row in cells)
        table.add_column(column, justify="right" if is_number else "left", no_wrap=True)
    for row in cells:
        table.add_row(*(cell if isinstance(cell, Text) else Text("-" if cell is None else str(cell)) for cell in row))
    return table


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Data on stdout: a table where it fits the terminal, else a line per value. Nothing is ever cut off."""
    cells = [list(row) for row in rows]
    console = make_console(is_talk=False)
    table = make_table(columns, cells)
    if console.measure(table, options=console.options.update(max_width=_WIDTH_UNBOUNDED)).maximum <= console.width:
        console.print(table)
        return
    name_width = max(map(len, columns))
    for position, row in enumerate(cells):
        if position:
            print()
        for column, cell in zip(columns, row, strict=True):
            print(f"{column:{name_width}}  {'-' if cell is None else cell}")


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def talk(message: str) -> None:
    """One line for the person at the terminal."""
    print(message, file=sys.stderr, flush=True)
