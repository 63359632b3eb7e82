"""What the report draws of real nodes, from their journals: views, and the messages around a moment."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from consensus.messages import QuorumProposal
from consensus.trace import Entered, GaveUp, Heard, Record, Said
from consensus.types import ValidatorId
from netsim.scenario.outcome import Flight, Timeline, ViewEvent
from netsim.trace.journals import NodeJournal, merge_records

FLIGHTS_MAX: Final = 400
"""Messages that are drawn: more are a grey blot."""
BEFORE_SECONDS: Final = 0.02
"""Of a healthy network, before the moment."""

_Key = tuple[ValidatorId, ValidatorId, str, int]
"""Source, destination, kind, view: what tells one message from another in a journal."""


def draw_timeline(journals: Sequence[NodeJournal], zero: int, moment_seconds: float) -> Timeline:
    """Times count from `zero`, in microseconds since the Unix epoch; nodes are numbered as validators.

    Messages are drawn from just before the moment on. One that no journal has heard is lost, or its receiver was down.
    """
    everyone = [journal.validator_id for journal in journals]
    start = zero + round((moment_seconds - BEFORE_SECONDS) * 1e6)
    views: list[ViewEvent] = []
    sent: list[tuple[int, _Key]] = []
    heard: dict[_Key, list[int]] = defaultdict(list)
    for node, record in merge_records(journals, []):
        event = _describe_view(node, record, zero)
        if event is not None:
            views.append(event)
        elif record.at < start:
            continue
        elif isinstance(record, Heard):
            heard[record.sender, node, record.kind, record.view].append(record.at)
        elif isinstance(record, Said) and len(sent) < FLIGHTS_MAX:
            sent += [(record.at, key) for key in _list_keys(node, record, everyone)]
    flights = tuple(_make_flight(at, key, heard[key], zero) for at, key in sent[:FLIGHTS_MAX])
    return Timeline(views=tuple(views), flights=flights)


def _describe_view(node: ValidatorId, record: Record, zero: int) -> ViewEvent | None:
    match record:
        case Entered(at=at, view=view, timed_out=timed_out):
            return ViewEvent((at - zero) / 1e6, int(node), int(view), "tc" if timed_out else "qc")
        case GaveUp(at=at, view=view):
            return ViewEvent((at - zero) / 1e6, int(node), int(view), "timeout")
        case _:
            return None


def _list_keys(node: ValidatorId, said: Said, everyone: Sequence[ValidatorId]) -> list[_Key]:
    message = said.message
    view = message.leaf.view if isinstance(message, QuorumProposal) else message.view
    receivers = everyone if said.to is None else [said.to]
    return [(node, other, type(message).__name__, int(view)) for other in receivers if other != node]


def _make_flight(at: int, key: _Key, heard: Sequence[int], zero: int) -> Flight:
    """A repeated message arrives at the first moment after it was said; clocks of one machine differ by little."""
    source, destination, kind, view = key
    arrived = next((moment for moment in heard if moment >= at), None)
    arrived_seconds = None if arrived is None else (arrived - zero) / 1e6
    return Flight((at - zero) / 1e6, arrived_seconds, int(source), int(destination), kind, view)
