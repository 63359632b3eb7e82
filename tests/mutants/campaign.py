"""Scenarios of the swarm until one fails: `python -m tests.mutants.campaign --seeds N` prints how many seeds it took.

`sequencer fuzz` runs the same seeds on all cores; here they run one after the other, so that the count is exact.
"""

import argparse
import sys

from netsim.scenario.outcome import Verdict
from netsim.swarm.campaign import run_seed
from tests.mutants.layers import SEEDS


def find_failure(seed: int) -> str | None:
    """Why this seed fails; a crash of the simulation is a failure too."""
    try:
        result = run_seed(seed)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "; ".join(result.failures) or "it failed" if result.verdict is Verdict.FAIL else None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.campaign", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    seeds = parser.parse_args().seeds
    for seed in range(1, seeds + 1):
        failure = find_failure(seed)
        if failure is not None:
            print(f"seeds until a failure: {seed}\n{failure}")
            return 1
    print(f"{seeds} seeds, all clean")
    return 0


if __name__ == "__main__":
    sys.exit(main())
