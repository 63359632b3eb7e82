"""`sequencer why` about a view that really failed, asked at processes that were there."""

import json
import subprocess
import sys

import pytest

from sequencer.local_cluster.cluster import LocalCluster
from tests.cluster.conftest import SECONDS, StartCluster

pytestmark = pytest.mark.cluster


def ask_why(cluster: LocalCluster, *arguments: object) -> subprocess.CompletedProcess[str]:
    urls = [part for name in cluster.names for part in ("--url", cluster.url(name))]
    command = [sys.executable, "-m", "sequencer", "why", *map(str, arguments), *urls]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)


def find_failed(cluster: LocalCluster, name: str, leader: str, start: int) -> int | None:
    """The first view from `start` on that this leader lost, once another one has followed."""
    with cluster.client(name) as client:
        views = client.views(start).views
    failed = [view.view for view in views if (view.leader, view.outcome) == (leader, "timed_out")]
    has_gone_on = any(view.outcome == "decided" and view.view > failed[0] for view in views if failed)
    return failed[0] if has_gone_on else None


def test_why_names_the_leader_that_was_killed(start_cluster: StartCluster) -> None:
    """Whose turn it is while it is dead is told, with whose votes ended the view and what came next."""
    cluster = start_cluster(4)
    with cluster.client("n0") as client:
        status = client.status()
    victim = str(status.primary[0])
    others = set(cluster.names) - {victim}
    cluster.kill(victim)
    failed = cluster.wait_until(
        lambda: find_failed(cluster, min(others), victim, status.view),
        timeout_seconds=SECONDS,
        what=f"a view of {victim} to fail, and another one to follow",
    )
    told = json.loads(ask_why(cluster, failed, "-o", "json").stdout)
    assert (told["view"], told["outcome"]) == (failed, "timed_out")
    assert f"{victim} led it" in told["headline"]
    assert told["following"]
    nodes = {node["node"]: node for node in told["nodes"] if node["reachable"]}
    assert set(nodes) == others
    assert {name for node in nodes.values() for name in node["view"]["timeout_voters"]} == others
    assert all((node["view"]["leader"], node["view"]["proposal"]) == (victim, None) for node in nodes.values())
    result = ask_why(cluster, "--last-failed")
    assert result.returncode == 0
    assert f"{victim} led it" in result.stdout
    assert "what came next" in result.stdout
    assert "connection refused" in result.stderr
