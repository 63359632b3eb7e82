"""What a run proves, and what it does not: negative controls, floors, progress by arithmetic and in fact."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consensus.effects import Decide
from consensus.errors import InvariantViolation
from consensus.types import Microseconds, ValidatorId
from netsim.checkers import Violation
from netsim.observer import Observer
from netsim.scenario import faults as kinds
from netsim.scenario.faults import Fault
from netsim.scenario.files import read_scenario
from netsim.scenario.model import Expect, Heal, Scenario, Steady
from netsim.scenario.outcome import Line, Outcome, Verdict
from netsim.scenario.simulated import run_scenario
from netsim.scenario.stage import Stage
from tests.scenario.plays import SOON, make_play

FOLDER = Path(__file__).parent.parent.parent / "configs" / "scenarios"


def find_failed(outcome: Outcome) -> list[str]:
    return [line.what for line in (*outcome.safety, *outcome.liveness) if line.verdict is Verdict.FAIL]


def find_line(outcome: Outcome, what: str) -> Line:
    return next(line for line in (*outcome.safety, *outcome.liveness) if line.what == what)


def change(scenario: Scenario, **changes: object) -> Scenario:
    return msgspec.structs.replace(scenario, **changes)


# Negative controls


def test_two_of_four_that_withhold_their_votes_stall_for_ever() -> None:
    """That it stands still is expected, that it does so even after healing is not: no liveness, and safety all the
    same.
    """
    scenario = make_play(
        byzantine={"n1": "abstain", "n2": "abstain"},
        chaos_seconds=3.0,
        expect=Expect(during="stalls", decide_within_seconds=5.0),
    )
    outcome = run_scenario(change(scenario, steady=Steady(height=0)))
    assert find_line(outcome, "progress under faults").verdict is Verdict.PASS
    assert find_failed(outcome) == ["3 blocks after healing", "transactions"]
    assert outcome.safety_verdict is Verdict.PASS
    assert (outcome.predicted, outcome.observed) == ("stalls", "stalls")


def test_a_quorum_goes_on_and_one_node_less_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = change(make_play(kinds.Burst(at=SOON, transactions=1)), heal=Heal(core="quorum"))
    assert run_scenario(scenario).verdict is Verdict.PASS
    draw_core = Stage.draw_core
    monkeypatch.setattr(Stage, "draw_core", lambda stage: draw_core(stage)[1:])
    assert "3 blocks after healing" in find_failed(run_scenario(scenario))


def test_a_warm_up_that_does_not_come_to_its_end_shows_nothing() -> None:
    scenario = make_play(byzantine={"n1": "abstain", "n2": "abstain"})
    outcome = run_scenario(change(scenario, steady=Steady(height=1, within_seconds=2.0)))
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert find_line(outcome, "warm-up").detail == "height 0 of 1 within 2 s"


def test_a_floor_that_is_not_reached_makes_the_run_inconclusive() -> None:
    expect = Expect(floors={"decides": 5, "fallbacks": 3})
    outcome = run_scenario(make_play(kinds.Burst(at=SOON, transactions=1), expect=expect))
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert find_line(outcome, "floors").detail == "not reached: 0 fallbacks of 3"


def test_growth_is_told_from_standing_still() -> None:
    """What was expected to stall and did not fails, and the other way round."""
    calm = kinds.Pause(at=SOON, for_seconds=2.5, target="f")
    outcome = run_scenario(make_play(calm, chaos_seconds=3.0, expect=Expect(during="stalls")))
    assert find_failed(outcome) == ["progress under faults"]
    deadly = kinds.Pause(at=SOON, for_seconds=2.5, target="f+1")
    outcome = run_scenario(make_play(deadly, chaos_seconds=3.0, expect=Expect(during="live")))
    assert find_failed(outcome) == ["progress under faults"]


def test_a_new_leader_that_comes_too_late_fails() -> None:
    """Nobody sees that the leader is gone, so it takes a timer."""
    kill = kinds.Kill(at=SOON, for_seconds=0.5, target="leader")
    late = make_play(kill, lost_connections_seen=False, expect=Expect(new_leader_within_seconds=0.01))
    assert find_failed(run_scenario(late)) == ["time to a new leader"]
    allowed = make_play(kill, lost_connections_seen=False, expect=Expect(new_leader_within_seconds=2.0))
    assert run_scenario(allowed).verdict is Verdict.PASS


def test_evidence_must_be_exact() -> None:
    liar: dict[str, Any] = {"byzantine": {"n1": "equivocate"}}
    right = run_scenario(make_play(expect=Expect(evidence=("n1",)), **liar))
    assert find_line(right, "evidence") == Line(
        what="evidence", verdict=Verdict.PASS, detail="accused: n1; expected: n1"
    )
    wrong = run_scenario(make_play(expect=Expect(evidence=()), **liar))
    assert find_failed(wrong) == ["evidence"]


class Complains(Observer):
    def __init__(self, complaint: Exception) -> None:
        self._complaint = complaint

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        if decide.blocks[0].leaf.height > 20:
            raise self._complaint


@pytest.mark.parametrize(
    ("complaint", "what"),
    [(Violation("R9", "a rule of its own"), "R9"), (InvariantViolation("impossible"), "No exception in the core")],
)
def test_whatever_breaks_in_the_core_becomes_a_line(complaint: Exception, what: str) -> None:
    """It is not raised: a campaign of thousands goes on with the next seed."""
    outcome = run_scenario(make_play(chaos_seconds=2.0), observers=[Complains(complaint)])
    assert find_failed(outcome) == [what]
    assert outcome.safety_verdict is Verdict.FAIL
    assert outcome.liveness_verdict is Verdict.INCONCLUSIVE


def test_the_oracle_that_found_something_is_the_one_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk goes back to an earlier moment, and for once nobody tells the oracles: they find what it contradicts."""
    monkeypatch.setattr(Stage, "admit", lambda stage, validator: None)
    restored = kinds.DiskFault(at=SOON, for_seconds=0.3, target="n2", mode="old_snapshot")
    outcome = run_scenario(make_play(restored))
    assert outcome.safety_verdict is Verdict.FAIL
    (failed,) = [line for line in outcome.safety if line.verdict is Verdict.FAIL]
    assert "node 2" in failed.detail
    assert failed.what != "No exception in the core"
    assert len(outcome.safety) > 10


