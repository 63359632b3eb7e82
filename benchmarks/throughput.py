"""Finalized transactions per second over the real API, four nodes on this machine, with fsync and without."""

import argparse
import os

from benchmarks.load import LoadPlan, LoadResult, run_load
from benchmarks.measuring import (
    compute_percentile,
    print_table,
    read_cpu_seconds,
    read_machine_cpu_seconds,
    run_cluster,
)


def measure(durability: str, arguments: argparse.Namespace) -> tuple[LoadResult, dict[str, float]]:
    """The load's result, and the cores that each process used meanwhile; "others" is the rest of the machine."""
    with run_cluster(arguments.nodes, durability=durability) as cluster:
        plan = LoadPlan(
            urls=[cluster.url(name) for name in cluster.names],
            connections=arguments.connections,
            batch_transactions=arguments.batch,
            transaction_bytes=arguments.bytes,
            rate=arguments.rate,
            warmup_seconds=arguments.warmup,
            measured_seconds=arguments.seconds,
        )
        pids = {name: process.pid for name, process in cluster.processes().items()} | {"load": os.getpid()}
        before = {name: read_cpu_seconds(pid) for name, pid in pids.items()}
        machine_before = read_machine_cpu_seconds()
        result = run_load(plan)
        total = arguments.warmup + arguments.seconds
        used = {name: (read_cpu_seconds(pid) - before[name]) / total for name, pid in pids.items()}
        others = (read_machine_cpu_seconds() - machine_before) / total - sum(used.values())
        return result, used | {"others": max(0.0, others)}


def main(arguments_given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks throughput", description=__doc__)
    parser.add_argument("--durability", choices=["fsync", "os", "both"], default="both")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--batch", type=int, default=500, help="transactions in one request")
    parser.add_argument("--bytes", type=int, default=512, help="size of a transaction")
    parser.add_argument("--rate", type=float, help="open loop: transactions per second")
    parser.add_argument("--warmup", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args(arguments_given)
    rows = []
    for durability in ["fsync", "os"] if arguments.durability == "both" else [arguments.durability]:
        result, used = measure(durability, arguments)
        rows.append(
            (
                durability,
                f"{result.transactions_per_second:,.0f}",
                f"{compute_percentile(result.latencies, 50) * 1000:.0f}",
                f"{compute_percentile(result.latencies, 99) * 1000:.0f}",
                result.refused,
                f"{(sum(used.values()) - used['others']) / result.transactions_per_second * 1e6:.0f}",
                " ".join(f"{name} {share:.2f}" for name, share in used.items()),
            )
        )
    load = f"{arguments.connections} connections x {arguments.batch} x {arguments.bytes} bytes"
    loop = f"open loop at {arguments.rate:,.0f} tx/s" if arguments.rate else "closed loop"
    print_table(
        f"{arguments.nodes} nodes, {load}, {loop}",
        ("durability", "finalized tx/s", "p50 ms", "p99 ms", "refused", "CPU µs per tx", "cores used"),
        rows,
    )


if __name__ == "__main__":
    main()
