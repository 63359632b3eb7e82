"""Whole nodes on virtual time: what a client and an operator may rely on."""

from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from consensus.catchup import answer
from consensus.effects import Batch
from consensus.messages import (
    FinalizeVote,
    QuorumProposal,
    QuorumVote,
    RangeRequest,
    RangeResponse,
    TimeoutVote,
    decode,
    encode,
)
from consensus.types import Epoch, Height, Microseconds, ValidatorId
from netsim.network import LinkModel, Uniform
from sequencer.clock import NodeClock
from sequencer.failures import ExitCode, explain_failure
from sequencer.mempool import Admission
from sequencer.node import Node
from sequencer.payload import encode_payload
from sequencer.storage import StorageError
from sequencer.transport import Delivery
from tests.node.api_world import open_node
from tests.node.fleet import Fleet, Recorder, open_fleet
from tests.node.mesh import Keyring

TRANSACTIONS = [b"transaction %d" % number for number in range(300)]
"""The first four bytes are their namespace."""
NAMESPACE_ONLY = bytes(4)


async def test_a_transaction_submitted_anywhere_is_decided_everywhere_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path) as fleet:
        for number, transaction in enumerate(TRANSACTIONS):
            assert fleet.submit(number % 4, transaction) == [Admission.ACCEPTED]
        await fleet.wait_decided(*TRANSACTIONS)
        fleet.check_same_chain()
        for application in fleet.applications.values():
            assert sorted(application.transactions) == sorted(TRANSACTIONS)


async def test_submitted_at_every_node_it_is_still_decided_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_fleet(tmp_path) as fleet:
        for number in range(4):
            fleet.submit(number, *TRANSACTIONS)
        await fleet.wait_decided(*TRANSACTIONS)
        await fleet.wait_height(fleet.get_height(0) + 8)
        for application in fleet.applications.values():
            assert sorted(application.transactions) == sorted(TRANSACTIONS)


async def test_submitted_again_after_its_decision_it_is_refused_and_not_decided_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path) as fleet:
        fleet.submit(0, *TRANSACTIONS)
        await fleet.wait_decided(*TRANSACTIONS)
        for number in range(4):
            assert set(fleet.submit(number, *TRANSACTIONS)) == {Admission.FINALIZED}
        await fleet.stop(2)
        await fleet.start(2)
        assert set(fleet.submit(2, *TRANSACTIONS)) == {Admission.FINALIZED}, "a restart forgets nothing"
        await fleet.wait_height(fleet.get_height(0) + 5)
        assert len(fleet.applications[0].transactions) == len(TRANSACTIONS)


async def test_voters_refuse_a_leader_that_repeats_a_decided_transaction(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path) as fleet:
        fleet.submit(0, b"only once")
        await fleet.wait_decided(b"only once")
        cheat = fleet.nodes[1]
        cheat._transactions.take = lambda bytes_max, ancestors, first=(): [b"only once"]  # type: ignore[method-assign]
        height = fleet.get_height(0)
        await fleet.wait_height(height + 12, [0, 2, 3])
        proposers = {block.leaf.proposer for block in fleet.applications[0].blocks if block.leaf.height > height + 1}
        assert 1 not in proposers
        assert fleet.applications[0].transactions == [b"only once"]


@pytest.mark.parametrize("unreadable", [[NAMESPACE_ONLY], [b"twice", b"twice"]])
async def test_a_payload_that_nobody_can_read_costs_its_leader_the_view_and_the_others_nothing(
    autojump_clock: MockClock, tmp_path: Path, unreadable: list[bytes]
) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(2)
        fleet.nodes[1]._transactions.take = lambda bytes_max, ancestors, first=(): unreadable  # type: ignore[method-assign]
        for transaction in TRANSACTIONS[:6]:
            fleet.submit(0, transaction)
            await fleet.wait_height(fleet.get_height(0) + 2, [0, 2, 3])
        await fleet.wait_decided(*TRANSACTIONS[:6])
        page = fleet.nodes[0].metrics.render()[0].decode()
        reason = "malformed_payload" if unreadable == [NAMESPACE_ONLY] else "repeated_transaction"
        assert f'sequencer_dropped_frames_total{{reason="{reason}"}}' in page, "the leader had its turn"


