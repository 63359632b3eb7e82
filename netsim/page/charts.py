"""What happened over time: heights, views and latencies, with the faults as bands behind them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from netsim.page.svg import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    choose_colour,
    draw_box,
    draw_cross,
    draw_mark,
    draw_path,
    draw_text,
    draw_time_axis,
    draw_value_axis,
    wrap,
)
from netsim.scenario.outcome import FaultRecord, Outcome, ViewEvent
from netsim.scenario.targets import name_node

ROW: Final = 22
"""Height of a node's lane."""
BANDS_NAMED_MAX: Final = 12
VIEWS_DRAWN_MAX: Final = 6_000
"""Lanes with more view changes are thinned out: timeouts stay, certified views are joined."""
POINTS_MAX: Final = 4_000


def make_time_scale(outcome: Outcome) -> Scale:
    """From the beginning of the warm-up to the end."""
    begin = -outcome.warm_up_seconds
    end = max(outcome.seconds - outcome.warm_up_seconds, begin + 1e-3)
    return Scale(begin, end, LEFT, WIDTH - RIGHT)


def draw_heights(outcome: Outcome) -> str:
    """Height of each node over time: parallel lines climb, a flat one has stopped, one below runs behind."""
    time = make_time_scale(outcome)
    by_node: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for decided in outcome.timeline.decides:
        by_node[decided.node].append((decided.seconds, decided.height))
    highest = max((height for points in by_node.values() for _, height in points), default=1)
    bottom = 230.0
    value = Scale(0, highest, bottom, TOP)
    parts = [*_draw_bands(outcome.faults, time, TOP, bottom), *draw_value_axis(value, WIDTH - RIGHT)]
    for node, points in sorted(by_node.items()):
        kept = _thin(sorted(points))
        steps = [(time(seconds), value(height)) for seconds, height in kept]
        parts.append(draw_path(steps, choose_colour(node)))
    parts += draw_time_axis(time, bottom)
    parts += _draw_legend(sorted(by_node), bottom + BOTTOM)
    return wrap(parts, bottom + BOTTOM + 18, "Height of every node over time")


def draw_views(outcome: Outcome) -> str:
    """A lane for each node: a tick for each view, by certificate or by timeout; gaps are silence, crosses are ends."""
    time = make_time_scale(outcome)
    nodes = outcome.scenario.cluster.nodes + outcome.scenario.cluster.joiners
    bottom = TOP + nodes * ROW
    parts = _draw_bands(outcome.faults, time, TOP, bottom)
    for node in range(nodes):
        parts.append(draw_text(LEFT - 6, TOP + node * ROW + 15, name_node(node), anchor="end", kind="tick"))
    for event in _select_views(outcome.timeline.views):
        y = TOP + event.node * ROW
        match event.kind:
            case "timeout":
                parts.append(
                    draw_mark(time(event.seconds), y + 11, "var(--bad)", radius=2.6, title=f"gave up view {event.view}")
                )
            case "tc":
                parts.append(
                    draw_box(time(event.seconds), y + 3, 1.6, 16, "var(--warn)", title=f"view {event.view} by a TC")
                )
            case _:
                parts.append(draw_box(time(event.seconds), y + 6, 0.8, 10, "var(--good)", title=f"view {event.view}"))
    for change in outcome.timeline.nodes:
        y = TOP + change.node * ROW + 11
        title = f"{name_node(change.node)}: {change.kind} at {change.seconds:.3f} s"
        if change.kind in ("end", "freeze"):
            parts.append(draw_cross(time(change.seconds), y, "var(--text)", title=title))
        else:
            parts.append(draw_mark(time(change.seconds), y, "var(--text)", radius=3.2, title=title))
    parts += draw_time_axis(time, bottom)
    legend = "green: a view by a QC · orange: by a TC · red dot: gave up · cross: ends, freezes · dot: starts, thaws"
    parts.append(draw_text(LEFT, bottom + BOTTOM, legend, kind="tick"))
    return wrap(parts, bottom + BOTTOM + 10, "Views of every node over time")


def draw_latencies(outcome: Outcome) -> str:
    """Each dot is one block: when it was proposed, and how long until it was final somewhere."""
    points = outcome.timeline.latencies
    time = make_time_scale(outcome)
    bottom = 180.0
    longest = max((seconds for _, seconds in points), default=1e-3) * 1000
    value = Scale(0, longest, bottom, TOP)
    parts = [*_draw_bands(outcome.faults, time, TOP, bottom), *draw_value_axis(value, WIDTH - RIGHT)]
    parts += [
        draw_mark(time(at), value(seconds * 1000), "var(--accent)", radius=1.6) for at, seconds in _thin(list(points))
    ]
    parts += draw_time_axis(time, bottom)
    parts.append(draw_text(LEFT, bottom + BOTTOM, "milliseconds until final", kind="tick"))
    return wrap(parts, bottom + BOTTOM + 6, "Latency of blocks over time")


def _draw_bands(faults: Sequence[FaultRecord], time: Scale, top: float, bottom: float) -> list[str]:
    parts: list[str] = []
    for number, fault in enumerate(faults):
        start, end = time(max(fault.start_seconds, time.low)), time(min(fault.end_seconds, time.high))
        title = f"{fault.kind} {','.join(fault.nodes)}: {fault.start_seconds:.2f} to {fault.end_seconds:.2f} s"
        parts.append(draw_box(start, top, end - start, bottom - top, "var(--band)", title=title, opacity=0.35))
        if len(faults) <= BANDS_NAMED_MAX:
            parts.append(draw_text(start + 2, top + 9 + 10 * (number % 3), fault.kind, kind="band"))
    return parts


def _draw_legend(nodes: Sequence[int], y: float) -> list[str]:
    parts: list[str] = []
    step = min(56.0, (WIDTH - LEFT - RIGHT) / max(1, len(nodes)))
    for place, node in enumerate(nodes):
        x = LEFT + place * step
        parts += [
            draw_box(x, y - 2, 10, 10, choose_colour(node)),
            draw_text(x + 14, y + 7, name_node(node), kind="tick"),
        ]
    return parts


def _select_views(events: Sequence[ViewEvent]) -> list[ViewEvent]:
    """All that is out of the ordinary, and of the rest as many as can be told apart."""
    if len(events) <= VIEWS_DRAWN_MAX:
        return list(events)
    ordinary = [event for event in events if event.kind == "qc"]
    every = len(ordinary) // VIEWS_DRAWN_MAX + 1
    kept = {id(event) for event in ordinary[::every]}
    return [event for event in events if event.kind != "qc" or id(event) in kept]


def _thin(points: list[tuple[float, float]] | list[tuple[float, int]]) -> list[tuple[float, float]]:
    every = len(points) // POINTS_MAX + 1
    return [*points[::every], *points[-1:]]
