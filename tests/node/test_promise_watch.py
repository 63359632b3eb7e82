"""Whoever asked for a promise holds the promiser to it: what is worth holding, and what becomes of it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from trio.testing import MockClock

from consensus.evidence import BrokenPromise
from consensus.leaf import Block
from consensus.ledger import Status
from consensus.promises import Promise, sign_promise
from consensus.types import Commitment, Epoch, Height, ValidatorId, View
from sequencer.node import Node
from sequencer.promise_watch import CLAIM_HEIGHTS
from sequencer.promises import PROMISE_VIEWS, PromiseRefusedError
from tests.node.fleet import Fleet, open_fleet
from tests.node.test_promises import PROMISED, find_status, get_hash, read_metric

ABSENT = get_hash(b"nobody has this transaction")


def promise_as(
    fleet: Fleet,
    promiser: int,
    first_view: int,
    last_view: int,
    hash_: bytes = ABSENT,
    *,
    epoch: int = 0,
    beneficiary: bytes = b"",
    signer: int | None = None,
) -> Promise:
    """With the promiser's signature, or another one's."""
    draft = Promise(
        ValidatorId(promiser), Epoch(epoch), View(first_view), View(last_view), Commitment(hash_), beneficiary, b""
    )
    keyring = fleet.keyring
    return sign_promise(draft, keyring.signers[promiser if signer is None else signer], keyring.context.network_id)


def hold(node: Node, promise: Promise, hash_: bytes = ABSENT, beneficiary: bytes = b"") -> None:
    """As if it had been asked for this transaction and beneficiary, and the promiser had answered so."""
    node._watch.hold(promise, promise.promiser, hash_, beneficiary)


def count_held(node: Node) -> int:
    return sum(map(len, node._watch._held.values()))


async def test_only_what_was_asked_for_is_worth_holding(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        node = fleet.nodes[0]
        view = node.status().view
        last = view + PROMISE_VIEWS - 1
        worthless = {
            "something else": [
                promise_as(fleet, 1, view, last, get_hash(b"another")),
                promise_as(fleet, 1, view, last, epoch=1),
                promise_as(fleet, 1, view, last, beneficiary=b"another"),
            ],
            "for views that are over, or far off": [
                promise_as(fleet, 1, 1, view - 1),
                promise_as(fleet, 1, view + 2, view + 1),
                promise_as(fleet, 1, view + PROMISE_VIEWS + 1, view + 2 * PROMISE_VIEWS),
            ],
            "not signed by it": [promise_as(fleet, 1, view, last, signer=2)],
        }
        for words, promises in worthless.items():
            for promise in promises:
                with pytest.raises(PromiseRefusedError, match=words):
                    hold(node, promise)
        with pytest.raises(PromiseRefusedError, match="something else"):
            node._watch.hold(promise_as(fleet, 1, view, last), ValidatorId(2), ABSENT, b"")
        assert count_held(node) == 0
        hold(node, promise_as(fleet, 1, view, last))
        assert count_held(node) == 1


async def test_a_second_promise_does_not_take_the_place_of_one_that_binds(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Or a promiser could free itself of the first with a second one about views in which it never leads."""
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        node = fleet.nodes[0]
        view = node.status().view
        first = promise_as(fleet, 1, view + 8, view + PROMISE_VIEWS - 1)
        hold(node, first)
        hold(node, first)
        with pytest.raises(PromiseRefusedError, match="in other words before"):
            hold(node, promise_as(fleet, 1, view + 1, view + 1))
        hold(node, promise_as(fleet, 2, view + 8, view + 9))
        assert list(node._watch._held[ValidatorId(1)].values()) == [first]
        assert count_held(node) == 2


