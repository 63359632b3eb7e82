"""From the command `sequencer devnet` to the moment at which every node has decided, for 4 and for 20 nodes."""

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.measuring import print_table
from sequencer.local_cluster.home import find_base_port

SECONDS_MAX: Final = 120.0
POLL_SECONDS: Final = 0.005
TARGET_SECONDS: Final = {4: 2.0, 20: 6.0}


def measure(nodes: int) -> tuple[float, float]:
    """Seconds from the command until the ready file stands there: in a new home, keys and databases included, and again
    in the same home after Ctrl-C.
    """
    with tempfile.TemporaryDirectory(prefix="sequencer-benchmark-") as folder:
        base_port = find_base_port(nodes)
        return _measure_one(Path(folder), nodes, base_port), _measure_one(Path(folder), nodes, base_port)


def _measure_one(folder: Path, nodes: int, base_port: int) -> float:
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "sequencer", "devnet", "--home", str(folder / "home"), "--nodes", str(nodes)),
        *("--base-port", str(base_port), "--ready-file", str(ready), "--no-live"),
    ]
    started = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        while not ready.exists():
            if process.poll() is not None or time.monotonic() - started > SECONDS_MAX:
                raise RuntimeError(f"the devnet did not become ready: {process.communicate()[1]}")
            time.sleep(POLL_SECONDS)
        return time.monotonic() - started
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def main(arguments_given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks startup", description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args(arguments_given)
    rows = []
    for nodes, target in TARGET_SECONDS.items():
        pairs = [measure(nodes) for _ in range(arguments.times)]
        for name, values in zip(("new", "resumed"), zip(*pairs, strict=True), strict=True):
            figures = (statistics.median(values), min(values), max(values), target)
            rows.append((nodes, name, *(f"{value:.2f}" for value in figures)))
    print_table("command to all nodes decided, seconds", ("nodes", "home", "median", "min", "max", "at most"), rows)


if __name__ == "__main__":
    main()
