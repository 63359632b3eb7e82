"""A light client and a running devnet, as one uses them from a shell: over epochs, then without any node."""

import json
from pathlib import Path

import pytest

from sequencer.client import Client
from sequencer.local_cluster.home import find_base_port
from tests.cluster.test_cli import run, run_devnet
from tests.cluster.test_membership import end, wait_for_epoch


@pytest.mark.cluster
def test_t5_what_a_devnet_has_decided_is_proven_with_its_network_file_alone(tmp_path: Path) -> None:
    home, proof = tmp_path / "devnet", tmp_path / "proof"
    options = ("--epoch-blocks", "4", "--base-port", str(find_base_port(4)), "--durability", "os")
    with run_devnet(tmp_path, *options) as (process, ready):
        url = ready["nodes"][1]["api"]
        wait_for_epoch(url, 2)
        with Client(url) as client:
            block = client.block(9)
        online = run("verify", "--home", str(home), "--block", block.hash, "--save", str(proof), "-o", "json")
        assert online.returncode == 0, online.stderr
        told = json.loads(online.stdout)
        assert (told["outcome"], told["trusted"], told["epochs_followed"]) == ("proven", "genesis", 2)
        assert (told["blocks"][0]["height"], told["blocks"][0]["hash"]) == (9, block.hash)
        further = run("verify", "--home", str(home), "--checkpoint", told["checkpoint"])
        assert further.returncode == 0, further.stderr
        assert run("verify", "--home", str(home), "--block", "1000000").returncode == 3
        submitted = run("tx", "submit", "0xabcdef", "--url", url, "--wait", "finalized", "-o", "json")
        name = json.loads(submitted.stdout)["hash"]
        included = run("verify", "--home", str(home), "--transaction", name, "-o", "json")
        assert included.returncode == 0, included.stderr
        assert json.loads(included.stdout)["blocks"][0]["transactions"] == ["0xabcdef"]
        end(process)

    network = str(home / "network.toml")
    offline = run("verify", str(proof), "--network", network, "-o", "json")
    assert json.loads(offline.stdout) == told
    assert run("verify", "--home", str(home)).returncode == 4
    proof.write_bytes(proof.read_bytes().replace(bytes.fromhex(block.parent[2:]), bytes(32)))
    damaged = run("verify", str(proof), "--network", network)
    assert damaged.returncode == 1
    assert "not proven" in damaged.stderr
