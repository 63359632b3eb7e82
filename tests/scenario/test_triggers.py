"""When faults begin, how often, and whom they meet."""

import pytest

from netsim.scenario import faults as kinds
from netsim.scenario.faults import Trigger
from netsim.scenario.model import Settings
from netsim.scenario.outcome import Outcome, Verdict
from netsim.scenario.simulated import run_scenario
from tests.scenario.plays import SOON, make_play


def find_decide(outcome: Outcome, height: int) -> float:
    return min(decide.seconds for decide in outcome.timeline.decides if decide.height == height)


def test_a_trigger_by_seconds_counts_from_the_end_of_the_warm_up() -> None:
    outcome = run_scenario(
        make_play(kinds.Pause(at=Trigger(seconds=0.2, after_seconds=0.1), target="n0", for_seconds=0.1))
    )
    assert outcome.faults[0].start_seconds == pytest.approx(0.3)
    assert outcome.faults[0].end_seconds == pytest.approx(0.4)
    assert outcome.warm_up_seconds > 0


def test_a_trigger_by_height_waits_for_the_first_decide() -> None:
    trigger = Trigger(height=20, after_seconds=0.05)
    outcome = run_scenario(make_play(kinds.Cut(at=trigger, source="n0", for_seconds=0.1)), timeline=True)
    assert outcome.faults[0].start_seconds == pytest.approx(find_decide(outcome, 20) + 0.05)


def test_a_trigger_by_view_waits_for_the_first_node_in_it() -> None:
    outcome = run_scenario(make_play(kinds.Cut(at=Trigger(view=20), source="n0", for_seconds=0.1)), timeline=True)
    entered = min(event.seconds for event in outcome.timeline.views if event.view == 20 and event.kind != "timeout")
    assert outcome.faults[0].start_seconds == pytest.approx(entered)


def test_a_height_that_is_past_triggers_at_once() -> None:
    outcome = run_scenario(make_play(kinds.Pause(at=Trigger(height=1), target="n0", for_seconds=0.1)))
    assert outcome.faults[0].start_seconds == 0


@pytest.mark.parametrize("event", ["timeout", "decide", "fallback", "handback", "benched", "restart"])
def test_a_trigger_by_event_follows_the_event(event: kinds.EventName) -> None:
    """A dead leader brings all of them about, one after the other."""
    settings = Settings(
        timeout_floor_ms=80, idle_interval_ms=20, bench_after=1, fallback_after=1, handback_after=2, primary_size=2
    )
    kill = kinds.Kill(at=SOON, for_seconds=0.5, target="leader", repeat=2)
    burst = kinds.Burst(at=Trigger(event=event), transactions=7)
    outcome = run_scenario(make_play(kill, burst, chaos_seconds=3.0, settings=settings))
    (begun,) = [record for record in outcome.faults if record.kind == "burst"]
    if event == "decide":
        assert begun.start_seconds < 0.05
    else:
        assert begun.start_seconds >= 0.05
    assert outcome.verdict is Verdict.PASS


def test_an_epoch_triggers() -> None:
    settings = Settings(idle_interval_ms=20, epoch_blocks=8)
    scenario = make_play(kinds.Kill(at=Trigger(event="epoch"), for_seconds=0.1, target="n2"), settings=settings)
    outcome = run_scenario(scenario, timeline=True)
    assert outcome.faults[0].start_seconds >= find_decide(outcome, 8)
    assert outcome.marks["epochs"] >= 3


def test_an_event_that_does_not_come_leaves_the_run_without_meaning() -> None:
    outcome = run_scenario(make_play(kinds.Kill(at=Trigger(event="slashed"), target="n0"), chaos_seconds=0.3))
    assert not outcome.faults
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert any("none has begun" in line.detail for line in outcome.liveness)


def test_repetitions_begin_every_so_often_or_one_after_the_other() -> None:
    every = kinds.Pause(at=SOON, target="n0", for_seconds=0.05, repeat=3, every_seconds=0.2)
    after = kinds.Cut(at=SOON, source="n1", for_seconds=0.1, repeat=3)
    outcome = run_scenario(make_play(every, after))
    starts = {kind: [one.start_seconds for one in outcome.faults if one.kind == kind] for kind in ("pause", "cut")}
    assert starts["pause"] == pytest.approx([0.05, 0.25, 0.45])
    assert starts["cut"] == pytest.approx([0.05, 0.15, 0.25])


def test_a_role_is_looked_up_each_time() -> None:
    """Six leaders in a row are not all the same node, and each was the leader when it died."""
    kill = kinds.Kill(at=SOON, for_seconds=0.1, target="leader", repeat=6)
    outcome = run_scenario(make_play(kill, chaos_seconds=2.0))
    assert len(outcome.faults) == 6
    assert len({record.nodes for record in outcome.faults}) > 1
    assert outcome.figures["new_leader_seconds_max"] > 0


def test_committees_are_roles() -> None:
    settings = Settings(
        timeout_floor_ms=80, idle_interval_ms=20, primary_size=2, fallback_size=2, fallback_after=2, handback_after=4
    )
    kill = kinds.Kill(at=SOON, for_seconds=1.0, target="primary")
    outcome = run_scenario(make_play(kill, nodes=7, settings=settings, chaos_seconds=2.0))
    assert len(outcome.faults[0].nodes) == 2
    assert outcome.marks["fallbacks"] >= 1
    assert outcome.verdict is Verdict.PASS


def test_a_node_that_is_drawn_depends_on_the_seed() -> None:
    pause = kinds.Pause(at=SOON, target="random", for_seconds=0.05)
    drawn = {run_scenario(make_play(pause, seed=seed, chaos_seconds=0.2)).faults[0].nodes for seed in range(12)}
    assert len(drawn) > 1
