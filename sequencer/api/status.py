"""What the node says about itself: status for people and tools, probes for supervisors, metrics for Prometheus."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from consensus.epochs import compute_last_height
from consensus.ledger import Status as LedgerStatus
from sequencer.api.encoding import answer_json, to_hex
from sequencer.api.limits import gather_limits
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query
from sequencer.api.problems import NOT_READY, Problem
from sequencer.api.route import Answer, Route
from sequencer.directory import Directory
from sequencer.schema.status import AliveJson, LimitsJson, MempoolJson, ReadyJson, StatusJson
from sequencer.standing import compute_first_height, describe_mode

_PAGE: Final = {"type": "string"}


class Status:
    """The routes /v1/status, /v1/limits, /livez, /readyz and /metrics."""

    def __init__(self, node: NodeView, directory: Directory) -> None:
        self._node = node
        self._directory = directory
        self._limits = gather_limits(node.network)

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/v1/status",
                handler=self.status,
                name="getStatus",
                tag="Node",
                summary="Where this node stands",
                description="View, height, epoch, who leads, who is benched or jailed, how full the mempool is, and "
                "whether it is ready.",
                answers=(Answer((StatusJson,)),),
            ),
            Route(
                method="GET",
                path="/v1/limits",
                handler=self.limits,
                name="getLimits",
                tag="Node",
                summary="What the API refuses beyond",
                description="Sizes, numbers and times, all of which are enforced.",
                answers=(Answer((LimitsJson,)),),
            ),
            Route(
                method="GET",
                path="/livez",
                handler=self.livez,
                name="getLivez",
                tag="Node",
                summary="Whether the process answers",
                description="For a supervisor that restarts what hangs. It says nothing about the chain.",
                answers=(Answer((AliveJson,)),),
                is_probe=True,
            ),
            Route(
                method="GET",
                path="/readyz",
                handler=self.readyz,
                name="getReadyz",
                tag="Node",
                summary="Whether to send it requests",
                description="Ready: it has decided since it started, and is not behind.",
                answers=(Answer((ReadyJson,)),),
                problems=(NOT_READY,),
                is_probe=True,
            ),
            Route(
                method="GET",
                path="/metrics",
                handler=self.metrics,
                name="getMetrics",
                tag="Node",
                summary="Metrics for Prometheus",
                description="In the text format of Prometheus, or as OpenMetrics for a scraper that asks for it.",
                answers=(
                    Answer(description="Prometheus text.", media_type="text/plain", schema=_PAGE),
                    Answer(description="OpenMetrics.", media_type="application/openmetrics-text", schema=_PAGE),
                ),
                is_probe=True,
            ),
        )

    async def status(self, _request: Request, _query: Query) -> Response:
        return answer_json(self._describe())

    async def limits(self, _request: Request, _query: Query) -> Response:
        return answer_json(self._limits)

    async def livez(self, _request: Request, _query: Query) -> Response:
        """The process answers: that is all this probe means."""
        return answer_json(AliveJson())

    async def readyz(self, _request: Request, _query: Query) -> Response:
        """Ready: has decided, and is not behind."""
        reason = self._node.is_ready()
        if reason is not None:
            raise Problem(NOT_READY, f"{reason}. Ask again later, or ask another node.")
        return answer_json(ReadyJson())

    async def metrics(self, request: Request, _query: Query) -> Response:
        page, content_type = self._node.metrics.render(request.headers.get("accept", ""))
        return Response(page, headers={"Content-Type": content_type})

    def _describe(self) -> StatusJson:
        node, network = self._node, self._node.network
        status = node.status()
        ledger, state, parameters = status.ledger, status.ledger.state, network.ledger_parameters()
        self._directory.update(ledger)
        name_of = self._directory.name_of
        return StatusJson(
            network=network.name,
            network_id=to_hex(network.network_id),
            validator=name_of(node.validator_id),
            version=node.version,
            uptime_s=round(status.uptime_seconds, 3),
            epoch=ledger.epoch,
            epoch_first_height=compute_first_height(ledger.epoch, parameters),
            epoch_last_height=compute_last_height(ledger.epoch, parameters),
            view=status.view,
            leader=None if status.leader is None else name_of(status.leader),
            height=status.decided_height,
            decided_view=status.decided_view,
            high_qc_view=status.high_qc_view,
            mode="fallback" if state.mode.is_fallback else "normal",
            mode_reason=describe_mode(ledger, parameters),
            committee=list(map(name_of, ledger.committee)),
            primary=list(map(name_of, state.primary)),
            fallback=list(map(name_of, state.fallback)),
            benched=list(map(name_of, sorted(ledger.benched))),
            jailed=[name_of(entry.id) for entry in state.validators if entry.status is LedgerStatus.JAILED],
            tombstoned=[name_of(entry.id) for entry in state.validators if entry.status is LedgerStatus.TOMBSTONED],
            pool=state.pool,
            burned=state.burned,
            behind=status.is_behind,
            ready=node.is_ready() is None,
            peers=list(map(name_of, sorted(status.peers))),
            validators=len(ledger.table),
            mempool=MempoolJson(status.mempool_transactions, status.mempool_bytes),
            limits=self._limits,
        )
