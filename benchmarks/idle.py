"""What nodes cost while nothing is submitted: the share of a core, as /proc counts it."""

import argparse
import time

from benchmarks.measuring import print_table, read_cpu_seconds, run_cluster


def main(arguments_given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks idle", description=__doc__)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args(arguments_given)
    with run_cluster(arguments.nodes) as cluster:
        pids = {name: process.pid for name, process in cluster.processes().items()}
        height = cluster.client(cluster.names[0]).status().height
        before = {name: read_cpu_seconds(pid) for name, pid in pids.items()}
        time.sleep(arguments.seconds)
        rows = [
            (name, f"{(read_cpu_seconds(pid) - before[name]) / arguments.seconds:.2%}") for name, pid in pids.items()
        ]
        blocks = cluster.client(cluster.names[0]).status().height - height
    print_table(f"idle for {arguments.seconds:g} s, {blocks} empty blocks decided", ("node", "share of a core"), rows)


if __name__ == "__main__":
    main()
