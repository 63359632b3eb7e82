"""How fast the simulator is, and what it says of a wide-area network. Prints; holds nothing against anybody.

python -m benchmarks.simulator [--quick]
"""

import sys
from pathlib import Path

from netsim.report import SimulationReport, SimulationSettings, run_simulation
from netsim.wan import read_regions

REGIONS = Path(__file__).parents[1] / "configs" / "regions" / "aws-rtt-ms.csv"
FLOOR_FINALITY_MS = 286
FLOOR_INTERVAL_MS = 182
"""Of any three-step, all-to-all protocol with rotating leaders on these regions, without CPU cost and jitter."""


def measure_small(duration_seconds: float) -> SimulationReport:
    """Four nodes a millisecond apart."""
    return run_simulation(SimulationSettings(nodes=4, duration_seconds=duration_seconds))


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


def main() -> None:
    duration = 6.0 if "--quick" in sys.argv[1:] else 60.0
    print(describe("4 nodes, 1 ms", measure_small(duration / 6)))
    for jitter in (0.0, 0.1):
        report = measure_wide_area(duration, jitter)
        print(describe(f"100 nodes, ten regions, {duration:.0f} virtual s, jitter {jitter}", report))
    print(f"floor: finality {FLOOR_FINALITY_MS} ms mean, a block every {FLOOR_INTERVAL_MS} ms")


if __name__ == "__main__":
    main()
