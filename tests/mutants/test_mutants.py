"""The catalogue fits the code, and the runner tells a caught bug from one that nobody sees."""

from pathlib import Path

import pytest

from tests.mutants import CATALOGUE, THEMES
from tests.mutants.layers import LAYERS, Layer
from tests.mutants.matrix import make_matrix
from tests.mutants.mutant import Edit, Mutant
from tests.mutants.results import Results
from tests.mutants.runner import Verdict, judge
from tests.mutants.tree import ROOT, Outcome, Tree

TALLY = "tests/consensus/test_tally.py"


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_mutant_applies_once_and_compiles(name: str) -> None:
    """When this fails the code has moved: adapt the snippets of the mutant, it is still a bug worth planting."""
    for path, source in CATALOGUE[name].mutate(ROOT).items():
        assert source != (ROOT / path).read_text()
        compile(source, path, "exec")


def test_names_are_unique_and_near_tests_exist() -> None:
    mutants = [mutant for theme in THEMES.values() for mutant in theme]
    assert len({mutant.name for mutant in mutants}) == len(mutants) >= 24
    for mutant in mutants:
        for test in mutant.near:
            assert (ROOT / test).is_file(), f"{mutant.name} is near {test}"
            assert any(layer.owns(test) for layer in LAYERS), f"{mutant.name}: no layer has {test}"


def test_a_snippet_that_is_not_there_exactly_once_is_refused() -> None:
    for source in ("nothing of it", "x = 1\nx = 1\n"):
        with pytest.raises(ValueError, match="once is needed"):
            Edit("a.py", "x = 1", "x = 2").apply(source)


def test_a_real_bug_is_killed_and_a_harmless_change_survives(tmp_path: Path) -> None:
    """End to end in a copy of the tree, with the tests of one file as the only layer."""
    tree = Tree(tmp_path)
    layers = [Layer("unit", "one file", (TALLY,))]
    bug = CATALOGUE["repeated-vote-counted"]
    verdict = judge(tree, bug, layers)
    assert verdict.kill is not None
    assert verdict.kill.layer == "unit"
    assert verdict.kill.killer is not None
    assert verdict.kill.killer.startswith(f"{TALLY}::")
    assert verdict.is_as_expected
    comment = Edit("consensus/tally.py", '"""Bounded accumulators', '"""Small accumulators')
    harmless = judge(tree, Mutant("harmless", "R4", "a word is changed", (comment,)), layers)
    assert [outcome.killer for outcome in harmless.outcomes] == [None]
    assert not harmless.is_as_expected, "a survivor that is not equivalent is to be looked at"
    assert (tmp_path / "consensus/tally.py").read_text() == (ROOT / "consensus/tally.py").read_text()
    page = make_matrix([verdict, harmless])
    assert "1 killed" in page
    assert "1 to be looked at (harmless)" in page


def test_what_several_runs_have_found_is_put_together(tmp_path: Path) -> None:
    """A unit test has killed it in one run, and in another the campaign has not; a mutant that changed is forgotten."""
    bug, file = CATALOGUE["repeated-vote-counted"], tmp_path / "results"
    results = Results(file)
    results.add(Verdict(bug, (Outcome("campaign", None, 20.0, 200),)))
    results.add(Verdict(bug, (Outcome("unit", "tests/a.py::test_a", 1.0),)))
    results.add(Verdict(CATALOGUE["double-vote"], (), "its tests do not run"))
    known = Results(file).load(CATALOGUE)
    assert list(known) == [bug.name]
    assert [outcome.layer for outcome in known[bug.name].outcomes] == ["unit", "campaign"]
    changed = Mutant(bug.name, bug.rule, bug.story, (Edit("consensus/tally.py", "a", "b"),))
    assert not Results(file).load({bug.name: changed})


def test_a_kill_by_a_test_that_fails_anyway_is_no_kill(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    (tmp_path / "tests/consensus/test_broken.py").write_text("def test_broken():\n    assert False\n")
    layers = [Layer("unit", "a broken test", ("tests/consensus/test_broken.py",))]
    with pytest.raises(RuntimeError, match="fails on the real code too"):
        judge(tree, CATALOGUE["repeated-vote-counted"], layers)


def test_a_campaign_says_how_many_seeds_it_took(tmp_path: Path) -> None:
    """One that fails at its third seed, and one that is clean."""
    tree = Tree(tmp_path)
    campaign = "print('seeds until a failure: 3'); raise SystemExit(1)"
    outcome = tree.run_layer(Layer("campaign", "", command=("-c", campaign)), ())
    assert outcome is not None
    assert (outcome.killer, outcome.seeds) == ("seed 3", 3)
    outcome = tree.run_layer(Layer("campaign", "", command=("-c", "pass")), (), seeds=5)
    assert outcome == Outcome("campaign", None, outcome.seconds if outcome else 0, 5)
