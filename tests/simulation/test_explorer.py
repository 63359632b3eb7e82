"""Everything that can happen in a few views, with the real rules: the promises hold, and the search is not vacuous."""

import json

import pytest
from typer.testing import CliRunner

from netsim.explorer.model import Model
from netsim.explorer.properties import AGREEMENT, FRAMED, WITNESSES, get_witnesses
from netsim.explorer.search import Explorer
from netsim.explorer.story import tell
from sequencer.cli.main import app
from sequencer.failures import CommandError, ExitCode


def test_two_views_with_two_leaves_each_keep_every_promise_in_every_order() -> None:
    """A Byzantine leader equivocates in both views, everything may be lost or late, everyone may time out at any time.

    Every state is looked at, and from every one of them a calm network goes on.
    """
    findings = Explorer(Model(views=2, leaves=2)).run()
    assert findings.is_complete
    assert findings.breach is None
    assert findings.missing == ()
    assert findings.refused_messages == 0
    # Golden: a change of the rules or of the search shows here.
    assert (findings.states, findings.local_states, findings.depth) == (25_735, 366, 15)
    assert findings.continuations > 3_000


def test_three_views_reach_every_witness_and_no_breach() -> None:
    """Two skipped views, orphans, late QCs and old TCs: all of it is reached, so the clean result says something."""
    findings = Explorer(Model(views=3, leaves=1), liveness_every=100).run(states_max=60_000)
    assert findings.breach is None
    assert set(findings.witnesses) == set(WITNESSES)
    assert findings.depth > max(findings.witnesses.values())
    assert findings.refused_messages == 0


def test_three_views_with_equivocation() -> None:
    findings = Explorer(Model(views=3, leaves=2), liveness_every=200).run(states_max=40_000)
    assert findings.breach is None
    assert findings.missing == ()


@pytest.mark.parametrize("honest_views", [{1}, {2}, {1, 2}])
def test_honest_leaders_are_never_framed(honest_views: set[int]) -> None:
    """What an honest leader proposes is signed by the real rules too, restarts in between."""
    findings = Explorer(Model(views=2, leaves=2, honest_views=frozenset(honest_views)), liveness_every=50).run()
    assert findings.is_complete
    assert findings.breach is None
    assert findings.witnesses


def test_one_byzantine_validator_more_than_a_third_forks() -> None:
    """The negative control: the rules hold for less than a third, and the explorer can see a fork."""
    explorer = Explorer(Model(views=1, leaves=2, honest=2, byzantine=2), rules=frozenset({AGREEMENT}))
    findings = explorer.run()
    assert findings.breach is not None
    assert findings.breach.rule == AGREEMENT
    story = tell(explorer, findings.path)
    assert len(story) == findings.depth == 4
    assert [line.partition(" -> ")[2][:2] for line in story] == ["QC", "QC", "FC", "FC"]


def test_not_even_that_fork_frames_anybody_honest() -> None:
    findings = Explorer(Model(views=2, leaves=2, honest=2, byzantine=2), rules=frozenset({FRAMED})).run()
    assert findings.is_complete
    assert findings.breach is None


@pytest.mark.parametrize(
    "model", [Model(views=1, leaves=2), Model(views=2, leaves=1), Model(views=2, leaves=2, honest=2, byzantine=2)]
)
def test_merging_by_names_loses_no_state(model: Model) -> None:
    """A search that tells all names apart meets exactly the states that the merged search stands for."""
    plain = Explorer(model)
    level = {plain.start()}
    met = set(level)
    while level:
        level = {after for state in level for _, _, after in plain.iterate_steps(state)}
        met |= level
    merged = Explorer(model, rules=frozenset()).run()
    assert merged.is_complete
    assert len({plain.choose(state) for state in met}) == merged.states < len(met)


def test_a_model_that_makes_no_sense_is_refused() -> None:
    for bounds in ({"views": 0}, {"honest_views": frozenset({4})}, {"byzantine": 0}, {"honest": 1, "byzantine": 3}):
        with pytest.raises(ValueError):
            Model(**bounds)


def test_the_witnesses_of_fewer_views_are_fewer() -> None:
    assert set(get_witnesses(3)) == set(WITNESSES)
    assert len(get_witnesses(1)) < len(get_witnesses(2)) < len(get_witnesses(3))


class TestCommand:
    def explore(self, *options: str) -> tuple[int, str, str]:
        """Exit code, data, and what `main` tells of an error."""
        result = CliRunner().invoke(app, ["explore", *options])
        if isinstance(result.exception, CommandError):
            return result.exception.exit_code, result.stdout, str(result.exception)
        return result.exit_code, result.stdout, result.stderr

    def test_a_clean_search_ends_with_0(self) -> None:
        code, out, _ = self.explore("--views", "2", "-o", "json")
        told = json.loads(out)
        assert code == ExitCode.OK
        assert told["complete"]
        assert told["states"] == 7_120
        assert told["missing"] == []

    def test_a_bound_makes_it_inconclusive(self) -> None:
        code, out, talk = self.explore("--views", "3", "--states-max", "1000")
        assert code == ExitCode.INCONCLUSIVE
        assert "not reached" in out
        assert "nothing is broken as far as it was looked at" in talk

    def test_no_time_is_no_proof(self) -> None:
        code, _, _ = self.explore("--views", "3", "--seconds", "0", "--liveness-every", "1000")
        assert code == ExitCode.INCONCLUSIVE

    def test_a_fork_is_told_step_by_step(self) -> None:
        code, out, talk = self.explore("--views", "1", "--leaves", "2", "--honest", "2", "--byzantine", "2")
        assert code == ExitCode.FAILED
        assert "votes for A1 (view 1, on genesis)" in out or "votes for A1 -> QC(A1)" in out
        assert "takes in QC(A1) and finalizes A1 -> FC(A1)" in out
        assert "does not hold" in talk

    def test_nonsense_is_a_usage_error(self) -> None:
        code, _, _ = self.explore("--byzantine", "0")
        assert code == ExitCode.USAGE
