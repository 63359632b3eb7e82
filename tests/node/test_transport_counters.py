"""Drops are counted one by one and logged now and then."""

import structlog.testing
import trio.testing

from consensus.types import ValidatorId
from sequencer.transport.counters import LOG_INTERVAL_SECONDS, DropLog
from sequencer.transport.link import PeerLink
from sequencer.transport.outbox import OFFLINE_LIMIT
from tests.node.mesh import DropRecorder

PEER = ValidatorId(1)


async def test_a_flood_of_drops_is_a_few_lines_that_add_up(mock_clock: trio.testing.MockClock) -> None:
    recorder = DropRecorder()
    with structlog.testing.capture_logs() as lines:
        drops = DropLog(recorder)
        for _ in range(1000):
            drops.drop("bad_proof", None)
        drops.drop("hung_up", None)
        mock_clock.jump(LOG_INTERVAL_SECONDS)
        drops.drop("bad_proof", None)
    assert recorder.counts == {"bad_proof": 1001, "hung_up": 1}
    assert [(line["reason"], line["count"]) for line in lines] == [
        ("bad_proof", 1),
        ("hung_up", 1),
        ("bad_proof", 1000),
    ]


async def test_frames_for_an_absent_peer_are_counted_in_silence() -> None:
    recorder = DropRecorder()
    with structlog.testing.capture_logs() as lines:
        link = PeerLink(PEER, DropLog(recorder))
        for _ in range(OFFLINE_LIMIT.frames + 3):
            link.outbox.put(b"vote")
    assert recorder.counts == {"outbox_offline": link.counters.frames_dropped} == {"outbox_offline": 3}
    assert lines == []
