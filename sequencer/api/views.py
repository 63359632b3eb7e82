"""The last views, as this node saw them, and why they went as they did."""

from collections.abc import Iterable
from typing import Final

import trio
from starlette.requests import Request
from starlette.responses import Response

from consensus.types import Microseconds, ValidatorId, View
from sequencer.api.encoding import answer_json, to_hex
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, integer, parse_integer
from sequencer.api.problems import BAD_VIEW, VIEW_NOT_FOUND, Problem
from sequencer.api.route import Answer, PathParameter, Route
from sequencer.directory import Directory
from sequencer.schema.fields import HEIGHT_MAX
from sequencer.schema.views import VIEWS_LISTED_MAX, SeenProposalJson, ViewJson, ViewsJson
from sequencer.view_reasons import explain_view
from sequencer.view_record import ViewRecord

VIEWS_LISTED_DEFAULT: Final = 32

_FROM: Final = integer("from", "The lowest view; without, the latest ones.", default=None, least=0, most=HEIGHT_MAX)
_LIMIT: Final = integer(
    "limit", "How many views at most.", default=VIEWS_LISTED_DEFAULT, least=1, most=VIEWS_LISTED_MAX, example=4
)
_VIEW: Final = PathParameter(
    "view",
    "The number of a view such as 17, or latest for the one that the node is in.",
    {"type": "string", "pattern": "^([0-9]{1,19}|latest)$"},
    "latest",
)


class Views:
    """The routes under /v1/views."""

    def __init__(self, node: NodeView, directory: Directory) -> None:
        self._node = node
        self._directory = directory

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/v1/views",
                handler=self.list,
                name="listViews",
                tag="Consensus",
                summary="The last views",
                description="In ascending order, from a view on or the latest ones: who led, what came when, who "
                "voted, how each ended and why. Ask again from `next` until it is null, then from the first one that "
                "is not final yet. The node remembers about a thousand views since it started.",
                parameters=(_FROM, _LIMIT),
                answers=(Answer((ViewsJson,)),),
            ),
            Route(
                method="GET",
                path="/v1/views/{view}",
                handler=self.get,
                name="getView",
                tag="Consensus",
                summary="One view",
                description="As this node saw it; others may have seen other things.",
                path_parameters=(_VIEW,),
                answers=(Answer((ViewJson,)),),
                problems=(BAD_VIEW, VIEW_NOT_FOUND),
            ),
        )

    async def list(self, _request: Request, query: Query) -> Response:
        history, limit = self._node.views, query.read(_LIMIT)
        first = query.read(_FROM)
        self._directory.update(self._node.status().ledger)
        records = history.read(None if first is None else View(first), limit)
        current = history.get_current()
        latest = None if current is None else current.view
        has_more = bool(records) and latest is not None and records[-1].view < latest
        shown: list[ViewJson] = []
        for record in records:
            shown.append(self.describe(record))
            await trio.lowlevel.checkpoint()
        return answer_json(
            ViewsJson(
                now_ms=_to_ms(history.now),
                oldest=history.get_oldest(),
                latest=latest,
                next=records[-1].view + 1 if has_more else None,
                last_heard_ms={
                    self._directory.name_of(validator): _to_ms(at)
                    for validator, at in sorted(history.last_heard.items())
                },
                views=shown,
            )
        )

    async def get(self, request: Request, _query: Query) -> Response:
        text, history = request.path_params["view"], self._node.views
        number = parse_integer(text)
        if number is None and text != "latest":
            raise Problem(BAD_VIEW, f"{text[:80]!r} is neither a number such as 17 nor latest.")
        self._directory.update(self._node.status().ledger)
        record = history.get_current() if number is None else history.find(View(number))
        if record is None:
            raise self._make_not_found(text, number)
        return answer_json(self.describe(record))

    def describe(self, record: ViewRecord) -> ViewJson:
        """The directory must know everybody by name already."""
        proposal = record.proposal
        late = dict.fromkeys((*record.compute_late(record.quorum), *record.compute_late(record.finalize)))
        return ViewJson(
            view=record.view,
            epoch=record.epoch,
            leader=None if record.leader is None else self._directory.name_of(record.leader),
            leader_reason=record.leader_reason,
            committee="fallback" if record.is_fallback else "primary",
            entered_by=record.entered_by,
            started_ms=_to_ms(record.entered_at),
            ended_ms=None if record.ended_at is None else _to_ms(record.ended_at),
            next_view=record.next_view,
            outcome=record.outcome,
            proposal=None
            if proposal is None
            else SeenProposalJson(
                to_hex(proposal.leaf),
                proposal.height,
                record.transactions,
                proposal.payload_bytes,
                _measure(record, proposal.seen_at),
            ),
            qc_after_ms=None if record.qc_at is None else _measure(record, record.qc_at),
            fc_after_ms=None if record.fc_at is None else _measure(record, record.fc_at),
            quorum_voters=_name(self._directory, record.quorum),
            finalize_voters=_name(self._directory, record.finalize),
            timeout_voters=_name(self._directory, record.timeout),
            rival_voters=_name(self._directory, record.compute_rivals()),
            late_voters=_name(self._directory, late),
            timeout_cause=record.timeout_cause,
            timeout_after_ms=None if record.timed_out_at is None else _measure(record, record.timed_out_at),
            reasons=explain_view(record, self._node.validator_id, self._directory.name_of),
        )

    def _make_not_found(self, text: str, view: int | None) -> Problem:
        """With the views that are here: nobody needs to guess whether to wait or to ask another node."""
        history = self._node.views
        current, oldest = history.get_current(), history.get_oldest()
        if current is None or oldest is None or view is None:
            return Problem(VIEW_NOT_FOUND, "This node has not entered any view yet. Ask again in a moment.")
        if view > current.view:
            why = f"this node is in view {current.view}. Ask again later"
        elif view < oldest:
            why = f"this node remembers views from {oldest} on, those since it started and not more than a thousand"
        else:
            why = "this node was never in it: it went past it, as one does that was behind. Ask another node"
        return Problem(VIEW_NOT_FOUND, f"View {text} is not here: {why}.", oldest=oldest, latest=current.view)


def _name(directory: Directory, validators: Iterable[ValidatorId]) -> list[str]:
    return [directory.name_of(validator) for validator in validators]


def _to_ms(moment: Microseconds) -> int:
    return moment // 1000


def _measure(record: ViewRecord, moment: Microseconds) -> float:
    """Milliseconds since the view was entered; what opened the view itself may have come a moment before."""
    return max(0, moment - record.entered_at) // 10 / 100
