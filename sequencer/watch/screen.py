"""A picture as lines of text that fit a screen of any size. What colour says, a symbol or a word says too."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final

from rich.text import Text

from sequencer.watch.picture import Cell, Picture, Row

SYMBOLS: Final = {"decided": "■", "fallback": "◆", "certified": "□", "timed_out": "✗", "open": "·"}
STYLES: Final = {
    "decided": "green",
    "fallback": "cyan",
    "certified": "yellow",
    "timed_out": "bold red",
    "open": "dim",
}
NAMES: Final = {
    "decided": "final",
    "fallback": "final by the fallback committee",
    "certified": "certified only",
    "timed_out": "failed",
    "open": "under way",
}
LEVELS: Final = {
    "ok": (" OK ", "bold white on green"),
    "risk": (" AT RISK ", "bold black on yellow"),
    "halted": (" HALTED ", "bold white on red"),
    "lost": (" NO ANSWER ", "bold white on red"),
}
ROWS_MIN: Final = 3

_KEYS: Final = "q quits, ? explains"
_HEADS: Final = ("", "node", "role", "stake", "view", "height", "lag", "peers", "pending", "state")
_RIGHT: Final = frozenset({3, 4, 5, 6, 8})


def draw(picture: Picture, width: int, height: int, *, is_helping: bool = False) -> list[Text]:
    """At most `height` lines of at most `width` columns; the nodes get what room the rest leaves, the worst first."""
    head = [_draw_title(picture, width), _draw_health(picture)]
    tail = [Text(), *_draw_views(picture.cells, width), Text(), *_draw_figures(picture, width)]
    if is_helping:
        tail = [Text(), *map(Text, _HELP)]
    events = [] if is_helping else list(_draw_events(picture, width))
    room = height - len(head) - len(tail) - 2 - min(len(events), 2)
    lines = [*head, Text(), *_draw_rows(picture.rows, max(ROWS_MIN, room - 1)), *tail]
    lines += events[: max(0, height - len(lines))]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines[:height]


def draw_line(picture: Picture) -> str:
    """One line for a file or a pipe."""
    figures = picture.figures
    p50 = "-" if figures.finality_p50_ms is None else f"{figures.finality_p50_ms:.1f} ms"
    tps = "-" if figures.transactions_per_s is None else f"{figures.transactions_per_s:.1f}"
    return (
        f"{LEVELS[picture.level][0].strip()}  height {picture.height}  view {picture.view}  "
        f"leader {picture.leader or '?'}  finality p50 {p50}  tps {tps}  "
        f"timeouts {figures.timeouts}/{figures.views}  {'fallback  ' * picture.is_fallback}{picture.sentence}"
    )


_HELP: Final = (
    "views     one character each, the newest on the right; below it who led",
    "          ■ final   ◆ final by the fallback committee   □ certified only",
    "          ✗ failed   · under way",
    "lag       blocks below the highest node",
    "finality  from the proposal's arrival to its finality certificate, last 30 s",
    "state     down: its API is silent, and so are its votes",
    "          cut off: it answers us, and nobody hears it",
    "          benched, jailed: it votes, and does not lead for now",
    "more      `sequencer why` says why the last view failed",
    "keys      q or Ctrl-C ends this, ? goes back",
)


def _draw_title(picture: Picture, width: int) -> Text:
    left = f"sequencer watch  {picture.network or 'unknown network'}"
    gap = max(2, width - len(left) - len(_KEYS))
    return Text.assemble((left, "bold"), " " * gap, (_KEYS, "dim"))


def _draw_health(picture: Picture) -> Text:
    word, style = LEVELS[picture.level]
    return Text.assemble((word, style), " ", picture.sentence)


def _draw_rows(rows: Sequence[Row], room: int) -> Iterator[Text]:
    """When there is no room for all, those that are well and do not lead are left out first."""
    shown = list(rows)
    left_out = 0
    if len(rows) > room:
        urgent = sorted(rows, key=lambda row: (row.is_well, not row.is_leader))[: max(1, room - 1)]
        shown = [row for row in rows if row in urgent]
        left_out = len(rows) - len(shown)
    cells = [_HEADS, *map(_list_cells, shown)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADS))]
    for number, line in enumerate(cells):
        text = Text()
        for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
            padded = cell.rjust(width) if column in _RIGHT else cell.ljust(width)
            style = "dim" if number == 0 else "" if column != len(_HEADS) - 1 else _style_state(shown[number - 1])
            text.append(padded, style)
            text.append("  " if column else " ")
        text.rstrip()
        if number and shown[number - 1].is_leader:
            text.stylize("bold")
        yield text
    if left_out:
        yield Text(f"  and {left_out} more, all well" if _are_well(rows, shown) else f"  and {left_out} more", "dim")


def _are_well(rows: Sequence[Row], shown: Sequence[Row]) -> bool:
    return all(row.is_well for row in rows if row not in shown)


def _list_cells(row: Row) -> tuple[str, ...]:
    return (
        "▶" if row.is_leader else " ",
        row.name,
        row.role or "-",
        f"{row.share:.0f} %",
        _show(row.view),
        _show(row.height),
        _show(row.lag),
        "-" if row.peers is None else f"{row.peers}/{row.peers_expected}",
        _show(row.pending),
        row.state,
    )


def _style_state(row: Row) -> str:
    return "green" if row.is_well else "bold red"


def _show(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _draw_views(cells: Sequence[Cell], width: int) -> Iterator[Text]:
    shown = cells[-max(1, width - 9) :]
    if not shown:
        yield Text("views    none is known", "dim")
        return
    line, leaders = Text("views    ", "dim"), Text("leader   ", "dim")
    for cell in shown:
        line.append(SYMBOLS[cell.kind], STYLES[cell.kind])
        leaders.append(cell.mark, "bold red" if cell.kind == "timed_out" else "")
    kinds = [kind for kind in SYMBOLS if any(cell.kind == kind for cell in shown)]
    legend = Text(f"         {shown[0].view:,} to {shown[-1].view:,}:  ", "dim")
    for kind in kinds:
        legend.append(SYMBOLS[kind], STYLES[kind])
        legend.append(f" {NAMES[kind]}  ", "dim")
    legend.rstrip()
    yield from (line, leaders, legend)


def _draw_figures(picture: Picture, width: int) -> Iterator[Text]:
    figures = picture.figures
    pieces = [
        f"height {picture.height:,}",
        f"view {picture.view:,}",
        f"epoch {picture.epoch}",
        f"{_rate(figures.blocks_per_s)} blocks/s",
        f"{_rate(figures.transactions_per_s)} transactions/s",
        f"finality p50 {_milliseconds(figures.finality_p50_ms)} p99 {_milliseconds(figures.finality_p99_ms)}",
        f"{figures.timeouts} of {figures.views} views failed",
    ]
    line = ""
    for piece in pieces:
        joined = f"{line} · {piece}" if line else piece
        if len(joined) > width and line:
            yield Text(line)
            joined = piece
        line = joined
    yield Text(line)
    yield Text(f"mode: {picture.mode}" if picture.mode else "", "bold cyan" if picture.is_fallback else "")


def _draw_events(picture: Picture, width: int) -> Iterator[Text]:
    if picture.events:
        yield Text()
    for event in picture.events:
        yield from map(Text, wrap(event, width, subsequent_indent="    "))


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.3g} ms"
