"""A node whose chain is empty asks its peers for the end of an epoch that its operator trusts (T5)."""

from typing import Final

import structlog
import trio

from consensus.context import EpochContext
from consensus.epochs import EpochStart
from consensus.errors import InvalidMessage
from consensus.joining import open_snapshot
from consensus.messages import Snapshot, SnapshotRequest, decode, encode
from consensus.types import ValidatorId
from sequencer.anchor import Anchor
from sequencer.transport import Delivery, Found, Item, Transport

log = structlog.get_logger("joining")

ASK_SECONDS: Final = 2.0
"""Until the same question goes to all who are connected again: they may have come, or the answer got lost."""


async def fetch_start(transport: Transport, anchor: Anchor, network: EpochContext) -> EpochStart:
    """Ask everybody who is connected until somebody's answer follows from the anchor. Runs the transport meanwhile.

    Whoever answers something else is passed over. Waits for as long as nobody has it.
    """
    send_items, items = trio.open_memory_channel[Item](0)
    request = encode(SnapshotRequest(anchor.epoch))
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run, send_items)
        nursery.start_soon(_ask_again, transport, request)
        async for item in items:
            if isinstance(item, Found):
                transport.send(item.peer, request)
            start = _look(item, anchor, network) if isinstance(item, Delivery) else None
            if start is not None:
                nursery.cancel_scope.cancel()
                log.info(
                    "snapshot_verified", anchor=str(anchor), height=start.block.leaf.height, epoch=start.ledger.epoch
                )
                return start
    raise RuntimeError("the transport ended before a snapshot came")


async def _ask_again(transport: Transport, request: bytes) -> None:
    while True:
        await trio.sleep(ASK_SECONDS)
        transport.broadcast(request)


def _look(delivery: Delivery, anchor: Anchor, network: EpochContext) -> EpochStart | None:
    for frame in delivery.frames:
        try:
            message = decode(frame)
            if isinstance(message, Snapshot):
                return open_snapshot(message, anchor.leaf, network)
        except InvalidMessage as error:
            _refuse(delivery.sender, error)
    return None


def _refuse(peer: ValidatorId, error: InvalidMessage) -> None:
    log.warning("snapshot_refused", peer=peer, reason=error.reason, detail=error.detail)
