"""What a node says about itself."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sequencer.schema.fields import Amount, Count, Epoch, Hash, Height, ValidatorName, View
from sequencer.schema.ledger import Mode


class MempoolJson(msgspec.Struct):
    """What waits here to be ordered."""

    transactions: Annotated[Count, Meta(description="Pending transactions.")]
    bytes: Annotated[Count, Meta(description="Their size in bytes.")]


class LimitsJson(msgspec.Struct):
    """What the API refuses beyond."""

    transaction_bytes_max: Annotated[Count, Meta(description="Size of one transaction, in bytes.")]
    batch_bytes_max: Annotated[Count, Meta(description="Size of the body of one batch, in bytes.")]
    batch_transactions_max: Annotated[Count, Meta(description="Transactions in one batch.")]
    operation_bytes_max: Annotated[Count, Meta(description="Size of one encoded stake operation, in bytes.")]
    head_bytes_max: Annotated[Count, Meta(description="Size of a request's line and headers, in bytes.")]
    message_bytes_max: Annotated[
        Count, Meta(description="Size of a message that a client sends over WebSocket, in bytes.")
    ]
    body_s_max: Annotated[Count, Meta(description="Seconds within which a body must have arrived.")]
    stalled_s_max: Annotated[Count, Meta(description="Seconds after which a client is cut off that takes nothing.")]
    wait_s_max: Annotated[Count, Meta(description="Seconds for which a request may wait for finality.")]
    range_blocks_max: Annotated[Count, Meta(description="Blocks in one answer.")]
    range_payload_bytes_max: Annotated[
        Count, Meta(description="Bytes of payload behind the blocks of one answer, unless a single one has more.")
    ]
    schedule_views_max: Annotated[Count, Meta(description="Views to come in one answer.")]
    records_max: Annotated[Count, Meta(description="Changes of the ledger in one answer, and that a node remembers.")]
    views_max: Annotated[Count, Meta(description="Views that were, in one answer.")]
    faults_max: Annotated[Count, Meta(description="Faults in one answer.")]
    pending_operations_max: Annotated[Count, Meta(description="Stake operations that wait, and in one answer.")]
    streams_max: Annotated[Count, Meta(description="Readers of streams at a time, on this node.")]
    stream_lag_s_max: Annotated[
        Count, Meta(description="Seconds that a reader of a stream may ask for before it is told that it lags.")
    ]


class StatusJson(msgspec.Struct):
    """Where one node stands."""

    network: Annotated[str, Meta(description="Name of the network.")]
    network_id: Annotated[Hash, Meta(description="Of the network, which every signature covers.")]
    validator: Annotated[ValidatorName, Meta(description="Which validator this node is.")]
    version: Annotated[str, Meta(description="Of the software.")]
    uptime_s: Annotated[float, Meta(ge=0, description="Seconds since the node started.")]
    epoch: Annotated[Epoch, Meta(description="The epoch under way.")]
    epoch_first_height: Annotated[Height, Meta(description="Of its first block.")]
    epoch_last_height: Annotated[Height, Meta(description="Of its last block.")]
    view: Annotated[View, Meta(description="In which this node is.")]
    leader: Annotated[
        ValidatorName | None, Meta(description="Of that view; null while the block that it extends is missing here.")
    ]
    height: Annotated[Height, Meta(description="Of the latest finalized block.")]
    decided_view: Annotated[View, Meta(description="In which that block was proposed.")]
    high_qc_view: Annotated[View, Meta(description="Of the highest quorum certificate that this node knows.")]
    mode: Mode
    mode_reason: Annotated[str, Meta(description="Why, in words for people.")]
    committee: Annotated[list[ValidatorName], Meta(description="Names of the committee that has the lead, as drawn.")]
    primary: Annotated[list[ValidatorName], Meta(description="Names of the primary committee's members.")]
    fallback: Annotated[list[ValidatorName], Meta(description="Names of the fallback committee's members.")]
    benched: Annotated[list[ValidatorName], Meta(description="Names of those that sit out their next turns (S3).")]
    jailed: Annotated[list[ValidatorName], Meta(description="Names of those that do not lead until let out (J1).")]
    tombstoned: Annotated[list[ValidatorName], Meta(description="Names of those that never come back (J3).")]
    pool: Annotated[Amount, Meta(description="Slashed money from which broken promises are compensated.")]
    burned: Annotated[Amount, Meta(description="Slashed money that nobody will ever have again.")]
    behind: Annotated[bool, Meta(description="Whether it knows of certified blocks that it has not got.")]
    ready: Annotated[bool, Meta(description="Whether it has decided and is not behind.")]
    peers: Annotated[list[ValidatorName], Meta(description="Names of those to which it is connected, without itself.")]
    validators: Annotated[Count, Meta(description="Members of this epoch's stake table.")]
    mempool: Annotated[MempoolJson, Meta(description="What waits here to be ordered.")]
    limits: Annotated[LimitsJson, Meta(description="What the API refuses beyond.")]


class AliveJson(msgspec.Struct):
    """The process answers."""

    status: Annotated[Literal["alive"], Meta(description="That is all this probe means.")] = "alive"


class ReadyJson(msgspec.Struct):
    """The node has decided and is not behind."""

    status: Annotated[Literal["ready"], Meta(description="Send it requests.")] = "ready"