async def test_the_leader_dies_and_what_it_alone_had_been_given_goes_to_the_next(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        leader = fleet.get_leader()
        others = [number for number in range(4) if number != leader]
        fleet.submit(others[0], *TRANSACTIONS[:100])
        await fleet.stop(leader)
        fleet.submit(others[1], *TRANSACTIONS[100:])
        await fleet.wait_decided(*TRANSACTIONS)
        fleet.check_same_chain()
        assert sorted(fleet.applications[others[2]].transactions) == sorted(TRANSACTIONS)


async def test_a_node_that_was_down_catches_up_and_tells_its_application_everything_in_order(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(2)
        await fleet.stop(3)
        fleet.submit(0, *TRANSACTIONS)
        await fleet.wait_decided(*TRANSACTIONS)
        await fleet.wait_height(fleet.get_height(0) + 40)
        await fleet.start(3)
        await fleet.wait_height(fleet.get_height(0))
        fleet.check_same_chain()
        heights = [block.leaf.height for block in fleet.applications[3].blocks]
        assert heights == list(range(1, len(heights) + 1))
        assert sorted(fleet.applications[3].transactions) == sorted(TRANSACTIONS)
        assert fleet.nodes[3].is_ready() is None


async def test_an_application_that_lost_its_last_blocks_gets_them_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path) as fleet:
        fleet.submit(0, *TRANSACTIONS)
        await fleet.wait_decided(*TRANSACTIONS)
        await fleet.stop(3)
        lost = fleet.applications[3]
        fleet.applications[3] = Recorder()
        fleet.applications[3].height = Height(1)
        await fleet.start(3)
        again = fleet.applications[3].blocks
        assert [block.commitment for block in again[: len(lost.blocks) - 1]] == [
            block.commitment for block in lost.blocks[1:]
        ]


async def test_one_of_four_may_be_dead_two_may_not_and_one_back_is_enough(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(2)
        await fleet.stop(0)
        await fleet.wait_height(fleet.get_height(1) + 5)
        await fleet.stop(1)
        await trio.sleep(1)
        height = fleet.get_height(2)
        fleet.submit(2, b"waits for a quorum")
        await trio.sleep(60)
        assert fleet.get_height(2) == height
        await fleet.start(0)
        await fleet.wait_decided(b"waits for a quorum")
        fleet.check_same_chain()


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)])
async def test_all_at_once_down_and_up_in_any_order_loses_nothing(
    autojump_clock: MockClock, tmp_path: Path, order: tuple[int, ...]
) -> None:
    async with open_fleet(tmp_path, model=LinkModel(Uniform(500, 40_000)), seed=sum(order[:2])) as fleet:
        for round_ in range(3):
            mine = [b"round %d, %d" % (round_, number) for number in range(20)]
            fleet.submit(round_, *mine)
            await fleet.wait_until(lambda round_=round_: fleet.get_height(0) >= 4 * (round_ + 1))  # type: ignore[misc]
            before = {number: [b.commitment for b in fleet.applications[number].blocks] for number in range(4)}
            await fleet.stop(*order)
            for number in order:
                await fleet.start(number)
                await trio.sleep(0.2)
            longest = max(before.values(), key=len)
            await fleet.wait_height(len(longest) + 3)
            fleet.check_same_chain()
            block = fleet.nodes[0].storage.read_decided_at(len(longest))  # type: ignore[arg-type]
            assert block is not None
            assert block.commitment == longest[-1], "a decided leaf is never lost"


async def test_a_node_alone_decides_block_after_block_without_waiting_for_anybody(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path, nodes=1) as fleet:
        await fleet.wait_height(2)
        five_blocks = [b"%d" % number + bytes(200_000) for number in range(45)]
        assert set(fleet.submit(0, *five_blocks)) == {Admission.ACCEPTED}
        started, height = trio.current_time(), fleet.get_height(0)
        await fleet.wait_decided(*five_blocks)
        assert fleet.get_height(0) >= height + 5
        assert trio.current_time() - started < 0.01


