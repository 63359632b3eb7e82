"""Peers that ask for blocks get them in rotation, and cannot make a node owe more than a bounded number of answers."""

from pathlib import Path

from trio.testing import MockClock

from consensus.messages import LeafRequest, LeafResponse, RangeRequest, encode
from consensus.types import Commitment, Height, ValidatorId
from sequencer.payload import PayloadCache
from sequencer.serving import REQUESTS_PER_PEER_MAX, BlockServer
from sequencer.storage import create_database
from sequencer.storage.sqlite import SqliteStorage
from sequencer.transport import Delivery
from tests.node.chain import GENESIS, NETWORK, RECORD, VALIDATOR, caught_up, make_chain
from tests.node.fleet import open_fleet

GREEDY, MODEST = ValidatorId(0), ValidatorId(1)


async def test_peers_are_answered_in_rotation_and_each_in_its_own_order(tmp_path: Path) -> None:
    create_database(tmp_path / "node.db", NETWORK, VALIDATOR, RECORD)
    with SqliteStorage(tmp_path / "node.db", NETWORK, VALIDATOR, GENESIS, PayloadCache(8), "os") as storage:
        chain = make_chain(GENESIS, 4)
        await storage.append(caught_up(*chain))
        server = BlockServer(storage)
        for block in chain[:3]:
            assert server.add(GREEDY, LeafRequest(block.commitment))
        server.add(MODEST, LeafRequest(Commitment(bytes(32))))
        server.add(MODEST, LeafRequest(chain[3].commitment))
        answers = []
        while server.has_requests:
            answers.append(server.answer_next())
        served = [LeafResponse(block.leaf, block.payload) for block in chain]
        assert answers == [
            (GREEDY, served[0]),
            (MODEST, None),
            (GREEDY, served[1]),
            (MODEST, served[3]),
            (GREEDY, served[2]),
        ]


async def test_a_flood_of_requests_in_one_read_is_dropped_and_costs_one_answer_a_turn(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(2)
        node, frame = fleet.nodes[0], encode(RangeRequest(Height(1)))
        await node._send_inbox.send(Delivery(MODEST, (frame,) * (REQUESTS_PER_PEER_MAX + 7)))
        await fleet.wait_height(fleet.get_height(0) + 3)
        page = node.metrics.render()[0].decode()
        assert 'sequencer_dropped_frames_total{reason="request_flood"} 7.0' in page
        assert not node._server.has_requests
