"""What the node says about itself: status for people and tools, probes for supervisors, metrics for Prometheus."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from consensus.epochs import compute_last_height
from consensus.ledger import Status as LedgerStatus
from sequencer.api.blocks import RANGE_BLOCKS_MAX
from sequencer.api.encoding import BATCH_TRANSACTIONS_MAX, JSON_MEDIA_TYPE, to_hex
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, check_accepts_json
from sequencer.api.problems import NOT_READY, Problem
from sequencer.api.submit import BATCH_BYTES_MAX
from sequencer.api.waiting import WAIT_SECONDS_MAX
from sequencer.directory import Directory
from sequencer.schema.status import AliveJson, LimitsJson, MempoolJson, ReadyJson, StatusJson
from sequencer.standing import compute_first_height, describe_mode


class Status:
    """The routes /v1/status, /livez, /readyz and /metrics."""

    def __init__(self, node: NodeView, directory: Directory) -> None:
        self._node = node
        self._directory = directory

    async def status(self, request: Request) -> Response:
        check_accepts_json(request)
        Query(request)
        return Response(msgspec.json.encode(self._describe()), media_type=JSON_MEDIA_TYPE)

    async def livez(self, request: Request) -> Response:
        """The process answers: that is all this probe means."""
        Query(request)
        return Response(msgspec.json.encode(AliveJson()), media_type=JSON_MEDIA_TYPE)

    async def readyz(self, request: Request) -> Response:
        """Ready: has decided, and is not behind."""
        Query(request)
        reason = self._node.is_ready()
        if reason is not None:
            raise Problem(NOT_READY, f"{reason}. Ask again later, or ask another node.")
        return Response(msgspec.json.encode(ReadyJson()), media_type=JSON_MEDIA_TYPE)

    async def metrics(self, request: Request) -> Response:
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
            limits=LimitsJson(
                transaction_bytes_max=network.transactions.transaction_bytes_max,
                batch_bytes_max=BATCH_BYTES_MAX,
                batch_transactions_max=BATCH_TRANSACTIONS_MAX,
                wait_s_max=WAIT_SECONDS_MAX,
                range_blocks_max=RANGE_BLOCKS_MAX,
            ),
        )
