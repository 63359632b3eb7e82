"""The registry of a node: names, bounds, and that each verb changes the figure it is named after."""

from dataclasses import replace

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from consensus.leaf import Block, make_genesis
from consensus.ledger import Status
from consensus.ledger.changes import Benched, EpochBegan, Slashed, Tombstoned
from consensus.ledger.state import LeaderRecord, Mode
from consensus.messages import LeafRequest, QuorumVote
from consensus.types import Commitment, Epoch, Height, ValidatorId, View
from sequencer.directory import Directory
from sequencer.metrics import (
    LABEL_VALUES_MAX,
    OPEN_PROPOSALS_MAX,
    PROMISE_OUTCOMES,
    VALIDATORS_SHOWN_MAX,
    NodeMetrics,
)
from sequencer.standing import STANDINGS
from tests.node.fake_node import FakeNode


@pytest.fixture
def metrics() -> NodeMetrics:
    return NodeMetrics("1.2.3", "testnet", "n0")


def read(metrics: NodeMetrics, sample: str, **labels: str) -> float | None:
    """One figure as a scraper gets it; None when it is not on the page."""
    page, _ = metrics.render()
    for family in text_string_to_metric_families(page.decode()):
        for found in family.samples:
            if found.name == sample and found.labels == labels:
                return found.value
    return None


def make_block(timestamp_ms: int = 0) -> Block:
    return make_genesis(Epoch(0), timestamp_ms, Commitment(bytes(32)))


def test_every_own_name_has_the_prefix_and_nothing_is_created_twice(metrics: NodeMetrics) -> None:
    page, content_type = metrics.render()
    names = {family.name for family in text_string_to_metric_families(page.decode())}
    own = {name for name in names if not name.startswith("process_")}
    assert len(own) >= 12
    assert all(name.startswith("sequencer_") for name in own)
    assert not any(name.endswith("_created") for name in names)
    assert content_type.startswith("text/plain")


def test_a_scraper_that_asks_for_openmetrics_gets_it(metrics: NodeMetrics) -> None:
    page, content_type = metrics.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")


def test_build_info_names_what_runs(metrics: NodeMetrics) -> None:
    page, _ = metrics.render()
    info = next(line for line in page.decode().splitlines() if line.startswith("sequencer_build_info{"))
    assert 'version="1.2.3"' in info
    assert 'network="testnet"' in info
    assert 'validator="n0"' in info


def test_two_nodes_in_one_process_count_apart(metrics: NodeMetrics) -> None:
    other = NodeMetrics("1.2.3", "testnet", "n1")
    metrics.on_certified(Height(3))
    assert read(metrics, "sequencer_height") == 3
    assert read(other, "sequencer_height") == 0


def test_entering_a_view_counts_how_the_one_before_ended_and_how_long_it_took(metrics: NodeMetrics) -> None:
    metrics.on_entered_view(View(1), timed_out=False, now=10.0)
    metrics.on_entered_view(View(2), timed_out=True, now=10.25)
    assert read(metrics, "sequencer_view") == 2
    assert read(metrics, "sequencer_views_total", outcome="certified") == 1
    assert read(metrics, "sequencer_views_total", outcome="timed_out") == 1
    assert read(metrics, "sequencer_view_seconds_count") == 1
    assert read(metrics, "sequencer_view_seconds_sum") == 0.25


def test_proposal_to_decide_runs_from_the_first_sight_of_the_proposal(metrics: NodeMetrics) -> None:
    block = make_block()
    metrics.on_proposal(block.commitment, now=1.0)
    metrics.on_proposal(block.commitment, now=1.5)
    metrics.on_decide([block], transactions=7, now=1.75)
    assert read(metrics, "sequencer_proposal_to_decide_seconds_sum") == 0.75
    assert read(metrics, "sequencer_decided_transactions_total") == 7
    assert read(metrics, "sequencer_decided_blocks_total") == 1


