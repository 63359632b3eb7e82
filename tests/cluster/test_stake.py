"""Stake on real nodes: operations take effect in the same block everywhere, and count two epochs later."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sequencer.failures import ExitCode
from sequencer.home import Home, HomePlan
from sequencer.keys import get_next_path, read_key
from sequencer.local_cluster.cluster import LocalCluster
from sequencer.local_cluster.home import DEVNET_NAME, find_base_port, open_devnet
from sequencer.network_config import ConsensusSection, EpochsSection
from tests.cluster.conftest import SECONDS
from tests.cluster.test_cli import check_refusal, run

pytestmark = pytest.mark.cluster

EPOCH_BLOCKS = 16
IDLE_INTERVAL_MS = 50
"""So that an epoch lasts about a second without any transaction."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    plan = HomePlan(
        name=DEVNET_NAME,
        base_port=find_base_port(4),
        treasury=1000,
        consensus=ConsensusSection(idle_interval_ms=IDLE_INTERVAL_MS),
        epochs=EpochsSection(epoch_blocks=EPOCH_BLOCKS, beacon_difficulty=1600),
    )
    home, _ = open_devnet(tmp_path / "home", plan)
    with ExitStack() as stack:
        running = stack.enter_context(LocalCluster(home))
        running.start()
        running.wait_ready(timeout_seconds=SECONDS)
        yield running


def stake(home: Home, *arguments: object) -> dict[str, Any]:
    result = run("stake", *arguments, "--home", home.path, "-o", "json")
    assert result.returncode == ExitCode.OK, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def wait_counted(cluster: LocalCluster, name: str) -> None:
    """Until this node is in an epoch whose stake table has all stakes and keys as they are now."""
    with cluster.client(name) as client:

        def is_counted() -> bool:
            rows = client.validators().validators
            return all((row.weight, row.voting_key) == (row.stake, row.public_key) for row in rows)

        cluster.wait_until(is_counted, timeout_seconds=SECONDS, what=f"{name} counts the new stakes")


def test_j5_operations_take_effect_on_all_nodes_and_count_from_the_next_table_on(cluster: LocalCluster) -> None:
    home = cluster.home
    key = home.path.parent / "late.key"
    bonded = stake(
        home, "bond", "late", 1000, "--validator-key", key, "--address", "127.0.0.1:1", "--wait", "--timeout", SECONDS
    )
    unbonded = stake(home, "unbond", "n1", 300_000, "--wait", "--timeout", SECONDS)
    rotated = stake(home, "rotate-key", "n2", "--wait", "--timeout", SECONDS)
    assert bonded["height"] <= unbonded["height"] <= rotated["height"]

    for name in cluster.names:
        wait_counted(cluster, name)
    fresh = "0x" + read_key(get_next_path(home.nodes[2].key_path)).public_key.hex()
    for name in cluster.names:
        with cluster.client(name) as client:
            rows = {row.name: row for row in client.validators().validators}
            changes = client.changes(limit=1000).changes
        assert (rows["late"].weight, rows["late"].status) == (1000, "active")
        assert rows["n1"].weight == 700_000
        assert rows["n2"].voting_key == fresh
        told = {change.kind: change.height for change in changes if change.kind in ("unbonded", "key_rotated")}
        assert told == {"unbonded": unbonded["height"], "key_rotated": rotated["height"]}
    table = run("status", "--home", home.path)
    assert "epoch     " in table.stdout
    assert f"of {EPOCH_BLOCKS} blocks" in table.stdout


def test_what_the_ledger_refuses_is_said_in_one_paragraph(cluster: LocalCluster) -> None:
    home = cluster.home.path
    check_refusal(run("stake", "unjail", "n1", "--home", home), ExitCode.FAILED, "n1 is not in jail")
    check_refusal(run("stake", "bond", "n1", 5, "--home", home), ExitCode.FAILED, "balance 0 is less than 5")
    check_refusal(run("stake", "bond", "new", 5, "--home", home), ExitCode.USAGE, "--validator-key FILE")
    check_refusal(run("stake", "unbond", "n9", 5, "--home", home), ExitCode.USAGE, "There are: n0, n1, n2, n3")
