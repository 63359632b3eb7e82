"""`python -m benchmarks` runs all benchmarks, `python -m benchmarks NAME [OPTIONS]` one, `--list` names them."""

import importlib
import sys

BENCHMARKS = {
    "startup": "from the command to the first decide, 4 and 20 nodes",
    "leader_kill": "how long four nodes stand still when their leader is killed or frozen",
    "throughput": "finalized transactions per second and their latency, with fsync and without",
    "api": "how long status and blocks take to read while the cluster orders at half of its peak",
    "streams": "what a thousand readers of a stream cost their node and the cluster",
    "idle": "CPU of nodes that have nothing to do",
    "storage": "appending blocks, looking up transactions",
    "metrics": "what counting costs a view, and what a scrape costs",
    "framing": "how often an honest leader is jailed when others suppress its slots",
    "simulator": "decided views per CPU second and what bounds them, and finality on ten regions",
}


def main() -> None:
    names = sys.argv[1:2]
    if names == ["--list"]:
        for name, what in BENCHMARKS.items():
            print(f"{name:12} {what}")
        return
    if names and names[0] not in BENCHMARKS:
        print(f'error: there is no benchmark "{names[0]}"; there are {", ".join(BENCHMARKS)}', file=sys.stderr)
        sys.exit(2)
    sys.argv[1:2] = []
    for name in names or BENCHMARKS:
        print(f"\n{name}: {BENCHMARKS[name]}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
