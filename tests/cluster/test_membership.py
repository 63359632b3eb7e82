"""A running devnet gets a node, changes a key and loses a node (J5, T5), as one does it from a shell."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from sequencer.client import Client
from sequencer.local_cluster.home import TARGETS_FILE, find_base_port
from tests.cluster.conftest import SECONDS
from tests.cluster.test_cli import run, run_devnet


def choose_options() -> tuple[str, ...]:
    """Epochs of a few seconds, and room for more nodes."""
    return ("--epoch-blocks", "8", "--base-port", str(find_base_port(8)), "--durability", "os")


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)


def wait_for_epoch(url: str, epoch: int) -> None:
    deadline = time.monotonic() + SECONDS
    with Client(url) as client:
        while client.status().epoch < epoch:
            assert time.monotonic() < deadline, "no epoch has ended"
            time.sleep(0.05)  # outside of any event loop, and there is nothing to be told by


def show(home: Path) -> dict[str, dict[str, Any]]:
    result = run("stake", "show", "--home", str(home), "-o", "json")
    assert result.returncode == 0, result.stderr
    return {row["name"]: row for row in json.loads(result.stdout)["validators"]}


def list_targets(home: Path) -> set[str]:
    groups = json.loads((home / TARGETS_FILE).read_text())
    assert all(group["labels"]["network"] == "devnet" for group in groups)
    return {group["labels"]["instance"] for group in groups}


@pytest.mark.cluster
def test_t5_a_node_is_added_votes_and_another_one_leaves(tmp_path: Path) -> None:
    home = tmp_path / "devnet"
    with run_devnet(tmp_path, *choose_options()) as (process, ready):
        wait_for_epoch(ready["nodes"][0]["api"], 1)
        added = run("devnet", "add", "--home", str(home), "--stake", "500000", "--wait")
        assert added.returncode == 0, added.stderr
        assert "n4 votes" in added.stderr
        standing = show(home)
        assert (standing["n4"]["status"], standing["n4"]["weight"], standing["n4"]["id"]) == ("active", 500_000, 4)

        assert list_targets(home) == {"n0", "n1", "n2", "n3", "n4"}, "Prometheus is told"

        # Its chain has begun with the end of an epoch.
        log = (home / "n4" / "node.log").read_text()
        assert "snapshot_verified" in log

        taken = run("devnet", "add", "--home", str(home), "--name", "n4")
        assert taken.returncode == 2
        assert "already" in taken.stderr

        rotated = run("stake", "rotate-key", "n2", "--home", str(home), "--wait")
        assert rotated.returncode == 0, rotated.stderr

        removed = run("devnet", "remove", "n1", "--home", str(home))
        assert removed.returncode == 0, removed.stderr
        standing = show(home)
        assert "n1" not in standing or standing["n1"]["weight"] == 0
        assert not (home / "n1" / "node.toml").exists()
        assert (home / "n1" / "validator.key").exists(), "a key is never deleted"

        # Whoever has the network file alone follows all of that.
        proven = run("verify", "--home", str(home), "-o", "json")
        assert proven.returncode == 0, proven.stderr
        told = json.loads(proven.stdout)
        assert told["epochs_followed"] >= 4
        assert told["blocks"][0]["total_stake"] == sum(row["weight"] for row in show(home).values())

        end(process)

    # The chain is resumed by those who are left, the node that was added among them, and one with its new key.
    with run_devnet(tmp_path) as (process, ready):
        assert {node["name"] for node in ready["nodes"]} == {"n0", "n2", "n3", "n4"} == list_targets(home)
        end(process)


@pytest.mark.cluster
def test_membership_commands_say_what_is_wrong(tmp_path: Path) -> None:
    nowhere = run("devnet", "add", "--home", str(tmp_path / "none"))
    assert nowhere.returncode != 0
    assert "no home" in nowhere.stderr
    home = tmp_path / "devnet"
    with run_devnet(tmp_path, *choose_options()) as (process, _):
        unknown = run("devnet", "remove", "n9", "--home", str(home))
        assert unknown.returncode == 2
        assert "n0, n1, n2, n3" in unknown.stderr
        end(process)
