"""`sequencer check`: what is well and what is not, and how monitoring systems are told."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consensus.types import ValidatorId
from sequencer.directory import Directory
from sequencer.failures import ExitCode
from sequencer.health.checks import Finding, State, check_cluster, check_node, find_worst
from sequencer.health.facts import NodeFacts, parse_page
from sequencer.health.rendering import render_json, render_plugin, render_prometheus
from sequencer.metrics import NodeMetrics
from sequencer.metrics.progress import CHECKPOINT_BLOCKS
from tests.cluster.test_cli import run
from tests.node.fake_node import FakeNode
from tests.node.test_metrics_progress import decide

WELL: Final = NodeFacts(
    name="n0",
    url="http://127.0.0.1:1",
    version="1.2.3",
    network="testnet",
    height=1000,
    mode_reason="the primary committee has the lead",
    peers=3,
    validators=4,
    decide_age_seconds=0.4,
    clock_offset_seconds=0.001,
    tolerated_losses=1,
    participating_ratio=1.0,
    evidence_pending=0,
    disk_free_bytes=50e9,
    disk_size_bytes=100e9,
    checkpoints={128: 1, 256: 2},
)
CLUSTER: Final = [replace(WELL, name=f"n{number}") for number in range(4)]


def find(findings: list[Finding], check: str) -> Finding:
    return next(finding for finding in findings if finding.check == check)


def test_nothing_is_wrong_with_a_healthy_network() -> None:
    for findings in (check_cluster(CLUSTER), check_node(WELL)):
        assert find_worst(finding.state for finding in findings) is State.OK
        assert len({finding.check for finding in findings}) == len(findings) == 10


@pytest.mark.parametrize(
    ("check", "state", "change"),
    [
        ("deciding", State.OK, {"decide_age_seconds": 2.9}),
        ("deciding", State.WARNING, {"decide_age_seconds": 3.0}),
        ("deciding", State.CRITICAL, {"decide_age_seconds": 10.0}),
        ("deciding", State.UNKNOWN, {"decide_age_seconds": None}),
        ("quorum", State.WARNING, {"tolerated_losses": 0, "participating_ratio": 0.75}),
        ("quorum", State.OK, {"tolerated_losses": 0, "participating_ratio": 1.0}),
        ("quorum", State.CRITICAL, {"tolerated_losses": -1, "participating_ratio": 0.5}),
        ("peers", State.WARNING, {"peers": 2}),
        ("peers", State.CRITICAL, {"peers": 1}),
        ("clock", State.WARNING, {"clock_offset_seconds": -1.5}),
        ("clock", State.CRITICAL, {"clock_offset_seconds": 5.0}),
        ("disk", State.WARNING, {"disk_free_bytes": 9e9}),
        ("disk", State.OK, {"disk_free_bytes": 11e9, "disk_size_bytes": 1e12}),
        ("disk", State.CRITICAL, {"disk_free_bytes": 1e9}),
        ("evidence", State.WARNING, {"evidence_pending": 1}),
        ("fallback", State.WARNING, {"is_fallback": True}),
        ("behind", State.WARNING, {"is_behind": True}),
        ("standing", State.WARNING, {"standing": "jailed"}),
        ("standing", State.CRITICAL, {"standing": "tombstoned"}),
        ("reachable", State.CRITICAL, {"error": "connection refused"}),
    ],
)
def test_a_node_is_judged_by_each_figure_alone(check: str, state: State, change: dict[str, object]) -> None:
    findings = check_node(replace(WELL, **change))  # type: ignore[arg-type]
    assert find(findings, check).state is state
    assert find_worst(finding.state for finding in findings) is state


def test_of_a_network_the_best_informed_node_counts() -> None:
    """One that is cut off sees a halt where there is none; its own trouble is told all the same."""
    lost = replace(
        CLUSTER[3], decide_age_seconds=60.0, tolerated_losses=-1, participating_ratio=0.25, peers=0, height=900
    )
    findings = check_cluster([*CLUSTER[:3], lost])
    assert find(findings, "deciding").state is State.OK
    assert find(findings, "quorum").state is State.OK
    assert find(findings, "peers").state is State.CRITICAL
    assert find(findings, "behind").state is State.WARNING
    assert "n3 is the last, 100 blocks" in find(findings, "behind").text


def test_nodes_that_do_not_answer_are_named() -> None:
    gone = replace(CLUSTER[1], error="connection refused")
    some = find(check_cluster([CLUSTER[0], gone]), "reachable")
    assert some.state is State.WARNING
    assert "n1 (connection refused)" in some.text
    (none,) = check_cluster([gone])
    assert none.state is State.CRITICAL


def test_two_histories_are_found_where_nodes_have_a_checkpoint_in_common() -> None:
    """n3 is behind: it has an older checkpoint, and another one there."""
    other = replace(CLUSTER[3], checkpoints={128: 7})
    found = find(check_cluster([*CLUSTER[:3], other]), "history")
    assert found.state is State.CRITICAL
    assert "n0/n1/n2 and n3" in found.text
    behind = replace(CLUSTER[3], checkpoints={128: 1})
    assert find(check_cluster([*CLUSTER[:3], behind]), "history").state is State.OK


def test_a_page_of_a_node_is_understood() -> None:
    """The names that are looked for are those that a node shows."""
    node = FakeNode()
    metrics = NodeMetrics("1.2.3", "testnet", "n0")
    metrics.on_ledger(node.ledger, Directory(node.network))
    metrics.voting.watch(ValidatorId(0), lambda: frozenset(map(ValidatorId, range(1, 4))))
    metrics.host.watch_disk(Path(__file__))
    decide(metrics, CHECKPOINT_BLOCKS, 1)
    figures = parse_page(metrics.render()[0].decode())
    for name in (
        "sequencer_clock_seconds",
        "sequencer_last_decide_timestamp_seconds",
        "sequencer_tolerated_losses",
        "sequencer_participating_stake_ratio",
        "sequencer_evidence_pending",
        "sequencer_disk_free_bytes",
        "sequencer_disk_size_bytes",
    ):
        assert "" in figures[name], name
    assert figures["sequencer_checkpoint_height"] == {"1": CHECKPOINT_BLOCKS}
    assert figures["sequencer_checkpoint_digest"].keys() == {"1"}


def test_a_textfile_collector_reads_the_result() -> None:
    findings = check_node(replace(WELL, evidence_pending=2, disk_free_bytes=None))
    families = {
        family.name: family for family in text_string_to_metric_families(render_prometheus('a "net"', findings, 1234.5))
    }
    states = {sample.labels["check"]: sample.value for sample in families["sequencer_check_state"].samples}
    assert (states["evidence"], states["disk"], states["quorum"]) == (1, 3, 0)
    values = {sample.labels["figure"]: sample.value for sample in families["sequencer_check_value"].samples}
    assert values["evidence_pending"] == 2
    assert "disk_free_bytes" not in values
    (at,) = families["sequencer_check_timestamp_seconds"].samples
    assert (at.value, at.labels) == (1234.5, {"subject": 'a "net"'})


def test_a_plugin_says_the_worst_first_and_appends_figures() -> None:
    findings = check_node(replace(WELL, evidence_pending=2, peers=0))
    first, *rest = render_plugin(findings).splitlines()
    head, bar, figures = first.partition(" | ")
    assert head.startswith("SEQUENCER CRITICAL - n0 is connected with 0 of 3; 2 proofs")
    assert bar
    assert "evidence_pending=2" in figures.split()
    assert len(rest) == len(findings)


def test_the_json_has_everything() -> None:
    told = render_json("testnet", check_cluster(CLUSTER), 12.0)
    assert (told["subject"], told["state"], told["at"]) == ("testnet", "ok", 12.0)
    assert {check["state"] for check in told["checks"]} == {"ok"}


def test_exit_codes_are_ours_or_those_of_a_plugin() -> None:
    with socket.socket() as reserved:  # bound and not listening: nobody answers there
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        ours = run("check", "node", "--url", url)
        assert ours.returncode == ExitCode.UNREACHABLE
        assert "does not answer" in ours.stdout
        plugin = run("check", "cluster", "--url", url, "--nagios")
        assert plugin.returncode == State.CRITICAL
        assert plugin.stdout.startswith("SEQUENCER CRITICAL - 0 of 1 nodes answer")
