"""Every bound of the API that a client can meet, gathered for GET /v1/limits. Enforced where they come from."""

from typing import Final

from consensus.docket import OPERATIONS_PENDING_MAX
from sequencer.api.blocks import RANGE_PAYLOAD_BYTES_MAX
from sequencer.api.body import BODY_SECONDS_MAX
from sequencer.api.faults import LIMIT_MAX as FAULTS_MAX
from sequencer.api.ledger import SCHEDULE_VIEWS_MAX
from sequencer.api.streaming.reader import LAG_SECONDS_MAX
from sequencer.api.streaming.routes import STREAMS_MAX
from sequencer.api.waiting import WAIT_SECONDS_MAX
from sequencer.ledger_log import CHANGES_KEPT_MAX
from sequencer.network_config import NetworkConfig
from sequencer.schema.blocks import RANGE_BLOCKS_MAX
from sequencer.schema.operations import OPERATION_BYTES_MAX
from sequencer.schema.status import LimitsJson
from sequencer.schema.transactions import BATCH_BYTES_MAX, BATCH_TRANSACTIONS_MAX
from sequencer.schema.views import VIEWS_LISTED_MAX

HEAD_BYTES_MAX: Final = 16 * 1024
"""Request line and headers; the server cuts off who sends more."""

STALLED_SECONDS_MAX: Final = 20
"""A client that takes nothing of its answer for so long is cut off by the kernel: it would hold the answer for ever."""

MESSAGE_BYTES_MAX: Final = 1024
"""Of a WebSocket message from a client. Streams listen to none; some clients greet or show in this way that they live.
"""


def gather_limits(network: NetworkConfig) -> LimitsJson:
    return LimitsJson(
        transaction_bytes_max=network.transactions.transaction_bytes_max,
        batch_bytes_max=BATCH_BYTES_MAX,
        batch_transactions_max=BATCH_TRANSACTIONS_MAX,
        operation_bytes_max=OPERATION_BYTES_MAX,
        head_bytes_max=HEAD_BYTES_MAX,
        message_bytes_max=MESSAGE_BYTES_MAX,
        body_s_max=BODY_SECONDS_MAX,
        stalled_s_max=STALLED_SECONDS_MAX,
        wait_s_max=WAIT_SECONDS_MAX,
        range_blocks_max=RANGE_BLOCKS_MAX,
        range_payload_bytes_max=RANGE_PAYLOAD_BYTES_MAX,
        schedule_views_max=SCHEDULE_VIEWS_MAX,
        records_max=CHANGES_KEPT_MAX,
        views_max=VIEWS_LISTED_MAX,
        faults_max=FAULTS_MAX,
        pending_operations_max=OPERATIONS_PENDING_MAX,
        streams_max=STREAMS_MAX,
        stream_lag_s_max=LAG_SECONDS_MAX,
    )
