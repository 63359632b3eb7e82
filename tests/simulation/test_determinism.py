"""The same seed is the same run, in whatever process."""

import subprocess
import sys
from pathlib import Path

from netsim.cluster import Cluster
from netsim.disk import DiskModel
from netsim.network import Exponential, LinkModel
from netsim.simulation import STREAMS, make_stream

ROOT = Path(__file__).parents[2]

STORY = """
from netsim.cluster import Cluster
from netsim.disk import DiskModel
from netsim.network import Exponential, LinkModel

model = LinkModel(Exponential(2_000), loss=0.02, duplication=0.2, reordering=0.2)
cluster = Cluster(5, seed=11, links=model, disk=DiskModel(Exponential(700)))
cluster.run_for(0.5)
cluster.leader().crash()
cluster.partition({0, 1, 2, 3}, {4})
cluster.run_for(2)
cluster.heal()
for process in cluster.processes:
    if not process.is_alive:
        process.restart()
cluster.run_until(height=cluster.highest + 20)
print(cluster.height, cluster.simulation.events, cluster.audit_hash)
"""


def run_story(hash_seed: str) -> str:
    environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", STORY], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout


def run_cluster(seed: int, links: LinkModel | None = None) -> str:
    cluster = Cluster(4, seed, links=links, disk=DiskModel(Exponential(200)))
    cluster.run_for(0.2)
    return cluster.audit_hash


def test_one_seed_has_one_hash_in_two_processes() -> None:
    assert run_story("0") == run_story("4242") != ""


def test_another_seed_or_another_network_is_another_run() -> None:
    model = LinkModel(Exponential(1_000))
    hashes = {run_cluster(1, model), run_cluster(2, model), run_cluster(1), run_cluster(1, LinkModel(loss=0.01))}
    assert len(hashes) == 4
    assert run_cluster(1, model) in hashes


def test_a_fault_changes_the_hash() -> None:
    calm, disturbed = Cluster(4, seed=1), Cluster(4, seed=1)
    calm.run_for(0.1)
    disturbed.run_for(0.05)
    disturbed.cut(0, 1)
    disturbed.run_for(0.05)
    assert calm.audit_hash != disturbed.audit_hash


def test_streams_are_independent_of_each_other() -> None:
    values = {(seed, name): make_stream(seed, name).random() for seed in range(50) for name in STREAMS}
    assert len(set(values.values())) == len(values)
    cluster, other = Cluster(4, seed=1), Cluster(4, seed=1)
    cluster.simulation.streams["byzantine"].random()
    cluster.run_for(0.1)
    other.run_for(0.1)
    assert cluster.audit_hash == other.audit_hash