def test_a_block_that_came_by_catch_up_is_decided_but_not_timed(metrics: NodeMetrics) -> None:
    metrics.on_decide([make_block()], transactions=0, now=5.0)
    assert read(metrics, "sequencer_proposal_to_decide_seconds_count") == 0
    assert read(metrics, "sequencer_decided_blocks_total") == 1


def test_orphaned_proposals_are_forgotten_oldest_first(metrics: NodeMetrics) -> None:
    blocks = [make_block(timestamp_ms) for timestamp_ms in range(OPEN_PROPOSALS_MAX + 1)]
    for block in blocks:
        metrics.on_proposal(block.commitment, now=0.0)
    metrics.on_decide([blocks[0], blocks[1]], transactions=0, now=1.0)
    assert read(metrics, "sequencer_proposal_to_decide_seconds_count") == 1


def test_votes_are_counted_by_kind_and_status_and_other_messages_not(metrics: NodeMetrics) -> None:
    vote = QuorumVote(Epoch(0), View(1), Commitment(bytes(32)), ValidatorId(0), b"")
    metrics.count_message(vote, "sent")
    metrics.count_message(vote, "received")
    metrics.count_message(vote, "received")
    metrics.count_message(LeafRequest(Commitment(bytes(32))), "sent")
    assert read(metrics, "sequencer_votes_total", kind="quorum", status="sent") == 1
    assert read(metrics, "sequencer_votes_total", kind="quorum", status="received") == 2
    assert read(metrics, "sequencer_votes_total", kind="timeout", status="sent") == 0


def test_reasons_from_elsewhere_cannot_make_the_page_grow_without_bound(metrics: NodeMetrics) -> None:
    for number in range(LABEL_VALUES_MAX + 5):
        metrics.dropped_frames.inc(f"reason_{number}", 2)
    metrics.dropped_frames.inc("reason_0")
    assert read(metrics, "sequencer_dropped_frames_total", reason="reason_0") == 3
    assert read(metrics, "sequencer_dropped_frames_total", reason="other") == 10
    assert read(metrics, "sequencer_dropped_frames_total", reason=f"reason_{LABEL_VALUES_MAX}") is None


def test_sizes_and_connections_are_read_at_scrape_time(metrics: NodeMetrics) -> None:
    pending: list[bytes] = []
    metrics.watch_mempool(lambda: len(pending), lambda: sum(map(len, pending)))
    metrics.watch_peers(lambda: 3)
    pending.append(b"abc")
    assert read(metrics, "sequencer_mempool_transactions") == 1
    assert read(metrics, "sequencer_mempool_bytes") == 3
    assert read(metrics, "sequencer_peers_connected") == 3


def test_decided_and_certified_heights_are_two_figures(metrics: NodeMetrics) -> None:
    metrics.on_certified(Height(9))
    metrics.on_decide([make_block()], transactions=0, now=0.0)
    assert read(metrics, "sequencer_height") == 9
    assert read(metrics, "sequencer_decided_height") == 0


def test_the_ledger_is_read_at_scrape_time(metrics: NodeMetrics) -> None:
    node = FakeNode()
    directory = Directory(node.network)
    assert read(metrics, "sequencer_epoch") is None
    node.change(pool=30, burned=20)
    node.change_validator(1, status=Status.JAILED, stake=90)
    node.change_validator(2, leader=LeaderRecord(missed=2, benchings=1, bench_turns=2))
    metrics.on_ledger(node.ledger, directory)
    assert read(metrics, "sequencer_epoch") == 0
    assert read(metrics, "sequencer_insurance_pool") == 30
    assert read(metrics, "sequencer_burned") == 20
    assert read(metrics, "sequencer_total_stake") == 400
    counts = {status: read(metrics, "sequencer_validators", status=status) for status in STANDINGS}
    assert counts == {"pending": 0, "active": 2, "jailed": 1, "exiting": 0, "tombstoned": 0, "benched": 1}
    assert read(metrics, "sequencer_validator_status", validator="n1", status="jailed") == 1
    assert read(metrics, "sequencer_validator_status", validator="n2", status="benched") == 1
    assert read(metrics, "sequencer_validator_stake", validator="n1") == 90
    assert read(metrics, "sequencer_fallback_active") == 0
    node.change(mode=Mode(is_fallback=True))
    metrics.on_ledger(node.ledger, directory)
    assert read(metrics, "sequencer_fallback_active") == 1


