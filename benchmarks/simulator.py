"""How fast the simulator is, what bounds it, and what it says of a wide-area network. Prints; holds nothing against
anybody.

python -m benchmarks.simulator [--quick] [--small]
"""

import gc
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import process_time
from types import FrameType
from typing import Final

from benchmarks.measuring import print_table
from netsim.cluster import Cluster
from netsim.collection import rare_collection
from netsim.report import SimulationReport, SimulationSettings, run_simulation
from netsim.wan import read_regions

REGIONS = Path(__file__).parents[1] / "configs" / "regions" / "aws-rtt-ms.csv"
FLOOR_FINALITY_MS = 286
FLOOR_INTERVAL_MS = 182
"""Of any three-step, all-to-all protocol with rotating leaders on these regions, without CPU cost and jitter."""

SMALL_SIZES: Final = (4, 7, 10)
SMALL_VIEWS: Final = 3000
"""Views of one run at n = 4; a larger cluster runs fewer, for about the same time."""
ROUNDS: Final = 5
SAMPLE_SECONDS: Final = 0.001
CLUSTERS: Final = 50
"""Made to see what making one costs."""

_PHASES: Final = {
    ("checkers", ""): "oracles",
    ("wire.py", "_carry"): "wire",
    ("member.py", "handle"): "replica",
    ("disk.py", ""): "disk",
    ("process.py", ""): "loop",
    ("simulation.py", ""): "loop",
}
"""Where a moment belongs, by the innermost of these: a folder or file, and a function in it."""


def measure_small(nodes: int, views: int, rounds: int) -> tuple[float, float, Counter[str]]:
    """Nodes a millisecond apart: decided views and deliveries per second of CPU time, and samples by phase."""
    settings = SimulationSettings(nodes=nodes, duration_seconds=views / 500)
    speeds: list[tuple[float, float]] = []
    for _ in range(rounds):
        before = process_time()
        report = run_simulation(settings)
        cpu_seconds = process_time() - before
        speeds.append((report.blocks / cpu_seconds, report.deliveries / cpu_seconds))
    with _sample_phases() as phases:
        run_simulation(settings)
    return median(views for views, _ in speeds), median(deliveries for _, deliveries in speeds), phases


def measure_start(nodes: int) -> float:
    """CPU milliseconds until a new cluster has sent its first messages."""
    gc.collect()
    with rare_collection():
        before = process_time()
        for seed in range(CLUSTERS):
            Cluster(nodes, seed)
        return (process_time() - before) / CLUSTERS * 1000


def measure_wide_area(duration_seconds: float, jitter: float) -> SimulationReport:
    """A hundred nodes, ten in each region."""
    links = read_regions(REGIONS).make_links(jitter=jitter)
    return run_simulation(SimulationSettings(nodes=100, duration_seconds=duration_seconds, links=links))


def describe(name: str, report: SimulationReport) -> str:
    return (
        f"{name}: {report.blocks} blocks and {report.deliveries:,} deliveries in {report.real_seconds:.1f} s "
        f"({report.blocks / report.real_seconds:,.0f} decided views/s, "
        f"{report.deliveries / report.real_seconds:,.0f} deliveries/s)\n"
        f"    finality mean {report.finality_mean_ms or 0:.0f} ms, p50 {report.finality_p50_ms or 0:.0f}, "
        f"p99 {report.finality_p99_ms or 0:.0f}; a block every {report.block_interval_ms or 0:.0f} ms; "
        f"{report.views_timed_out} views timed out; seed {report.seed}, hash {report.audit_hash[:16]}"
    )


def print_small(views: int, rounds: int) -> None:
    """One row a size; shares are of sampled CPU time."""
    rows: list[tuple[object, ...]] = []
    names = tuple(dict.fromkeys(_PHASES.values()))
    for nodes in SMALL_SIZES:
        views_per_second, deliveries_per_second, phases = measure_small(nodes, views * 16 // nodes**2, rounds)
        shares = (f"{100 * phases[name] / (phases.total() or 1):.0f} %" for name in names)
        speeds = (f"{views_per_second:,.0f}", f"{deliveries_per_second:,.0f}")
        rows.append((nodes, *speeds, *shares, f"{measure_start(nodes):.1f}"))
    print_table(
        f"nodes 1 ms apart, all oracles on, median of {rounds} runs, per second of CPU time",
        ("nodes", "decided views", "deliveries", *names, "ms to make"),
        rows,
    )


@contextmanager
def _sample_phases() -> Iterator[Counter[str]]:
    phases: Counter[str] = Counter()

    def sample(_signal: int, frame: FrameType | None) -> None:
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            name = frame.f_code.co_name
            for (place, function), phase in _PHASES.items():
                if place in (path.name, path.parent.name) and function in ("", name):
                    phases[phase] += 1
                    return
            frame = frame.f_back

    former = signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
    try:
        yield phases
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)


def main() -> None:
    options = sys.argv[1:]
    is_quick = "--quick" in options
    print_small(SMALL_VIEWS // 3 if is_quick else SMALL_VIEWS, 3 if is_quick else ROUNDS)
    if "--small" in options:
        return
    duration = 6.0 if is_quick else 60.0
    for jitter in (0.0, 0.1):
        report = measure_wide_area(duration, jitter)
        print(describe(f"100 nodes, ten regions, {duration:.0f} virtual s, jitter {jitter}", report))
    print(f"floor: finality {FLOOR_FINALITY_MS} ms mean, a block every {FLOOR_INTERVAL_MS} ms")


if __name__ == "__main__":
    main()
