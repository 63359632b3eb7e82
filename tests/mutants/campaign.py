"""Drawn faults until an oracle objects: `python -m tests.mutants.campaign --seeds N` prints how many seeds it took."""

import argparse
import sys
import traceback

from tests.mutants.layers import SEEDS
from tests.simulation.test_chaos import test_after_any_chaos_the_chain_goes_on as run_seed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.campaign", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    seeds = parser.parse_args().seeds
    for seed in range(seeds):
        try:
            run_seed(seed)
        except Exception:
            traceback.print_exc(limit=-3)
            print(f"seeds until a failure: {seed + 1}")
            return 1
    print(f"{seeds} seeds, all clean")
    return 0


if __name__ == "__main__":
    sys.exit(main())
