"""After a kill: what `sequencer why` says of it, and what a debug bundle of the survivors holds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sequencer.local_cluster.cluster import LocalCluster
from tests.cluster.conftest import SECONDS, StartCluster
from tests.node.test_debug_bundle import read_bundle

pytestmark = pytest.mark.cluster


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sequencer", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)


def ask_why(cluster: LocalCluster, *arguments: object) -> subprocess.CompletedProcess[str]:
    urls = [part for name in cluster.names for part in ("--url", cluster.url(name))]
    return run("why", *arguments, *urls)


def find_failed(cluster: LocalCluster, name: str, leader: str, start: int) -> int | None:
    """The first view from `start` on that this leader lost, once another one has followed."""
    with cluster.client(name) as client:
        views = client.views(start).views
    failed = [view.view for view in views if (view.leader, view.outcome) == (leader, "timed_out")]
    has_gone_on = any(view.outcome == "decided" and view.view > failed[0] for view in views if failed)
    return failed[0] if has_gone_on else None


def test_why_names_the_leader_that_was_killed_and_a_bundle_has_the_rest(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
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

    path, home = tmp_path / "bundle.tar.gz", tmp_path / "home"
    result = run("debug", "bundle", "--home", home, "-o", path)
    assert result.returncode == 0, result.stderr
    assert f"{victim} does not answer: connection refused" in result.stderr
    files = read_bundle(path)
    for name in others:
        assert b"sequencer/node.py:" in files[f"nodes/{name}/task_tree.txt"]
        assert json.loads(files[f"nodes/{name}/status.json"])["validator"] == name
        assert b"peer_lost" in files[f"nodes/{name}/log.txt"]
        assert b"GaveUp" in files[f"nodes/{name}/journal.txt"]
        assert b"sequencer_view" in files[f"nodes/{name}/metrics.txt"]
        assert b"open files" in files[f"nodes/{name}/process_limits.txt"]
    assert f"nodes/{victim}/task_tree.txt" not in files
    for key in home.glob("**/*.key"):
        secret = key.read_text().strip()
        assert not [file for file, data in files.items() if secret.encode() in data or bytes.fromhex(secret) in data]