async def test_a_frozen_network_holds_its_transactions_until_it_thaws(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(2)
        fleet.network.partition([0, 1], [2, 3])
        fleet.submit(0, b"on the left")
        fleet.submit(3, b"on the right")
        await trio.sleep(20)
        assert fleet.applications[0].transactions == []
        fleet.network.heal()
        await fleet.wait_decided(b"on the left", b"on the right")
        fleet.check_same_chain()


def record_votes(node: Node, left: list[object]) -> None:
    """From now on what is signed ends in this list instead of leaving the node."""

    def record(frame: bytes) -> None:
        message = decode(frame)
        if isinstance(message, QuorumProposal | QuorumVote | FinalizeVote | TimeoutVote):
            left.append(message)

    node._transport.broadcast = record  # type: ignore[method-assign]


async def test_nothing_signed_leaves_before_its_write_returns_nor_when_that_is_cancelled(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(2)
        node, is_written = fleet.nodes[0], trio.Event()
        append, left = node.storage.append, list[object]()
        record_votes(node, left)

        async def append_slowly(batch: Batch) -> None:
            await is_written.wait()
            await append(batch)

        node.storage.append = append_slowly  # type: ignore[method-assign]
        await fleet.wait_height(fleet.get_height(1) + 5, [1, 2, 3])
        assert left == []
        is_written.set()
        await fleet.wait_until(lambda: bool(left))
        is_written = trio.Event()
        await trio.sleep(1)
        left.clear()
        await fleet.stop(0)
        assert left == []


async def test_a_node_that_goes_down_first_hands_on_what_clients_gave_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(2)
        node, is_written = fleet.nodes[0], trio.Event()
        append = node.storage.append

        async def append_slowly(batch: Batch) -> None:
            await is_written.wait()
            await append(batch)

        node.storage.append = append_slowly  # type: ignore[method-assign]
        await trio.sleep(5)
        fleet.submit(0, b"a promise")
        with trio.move_on_after(1) as too_early:
            await node.drain()
        assert too_early.cancelled_caught, "the turn waits for its disk"
        is_written.set()
        await node.drain()
        await fleet.stop(0)
        await fleet.wait_decided(b"a promise")


async def test_a_node_that_goes_down_is_woken_in_vain(tmp_path: Path) -> None:
    """The API and whoever computes a beacon may come after the transport has closed the inbox.

    That is no defect: nobody is left to be woken.
    """
    async with open_node(tmp_path, Keyring(2)) as (node, _):
        pass
    node._wake()


async def test_a_node_that_is_woken_while_it_goes_down_ends_as_it_should(tmp_path: Path) -> None:
    """What wakes it comes in the same moment as the end: its transport has closed the inbox before its turn begins."""
    with trio.CancelScope() as scope:
        async with open_node(tmp_path, Keyring(2)) as (node, _):
            await wait_all_tasks_blocked()
            node._wake()
            node._send_inbox.close()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_write_that_fails_ends_the_node_and_nothing_signed_leaves(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async def fail(batch: Batch) -> None:
        raise StorageError(tmp_path, "the disk is full", "Make room")

    left: list[object] = []

    async def run() -> None:
        async with open_fleet(tmp_path) as fleet:
            await fleet.wait_height(2)
            record_votes(fleet.nodes[0], left)
            fleet.nodes[0].storage.append = fail  # type: ignore[method-assign]
            await trio.sleep(60)

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    failure = explain_failure(caught.value)
    assert failure is not None
    assert failure.code is ExitCode.UNSAFE
    assert left == []


async def test_garbage_from_a_peer_is_counted_and_changes_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(2)
        sender = fleet.nodes[1]._transport
        lab_block = fleet.keyring.context.genesis
        frames = {
            "malformed": b"\xc1 not MessagePack",
            "non_canonical": b"\x92\x09\xcc\x05",
            "bad_leaf": encode(QuorumProposal(lab_block.leaf, encode_payload([b"transaction"]), b"")),
        }
        for frame in frames.values():
            sender.send(fleet.nodes[0].validator_id, frame)
        await fleet.wait_height(fleet.get_height(0) + 3)
        page = fleet.nodes[0].metrics.render()[0].decode()
        for reason in frames:
            assert f'sequencer_dropped_frames_total{{reason="{reason}"}} 1.0' in page


@given(st.integers(0, 2**51), st.floats(0, 1e6), st.floats(1.5e9, 2e9))
def test_a_deadline_on_trios_clock_is_never_early(after: int, trio_now: float, wall: float) -> None:
    clock = NodeClock.__new__(NodeClock)
    clock._offset = wall - trio_now
    moment = Microseconds(int(wall * 1e6) + after % 10**12)
    assert int((clock.to_trio_time(moment) + clock._offset) * 1_000_000) >= moment


def compute_wall(start: float) -> float:
    return start + trio.current_time()


async def test_a_step_of_the_wall_clock_moves_no_timer_and_the_operator_is_told_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(2)
        with capture_logs() as lines:
            for wall in (1_700_003_600, 1_699_996_400):
                fleet.nodes[0]._clock._wall = partial(compute_wall, wall)
                await trio.sleep(10)
        assert [line["seconds"] for line in lines if line["event"] == "clock_left_behind"] == [3600]
        assert not [line for line in lines if line["event"] == "timed_out"]
        fleet.check_same_chain()


async def test_ready_means_decided(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        fleet = Fleet(tmp_path, nursery, Keyring(4))
        await fleet.start(0, 1)
        await trio.sleep(5)
        assert fleet.nodes[0].is_ready() == "nothing has been decided since this node started"
        await fleet.start(2)
        await fleet.wait_height(1)
        assert fleet.nodes[0].is_ready() is None
        await fleet.stop(0, 1, 2)


async def test_t2_several_epochs_may_end_in_one_turn(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A peer sends whoever comes back the ranges of two epochs at once, before they are asked for."""
    async with open_fleet(tmp_path, keyring=Keyring(4, epoch_blocks=4)) as fleet:
        await fleet.wait_height(2)
        await fleet.stop(0)
        epoch = fleet.nodes[1].status().epoch
        await fleet.wait_until(lambda: fleet.nodes[1].status().epoch >= epoch + 3)
        await fleet.start(0)
        node, source = fleet.nodes[0], fleet.nodes[1].storage
        ranges: list[RangeResponse] = []
        height = node.storage.latest_height
        while len(ranges) < 2:
            response = answer(RangeRequest(Height(height + 1)), source)
            assert isinstance(response, RangeResponse)
            ranges.append(response)
            height = response.blocks[-1].leaf.height
        assert node.status().epoch == epoch
        await node._send_inbox.send(Delivery(ValidatorId(1), tuple(map(encode, ranges))))
        await fleet.wait_until(lambda: node.status().epoch >= epoch + 2)
        await fleet.wait_height(fleet.get_height(1) + 5)
        fleet.check_same_chain()
        for ended in range(epoch, epoch + 2):
            assert node.storage.read_epoch_proof(Epoch(ended)) == source.read_epoch_proof(Epoch(ended))
