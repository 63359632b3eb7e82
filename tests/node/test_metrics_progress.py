"""Figures of the chain's progress and of who takes part, moved by hand."""

import msgspec

from consensus.leaf import Block, make_genesis
from consensus.messages import FinalizeVote, QuorumVote
from consensus.types import Commitment, Epoch, Height, ValidatorId, View
from sequencer.directory import Directory
from sequencer.metrics import NodeMetrics
from sequencer.metrics.entries import VALIDATORS_SHOWN_MAX
from sequencer.metrics.progress import CHECKPOINT_BLOCKS, CHECKPOINT_SLOTS
from sequencer.metrics.voting import PARTICIPATION_SECONDS, compute_participation
from tests.node.fake_node import FakeNode
from tests.node.test_metrics import make_block, metrics, read

__all__ = ["metrics"]


class Wall:
    """A clock that a test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def make_metrics(node: FakeNode, wall: Wall) -> NodeMetrics:
    metrics = NodeMetrics("1.2.3", "testnet", "n0")
    metrics.on_ledger(node.ledger, Directory(node.network))
    metrics.progress._wall = wall
    metrics.voting._wall = wall
    metrics.voting._started_at = wall.now
    return metrics


def vote(voter: int) -> QuorumVote:
    return QuorumVote(Epoch(0), View(1), Commitment(bytes(32)), ValidatorId(voter), b"")


def decide(metrics: NodeMetrics, height: int, timestamp_ms: int) -> None:
    leaf = make_genesis(Epoch(0), timestamp_ms, Commitment(bytes(32))).leaf
    block = Block(msgspec.structs.replace(leaf, height=Height(height)), b"")
    metrics.on_decide([block], transactions=0, now=0.0)


def test_phases_run_from_the_view_to_the_proposal_to_its_qc_to_its_fc(metrics: NodeMetrics) -> None:
    block = make_block()
    metrics.on_entered_view(View(5), timed_out=False, now=10.0)
    metrics.on_proposal(block.commitment, now=10.5)
    metrics.on_entered_view(View(6), timed_out=False, now=10.625)
    metrics.on_decide([block], transactions=0, now=10.75)
    for phase, seconds in (("proposal", 0.5), ("quorum", 0.125), ("finalize", 0.125)):
        assert read(metrics, "sequencer_phase_seconds_count", phase=phase) == 1
        assert read(metrics, "sequencer_phase_seconds_sum", phase=phase) == seconds


def test_a_view_that_failed_has_no_quorum_phase(metrics: NodeMetrics) -> None:
    """Nor has one that this node did not see the end of."""
    metrics.on_entered_view(View(5), timed_out=False, now=10.0)
    metrics.on_proposal(make_block(1).commitment, now=10.5)
    metrics.on_entered_view(View(6), timed_out=True, now=11.0)
    metrics.on_proposal(make_block(2).commitment, now=11.5)
    metrics.on_entered_view(View(9), timed_out=False, now=12.0)
    assert read(metrics, "sequencer_phase_seconds_count", phase="proposal") == 2
    assert read(metrics, "sequencer_phase_seconds_count", phase="quorum") == 0
    assert read(metrics, "sequencer_views_total", outcome="unseen") == 2


def test_views_are_counted_for_those_who_led_them() -> None:
    """Everybody who may lead stands on the page from the start, so that a rate has something to start from."""
    metrics = make_metrics(FakeNode(), Wall())
    assert read(metrics, "sequencer_leader_views_total", validator="n3", outcome="timed_out") == 0
    ended: list[tuple[int, int | None, bool]] = [(4, 3, False), (5, 1, False), (6, 2, True), (7, None, False)]
    for view, led_by, timed_out in ended:
        leader = None if led_by is None else ValidatorId(led_by)
        metrics.on_entered_view(View(view), timed_out=timed_out, now=float(view), led_by=leader)
    metrics.on_entered_view(View(20), timed_out=False, now=20.0, led_by=ValidatorId(3))
    assert read(metrics, "sequencer_leader_views_total", validator="n1", outcome="certified") == 1
    assert read(metrics, "sequencer_leader_views_total", validator="n2", outcome="timed_out") == 1
    assert read(metrics, "sequencer_leader_views_total", validator="unknown", outcome="certified") == 1
    assert read(metrics, "sequencer_leader_views_total", validator="n3", outcome="certified") == 0


def test_leaders_without_number_cannot_make_the_page_grow_without_bound() -> None:
    metrics = make_metrics(FakeNode(), Wall())
    for view in range(1, 2 * VALIDATORS_SHOWN_MAX):
        metrics.on_entered_view(View(view), timed_out=True, now=float(view), led_by=ValidatorId(100 + view))
    page = metrics.render()[0].decode()
    assert page.count("sequencer_leader_views_total{") == 2 * len("0123o")
    assert read(metrics, "sequencer_leader_views_total", validator="other", outcome="timed_out") == 510


def test_the_moment_of_the_last_decide_is_told() -> None:
    """Before there is one, the start of the node: so nothing looks halted that has only just begun."""
    wall = Wall()
    metrics = make_metrics(FakeNode(), wall)
    wall.now += 60
    metrics.on_decide([make_block()], transactions=0, now=0.0)
    assert read(metrics, "sequencer_last_decide_timestamp_seconds") == 1_060


def test_checkpoints_of_one_height_are_alike_where_history_is(metrics: NodeMetrics) -> None:
    """Two nodes that decided different leaves show it at the next checkpoint."""
    other = NodeMetrics("1.2.3", "testnet", "n1")

    def get_digest(metrics: NodeMetrics, slot: int) -> float | None:
        return read(metrics, "sequencer_checkpoint_digest", slot=str(slot))

    for height in (CHECKPOINT_BLOCKS, CHECKPOINT_BLOCKS + 1):
        decide(metrics, height, 1)
        decide(other, height, 1)
    assert read(metrics, "sequencer_checkpoint_height", slot="1") == CHECKPOINT_BLOCKS
    assert get_digest(metrics, 1) == get_digest(other, 1) is not None
    decide(other, CHECKPOINT_BLOCKS, 2)
    assert get_digest(metrics, 1) != get_digest(other, 1)


def test_checkpoints_take_turns_in_their_slots(metrics: NodeMetrics) -> None:
    for number in range(1, 2 * CHECKPOINT_SLOTS):
        decide(metrics, CHECKPOINT_BLOCKS * number, 1)
    page = metrics.render()[0].decode()
    assert page.count("sequencer_checkpoint_height{") == CHECKPOINT_SLOTS
    assert read(metrics, "sequencer_checkpoint_height", slot="1") == CHECKPOINT_BLOCKS * (CHECKPOINT_SLOTS + 1)


def test_a_validator_takes_part_while_it_votes_and_is_connected() -> None:
    """n1 falls silent, n2 loses its connection: the one is missed after a while, the other at once."""
    wall, connected = Wall(), {ValidatorId(1), ValidatorId(2), ValidatorId(3)}
    metrics = make_metrics(FakeNode(), wall)
    metrics.voting.watch(ValidatorId(0), lambda: connected)
    assert read(metrics, "sequencer_participating_stake_ratio") == 1, "nobody is missed before there was time to vote"
    assert read(metrics, "sequencer_quorum_stake") == 267
    assert read(metrics, "sequencer_tolerated_losses") == 1
    metrics.count_message(vote(1), "received")
    metrics.voting.look()
    wall.now += PARTICIPATION_SECONDS + 1
    for voter in (2, 3):
        metrics.count_message(vote(voter), "received")
    metrics.count_message(FinalizeVote(Epoch(0), View(1), Commitment(bytes(32)), ValidatorId(0), b""), "sent")
    assert read(metrics, "sequencer_participating_stake") == 300
    assert read(metrics, "sequencer_stake_margin") == 33
    assert read(metrics, "sequencer_tolerated_losses") == 0
    assert read(metrics, "sequencer_validator_last_vote_timestamp_seconds", validator="n1") == 1_000
    assert read(metrics, "sequencer_validator_last_vote_timestamp_seconds", validator="n2") == 1_016
    assert read(metrics, "sequencer_validator_last_vote_timestamp_seconds", validator="n0") is None
    connected.remove(ValidatorId(2))
    assert read(metrics, "sequencer_tolerated_losses") == -1
    assert read(metrics, "sequencer_stake_margin") == -67


def test_losses_are_counted_from_the_heaviest() -> None:
    """Of 10 in all a quorum has 7: 4 may not be lost, of seven equal ones two may."""
    everybody = [ValidatorId(number) for number in range(7)]
    for stakes, losses in (((4, 3, 2, 1), 0), ((1,) * 7, 2), ((1,), 0), ((3, 3, 2, 1, 1), 1)):
        assert compute_participation(FakeNode(stakes).ledger, everybody).losses == losses
    assert compute_participation(FakeNode((1, 1, 1, 1)).ledger, everybody[:2]).losses == -1