def test_bonds_of_many_newcomers_cannot_make_the_page_grow_without_bound(metrics: NodeMetrics) -> None:
    node = FakeNode()
    first = node.ledger.state.validators[0]
    many = [msgspec.structs.replace(first, id=ValidatorId(10 + i), stake=1) for i in range(VALIDATORS_SHOWN_MAX)]
    node.change(validators=(*node.ledger.state.validators, *many))
    metrics.on_ledger(node.ledger, Directory(node.network, node.ledger))
    page = metrics.render()[0].decode()
    assert page.count("sequencer_validator_stake{") == VALIDATORS_SHOWN_MAX
    assert read(metrics, "sequencer_validator_stake", validator="n3") == 100
    assert read(metrics, "sequencer_validators", status="active") == VALIDATORS_SHOWN_MAX + 4


def test_changes_of_the_ledger_are_counted_by_kind_and_by_rule(metrics: NodeMetrics) -> None:
    slash = Slashed(ValidatorId(1), "E2", 50, to_reporter=2, to_pool=22, burned=26, reporter=None)
    missing = EpochBegan(Epoch(2), Commitment(bytes(32)), was_beacon_missing=True, validators=4, total_stake=400)
    for change in (
        Benched(ValidatorId(1), 2, 4),
        slash,
        replace(slash, rule="J1", amount=7),
        Tombstoned(ValidatorId(1), "E2", Epoch(1)),
        missing,
        replace(missing, was_beacon_missing=False),
    ):
        metrics.on_ledger_change(change)
    assert read(metrics, "sequencer_ledger_changes_total", kind="benched") == 1
    assert read(metrics, "sequencer_ledger_changes_total", kind="epoch_began") == 2
    assert read(metrics, "sequencer_slashings_total", rule="E2") == 1
    assert read(metrics, "sequencer_slashings_total", rule="J1") == 1
    assert read(metrics, "sequencer_slashed_stake_total") == 57
    assert read(metrics, "sequencer_evidence_total", rule="E2") == 1
    assert read(metrics, "sequencer_epoch_transitions_total") == 2
    assert read(metrics, "sequencer_beacon_missed_total") == 1


def test_operations_are_counted_by_kind_and_outcome(metrics: NodeMetrics) -> None:
    metrics.count_operation("bond", "accepted")
    metrics.count_operation("bond", "included")
    metrics.count_operation("rotate-key", "refused")
    assert read(metrics, "sequencer_operations_total", kind="bond", outcome="included") == 1
    assert read(metrics, "sequencer_operations_total", kind="rotate-key", outcome="refused") == 1
    assert read(metrics, "sequencer_operations_total", kind="unbond", outcome="accepted") == 0


def test_promises_are_counted_by_what_became_of_them(metrics: NodeMetrics) -> None:
    """All four are on the page before anything happens, so that a rate has something to start from."""
    for outcome in PROMISE_OUTCOMES:
        assert read(metrics, "sequencer_promises_total", outcome=outcome) == 0
    metrics.promises["kept"].inc()
    figures = [read(metrics, "sequencer_promises_total", outcome=outcome) for outcome in PROMISE_OUTCOMES]
    assert dict(zip(PROMISE_OUTCOMES, figures, strict=True)) == {"given": 0, "refused": 0, "kept": 1, "broken": 0}
