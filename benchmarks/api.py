"""How long the API lets people wait while the cluster orders at half of what it can: status, and blocks by height."""

import argparse
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Final

import httpx

from benchmarks.load import LoadPlan, LoadResult, run_load
from benchmarks.measuring import compute_percentile, print_table, run_cluster
from sequencer.local_cluster.cluster import LocalCluster

FLOOR_MS: Final = 50.0
"""For the 99th percentile."""
SHARE: Final = 0.5
"""Of the peak, while it is measured."""


def measure_peak(cluster: LocalCluster, seconds: float) -> float:
    """Finalized transactions per second that a closed loop gets through."""
    return run_load(make_plan(cluster, None, seconds)).transactions_per_second


def make_plan(cluster: LocalCluster, rate: float | None, seconds: float) -> LoadPlan:
    urls = [cluster.url(name) for name in cluster.names]
    return LoadPlan(urls=urls, rate=rate, warmup_seconds=2.0, measured_seconds=seconds)


@contextmanager
def run_beside(plan: LoadPlan) -> Iterator[list[LoadResult]]:
    """The load in a process of its own, so that it does not delay what is measured here; its result when it is over."""
    results: list[LoadResult] = []
    with ProcessPoolExecutor(1) as pool:
        running = pool.submit(run_load, plan)
        time.sleep(plan.warmup_seconds)
        yield results
        results.append(running.result())


def probe(cluster: LocalCluster, seconds: float, per_second: float) -> dict[str, list[float]]:
    """Seconds that each request took: one after the other over kept connections, the nodes in turn."""
    taken: dict[str, list[float]] = {"GET /v1/status": [], "GET /v1/blocks/{height}": []}
    source = random.Random(1)  # noqa: S311 - of measured requests
    clients = [httpx.Client(base_url=cluster.url(name), timeout=60) for name in cluster.names]
    latest = [int(client.get("/v1/status").json()["height"]) for client in clients]
    end, due = time.monotonic() + seconds, time.monotonic()
    number = 0
    while (now := time.monotonic()) < end:
        time.sleep(max(0.0, due - now))
        due += 1 / per_second
        place = number % len(clients)
        height = source.randint(max(1, latest[place] - 500), max(1, latest[place]))
        for kind, path in zip(taken, ("/v1/status", f"/v1/blocks/{height}"), strict=True):
            started = time.perf_counter()
            response = clients[place].get(path)
            taken[kind].append(time.perf_counter() - started)
            if response.status_code != 200:
                raise ConnectionError(f"{path} was answered with {response.status_code}: {response.text[:200]}")
            latest[place] = response.json()["height"] if kind == "GET /v1/status" else latest[place]
        number += 1
    for client in clients:
        client.close()
    return taken


def main(arguments_given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks api", description=__doc__)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--durability", choices=["fsync", "os"], default="os")
    parser.add_argument("--peak-seconds", type=float, default=8.0, help="for finding the peak")
    parser.add_argument("--seconds", type=float, default=30.0, help="for the requests")
    parser.add_argument("--per-second", type=float, default=25.0, help="pairs of requests")
    arguments = parser.parse_args(arguments_given)
    with run_cluster(arguments.nodes, durability=arguments.durability) as cluster:
        idle = probe(cluster, arguments.seconds / 3, arguments.per_second)
        peak = measure_peak(cluster, arguments.peak_seconds)
        with run_beside(make_plan(cluster, peak * SHARE, arguments.seconds + 2)) as results:
            loaded = probe(cluster, arguments.seconds, arguments.per_second)
    rows = [
        (
            kind,
            when,
            len(taken[kind]),
            *(f"{compute_percentile(taken[kind], percent) * 1000:.1f}" for percent in (50, 90, 99, 100)),
        )
        for when, taken in (("idle", idle), ("half of the peak", loaded))
        for kind in taken
    ]
    ordered = results[0].transactions_per_second
    load = f"peak {peak:,.0f} tx/s, then {ordered:,.0f} tx/s, load average {os.getloadavg()[0]:.1f}"
    print_table(
        f"{arguments.nodes} nodes, durability {arguments.durability}, {load}; the floor is p99 < {FLOOR_MS:g} ms",
        ("request", "while", "requests", "p50 ms", "p90 ms", "p99 ms", "max ms"),
        rows,
    )


if __name__ == "__main__":
    main()
