"""Soft confirmations between whole nodes: given at once, kept through a crash, and paid for when broken."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from consensus.ledger import Status
from consensus.promises import Promise, is_promise_genuine
from consensus.types import ValidatorId
from netsim.transport import SimulatedTransport
from sequencer.node import Node
from sequencer.payload import Hash, Transaction, compute_hashes
from sequencer.promise_desk import WAITING_MAX
from sequencer.promises import PROMISE_VIEWS, PromiseRefusedError
from sequencer.storage import PromiseRow, StorageError
from tests.node.fleet import Fleet, open_fleet
from tests.node.mesh import Keyring

PROMISED = b"promised"
BENEFICIARY = b"\x07" * 32


def get_hash(transaction: bytes) -> Hash:
    return compute_hashes([transaction])[0]


def find_status(node: Node, validator: int) -> Status:
    return node.status().ledger.validators[ValidatorId(validator)].status


def read_metric(node: Node, outcome: str) -> float | None:
    return node.metrics.registry.get_sample_value("sequencer_promises_total", {"outcome": outcome})


async def give(node: Node, transaction: bytes, beneficiary: bytes = b"") -> Promise:
    """What a node does when it is asked, without anybody who asks."""
    promise = node._promises.bind(transaction, get_hash(transaction), beneficiary)
    await node._promises.write()
    return promise


async def wait_leading(fleet: Fleet, *others: int) -> int:
    """Until it is the turn of somebody else than these, and the proposal is still to be made: who that is."""

    def find() -> int | None:
        node = next(iter(fleet.nodes.values()))
        leader = node.status().leader
        is_awaited = leader is not None and node._member.replica.candidate is None
        return leader if is_awaited and leader not in others else None

    await fleet.wait_until(lambda: find() is not None)
    leader = find()
    assert leader is not None
    return leader


async def test_the_next_leader_promises_and_keeps_it(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        asker = fleet.nodes[0]
        promisers = []
        for number in range(8):
            transaction = b"promised %d" % number
            fleet.submit(0, transaction)
            promise = await asker.promise(transaction, get_hash(transaction), BENEFICIARY)
            promisers.append(promise.promiser)
            context = fleet.keyring.context
            key = context.stake_table.get_validator(promise.promiser).public_key
            assert is_promise_genuine(promise, key, context.scheme, context.network_id)
            assert (promise.transaction, promise.beneficiary) == (get_hash(transaction), BENEFICIARY)
            await fleet.wait_decided(transaction)
            location = asker.storage.find_transaction(get_hash(transaction))
            assert location is not None
            for block in fleet.applications[0].blocks:
                is_bound = promise.first_view <= block.leaf.view <= promise.last_view
                if is_bound and block.leaf.proposer == promise.promiser:
                    assert location.height <= block.leaf.height
        await fleet.wait_height(fleet.get_height(0) + 5)
        assert not asker.pending_evidence()
        assert all(find_status(asker, validator) is Status.ACTIVE for validator in range(4))
        for number, node in fleet.nodes.items():
            assert read_metric(node, "given") == promisers.count(ValidatorId(number))
            assert read_metric(node, "refused") == read_metric(node, "broken") == 0
        others = [promiser for promiser in promisers if promiser != asker.validator_id]
        assert others
        assert read_metric(asker, "kept") == len(others)


async def test_a_promise_outlives_the_crash_of_its_promiser(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The promiser dies with the answer still on the wire; nobody else has the transaction.

    When it is back it is bound as before, to the same beneficiary.
    """
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        promiser = fleet.get_leader()
        promise = await give(fleet.nodes[promiser], PROMISED, BENEFICIARY)
        await fleet.stop(promiser)
        await fleet.wait_height(fleet.get_height(next(iter(fleet.nodes))) + 3)
        await fleet.start(promiser)
        assert await give(fleet.nodes[promiser], PROMISED, BENEFICIARY) == promise
        with pytest.raises(PromiseRefusedError, match="another beneficiary"):
            await give(fleet.nodes[promiser], PROMISED, b"another")
        await fleet.wait_decided(PROMISED)
        await fleet.wait_height(fleet.get_height(0) + 5)
        assert all(find_status(each, promiser) is Status.ACTIVE for each in fleet.nodes.values())


