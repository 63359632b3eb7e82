"""Who said what to whom around the failure: time runs downwards, each node is a column, each message a slanted line."""

from collections.abc import Sequence
from typing import Final

from netsim.page.svg import (
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    draw_box,
    draw_cross,
    draw_line,
    draw_mark,
    draw_text,
    wrap,
)
from netsim.scenario.outcome import Flight, Outcome
from netsim.scenario.targets import name_node

HEIGHT: Final = 640
FLIGHTS_MAX: Final = 1_500
"""More lines than this are a grey area: the window is cut where it has so many."""
BEYOND_SECONDS: Final = 0.01
BEYOND_SHARE: Final = 0.1
"""How far the picture goes on after the last message was sent. What waits longer for its receiver leaves it."""

COLOURS: Final = {
    "QuorumProposal": "#0072b2",
    "QuorumVote": "#009e73",
    "FinalizeVote": "#8c8c00",
    "TimeoutVote": "#d55e00",
}
_OTHER: Final = "#999999"


def draw_space_time(outcome: Outcome) -> str:
    """Empty without messages."""
    flights = sorted(outcome.timeline.flights, key=lambda flight: flight.sent_seconds)[:FLIGHTS_MAX]
    if not flights:
        return ""
    first, last = flights[0].sent_seconds, flights[-1].sent_seconds
    end = last + max(BEYOND_SECONDS, BEYOND_SHARE * (last - first))
    time = Scale(first, end, TOP + 20, HEIGHT - 30)
    nodes = outcome.scenario.cluster.nodes + outcome.scenario.cluster.joiners
    place = Scale(0, max(1, nodes - 1), LEFT + 20, WIDTH - RIGHT - 30)
    parts = _draw_columns(outcome, nodes, place, time)
    for flight in flights:
        parts += _draw_flight(flight, place, time)
    parts += _draw_changes(outcome, place, time)
    parts += _draw_legend()
    return wrap(parts, HEIGHT, "Messages between nodes around the failure; time runs downwards")


def _draw_columns(outcome: Outcome, nodes: int, place: Scale, time: Scale) -> list[str]:
    parts: list[str] = []
    for fault in outcome.faults:
        start, end = max(fault.start_seconds, time.low), min(fault.end_seconds, time.high)
        if start < end:
            parts.append(
                draw_box(LEFT, time(start), WIDTH - RIGHT - LEFT, time(end) - time(start), "var(--band)", opacity=0.3)
            )
            parts.append(draw_text(LEFT + 3, time(start) + 10, fault.kind, kind="band"))
    for node in range(nodes):
        x = place(node)
        parts.append(draw_text(x, TOP + 8, name_node(node), anchor="middle", kind="tick"))
        parts.append(draw_line(x, time.start, x, time.end, "var(--rule)"))
    for tick in time.compute_ticks(10):
        parts.append(draw_text(LEFT - 8, time(tick) + 4, f"{tick:.3f} s", anchor="end", kind="tick"))
        parts.append(draw_line(LEFT - 4, time(tick), LEFT, time(tick), "var(--rule)"))
    return parts


def _draw_flight(flight: Flight, place: Scale, time: Scale) -> Sequence[str]:
    colour = COLOURS.get(flight.kind, _OTHER)
    x1, y1, x2 = place(flight.source), time(flight.sent_seconds), place(flight.destination)
    title = f"{flight.kind} of view {flight.view}: {name_node(flight.source)} to {name_node(flight.destination)}"
    if flight.arrived_seconds is not None and flight.arrived_seconds > time.high:
        share = (time.high - flight.sent_seconds) / (flight.arrived_seconds - flight.sent_seconds)
        late = f"{title}, at {flight.arrived_seconds:.3f} s"
        return (draw_line(x1, y1, x1 + (x2 - x1) * share, time.end, colour, width=0.6, dash="6 3", title=late),)
    if flight.arrived_seconds is not None:
        y2 = time(flight.arrived_seconds)
        return (draw_line(x1, y1, x2, y2, colour, width=1.1, title=title), draw_mark(x2, y2, colour, radius=1.5))
    # Lost: as far as a third of the way.
    x, y = x1 + (x2 - x1) / 3, y1 + 6
    lost = f"{title}, lost"
    return (draw_line(x1, y1, x, y, colour, dash="3 2", title=lost), draw_cross(x, y, colour, size=2.5, title=lost))


def _draw_changes(outcome: Outcome, place: Scale, time: Scale) -> list[str]:
    parts: list[str] = []
    for decided in outcome.timeline.decides:
        if time.low <= decided.seconds <= time.high:
            title = f"{name_node(decided.node)} decides height {decided.height}, view {decided.view}"
            parts.append(draw_box(place(decided.node) - 4, time(decided.seconds) - 2, 8, 4, "var(--good)", title=title))
    for event in outcome.timeline.views:
        if event.kind == "timeout" and time.low <= event.seconds <= time.high:
            title = f"{name_node(event.node)} gives up view {event.view}"
            parts.append(draw_mark(place(event.node), time(event.seconds), "var(--bad)", radius=4, title=title))
    for change in outcome.timeline.nodes:
        if time.low <= change.seconds <= time.high:
            title = f"{name_node(change.node)}: {change.kind}"
            parts.append(draw_cross(place(change.node), time(change.seconds), "var(--text)", size=6, title=title))
    return parts


def _draw_legend() -> list[str]:
    parts: list[str] = []
    x = float(LEFT)
    for kind, colour in (*COLOURS.items(), ("other", _OTHER)):
        parts += [
            draw_line(x, HEIGHT - 8, x + 18, HEIGHT - 8, colour, width=2),
            draw_text(x + 22, HEIGHT - 4, kind, kind="tick"),
        ]
        x += 124
    parts.append(draw_text(x, HEIGHT - 4, "red dot: gave up · bar: decided · cross: lost", kind="tick"))
    return parts
