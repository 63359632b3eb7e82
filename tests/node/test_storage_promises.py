"""A leader's promises are on disk before anybody hears of them, and as long as they bind."""

import pytest
import trio

from consensus.errors import InvariantViolation
from consensus.promises import Promise
from consensus.types import Commitment, Epoch, View
from sequencer.payload import compute_hashes
from sequencer.storage import PromiseRow
from tests.node.chain import GENESIS, VALIDATOR, decided, make_chain, voted
from tests.node.database import DURABILITIES, Open, reopen

open_storage = pytest.fixture(params=DURABILITIES)(reopen)


def promise(name: bytes, last_view: int, epoch: int = 0) -> PromiseRow:
    transaction = Commitment(compute_hashes([name])[0])
    made = Promise(VALIDATOR, Epoch(epoch), View(1), View(last_view), transaction, b"beneficiary", b"signature")
    return PromiseRow(name, made)


async def test_promises_are_there_at_once_and_after_a_restart(open_storage: Open) -> None:
    late, early, next_epoch = promise(b"late", 9), promise(b"early", 3), promise(b"next epoch", 1, epoch=1)
    storage = open_storage()
    assert storage.read_promises() == []
    await storage.append_promises([late, next_epoch])
    await storage.append_promises([early])
    for _ in range(2):
        assert storage.read_promises() == [early, late, next_epoch]
        storage = open_storage()


async def test_a_later_promise_takes_the_place_of_an_earlier_one(open_storage: Open) -> None:
    storage = open_storage()
    await storage.append_promises([promise(b"transaction", 3)])
    await storage.append_promises([promise(b"transaction", 8)])
    assert storage.read_promises() == [promise(b"transaction", 8)]


async def test_what_no_longer_binds_is_dropped_with_the_next_turn(open_storage: Open) -> None:
    rows = [promise(b"a", 3), promise(b"b", 4), promise(b"c", 1, epoch=1), promise(b"d", 2, epoch=1)]
    chain = make_chain(GENESIS, 2)
    storage = open_storage()
    await storage.append_promises(rows)
    storage.forget_promises(Epoch(0), View(4))
    assert storage.read_promises() == rows
    await storage.append(voted(chain[0]))
    assert storage.read_promises() == rows[1:], "its last view has not passed"
    storage.forget_promises(Epoch(1), View(2))
    await storage.append(decided(chain[0]))
    for _ in range(2):
        assert storage.read_promises() == rows[3:]
        storage = open_storage()
    await storage.append_promises(rows[:1])
    await storage.append(voted(chain[1]))
    assert storage.read_promises() == [rows[0], rows[3]], "what is forgotten is forgotten once"


async def test_promises_and_turns_do_not_get_in_each_others_way(open_storage: Open) -> None:
    """They come from different tasks, and one connection writes them all."""
    rounds = 20
    chain = make_chain(GENESIS, rounds)
    storage = open_storage()

    async def promise_all(label: int) -> None:
        for number in range(rounds):
            await storage.append_promises([promise(b"%d/%d" % (label, number), number)])
            await trio.lowlevel.checkpoint()

    async def run_turns() -> None:
        for number, block in enumerate(chain):
            if number % 2:
                await storage.append(voted(block))
            await storage.append(decided(block))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_turns)
        for label in range(3):
            nursery.start_soon(promise_all, label)
    storage = open_storage()
    assert storage.latest_height == rounds
    assert len(storage.read_promises()) == 3 * rounds


async def test_a_refused_turn_leaves_promises_alone(open_storage: Open) -> None:
    rows = [promise(b"a", 3)]
    storage = open_storage()
    await storage.append_promises(rows)
    storage.forget_promises(Epoch(0), View(9))
    with pytest.raises(InvariantViolation):
        await storage.append(decided(make_chain(GENESIS, 2)[1]))
    assert storage.read_promises() == rows
