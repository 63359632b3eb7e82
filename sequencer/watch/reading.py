"""One look at a network: every node's status, and of the one that is furthest ahead what is the same on all."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sequencer.client import ApiProblem, Client, UnexpectedAnswer, Unreachable
from sequencer.schema.ledger import LedgerJson
from sequencer.schema.records import ChangeJson
from sequencer.schema.status import StatusJson
from sequencer.schema.validators import ValidatorsJson
from sequencer.schema.views import ViewJson
from sequencer.survey import Place, Reply, ask_all

ASK_SECONDS: Final = 0.9
"""A node that says nothing for so long is shown as not answering: the picture is renewed every second."""
VIEWS_SHOWN_MAX: Final = 200
"""As many as a wide terminal has columns."""
BLOCKS_APART_MAX: Final = 2
"""Nodes that are asked one after another may be so far apart although none is behind."""
EVENTS_SHOWN_MAX: Final = 40


@dataclass(frozen=True, slots=True)
class NodeReading:
    """`heard_s`: seconds since this node last heard each validator, by name. `view_age_s`: for how long it has been in
    its view.
    """

    status: StatusJson
    heard_s: dict[str, float]
    view_age_s: float


@dataclass(frozen=True, slots=True)
class Reading:
    """`validators`, `ledger`, `views` and `events` are those of one node, the best informed one that answered."""

    taken_at: float
    """Seconds since the Unix epoch, by the clock of whoever looks."""
    nodes: Sequence[Reply[NodeReading]]
    best: str | None = None
    """URL of the node that the rest is from; None when no node answers."""
    validators: ValidatorsJson | None = None
    ledger: LedgerJson | None = None
    views: Sequence[ViewJson] = field(default_factory=list)
    now_ms: int = 0
    """By the clock of that node."""
    events: Sequence[ChangeJson] = field(default_factory=list)


def take_reading(places: Sequence[Place]) -> Reading:
    """Never raises for what nodes do or do not answer; takes a second or two at the most."""
    nodes = ask_all(places, _ask_node, seconds=ASK_SECONDS)
    for url in _rank(nodes)[:2]:
        try:
            with Client(url, timeout_seconds=ASK_SECONDS) as client:
                return _ask_best(client, nodes)
        except (Unreachable, ApiProblem, UnexpectedAnswer):
            continue
    return Reading(time.time(), nodes)


def _rank(nodes: Sequence[Reply[NodeReading]]) -> list[str]:
    """Of those that are as far as any, the one that has run longest remembers most."""
    known = [(reply.answer.status, reply.place.url) for reply in nodes if reply.answer is not None]
    highest = max((status.height for status, _ in known), default=0)
    known.sort(key=lambda pair: (highest - pair[0].height > BLOCKS_APART_MAX, -pair[0].uptime_s))
    return [url for _, url in known]


def _ask_node(client: Client) -> NodeReading:
    status = client.status()
    page = client.views(limit=1)
    heard = {name: max(0, page.now_ms - at) / 1000 for name, at in page.last_heard_ms.items()}
    return NodeReading(status, heard, (page.now_ms - page.views[-1].started_ms) / 1000 if page.views else 0.0)


def _ask_best(client: Client, nodes: Sequence[Reply[NodeReading]]) -> Reading:
    page = client.views(limit=VIEWS_SHOWN_MAX)
    return Reading(
        taken_at=time.time(),
        nodes=nodes,
        best=client.url,
        validators=client.validators(),
        ledger=client.ledger(),
        views=page.views,
        now_ms=page.now_ms,
        events=client.changes(limit=EVENTS_SHOWN_MAX).changes,
    )
