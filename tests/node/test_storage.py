"""What was appended is there after a restart, and peers get what catch-up asks for."""

import pytest

from consensus.catchup import answer
from consensus.effects import Batch, Decide, batch
from consensus.errors import InvariantViolation
from consensus.leaf import Block
from consensus.messages import RANGE_BLOCKS_MAX, LeafRequest, LeafResponse, RangeRequest, RangeResponse
from consensus.types import Commitment, Height
from sequencer.storage import Storage, StorageError, TransactionLocation
from tests.node.chain import (
    GENESIS,
    RECORD,
    caught_up,
    decided,
    hashes_of,
    make_block,
    make_chain,
    make_fc,
    make_record,
    voted,
)
from tests.node.database import DURABILITIES, Open, reopen

open_storage = pytest.fixture(params=DURABILITIES)(reopen)


def test_a_new_database_holds_the_first_record_and_genesis(open_storage: Open) -> None:
    storage: Storage = open_storage()
    recovered = storage.load()
    assert (recovered.record, recovered.tip.commitment) == (RECORD, GENESIS.commitment)
    assert (recovered.tip_fc, recovered.undecided) == (None, ())
    assert storage.latest_height == 0
    assert storage.read_decided_at(Height(0)) is GENESIS
    assert storage.read_block(GENESIS.commitment) is GENESIS
    assert storage.read_decided_at(Height(1)) is None
    assert storage.find_transaction(bytes(32)) is None
    assert storage.select_decided([bytes(32)]) == set()


async def test_a_vote_is_on_disk_with_its_block(open_storage: Open) -> None:
    block = make_block(GENESIS, [b"transaction"])
    await open_storage().append(voted(block))
    storage = open_storage()
    recovered = storage.load()
    assert recovered.record == make_record(block)
    assert [found.commitment for found in recovered.undecided] == [block.commitment]
    assert recovered.undecided[0].payload == block.payload
    assert storage.latest_height == 0
    assert storage.find_transaction(hashes_of(b"transaction")[0]) is None, "voted for is not decided"


async def test_deciding_moves_the_tip_and_keeps_the_fc(open_storage: Open) -> None:
    first, second = make_chain(GENESIS, 2)
    storage = open_storage()
    await storage.append(voted(first))
    await storage.append(voted(second))
    await storage.append(decided(first))
    assert storage.latest_height == 1
    storage = open_storage()
    recovered = storage.load()
    assert (recovered.tip.commitment, recovered.tip_fc) == (first.commitment, make_fc(first))
    assert [block.commitment for block in recovered.undecided] == [second.commitment]
    assert recovered.record == make_record(second)


async def test_one_turn_may_vote_and_decide(open_storage: Open) -> None:
    first, second = make_chain(GENESIS, 2)
    storage = open_storage()
    await storage.append(Batch(make_record(second), (first, second), (Decide((first,), make_fc(first)),), ()))
    recovered = open_storage().load()
    assert recovered.tip.commitment == first.commitment
    assert [block.commitment for block in recovered.undecided] == [second.commitment]


async def test_what_lost_its_height_is_deleted(open_storage: Open) -> None:
    winner, loser = make_block(GENESIS, [b"winner"]), make_block(GENESIS, [b"loser"], view=2)
    child_of_loser = make_block(loser, [b"child"])
    storage = open_storage()
    for block in (winner, loser, child_of_loser):
        await storage.append(voted(block))
    assert len(open_storage().load().undecided) == 3
    storage = open_storage()
    await storage.append(decided(winner))
    assert storage.read_block(loser.commitment) is None
    recovered = open_storage().load()
    assert [block.commitment for block in recovered.undecided] == [child_of_loser.commitment]
    late = open_storage()
    await late.append(voted(loser))
    assert late.read_block(loser.commitment) is None, "a height that is decided takes no more blocks"


async def test_a_block_that_is_persisted_twice_is_stored_once(open_storage: Open) -> None:
    block = make_block(GENESIS, [b"transaction"])
    storage = open_storage()
    await storage.append(voted(block))
    await storage.append(voted(block))
    storage = open_storage()
    await storage.append(voted(block))
    await storage.append(decided(block))
    await storage.append(voted(block))
    assert open_storage().load().undecided == ()


async def test_a_gap_in_the_chain_is_refused(open_storage: Open) -> None:
    first, second = make_chain(GENESIS, 2)
    storage = open_storage()
    with pytest.raises(InvariantViolation, match="height 0"):
        await storage.append(decided(second))
    with pytest.raises(InvariantViolation):
        await storage.append(decided(first, make_chain(GENESIS, 2, b"other ")[1]))
    assert storage.latest_height == 0
    await storage.append(decided(first))
    assert storage.latest_height == 1, "a refused turn has changed nothing"


async def test_blocks_that_come_by_catch_up_are_stored_when_they_are_decided(open_storage: Open) -> None:
    chain = make_chain(GENESIS, 6)
    storage = open_storage()
    await storage.append(caught_up(*chain[:2], fc=make_fc(chain[4])))
    storage = open_storage()
    assert storage.load().tip_fc is None, "the FC certifies a leaf further up"
    assert storage.read_finality_proof(Height(2), leaves_max=10) is None
    await storage.append(caught_up(*chain[2:4], fc=make_fc(chain[4])))
    storage = open_storage()
    await storage.append(caught_up(*chain[4:], fc=make_fc(chain[5])))
    storage = open_storage()
    assert storage.read_finality(Height(5)) == make_fc(chain[4]), "it was kept until its leaf came"
    assert storage.read_finality(Height(4)) is None
    assert storage.load().tip_fc == make_fc(chain[5])


