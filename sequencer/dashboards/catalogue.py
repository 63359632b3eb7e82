"""All dashboards, and the files that they become."""

import json
from pathlib import Path
from typing import Final

from sequencer.dashboards.board import Board
from sequencer.dashboards.chaos import CHAOS
from sequencer.dashboards.consensus import CONSENSUS
from sequencer.dashboards.network import NETWORK_BOARD
from sequencer.dashboards.overview import OVERVIEW
from sequencer.dashboards.validators import VALIDATORS

BOARDS: Final[tuple[Board, ...]] = (OVERVIEW, CONSENSUS, VALIDATORS, NETWORK_BOARD, CHAOS)
COMMAND: Final = "python -m sequencer.dashboards"


def get_file_name(board: Board) -> str:
    return f"{board.uid.removeprefix('sequencer-')}.json"


def render_file(board: Board) -> str:
    return json.dumps(board.render(), indent=2, ensure_ascii=False) + "\n"


def write_boards(folder: Path) -> None:
    for board in BOARDS:
        (folder / get_file_name(board)).write_text(render_file(board), encoding="utf-8")