async def test_no_more_is_held_than_there_is_room_for(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is over makes room, also when its promiser never leads again."""
    monkeypatch.setattr("sequencer.promise_watch.WATCHED_MAX", 2)
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        node = fleet.nodes[0]
        await fleet.stop(3)
        view = node.status().view
        for name in (b"a", b"b"):
            hold(node, promise_as(fleet, 3, view, view + 4, get_hash(name)), get_hash(name))
        third = promise_as(fleet, 1, view + 9, view + PROMISE_VIEWS - 1)
        with pytest.raises(PromiseRefusedError, match="cannot watch any more"):
            hold(node, third)
        await fleet.wait_until(lambda: node._watch._seen.view > view + 4)
        hold(node, third)
        assert count_held(node) == 1
        assert read_metric(node, "kept") == read_metric(node, "broken") == 0


async def test_what_is_final_before_the_promise_comes_is_kept(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        fleet.submit(0, PROMISED)
        await fleet.wait_decided(PROMISED)
        node = fleet.nodes[0]
        view = node.status().view
        hold(node, promise_as(fleet, 1, view, view + 8, get_hash(PROMISED)), get_hash(PROMISED))
        assert count_held(node) == 0
        assert read_metric(node, "kept") == 1


async def test_what_comes_after_the_bound_is_neither_kept_nor_broken(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The promiser had no turn within it: nobody is to blame, and nothing was gained."""
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        node = fleet.nodes[0]
        view, leader = node.status().view, fleet.get_leader()
        other = (leader + 2) % 4
        hold(node, promise_as(fleet, other, view, view, get_hash(PROMISED)), get_hash(PROMISED))
        assert count_held(node) == 1
        await fleet.wait_until(lambda: node._watch._seen.view > view)
        fleet.submit(0, PROMISED)
        await fleet.wait_decided(PROMISED)
        assert count_held(node) == 0
        assert read_metric(node, "kept") == read_metric(node, "broken") == 0


async def test_a_promise_that_was_broken_before_it_came_is_refused_and_claimed(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The answer was held up until the leaf that breaks it was decided."""
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(8)
        node = fleet.nodes[0]
        block = next(each for each in reversed(fleet.applications[0].blocks) if each.leaf.proposer != 0)
        promiser, view = block.leaf.proposer, block.leaf.view
        fleet.liars.add(promiser)
        with pytest.raises(PromiseRefusedError, match="had broken its promise before it came"):
            hold(node, promise_as(fleet, promiser, view, view + PROMISE_VIEWS - 1))
        assert count_held(node) == 0
        assert read_metric(node, "broken") == 1
        await fleet.wait_until(
            lambda: all(find_status(each, promiser) is Status.TOMBSTONED for each in fleet.nodes.values())
        )


async def test_nobody_hears_of_a_broken_promise_before_all_should_have_its_block(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Each claim is made once, when enough is decided above; of one promiser's at a time one is enough."""
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        node = fleet.nodes[0]
        watch, told = node._watch, list[tuple[BrokenPromise, Height]]()
        on_durable = watch.on_durable

        def spy(blocks: Sequence[Block]) -> list[BrokenPromise]:
            due = on_durable(blocks)
            told.extend((claim, node.storage.latest_height) for claim in due)
            return due

        watch.on_durable = spy  # type: ignore[method-assign]
        view = node.status().view
        fleet.liars.add(ValidatorId(1))
        for name in (b"a", b"b"):
            hold(node, promise_as(fleet, 1, view, view + PROMISE_VIEWS - 1, get_hash(name)), get_hash(name))
        await fleet.wait_until(lambda: find_status(node, 1) is Status.TOMBSTONED)
        ((claim, height),) = told
        assert height >= claim.height + CLAIM_HEIGHTS
        assert height <= claim.height + CLAIM_HEIGHTS + 1, "decided one after the other, so not later than that"
        block = node.storage.read_decided_at(claim.height)
        assert block is not None
        assert block.leaf.proposer == 1
        assert read_metric(node, "broken") == 2
        assert count_held(node) == 0
        await fleet.wait_height(fleet.get_height(0) + CLAIM_HEIGHTS + 1)
        assert len(told) == 1


async def test_a_claim_that_is_not_true_is_believed_by_nobody(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(8)  # everybody has led
        fleet.submit(0, PROMISED)
        asker = fleet.nodes[0]
        promise = await asker.promise(PROMISED, get_hash(PROMISED), b"")
        await fleet.wait_decided(PROMISED)
        await fleet.wait_height(fleet.get_height(0) + 8)
        blocks = fleet.applications[0].blocks
        heights = [*(block.leaf.height for block in blocks), Height(blocks[-1].leaf.height + 100)]
        for height in heights:
            claim = BrokenPromise(promise, height)
            assert not any(node._watch.confirms(claim) for node in fleet.nodes.values())
        # The same words about every view: the promiser's leaves break them up to the one that has the transaction.
        location = asker.storage.find_transaction(get_hash(PROMISED))
        assert location is not None
        before = {block.leaf.height for block in blocks if block.leaf.proposer == 1} & set(range(location.height))
        always = promise_as(fleet, 1, 1, 1000, get_hash(PROMISED))
        assert before == {height for height in heights if asker._watch.confirms(BrokenPromise(always, height))}
        assert before