# Arithmetic and fact


PROGRESS: list[tuple[Fault, str, dict[str, Any]]] = [
    (kinds.Pause(at=SOON, for_seconds=2.5, target="f"), "live", {}),
    (kinds.Pause(at=SOON, for_seconds=2.5, target="f+1"), "stalls", {}),
    (kinds.Kill(at=SOON, for_seconds=2.5, target="majority"), "stalls", {}),
    (kinds.Partition(at=SOON, for_seconds=2.5, shape="halves"), "stalls", {}),
    (kinds.Partition(at=SOON, for_seconds=2.5, shape="majority"), "live", {}),
    (kinds.Partition(at=SOON, for_seconds=2.5, shape="ring"), "stalls", {"nodes": 7}),
    (kinds.Cut(at=SOON, for_seconds=2.5, source="leader"), "live", {}),
    (kinds.Clog(at=SOON, for_seconds=2.5, source="f+1"), "stalls", {}),
    (kinds.DropKinds(at=SOON, for_seconds=2.5, kinds=("QuorumVote",)), "stalls", {}),
    (kinds.DropKinds(at=SOON, for_seconds=2.5, kinds=("FinalizeVote",), probability=0.1), "live", {}),
    (kinds.Degrade(at=SOON, for_seconds=2.5, loss=1.0), "stalls", {}),
    (kinds.Pause(at=SOON, for_seconds=2.5, target="n0"), "stalls", {"stakes": (3, 1, 1, 1)}),
    (kinds.Pause(at=SOON, for_seconds=2.5, target="n1"), "live", {"stakes": (3, 1, 1, 1)}),
    (kinds.Pause(at=SOON, for_seconds=2.5, target="n1"), "stalls", {"byzantine": {"n2": "abstain"}}),
]


@pytest.mark.parametrize(("fault", "progress", "shape"), PROGRESS)
def test_what_arithmetic_predicts_is_what_happens(fault: Fault, progress: str, shape: dict[str, Any]) -> None:
    outcome = run_scenario(make_play(fault, chaos_seconds=3.0, **shape))
    assert (outcome.predicted, outcome.observed) == (progress, progress), outcome.faults
    assert outcome.faults[0].predicted.startswith(progress)
    assert outcome.verdict is Verdict.PASS


# The same again


def make_rich(seed: int) -> Scenario:
    faults: Sequence[Fault] = (
        kinds.Degrade(at=SOON, for_seconds=0.3, loss=0.1, duplication=0.1, reordering=0.1, jitter_ms=3.0),
        kinds.Kill(at=SOON, for_seconds=0.2, target="random", when="pending_write", repeat=2),
        kinds.Corrupt(at=SOON, for_seconds=0.3, source="random"),
        kinds.Partition(at=SOON, for_seconds=0.2, shape="halves"),
        kinds.Clock(at=SOON, for_seconds=0.3, target="random", drift=2.0),
    )
    return change(make_play(*faults, seed=seed, jitter_ms=2.0), heal=Heal(core="quorum"))


def test_the_same_scenario_is_the_same_run() -> None:
    """To the last event, whether or not somebody draws it; another seed is another run."""
    outcome = run_scenario(make_rich(3))
    again = run_scenario(make_rich(3))
    assert outcome == again
    drawn = run_scenario(make_rich(3), timeline=True)
    assert drawn.audit_hash == outcome.audit_hash
    assert drawn.timeline.flights
    assert drawn.timeline.latencies
    assert run_scenario(make_rich(4)).audit_hash != outcome.audit_hash


# The stock scenarios


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_a_stock_scenario_passes(name: str) -> None:
    """On links of twenty milliseconds, so that fewer blocks have to be made."""
    scenario = read_scenario(FOLDER / f"{name}.toml")
    slower = change(scenario, cluster=msgspec.structs.replace(scenario.cluster, delay_ms=20.0))
    outcome = run_scenario(slower)
    assert outcome.verdict is Verdict.PASS, (outcome.safety, outcome.liveness, outcome.marks)
    assert outcome.predicted == outcome.observed
