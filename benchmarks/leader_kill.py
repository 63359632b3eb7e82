"""How long a four-node network stands still when its leader is killed (SIGKILL), and when it is only frozen (SIGSTOP).

Under light load the current leader is hit, and a survivor is asked for its last decided view as fast as it answers,
until one rotation of leaders has passed. Two figures come from that: the time until a view after the leader's own is
decided, and the longest pause between two decides, which also covers later turns of the missing leader.
"""

import argparse
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from benchmarks.measuring import print_table, run_cluster
from sequencer.client import ApiProblem, Client, Unreachable
from sequencer.local_cluster.cluster import LocalCluster
from sequencer.schema.status import StatusJson

LOAD_INTERVAL_SECONDS: Final = 0.01
SETTLE_SECONDS: Final = 30.0
OBSERVE_SECONDS_MAX: Final = 30.0


@dataclass(frozen=True)
class Outage:
    """Seconds. `resolution` is the longest time between two looks at the survivor."""

    to_next_decide: float
    longest_pause: float
    resolution: float


@contextmanager
def light_load(cluster: LocalCluster) -> Iterator[None]:
    """One small transaction every 10 ms, at the nodes in turn; dead ones are passed over."""
    is_over = threading.Event()

    def submit() -> None:
        clients = [cluster.client(name, timeout_seconds=0.5) for name in cluster.names]
        number = 0
        while not is_over.wait(LOAD_INTERVAL_SECONDS):
            number += 1
            try:
                clients[number % len(clients)].submit_batch([b"light load %d %d" % (time.monotonic_ns(), number)])
            except (Unreachable, ApiProblem):
                continue

    thread = threading.Thread(target=submit, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def hit_leader(cluster: LocalCluster, *, is_kill: bool) -> Outage:
    """Kill or freeze the current leader, watch a survivor, bring the leader back."""
    first = cluster.client(cluster.names[0])
    leader = first.status().leader or cluster.names[0]
    survivor = cluster.client(next(name for name in cluster.names if name != leader))
    status = survivor.status()
    # The leader may have changed since: what counts is whom the survivor waits for now.
    leader = status.leader if status.leader not in (None, status.validator) else leader
    hit_ns = cluster.kill(leader) if is_kill else cluster.pause(leader)
    outage = _observe(survivor, status, hit_ns, rotation=len(cluster.names))
    if is_kill:
        cluster.start(leader)
    else:
        cluster.resume(leader)
    cluster.wait_ready(timeout_seconds=SETTLE_SECONDS)
    return outage


def _observe(survivor: Client, before: StatusJson, hit_ns: int, *, rotation: int) -> Outage:
    """`before` is the survivor's status of the moment in which the leader was hit."""
    view, last_view = before.view, before.decided_view
    decided_ns = [hit_ns]
    next_ns: int | None = None
    resolution = 0
    last_look = hit_ns
    while last_view <= view + rotation:
        decided_view = survivor.status().decided_view
        now = time.monotonic_ns()
        resolution, last_look = max(resolution, now - last_look), now
        if decided_view > last_view:
            last_view = decided_view
            decided_ns.append(now)
            if next_ns is None and decided_view > view:
                next_ns = now
        if now - hit_ns > OBSERVE_SECONDS_MAX * 1e9:
            raise TimeoutError(f"nothing past view {last_view} was decided within {OBSERVE_SECONDS_MAX:g} s")
    longest = max(after - before for before, after in pairwise(decided_ns))
    return Outage(((next_ns or last_look) - hit_ns) / 1e9, longest / 1e9, resolution / 1e9)


def main(arguments_given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks leader_kill", description=__doc__)
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--durability", choices=["fsync", "os"], default="fsync")
    arguments = parser.parse_args(arguments_given)
    rows = []
    with run_cluster(4, durability=arguments.durability) as cluster, light_load(cluster):
        base_ms = cluster.home.network.consensus.timeout_floor_ms
        for name, is_kill in (("SIGKILL", True), ("SIGSTOP", False)):
            outages = [hit_leader(cluster, is_kill=is_kill) for _ in range(arguments.times)]
            resolution = max(outage.resolution for outage in outages)
            for figure in ("to_next_decide", "longest_pause"):
                values = [getattr(outage, figure) * 1000 for outage in outages]
                median = statistics.median(values)
                rows.append(
                    (
                        name,
                        figure.replace("_", " "),
                        f"{median:.0f}",
                        f"{min(values):.0f}",
                        f"{max(values):.0f}",
                        f"{median / base_ms:.2f}",
                        f"{resolution * 1000:.0f}",
                    )
                )
    print_table(
        f"leader of 4 nodes hit {arguments.times} times each, durability {arguments.durability}, milliseconds",
        ("signal", "time", "median", "min", "max", "in base timeouts", "resolution"),
        rows,
    )


if __name__ == "__main__":
    main()
