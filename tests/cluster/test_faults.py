"""What a cluster of four processes survives, what stops it, and that nothing decided is ever lost."""

import re

import pytest

from sequencer.client import ApiProblem
from sequencer.local_cluster.cluster import LocalCluster
from tests.cluster.conftest import SECONDS, StartCluster

pytestmark = pytest.mark.cluster


def submit_and_wait(cluster: LocalCluster, name: str, transaction: bytes) -> None:
    with cluster.client(name) as client:
        client.submit_batch([transaction], wait_seconds=SECONDS)


def read_height(cluster: LocalCluster, name: str) -> int:
    with cluster.client(name) as client:
        return client.block("latest", transactions="none").height


def read_hashes(cluster: LocalCluster, name: str, up_to: int | None = None) -> list[str]:
    """Block hashes by height."""
    with cluster.client(name) as client:
        hashes = [block.hash for block in client.iterate_blocks(0)]
    return hashes if up_to is None else hashes[: up_to + 1]


def wait_height(cluster: LocalCluster, height: int, *names: str) -> None:
    for name in names:
        cluster.wait_until(
            lambda name=name: read_height(cluster, name) >= height,  # type: ignore[misc]
            timeout_seconds=SECONDS,
            what=f"height {height} at {name}",
        )


def count_timeouts(cluster: LocalCluster, name: str) -> float:
    with cluster.client(name) as client:
        page = client.metrics()
    return sum(float(count) for count in re.findall(r"^sequencer_timeouts_total\{.*\} (\S+)$", page, re.MULTILINE))


def test_one_dead_goes_on_two_dead_stop_and_one_back_goes_on(start_cluster: StartCluster) -> None:
    """Three of four are a quorum, two are not; and two that waited long need only one more."""
    cluster = start_cluster(4)
    cluster.kill("n3")
    submit_and_wait(cluster, "n0", b"three are enough")

    # Counted before the kill: a survivor may give up on the view, its last one, within milliseconds of it.
    before = {name: count_timeouts(cluster, name) for name in ("n0", "n1")}
    cluster.kill("n2")
    for name, count in before.items():
        cluster.wait_until(
            lambda name=name, count=count: count_timeouts(cluster, name) > count,  # type: ignore[misc]
            timeout_seconds=SECONDS,
            what=f"{name} to give up on a view",
        )
    heights = {name: read_height(cluster, name) for name in ("n0", "n1")}
    with pytest.raises(ApiProblem) as refusal, cluster.client("n0") as client:
        client.submit_batch([b"two are not"], wait_seconds=1.5)
    assert refusal.value.code == "not_finalized_in_time"
    assert {name: read_height(cluster, name) for name in ("n0", "n1")} == heights

    cluster.start("n3")
    submit_and_wait(cluster, "n1", b"two are not")
    wait_height(cluster, max(heights.values()) + 1, "n0", "n1", "n3")
    common = min(read_height(cluster, name) for name in cluster.running)
    chains = [read_hashes(cluster, name, common) for name in cluster.running]
    assert chains[0] == chains[1] == chains[2]


@pytest.mark.parametrize("order", [("n0", "n1", "n2", "n3"), ("n3", "n1", "n0", "n2")])
def test_all_killed_at_once_come_back_in_any_order(start_cluster: StartCluster, order: tuple[str, ...]) -> None:
    """Every process dies in the same moment under load; what was final stays, and the chain goes on from there."""
    cluster = start_cluster(4)
    for number in range(5):
        submit_and_wait(cluster, f"n{number % 4}", b"before %d" % number)
    with cluster.client("n1") as client:
        client.submit_batch([b"under way %d" % number for number in range(100)])
    chains = {name: read_hashes(cluster, name) for name in cluster.names}
    cluster.kill(*cluster.names)
    for name in order:
        cluster.start(name)
    cluster.wait_ready(timeout_seconds=SECONDS)
    submit_and_wait(cluster, order[-1], b"after")
    longest = max(map(len, chains.values()))
    wait_height(cluster, longest, *cluster.names)
    common = min(read_height(cluster, name) for name in cluster.names)
    now = [read_hashes(cluster, name, common) for name in cluster.names]
    assert all(chain == now[0] for chain in now)
    for chain in chains.values():
        assert now[0][: len(chain)] == chain


def test_frozen_leader_is_passed_over_and_comes_back(start_cluster: StartCluster) -> None:
    """SIGSTOP keeps the connections open, so only the timer tells; after SIGCONT the node catches up by itself."""
    cluster = start_cluster(4)
    with cluster.client("n0") as client:
        leader = client.status().leader
    frozen = leader if leader in cluster.names else "n1"
    alive = next(name for name in cluster.names if name != frozen)
    cluster.pause(frozen)
    for number in range(4):
        submit_and_wait(cluster, alive, b"without the frozen one %d" % number)
    height = read_height(cluster, alive)
    cluster.resume(frozen)
    wait_height(cluster, height, frozen)
    assert read_hashes(cluster, frozen, height) == read_hashes(cluster, alive, height)


def test_restarted_node_catches_up_with_what_it_missed(start_cluster: StartCluster) -> None:
    """A node that was drained, not killed, comes back too, and serves the same chain."""
    cluster = start_cluster(4)
    cluster.stop("n1")
    assert cluster.processes()["n1"].exit_code == 0
    for number in range(10):
        submit_and_wait(cluster, "n0", b"missed %d" % number)
    height = read_height(cluster, "n0")
    cluster.start("n1")
    wait_height(cluster, height, "n1")
    assert read_hashes(cluster, "n1", height) == read_hashes(cluster, "n0", height)