async def test_a_record_older_than_its_chain_is_refused(open_storage: Open) -> None:
    """Somebody put an old record back: with it the node would sign twice."""
    chain = make_chain(GENESIS, 3)
    storage = open_storage()
    await storage.append(voted(chain[0]))
    await storage.append(decided(*chain))
    with pytest.raises(StorageError, match="older than its decided chain"):
        open_storage().load()


async def test_blocks_are_read_by_height_and_by_commitment(open_storage: Open) -> None:
    chain = make_chain(GENESIS, 5)
    storage = open_storage()
    await storage.append(decided(*chain))
    everything = [GENESIS, *chain]

    def commitments(from_height: int, blocks_max: int = 100, bytes_max: int = 10**6) -> list[Commitment]:
        blocks = storage.read_decided(Height(from_height), blocks_max=blocks_max, bytes_max=bytes_max)
        return [block.commitment for block in blocks]

    def expected(blocks: list[Block]) -> list[Commitment]:
        return [block.commitment for block in blocks]

    assert commitments(0) == expected(everything)
    assert commitments(2, blocks_max=3) == expected(everything[2:5])
    assert commitments(0, blocks_max=1) == expected(everything[:1])
    assert commitments(0, blocks_max=0) == commitments(6) == []
    size = len(chain[0].payload)
    assert commitments(1, bytes_max=2 * size) == expected(chain[:2])
    assert commitments(1, bytes_max=2 * size - 1) == expected(chain[:1])
    assert commitments(1, bytes_max=0) == expected(chain[:1]), "never before one block"
    for block in chain:
        found = storage.read_decided_at(block.leaf.height)
        assert found is not None
        assert (found.commitment, found.payload) == (block.commitment, block.payload)
    found = storage.read_block(chain[3].commitment)
    assert found is not None
    assert found.leaf == chain[3].leaf
    assert storage.read_block(Commitment(bytes(32))) is None
    assert storage.read_decided_at(Height(-1)) is None


async def test_a_finality_proof_leads_to_the_nearest_fc(open_storage: Open) -> None:
    chain = make_chain(GENESIS, 5)
    storage = open_storage()
    await storage.append(decided(chain[0]))
    await storage.append(decided(*chain[1:]))
    assert storage.read_finality_proof(Height(1), leaves_max=0) == ((), make_fc(chain[0]))
    leaves = tuple(block.leaf for block in chain[2:])
    assert storage.read_finality_proof(Height(2), leaves_max=3) == (leaves, make_fc(chain[4]))
    assert storage.read_finality_proof(Height(2), leaves_max=2) is None
    assert storage.read_finality_proof(Height(0), leaves_max=5) == ((chain[0].leaf,), make_fc(chain[0]))
    assert storage.read_finality_proof(Height(6), leaves_max=5) is None


async def test_peers_are_served_from_storage(open_storage: Open) -> None:
    chain = make_chain(GENESIS, RANGE_BLOCKS_MAX + 2)
    undecided = make_block(chain[-1], [b"voted for"])
    storage = open_storage()
    await storage.append(decided(*chain))
    await storage.append(voted(undecided))
    response = answer(RangeRequest(Height(0)), storage)
    assert isinstance(response, RangeResponse)
    assert [entry.leaf for entry in response.blocks] == [block.leaf for block in chain[:RANGE_BLOCKS_MAX]]
    assert response.path == tuple(block.leaf for block in chain[RANGE_BLOCKS_MAX:])
    assert response.fc == make_fc(chain[-1])
    assert answer(LeafRequest(undecided.commitment), storage) == LeafResponse(undecided.leaf, undecided.payload)
    assert answer(RangeRequest(Height(10**6)), storage) is None


async def test_transactions_are_found_where_they_stand(open_storage: Open) -> None:
    chain = make_chain(GENESIS, 3)
    storage = open_storage()
    await storage.append(decided(*chain))
    first, second = hashes_of(b"first of 2", b"second of 2")
    for _ in range(2):
        assert storage.find_transaction(second) == TransactionLocation(Height(2), 1)
        assert storage.select_decided([first, bytes(32), second]) == {first, second}
        assert storage.find_transaction(first[:31] + bytes([first[31] ^ 1])) is None, "shares all that the index keeps"
        storage = open_storage()


async def test_many_turns_survive_a_restart(open_storage: Open) -> None:
    storage = open_storage()
    chain = make_chain(GENESIS, 40)
    for block in chain:
        await storage.append(voted(block))
        await storage.append(batch([Decide((block,), make_fc(block))]))
        if block.leaf.height % 16 == 0:
            storage = open_storage()
            assert storage.load().tip.commitment == block.commitment
    assert storage.latest_height == 40
    for block in chain:
        assert storage.read_finality(block.leaf.height) == make_fc(block)
