"""What every benchmark on real processes needs: a throw-away cluster, CPU time, percentiles, a table."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sequencer.home import HomePlan
from sequencer.local_cluster.cluster import LocalCluster
from sequencer.local_cluster.home import DEVNET_NAME, find_base_port, open_devnet

READY_SECONDS: Final = 60.0
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_UTIME: Final = 11
"""Place of the user time in /proc/PID/stat, counted after the name; the system time follows."""


@contextmanager
def run_cluster(nodes: int = 4, *, durability: str = "fsync") -> Iterator[LocalCluster]:
    """New nodes in a temporary folder, all of them ready; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="sequencer-benchmark-") as folder:
        plan = HomePlan(stakes=(100,) * nodes, name=DEVNET_NAME, base_port=find_base_port(nodes))
        home, _ = open_devnet(Path(folder) / "home", plan)
        settings = {node.config.validator: {"durability": durability} for node in home.nodes}
        with LocalCluster(home, settings) as cluster:
            cluster.start()
            cluster.wait_ready(timeout_seconds=READY_SECONDS)
            yield cluster


def read_cpu_seconds(pid: int) -> float:
    """User and system time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_UTIME + 1])) / _TICKS_PER_SECOND


def read_machine_cpu_seconds() -> float:
    """What all processes of this machine have used so far, ended ones included."""
    user, nice, system, _idle, _wait, irq, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + soft) / _TICKS_PER_SECOND


def compute_percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank; not a number when there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*map(str, row))
    console = Console(highlight=False)
    # In a file or a pipe nothing is wrapped.
    console.width = max(console.width, 120)
    console.print(table)