async def test_what_is_promised_again_is_the_same_promise_and_too_much_is_refused(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Only one account can be compensated for one transaction, so a second one is refused."""
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        node = fleet.nodes[fleet.get_leader()]
        first = await give(node, PROMISED, BENEFICIARY)
        assert await give(node, PROMISED, BENEFICIARY) == first
        for beneficiary in (b"", b"another"):
            with pytest.raises(PromiseRefusedError, match="to another beneficiary"):
                await give(node, PROMISED, beneficiary)
        large = bytes(fleet.keyring.network.consensus.payload_bytes_max // 4)
        with pytest.raises(PromiseRefusedError, match="as much as a block may hold"):
            await give(node, large)
        assert node.storage.read_promises() == [PromiseRow(PROMISED, first)]


async def test_what_is_final_or_over_takes_no_room(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Two fill what may be promised; when they are final, or their bound is over, there is room again."""
    async with open_fleet(tmp_path) as fleet:
        size = fleet.keyring.network.consensus.payload_bytes_max // 4 * 2 // 5
        await fleet.wait_height(3)
        node = fleet.nodes[0]
        for number in range(4):
            transaction = b"%d" % number + bytes(size)
            await give(node, transaction)
            await fleet.wait_decided(transaction)
        forget(fleet)
        promises = [await give(node, b"%d" % number + bytes(size)) for number in range(4, 6)]
        with pytest.raises(PromiseRefusedError, match="as much as a block may hold"):
            await give(node, b"6" + bytes(size))
        last_view = max(promise.last_view for promise in promises)
        await fleet.wait_until(lambda: node.status().view > last_view)
        for number in range(6, 8):
            await give(node, b"%d" % number + bytes(size))


async def test_whoever_has_no_turn_refuses(autojump_clock: MockClock, tmp_path: Path) -> None:
    """One of four waits for the others to fail. Asked by mistake it says so, and the transaction is decided anyway."""
    async with open_fleet(tmp_path, keyring=Keyring(4, primary_size=3)) as fleet:
        await fleet.wait_height(3)
        primary = fleet.nodes[0].status().ledger.state.primary
        (idle,) = (number for number in range(4) if number not in primary)
        asker = fleet.nodes[primary[0]]
        asker._promise_desk._choose_leader = lambda: ValidatorId(idle)  # type: ignore[method-assign]
        with pytest.raises(PromiseRefusedError, match=f"leads in none of {PROMISE_VIEWS} views"):
            await asker.promise(PROMISED, get_hash(PROMISED), b"")
        assert (read_metric(fleet.nodes[idle], "given"), read_metric(fleet.nodes[idle], "refused")) == (0, 1)
        assert fleet.nodes[idle].storage.read_promises() == []
        await fleet.wait_decided(PROMISED)


async def test_whoever_is_benched_promises_for_the_turns_after_the_bench(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """S3: it was away for a rotation or two and sits out some turns, but not all that its promise is about."""
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        await fleet.stop(3)
        await fleet.wait_until(lambda: ValidatorId(3) in fleet.nodes[0].status().ledger.benched)
        await fleet.start(3)
        node = fleet.nodes[3]
        await fleet.wait_until(lambda: ValidatorId(3) in node.status().ledger.benched)
        assert ValidatorId(3) not in node._member.replica.compute_next_leaders(3)
        await give(node, PROMISED)
        await fleet.wait_decided(PROMISED)
        assert find_status(fleet.nodes[0], 3) is Status.ACTIVE


async def test_t5_whoever_began_with_a_snapshot_promises_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Asked for what was final before its chain begins, it would be bound to propose what nobody votes for."""
    async with open_fleet(tmp_path, keyring=Keyring(4, epoch_blocks=8)) as fleet:
        fleet.submit(1, PROMISED)
        await fleet.wait_decided(PROMISED)
        await fleet.stop(0)
        await fleet.wait_until(lambda: fleet.nodes[1].status().epoch >= 2)
        await fleet.rejoin(0, source=1)
        height = fleet.get_height(1)
        await fleet.wait_height(height + 1)
        for transaction in (PROMISED, b"another"):
            with pytest.raises(PromiseRefusedError, match="began with a snapshot"):
                await give(fleet.nodes[0], transaction)
        await give(fleet.nodes[1], b"another")
        await fleet.wait_decided(b"another")


async def test_before_the_last_leaf_of_an_epoch_only_its_leader_promises(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The bound ends with the epoch: whoever has no turn before that would promise nothing."""
    async with open_fleet(tmp_path, keyring=Keyring(4, epoch_blocks=8)) as fleet:

        def is_last() -> bool:
            states = [(node._member.context, node._member.replica) for node in fleet.nodes.values()]
            return all(
                replica.candidate is None
                and replica.high_block is not None
                and replica.high_block.leaf.height == context.last_height - 1
                for context, replica in states
            )

        await fleet.wait_until(is_last)
        leader = fleet.get_leader()
        for number, node in fleet.nodes.items():
            if number != leader:
                with pytest.raises(PromiseRefusedError, match="leads in none"):
                    node._promises.bind(PROMISED, get_hash(PROMISED), b"")
        await give(fleet.nodes[leader], PROMISED)
        await fleet.wait_decided(PROMISED)
        location = fleet.nodes[0].storage.find_transaction(get_hash(PROMISED))
        assert location is not None
        assert location.height <= 8


async def test_the_first_of_the_next_leaders_that_can_be_reached_is_asked(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        asker = fleet.nodes[0]
        replica, me = asker._member.replica, asker.validator_id
        await fleet.wait_until(lambda: me not in replica.compute_next_leaders(3))
        first, second, third = replica.compute_next_leaders(3)
        choices = {
            frozenset({first, second, third}): first,
            frozenset({second, third}): second,
            frozenset({third}): third,
        }
        for reachable, choice in choices.items():
            monkeypatch.setattr(SimulatedTransport, "connected", reachable)
            assert asker._promise_desk._choose_leader() == choice
        monkeypatch.setattr(SimulatedTransport, "connected", frozenset())
        with pytest.raises(PromiseRefusedError, match="none of the next leaders can be reached"):
            asker._promise_desk._choose_leader()
        monkeypatch.undo()
        await fleet.wait_until(lambda: me in replica.compute_next_leaders(3)[1:])
        monkeypatch.setattr(SimulatedTransport, "connected", frozenset())
        assert asker._promise_desk._choose_leader() == me, "itself it always reaches"


async def test_with_the_next_leader_dead_another_one_promises(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        dead = await wait_leading(fleet, 0)
        await fleet.stop(dead)
        asker = fleet.nodes[0]
        await fleet.wait_until(lambda: dead not in asker.status().peers)
        fleet.submit(0, PROMISED)
        promise = await asker.promise(PROMISED, get_hash(PROMISED), b"")
        assert promise.promiser != dead
        await fleet.wait_decided(PROMISED)


@pytest.mark.parametrize("is_own", [False, True])
async def test_a_leader_that_waits_for_transactions_proposes_what_it_promises_at_once(
    autojump_clock: MockClock, tmp_path: Path, *, is_own: bool
) -> None:
    """L6: the request, of a peer or of its own client, is the first that this leader hears of the transaction."""
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        leader = await wait_leading(fleet, 0)
        started = trio.current_time()
        asker = fleet.nodes[leader if is_own else 0]
        promise = await asker.promise(PROMISED, get_hash(PROMISED), b"")
        assert promise.promiser == leader
        await fleet.wait_decided(PROMISED)
        idle_seconds = fleet.keyring.network.consensus.idle_interval_ms / 1000
        assert trio.current_time() - started < idle_seconds / 4


async def test_who_asks_at_the_same_time_shares_a_write(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        node = fleet.nodes[await wait_leading(fleet)]
        writes: list[int] = []
        append = node.storage.append_promises

        async def spy(rows: Sequence[PromiseRow]) -> None:
            writes.append(len(rows))
            await append(rows)

        monkeypatch.setattr(node.storage, "append_promises", spy)
        async with trio.open_nursery() as nursery:
            for number in range(10):
                transaction = b"promised %d" % number
                nursery.start_soon(node.promise, transaction, get_hash(transaction), b"")
        assert writes == [10]
        assert len(node.storage.read_promises()) == 10


async def test_more_than_may_wait_are_refused_at_once(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk is busy requests wait, up to a bound; the others are told so."""
    refusals: list[str] = []
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        node = fleet.nodes[await wait_leading(fleet)]
        is_free = trio.Event()
        append = node.storage.append_promises

        async def wait_first(rows: Sequence[PromiseRow]) -> None:
            await is_free.wait()
            await append(rows)

        async def ask(number: int) -> None:
            transaction = b"promised %d" % number
            try:
                await node.promise(transaction, get_hash(transaction), b"")
            except PromiseRefusedError as error:
                refusals.append(str(error))

        monkeypatch.setattr(node.storage, "append_promises", wait_first)
        node._promise_desk._choose_leader = lambda: node.validator_id  # type: ignore[method-assign]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, 0)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(1, WAITING_MAX + 3):
                nursery.start_soon(ask, number)
            await fleet.wait_until(lambda: bool(refusals))
            assert refusals == ["too many wait for a promise of this node"] * 2
            is_free.set()
        assert len(refusals) == 2


async def test_a_node_that_cannot_write_its_promise_ends_without_having_given_it(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R8: nobody hears of a promise that is not on disk, and a node does not go on after its disk has failed."""
    answers: list[Promise] = []
    has_ended = False

    async def fail(_rows: Sequence[PromiseRow]) -> None:
        raise StorageError(tmp_path, "the disk reported an error", "Look at it")

    try:
        async with open_fleet(tmp_path) as fleet:
            await fleet.wait_height(3)
            leader = await wait_leading(fleet, 0)
            monkeypatch.setattr(fleet.nodes[leader].storage, "append_promises", fail)
            answers.append(await fleet.nodes[0].promise(PROMISED, get_hash(PROMISED), b""))
    except* StorageError:
        has_ended = True
    assert has_ended
    assert not answers


async def test_a_broken_promise_is_a_safety_offence_and_the_beneficiary_is_paid(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path, keyring=Keyring(4, stake=1_000_000)) as fleet:
        await fleet.wait_height(3)
        forget(fleet)
        fleet.submit(0, PROMISED)
        asker = fleet.nodes[0]
        promise = await asker.promise(PROMISED, get_hash(PROMISED), BENEFICIARY)
        while promise.promiser == asker.validator_id:
            await fleet.wait_height(fleet.get_height(0) + 1)
            promise = await asker.promise(b"another", get_hash(b"another"), BENEFICIARY)
        await fleet.wait_until(
            lambda: all(find_status(node, promise.promiser) is Status.TOMBSTONED for node in fleet.nodes.values())
        )
        accounts = asker.status().ledger.accounts
        assert accounts[BENEFICIARY].balance == fleet.keyring.network.slashing.promise_compensation
        rules = [entry.fields["rule"] for entry in asker.recent_changes() if entry.kind == "tombstoned"]
        assert rules == ["promise"]
        assert (read_metric(asker, "kept"), read_metric(asker, "broken")) == (0, 1)
        await fleet.wait_height(fleet.get_height(0) + 5)


def forget(fleet: Fleet) -> None:
    """Everybody proposes other things than what was handed in, whatever was promised."""
    numbers = count()
    fleet.liars |= {node.validator_id for node in fleet.nodes.values()}

    def take_others(bytes_max: int, ancestors: object, first: object = ()) -> list[Transaction]:
        return [b"other %d" % next(numbers)]

    for node in fleet.nodes.values():
        node._transactions.take = take_others  # type: ignore[method-assign]
