"""Who kills which mutant. Ends with 0 when every mutant is killed that can be, with 1 otherwise."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.mutants import CATALOGUE, THEMES
from tests.mutants.layers import LAYERS, SEEDS, Layer
from tests.mutants.matrix import make_matrix
from tests.mutants.mutant import Mutant
from tests.mutants.results import Results
from tests.mutants.runner import Verdict, judge_all
from tests.mutants.tree import ROOT

OUTPUT = ROOT / "docs" / "mutants.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="mutants or themes; all when none is given")
    parser.add_argument("--layers", help="comma-separated, in order: " + ",".join(layer.name for layer in LAYERS))
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time, each in a copy of its own")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of a campaign")
    parser.add_argument("--full", action="store_true", help="run every layer, not only up to the first kill")
    parser.add_argument("--results", type=Path, help="keeps verdicts; what stands there is not run again")
    parser.add_argument("--list", action="store_true", help="name the mutants and run nothing")
    parser.add_argument("-o", "--output", type=Path, help="Markdown; docs/mutants.md when all mutants are run")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in CATALOGUE and name not in THEMES]
    if unknown:
        parser.error(f"no mutant and no theme is called {', '.join(unknown)}")
    mutants = [mutant for name in options.names or THEMES for mutant in _find(name)]
    if options.list:
        for mutant in mutants:
            print(f"{mutant.name:45} {mutant.rule:4} {mutant.story}")
        return 0
    names = [layer.name for layer in LAYERS]
    chosen = options.layers.split(",") if options.layers else names
    strange = [name for name in chosen if name not in names]
    if strange:
        parser.error(f"no layer is called {', '.join(strange)}; there are {', '.join(names)}")
    layers = [layer for layer in LAYERS if layer.name in chosen]
    results = Results(options.results)
    known = results.load(CATALOGUE)

    def report(verdict: Verdict) -> None:
        results.add(verdict)
        _report(verdict)

    missing = [mutant for mutant in mutants if _is_missing(known.get(mutant.name), layers, full=options.full)]
    for verdict in judge_all(missing, layers, full=options.full, seeds=options.seeds, jobs=options.jobs, report=report):
        before = known.get(verdict.mutant.name)
        known[verdict.mutant.name] = verdict if before is None else before.merge(verdict)
    verdicts = [known[mutant.name] for mutant in mutants]
    output = options.output or (None if options.names or options.layers else OUTPUT)
    if output is not None:
        output.write_text(make_matrix(verdicts))
    survivors = [verdict.mutant.name for verdict in verdicts if not verdict.is_as_expected]
    print(f"{len(verdicts)} mutants, {len(survivors)} to be looked at: {', '.join(survivors) or 'none'}")
    return 1 if survivors else 0


def _is_missing(known: Verdict | None, layers: Sequence[Layer], *, full: bool) -> bool:
    """Whether there is anything left to be run."""
    if known is None:
        return True
    if not full and (known.kill is not None or known.mutant.equivalent is not None):
        return False
    done = {outcome.layer for outcome in known.outcomes}
    return any(layer.name not in done for layer in layers)


def _find(name: str) -> tuple[Mutant, ...]:
    return THEMES[name] if name in THEMES else (CATALOGUE[name],)


def _report(verdict: Verdict) -> None:
    kill = verdict.kill
    seconds = sum(outcome.seconds for outcome in verdict.outcomes)
    told = verdict.trouble or ("SURVIVED" if kill is None else f"{kill.layer}: {kill.killer}")
    is_equivalent = " (equivalent)" if verdict.mutant.equivalent else ""
    print(f"{verdict.mutant.name:45} {seconds:6.1f} s  {told}{is_equivalent}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
