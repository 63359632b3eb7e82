"""A devnet that runs is broken from another terminal, and healed."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from sequencer.client import Client
from sequencer.failures import ExitCode
from sequencer.fault_log import FaultLog
from sequencer.local_cluster.home import CHAOS_SOCKET, FAULTS_FILE, find_base_port
from tests.cluster.conftest import SECONDS
from tests.cluster.test_cli import run, run_devnet

pytestmark = pytest.mark.cluster


def look(home: Path) -> dict[str, Any]:
    result = run("chaos", "status", "--home", home, "-o", "json")
    assert result.returncode == ExitCode.OK, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def get_states(home: Path) -> dict[str, str]:
    return {node["name"]: node["state"] for node in look(home)["nodes"]}


def wait_until_well(home: Path) -> None:
    """As `sequencer check` has it, the machine's disk aside."""
    deadline = time.monotonic() + SECONDS
    while True:
        checks = json.loads(run("check", "cluster", "--home", home, "-o", "json").stdout)["checks"]
        ill = [check["text"] for check in checks if check["state"] != "ok" and check["check"] != "disk"]
        if not ill:
            return
        assert time.monotonic() < deadline, ill


def wait_for_peers(url: str, peers: set[str]) -> None:
    deadline = time.monotonic() + SECONDS
    with Client(url) as client:
        while set(client.status().peers) != peers:
            assert time.monotonic() < deadline, f"never connected with exactly {peers}"
            time.sleep(0.05)  # outside of any event loop, and there is nothing to be told by


def test_a_running_devnet_is_broken_and_healed(tmp_path: Path) -> None:
    home = tmp_path / "devnet"
    options = ("--base-port", str(find_base_port(4)), "--durability", "os", "--chaos")
    with run_devnet(tmp_path, *options) as (process, ready):
        urls = {node["name"]: node["api"] for node in ready["nodes"]}
        assert set(get_states(home).values()) == {"running"}

        cut = run("chaos", "partition", "n3", "--home", home)
        assert cut.returncode == ExitCode.OK, cut.stderr
        slow = run("chaos", "delay", 5, "--from", "n0", "--to", "n1,n2", "--home", home)
        assert slow.returncode == ExitCode.OK, slow.stderr
        with Client(urls["n0"]) as client:
            client.submit_batch([b"three are enough"], wait_seconds=SECONDS)
        orders = {order["what"]: order for order in look(home)["orders"]}
        assert orders["partition n3 | n0,n1,n2"]["links"] == 6
        assert orders["partition n3 | n0,n1,n2"]["bites"] > 0
        assert orders["delay 5 ms from n0 to n1,n2"]["bites"] > 0

        frozen = run("chaos", "pause", "n1", "--home", home)
        assert frozen.returncode == ExitCode.OK, frozen.stderr
        assert get_states(home)["n1"] == "frozen"
        with Client(urls["n0"]) as client:
            faults = client.faults().faults
        assert [(fault.fault, fault.targets, fault.until_ms) for fault in faults] == [
            ("partition", ("n3",), None),
            ("delay", ("n0",), None),
            ("pause", ("n1",), None),
        ]
        healed = run("chaos", "heal", "--home", home)
        assert healed.returncode == ExitCode.OK, healed.stderr
        assert "n1 goes on" in healed.stderr
        log = FaultLog(home / FAULTS_FILE)
        assert log.read_active() == ()
        assert look(home)["orders"] == []
        wait_for_peers(urls["n3"], {"n0", "n1", "n2"})

        wait_until_well(home)

        killed = run("chaos", "kill-leader", "--home", home)
        assert killed.returncode == ExitCode.OK, killed.stderr
        assert "is killed" in killed.stderr
        assert "the others have decided height" in killed.stderr
        assert [fault.by for fault in log.read() if fault.fault == "kill"] == ["chaos kill-leader"]

        for arguments, words in (
            (("partition", "n9"), "there are n0, n1, n2, n3"),
            (("partition", "n0,n1,n2,n3"), "leaves everyone together"),
            (("partition", "n0,n1", "n1,n2"), "in one group only"),
            (("kill", "n9"), "there are n0, n1, n2, n3"),
        ):
            refused = run("chaos", *arguments, "--home", home)
            assert refused.returncode == ExitCode.USAGE, refused.stderr
            assert words in refused.stderr
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
        assert process.returncode == ExitCode.OK
    assert not (home / CHAOS_SOCKET).exists()
    assert log.read_active() == (), "no fault outlives the devnet"
    nobody = run("chaos", "kill-leader", "--home", home)
    assert nobody.returncode == ExitCode.UNREACHABLE


def test_links_of_a_devnet_without_proxies_cannot_be_broken_and_its_processes_can(tmp_path: Path) -> None:
    home = tmp_path / "devnet"
    with run_devnet(tmp_path, "--base-port", str(find_base_port(4)), "--durability", "os") as (process, ready):
        refused = run("chaos", "delay", 10, "--home", home)
        assert refused.returncode == ExitCode.UNREACHABLE
        assert "sequencer devnet --chaos" in refused.stderr
        os.kill(ready["nodes"][2]["pid"], signal.SIGSTOP)
        assert get_states(home)["n2"] == "frozen"
        resumed = run("chaos", "resume", "n2", "--home", home)
        assert resumed.returncode == ExitCode.OK
        assert get_states(home)["n2"] == "running"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)


def test_a_home_whose_path_is_long_has_a_socket_too(tmp_path: Path) -> None:
    """Addresses of sockets end at about a hundred bytes, paths do not."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    with run_devnet(folder, "--base-port", str(find_base_port(4)), "--nodes", "1", "--chaos") as (process, _):
        assert look(folder / "devnet")["proxies"]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
