"""Where an epoch ends on disk: what is kept of it, what is dropped, and how a node begins with a snapshot (T2, T5)."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from consensus.effects import Batch, BeginEpoch, Decide, batch
from consensus.errors import InvariantViolation
from consensus.leaf import Block
from consensus.messages import Snapshot
from consensus.types import Epoch, Height
from sequencer.storage import StorageError, TransactionLocation
from tests.node.chain import (
    GENESIS,
    began,
    caught_up,
    decided,
    hashes_of,
    make_block,
    make_chain,
    make_fc,
    make_first_record,
    make_record,
    make_start,
    voted,
)
from tests.node.database import DURABILITIES, Open, reopen

FIRST, SECOND = Epoch(0), Epoch(1)

open_storage = pytest.fixture(params=DURABILITIES)(reopen)


def commitments(blocks: list[Block] | tuple[Block, ...]) -> list[bytes]:
    return [block.commitment for block in blocks]


def without_payload(block: Block) -> Block:
    """As a snapshot brings it."""
    return Block(block.leaf, b"")


async def test_t2_what_an_epoch_begins_with_is_found_again(open_storage: Open) -> None:
    chain = make_chain(GENESIS, 3)
    start = make_start(chain[-1])
    storage = open_storage()
    assert storage.load().epoch is None
    await storage.append(decided(*chain[:2]))
    await storage.append(began(start, Decide((chain[2],), make_fc(chain[2]))))
    for _ in range(2):
        storage = open_storage()
        recovered = storage.load()
        assert recovered.epoch is not None
        assert (recovered.epoch.block.commitment, recovered.epoch.block.payload) == (
            chain[2].commitment,
            chain[2].payload,
        )
        assert (recovered.epoch.proof, recovered.epoch.before) == (start.proof, start.before)
        assert recovered.epoch.ledger == recovered.ledger == start.ledger
        assert recovered.record == make_first_record(start)
        assert (recovered.tip.commitment, recovered.tip_fc) == (chain[2].commitment, make_fc(chain[2]))


async def test_the_newest_of_many_epochs_is_the_one_that_runs(open_storage: Open) -> None:
    storage, tip = open_storage(), GENESIS
    for epoch in range(4):
        blocks = make_chain(tip, 2, epoch=epoch)
        tip = blocks[-1]
        await storage.append(began(make_start(tip), Decide(tuple(blocks), make_fc(tip))))
        storage = open_storage()
        recovered = storage.load()
        assert recovered.epoch is not None
        assert recovered.epoch.ledger.epoch == epoch + 1
    for epoch in range(4):
        assert storage.read_epoch_proof(Epoch(epoch)) is not None
    assert storage.read_epoch_proof(Epoch(4)) is None


async def test_t2_several_epochs_begin_in_one_turn(open_storage: Open) -> None:
    """The second one is over before the first is on disk: the proofs of both stay, and nothing undecided of them."""
    chain = make_chain(GENESIS, 2)
    closing_block = make_block(chain[-1])
    last = make_block(chain[-1], view=9, epoch=1)
    starts = (make_start(chain[-1], closing_block), make_start(last))
    running = make_block(last, view=12, epoch=2)
    storage = open_storage()
    await storage.append(decided(*chain[:1]))
    await storage.append(voted(closing_block))
    decides = (Decide((chain[1],), make_fc(closing_block)), Decide((last,), make_fc(last)))
    await storage.append(Batch(make_record(running), (running,), decides, (), starts[-1].ledger, starts))
    for _ in range(2):
        storage = open_storage()
        recovered = storage.load()
        assert recovered.epoch is not None
        assert recovered.epoch.ledger == recovered.ledger == starts[-1].ledger
        assert (recovered.tip.commitment, recovered.tip.leaf.height) == (last.commitment, 3)
        assert commitments(recovered.undecided) == [running.commitment]
        assert [storage.read_epoch_proof(epoch) for epoch in (FIRST, SECOND)] == [start.proof for start in starts]


async def test_t2_closing_blocks_go_when_the_epoch_is_over(open_storage: Open) -> None:
    (last,) = make_chain(GENESIS, 1)
    closing_block = make_block(last)
    second_closing = make_block(closing_block)
    storage = open_storage()
    await storage.append(decided(last, fc=make_fc(closing_block)))
    for block in (closing_block, second_closing):
        await storage.append(voted(block))
    storage = open_storage()
    assert commitments(storage.load().undecided) == [closing_block.commitment, second_closing.commitment]
    first = make_block(last, [b"the next epoch's"], view=9, epoch=1)
    # In one turn: the last that the epoch before has stored, its end, and the first vote after it.
    third_closing = make_block(second_closing)
    ending = began(make_start(last, closing_block))
    await storage.append(Batch(make_record(first), (third_closing, first), (), (), ending.ledger, ending.epochs))
    await storage.append(voted(make_block(third_closing)))
    assert storage.read_block(closing_block.commitment) is None
    for _ in range(2):
        storage = open_storage()
        assert commitments(storage.load().undecided) == [first.commitment]
    await storage.append(decided(first))
    assert storage.latest_height == 2


async def test_an_fc_that_waits_for_a_closing_block_is_forgotten(open_storage: Open, tmp_path: Path) -> None:
    chain = make_chain(GENESIS, 2)
    closing_block = make_block(chain[-1])
    storage = open_storage()
    await storage.append(caught_up(*chain, fc=make_fc(closing_block)))
    assert read_early_fc(tmp_path) == msgspec.msgpack.encode(make_fc(closing_block))
    storage = open_storage()
    await storage.append(began(make_start(chain[-1], closing_block)))
    assert read_early_fc(tmp_path) == b""


def read_early_fc(folder: Path) -> object:
    with closing(sqlite3.connect(folder / "node.db")) as connection:
        return connection.execute("SELECT value FROM meta WHERE key = 'early_fc'").fetchone()[0]


async def test_an_fc_of_the_new_epoch_may_come_before_its_leaf(open_storage: Open) -> None:
    (last,) = make_chain(GENESIS, 1)
    first, second = make_chain(last, 2, epoch=1)
    storage = open_storage()
    ending = Decide((last,), make_fc(last))
    await storage.append(began(make_start(last), ending, Decide((first,), make_fc(second))))
    await storage.append(caught_up(second, fc=make_fc(second)))
    assert storage.read_finality(Height(3)) == make_fc(second)


async def test_t2_a_finality_proof_never_leaves_its_epoch(open_storage: Open) -> None:
    chain = make_chain(GENESIS, 3)
    closing_blocks = [make_block(chain[-1])]
    closing_blocks.append(make_block(closing_blocks[-1]))
    start = make_start(chain[-1], *closing_blocks)
    first = make_block(chain[-1], view=9, epoch=1)
    storage = open_storage()
    await storage.append(decided(chain[0]))
    await storage.append(decided(*chain[1:], fc=start.proof.fc))
    assert storage.read_finality_proof(Height(2), leaves_max=9) is None, "the proof has not been stored"
    await storage.append(began(start))
    await storage.append(decided(first))
    for _ in range(2):
        assert storage.read_finality_proof(Height(1), leaves_max=9) == ((), make_fc(chain[0]))
        path = (chain[2].leaf, *start.proof.path)
        assert storage.read_finality_proof(Height(2), leaves_max=3) == (path, start.proof.fc)
        assert storage.read_finality_proof(Height(2), leaves_max=2) is None
        assert storage.read_finality_proof(Height(3), leaves_max=2) == (start.proof.path, start.proof.fc)
        assert storage.read_finality_proof(Height(4), leaves_max=0) == ((), make_fc(first))
        storage = open_storage()


async def test_t5_a_snapshot_is_served_for_every_epoch_that_is_over(open_storage: Open) -> None:
    chain = make_chain(GENESIS, 2)
    start = make_start(chain[-1])
    (only,) = make_chain(chain[-1], 1, epoch=1)
    storage = open_storage()
    await storage.append(decided(*chain))
    assert storage.read_snapshot(FIRST) is None
    await storage.append(began(start))
    await storage.append(began(make_start(only), Decide((only,), make_fc(only))))
    encoded = msgspec.msgpack.encode(start.before.state)
    expected = Snapshot(start.proof, chain[0].leaf, chain[1].leaf, encoded)
    for _ in range(2):
        assert storage.read_snapshot(FIRST) == expected
        second = storage.read_snapshot(SECOND)
        assert second is not None
        assert (second.parent, second.last) == (chain[1].leaf, only.leaf)
        assert storage.read_snapshot(Epoch(2)) is None
        storage = open_storage()


async def test_an_epoch_of_one_block_follows_genesis(open_storage: Open) -> None:
    (only,) = make_chain(GENESIS, 1)
    storage = open_storage()
    await storage.append(began(make_start(only), Decide((only,), make_fc(only))))
    snapshot = storage.read_snapshot(FIRST)
    assert snapshot is not None
    assert (snapshot.parent, snapshot.last) == (GENESIS.leaf, only.leaf)


async def test_an_epoch_begins_once_and_with_a_decided_block(open_storage: Open) -> None:
    chain = make_chain(GENESIS, 2)
    storage = open_storage()
    await storage.append(decided(chain[0]))
    with pytest.raises(InvariantViolation, match="epoch 1 is to begin"):
        await storage.append(began(make_start(chain[1])))
    assert storage.read_epoch_proof(FIRST) is None, "a refused turn has changed nothing"
    await storage.append(began(make_start(chain[0])))
    with pytest.raises(InvariantViolation, match="epoch 1 is to begin"):
        await storage.append(began(make_start(chain[0])))
    assert open_storage().load().record == make_first_record(make_start(chain[0]))


async def test_r8_a_record_of_an_earlier_epoch_is_older_whatever_its_view(open_storage: Open) -> None:
    (last,) = make_chain(GENESIS, 1)
    first = make_block(last, view=5, epoch=1)
    storage = open_storage()
    await storage.append(began(make_start(last), Decide((last,), make_fc(last))))
    await storage.append(voted(first))
    storage = open_storage()
    assert storage.load().record == make_record(first)
    await storage.append(decided(first))
    # Somebody puts back a record of the epoch before, which has seen more views than the running one.
    await storage.append(Batch(make_record(make_block(last, view=99)), (), (), ()))
    with pytest.raises(StorageError, match="older than its decided chain"):
        open_storage().load()


def test_the_beginning_of_an_epoch_is_part_of_the_turn() -> None:
    (last,) = make_chain(GENESIS, 1)
    start = make_start(last)
    turn = batch([BeginEpoch(start, ())])
    assert (turn.epochs, turn.ledger) == ((start,), start.ledger)


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("is_direct", [True, False])
async def test_t5_a_chain_may_begin_with_a_snapshot(open_storage: Open, is_whole: bool, is_direct: bool) -> None:
    last = make_chain(GENESIS, 7)[-1]
    following = make_chain(last, 2, epoch=1)
    base = last if is_whole else without_payload(last)
    start = make_start(base) if is_direct else make_start(base, make_block(last))
    served = [last] if is_whole else []
    stale = make_block(GENESIS, [b"voted for as a newcomer to epoch 0"])
    storage = open_storage()
    await storage.append(voted(stale))
    await storage.adopt_snapshot(start, make_first_record(start))
    for reopened in range(2):
        recovered = storage.load()
        assert (recovered.tip.commitment, recovered.undecided) == (last.commitment, ())
        assert recovered.tip_fc == (make_fc(last) if is_whole and is_direct else None)
        assert recovered.record == make_first_record(start)
        assert recovered.ledger == start.ledger
        assert recovered.epoch is not None
        assert recovered.epoch.block.commitment == last.commitment
        assert (recovered.epoch.proof, recovered.epoch.before) == (start.proof, start.before)
        assert storage.latest_height == 7
        for height in range(7):
            assert storage.read_decided_at(Height(height)) is None
            assert storage.read_finality_proof(Height(height), leaves_max=0) is None
        assert storage.read_finality_proof(Height(3), leaves_max=9) is None, "there is nothing to fill the gap with"
        assert commitments(storage.read_decided(Height(1), blocks_max=9, bytes_max=10**6)) == commitments(served)
        found = storage.read_block(last.commitment)
        assert (found is not None) is is_whole
        assert storage.read_epoch_proof(FIRST) == start.proof
        assert storage.read_snapshot(FIRST) is None, "its parent is not here"
        if not reopened:
            storage = open_storage()
    first, second = following
    await storage.append(voted(first))
    await storage.append(decided(first))
    await storage.append(decided(second))
    for _ in range(2):
        blocks = storage.read_decided(Height(2), blocks_max=9, bytes_max=10**6)
        assert commitments(blocks) == commitments([*served, *following])
        assert commitments(storage.read_decided(Height(8), blocks_max=1, bytes_max=0)) == [first.commitment]
        assert storage.read_decided_at(Height(0)) is None
        hashes = hashes_of(b"second of 7", b"second of 8", b"second of 1")
        assert storage.select_decided(hashes) == set(hashes[0 if is_whole else 1 : 2])
        assert storage.find_transaction(hashes[1]) == TransactionLocation(Height(8), 1)
        storage = open_storage()


async def test_t5_blocks_that_follow_a_snapshot_may_come_in_the_same_turn(open_storage: Open) -> None:
    (last,) = make_chain(GENESIS, 1)
    first, second = make_chain(last, 2, epoch=1)
    start = make_start(without_payload(last))
    decide = Decide((first,), make_fc(first))
    storage = open_storage()
    await storage.append(Batch(make_record(second), (second,), (decide,), (), start.ledger, (start,)))
    assert storage.latest_height == 2
    assert commitments(open_storage().load().undecided) == [second.commitment]


async def test_t5_a_chain_that_has_begun_takes_no_snapshot(open_storage: Open) -> None:
    chain = make_chain(GENESIS, 3)
    storage = open_storage()
    await storage.append(caught_up(chain[0]))
    start = make_start(chain[2])
    with pytest.raises(InvariantViolation, match="a chain of height 1"):
        await storage.adopt_snapshot(start, make_first_record(start))
    assert open_storage().load().tip.commitment == chain[0].commitment


DAMAGES = {
    "bad proof": "UPDATE epochs SET proof = x'93'",
    "bad ledger": "UPDATE epochs SET ledger = x'93'",
    "bad state before": "UPDATE epochs SET before = x'93'",
    "no last block": "DELETE FROM blocks WHERE id = (SELECT min(id) FROM blocks)",
    "no table": "DROP TABLE epochs",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_a_damaged_epoch_is_refused(open_storage: Open, tmp_path: Path, damage: str) -> None:
    (last,) = make_chain(GENESIS, 1)
    (first,) = make_chain(last, 1, epoch=1)
    storage = open_storage()
    await storage.append(began(make_start(last), Decide((last,), make_fc(last))))
    await storage.append(caught_up(first))
    storage.close()
    with closing(sqlite3.connect(tmp_path / "node.db")) as connection:
        connection.execute(damage)
        connection.commit()
    with pytest.raises(StorageError, match="new key"):
        open_storage()
