"""What commands print on a terminal: tables that fit, values that are never cut off, help that shows every word."""

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout

import pytest
import typer

from sequencer.cli.main import app
from sequencer.cli.output import print_rows
from sequencer.cli.status import _COLUMNS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _width(monkeypatch: pytest.MonkeyPatch) -> None:
    """What terminals open with."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")


def show(columns: Sequence[str], *rows: Sequence[object]) -> list[str]:
    with redirect_stdout(Terminal()) as terminal:
        print_rows(columns, rows)
    return terminal.getvalue().splitlines()


def test_the_status_of_a_node_that_ran_for_days_fits_a_terminal() -> None:
    node = ("n0", "127.0.0.1:27700", "behind", 345_678, 345_699, "n3", "3/3", 12_345, 259_200)
    header, _, row = show(_COLUMNS, node)
    assert header.split()[:2] == ["node", "API"]
    assert "345678" in row
    assert len(row.rstrip()) <= 80


def test_what_is_too_wide_for_a_table_is_shown_whole() -> None:
    assert show(("hash", "height"), ("0x" + "ab" * 60, 7), ("0x" + "cd" * 60, None)) == [
        "hash    0x" + "ab" * 60,
        "height  7",
        "",
        "hash    0x" + "cd" * 60,
        "height  -",
    ]


def iterate_help(command: object) -> Iterator[str]:
    for name in ("help", "epilog", "short_help"):
        if text := getattr(command, name, None):
            yield text
    for parameter in getattr(command, "params", ()):
        yield getattr(parameter, "help", None) or ""
    for child in getattr(command, "commands", {}).values():
        yield from iterate_help(child)


def test_no_word_of_the_help_is_taken_for_a_style() -> None:
    """Square brackets are markup to the printer: what stands in them would vanish."""
    texts = list(iterate_help(typer.main.get_command(app)))
    assert len(texts) > 40
    assert [text for text in texts if "[" in text] == []
