"""What the node says about itself: status for people and tools, probes for supervisors, metrics for Prometheus."""

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sequencer.api.blocks import RANGE_BLOCKS_MAX
from sequencer.api.encoding import BATCH_TRANSACTIONS_MAX, JSON_MEDIA_TYPE, to_hex
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, check_accepts_json
from sequencer.api.problems import NOT_READY, Problem
from sequencer.api.submit import BATCH_BYTES_MAX
from sequencer.api.waiting import WAIT_SECONDS_MAX


class MempoolJson(msgspec.Struct):
    transactions: int
    bytes: int


class LimitsJson(msgspec.Struct):
    """What the API refuses beyond."""

    transaction_bytes_max: int
    batch_bytes_max: int
    batch_transactions_max: int
    wait_s_max: int
    range_blocks_max: int


class StatusJson(msgspec.Struct):
    """Views and heights are those of this node; `height` is the last finalized one.

    `committee` has the lead, in the order in which it was drawn; whoever is in `benched` sits out its next turns.
    """

    network: str
    network_id: str
    validator: str
    version: str
    uptime_s: float
    epoch: int
    view: int
    leader: str | None
    height: int
    decided_view: int
    high_qc_view: int
    mode: Literal["normal", "fallback"]
    committee: list[str]
    benched: list[str]
    behind: bool
    ready: bool
    peers: list[str]
    validators: int
    mempool: MempoolJson
    limits: LimitsJson


class Status:
    """The routes /v1/status, /livez, /readyz and /metrics."""

    def __init__(self, node: NodeView) -> None:
        self._node = node

    async def status(self, request: Request) -> Response:
        check_accepts_json(request)
        Query(request)
        return Response(msgspec.json.encode(self._describe()), media_type=JSON_MEDIA_TYPE)

    async def livez(self, request: Request) -> Response:
        """The process answers: that is all this probe means."""
        Query(request)
        return Response(b'{"status":"alive"}', media_type=JSON_MEDIA_TYPE)

    async def readyz(self, request: Request) -> Response:
        """Ready: has decided, and is not behind."""
        Query(request)
        reason = self._node.is_ready()
        if reason is not None:
            raise Problem(NOT_READY, f"{reason}. Ask again later, or ask another node.")
        return Response(b'{"status":"ready"}', media_type=JSON_MEDIA_TYPE)

    async def metrics(self, request: Request) -> Response:
        page, content_type = self._node.metrics.render(request.headers.get("accept", ""))
        return Response(page, headers={"Content-Type": content_type})

    def _describe(self) -> StatusJson:
        node, network = self._node, self._node.network
        status = node.status()
        return StatusJson(
            network=network.name,
            network_id=to_hex(network.network_id),
            validator=network.name_of(node.validator_id),
            version=node.version,
            uptime_s=round(status.uptime_seconds, 3),
            epoch=status.epoch,
            view=status.view,
            leader=None if status.leader is None else network.name_of(status.leader),
            height=status.decided_height,
            decided_view=status.decided_view,
            high_qc_view=status.high_qc_view,
            mode="fallback" if status.ledger.state.mode.is_fallback else "normal",
            committee=[network.name_of(member) for member in status.ledger.committee],
            benched=[network.name_of(member) for member in sorted(status.ledger.benched)],
            behind=status.is_behind,
            ready=node.is_ready() is None,
            peers=[network.name_of(peer) for peer in sorted(status.peers)],
            validators=len(network.validators),
            mempool=MempoolJson(status.mempool_transactions, status.mempool_bytes),
            limits=LimitsJson(
                transaction_bytes_max=network.transactions.transaction_bytes_max,
                batch_bytes_max=BATCH_BYTES_MAX,
                batch_transactions_max=BATCH_TRANSACTIONS_MAX,
                wait_s_max=WAIT_SECONDS_MAX,
                range_blocks_max=RANGE_BLOCKS_MAX,
            ),
        )
