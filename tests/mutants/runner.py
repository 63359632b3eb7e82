"""Mutants against layers: each until the first layer that kills it, or against all of them."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.layers import LAYERS, SEEDS, Layer
from tests.mutants.mutant import Mutant
from tests.mutants.tree import Outcome, Tree


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one mutant; the outcomes of the layers that were run, in order."""

    mutant: Mutant
    outcomes: tuple[Outcome, ...]
    trouble: str | None = None
    """Why nothing can be said: its tests do not run, or its killer fails on the real code too."""

    @property
    def kill(self) -> Outcome | None:
        """By the cheapest layer that noticed."""
        return next((outcome for outcome in self.outcomes if outcome.killer is not None), None)

    @property
    def is_as_expected(self) -> bool:
        """Killed, or equivalent and alive."""
        return self.trouble is None and (self.kill is None) == (self.mutant.equivalent is not None)

    def merge(self, later: "Verdict") -> "Verdict":
        """With the outcomes of another run, of other layers or of the same ones again."""
        by_layer = {outcome.layer: outcome for outcome in (*self.outcomes, *later.outcomes)}
        order = [layer.name for layer in LAYERS]
        outcomes = sorted(by_layer.values(), key=lambda outcome: order.index(outcome.layer))
        return Verdict(self.mutant, tuple(outcomes), later.trouble)


def judge(
    tree: Tree,
    mutant: Mutant,
    layers: Sequence[Layer],
    *,
    full: bool = False,
    seeds: int = SEEDS,
    trusted: set[str] | None = None,
) -> Verdict:
    """Plant it and run. The tests that are near it come first, whatever their layer, unless the table is to be full.

    A kill counts only when the same test passes on the real code; those known to are `trusted`.
    """
    outcomes: list[Outcome] = []
    with tree.plant(mutant):
        if not full:
            outcomes += _run_near(tree, mutant, layers)
        # What is proven to be equivalent needs no more than a hint that it is.
        for layer in layers if full or mutant.equivalent is None else layers[:2]:
            if outcomes and outcomes[-1].killer is not None and not full:
                break
            outcome = tree.run_layer(layer, mutant.near, seeds)
            if outcome is not None:
                outcomes.append(outcome)
    verdict = Verdict(mutant, tuple(outcomes))
    _check_killer(tree, verdict, set() if trusted is None else trusted)
    return verdict


def judge_all(
    mutants: Sequence[Mutant],
    layers: Sequence[Layer],
    *,
    full: bool = False,
    seeds: int = SEEDS,
    jobs: int = 1,
    report: Callable[[Verdict], None] = lambda verdict: None,
) -> Iterator[Verdict]:
    """In the given order; `report` is called as each is done."""
    with ExitStack() as stack:
        trees: SimpleQueue[Tree] = SimpleQueue()
        trusted: set[str] = set()
        for _ in range(jobs):
            trees.put(Tree(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutants-")))))

        def work(mutant: Mutant) -> Verdict:
            tree = trees.get()
            try:
                verdict = judge(tree, mutant, layers, full=full, seeds=seeds, trusted=trusted)
            except RuntimeError as error:
                verdict = Verdict(mutant, (), str(error))
            finally:
                trees.put(tree)
            report(verdict)
            return verdict

        yield from stack.enter_context(ThreadPoolExecutor(jobs)).map(work, mutants)


def _run_near(tree: Tree, mutant: Mutant, layers: Sequence[Layer]) -> list[Outcome]:
    """A kill by one of the near tests is its layer's; that they all pass says nothing of a layer."""
    near = [test for test in mutant.near if any(layer.owns(test) for layer in layers)]
    if not near:
        return []
    outcome = tree.run_tests(near, "near", 300)
    if outcome.killer is None:
        return []
    layer = next((layer.name for layer in LAYERS if layer.owns(outcome.killer.partition("::")[0])), "near")
    return [Outcome(layer, outcome.killer, outcome.seconds)]


def _check_killer(tree: Tree, verdict: Verdict, trusted: set[str]) -> None:
    kill = verdict.kill
    if kill is None or kill.killer is None or kill.killer in trusted:
        return
    if kill.seeds is not None:
        campaign = next(layer for layer in LAYERS if layer.name == kill.layer)
        again = tree.run_layer(campaign, (), kill.seeds)
    else:
        again = tree.run_tests([kill.killer], kill.layer, 300) if "::" in kill.killer else None
    if again is not None and again.killer is not None:
        raise RuntimeError(f"{kill.killer} fails on the real code too: it says nothing about {verdict.mutant.name}")
    trusted.add(kill.killer)
