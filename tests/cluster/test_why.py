"""`sequencer why` about a view that really failed, asked at processes that were there."""

import json
import subprocess
import sys

import pytest

from sequencer.local_cluster.cluster import LocalCluster
from tests.cluster.conftest import SECONDS, StartCluster

pytestmark = pytest.mark.cluster


def ask_why(cluster: LocalCluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    urls = [part for name in cluster.names for part in ("--url", cluster.url(name))]
    command = [sys.executable, "-m", "sequencer", "why", *arguments, *urls]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)


def read_view(cluster: LocalCluster, name: str) -> int:
    with cluster.client(name) as client:
        return int(client.status()["view"])


def test_why_names_the_leader_that_was_killed(start_cluster: StartCluster) -> None:
    """Whose turn it is while it is dead is told, with whose votes ended the view and what came next."""
    cluster = start_cluster(4)
    before = read_view(cluster, "n0")
    cluster.kill("n2")
    told: dict[str, object] = {}

    def is_told() -> bool:
        answer = json.loads(ask_why(cluster, "-o", "json").stdout)
        told.update(answer)
        if answer["view"] is None or answer["view"] < before:
            return False
        return "n2 led it" in answer["headline"] and bool(answer["following"])

    cluster.wait_until(is_told, timeout_seconds=SECONDS, what="a view of n2 to have failed")
    assert told["outcome"] == "timed_out"
    nodes = {node["node"]: node for node in told["nodes"] if node["reachable"]}  # type: ignore[attr-defined]
    assert set(nodes) == {"n0", "n1", "n3"}
    voters = {name for node in nodes.values() for name in node["view"]["timeout_voters"]}
    assert voters == {"n0", "n1", "n3"}
    assert all(node["view"]["leader"] == "n2" for node in nodes.values())
    assert all(node["view"]["proposal"] is None for node in nodes.values())
    result = ask_why(cluster, str(told["view"]))
    assert result.returncode == 0
    assert "n2 led it" in result.stdout
    assert "what came next" in result.stdout
    assert "connection refused" in result.stderr
