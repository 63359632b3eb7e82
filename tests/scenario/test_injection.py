"""Every class of faults bites, and when it is over nothing of it is left."""

import pytest

from netsim.scenario import faults as kinds
from netsim.scenario.faults import Fault, Trigger, get_kind
from netsim.scenario.files import ScenarioError
from netsim.scenario.marks import MARKS
from netsim.scenario.outcome import Verdict
from netsim.scenario.simulated import ScenarioRun, run_scenario
from tests.scenario.plays import SOON, make_play

BITES: list[tuple[Fault, dict[str, int]]] = [
    (
        kinds.Degrade(at=SOON, for_seconds=0.5, jitter_ms=5, loss=0.2, duplication=0.2, reordering=0.2),
        {"messages_lost": 20, "messages_duplicated": 20, "messages_reordered": 20},
    ),
    (
        kinds.Degrade(at=SOON, for_seconds=0.3, bandwidth_bytes_per_second=5_000, queue_bytes_max=1_000),
        {"messages_lost": 1},
    ),
    (kinds.Cut(at=SOON, for_seconds=0.3, source="leader"), {"messages_cut": 10}),
    (kinds.Partition(at=SOON, for_seconds=0.3, groups=(("n0", "n1"), ("n2",))), {"messages_cut": 10}),
    (kinds.Partition(at=SOON, for_seconds=0.3, shape="halves"), {"messages_cut": 8}),
    (kinds.Partition(at=SOON, for_seconds=0.3, shape="isolate", target="leader"), {"messages_cut": 10}),
    (kinds.Partition(at=SOON, for_seconds=0.3, shape="majority"), {"messages_cut": 10}),
    (kinds.Partition(at=SOON, for_seconds=0.3, shape="ring"), {"messages_cut": 10}),
    (kinds.Partition(at=SOON, for_seconds=0.3, shape="bridge"), {"messages_cut": 4}),
    (kinds.Flap(at=SOON, for_seconds=0.5, source="n0", period_seconds=0.1), {"messages_cut": 10}),
    (kinds.Clog(at=SOON, for_seconds=0.3, source="leader"), {"messages_clogged": 10}),
    (kinds.DropKinds(at=SOON, for_seconds=0.3, kinds=("FinalizeVote",), source="backups"), {"messages_lost": 3}),
    (kinds.Reset(at=SOON, source="leader", repeat=3, every_seconds=0.1), {"connections_reset": 9}),
    (kinds.Corrupt(at=SOON, for_seconds=0.4, source="f", probability=0.5), {"messages_corrupted": 10}),
    (kinds.Kill(at=SOON, for_seconds=0.2, target="leader"), {"restarts": 1}),
    (
        kinds.Kill(at=SOON, for_seconds=0.2, target="leader", when="pending_write", again=2),
        {"restarts": 3, "restarts_with_journal": 1},
    ),
    (kinds.Kill(at=SOON, for_seconds=0.1, target="all", repeat=2), {"restarts": 8}),
    (kinds.RollingRestart(at=SOON, down_seconds=0.05, gap_seconds=0.1), {"restarts": 4}),
    (kinds.Pause(at=SOON, for_seconds=0.3, target="leader"), {"pauses": 1}),
    (kinds.Slow(at=SOON, for_seconds=0.3, target="leader", turn_ms=20.0), {}),
    (kinds.DiskFault(at=SOON, for_seconds=0.1, target="majority", mode="lose_all"), {"restarts": 3, "writes_lost": 3}),
    (kinds.DiskFault(at=SOON, for_seconds=0.1, target="all", mode="lose_prefix"), {"restarts_with_journal": 4}),
    (kinds.DiskFault(at=SOON, for_seconds=0.1, target="all", mode="lose_subset"), {"restarts_with_journal": 4}),
    (kinds.DiskFault(at=SOON, for_seconds=0.1, target="all", mode="torn"), {"writes_lost": 4}),
    (kinds.DiskFault(at=SOON, for_seconds=0.1, target="leader", mode="eio"), {"disk_errors": 1, "restarts": 1}),
    (kinds.DiskFault(at=SOON, for_seconds=0.1, target="backups", mode="enospc"), {"disk_errors": 3, "restarts": 3}),
    (kinds.DiskFault(at=SOON, for_seconds=0.3, target="n2", mode="old_snapshot"), {"snapshots_put_back": 1}),
    (kinds.SlowDisk(at=SOON, for_seconds=0.3, target="majority", sync_ms=30.0), {}),
    (kinds.Clock(at=SOON, for_seconds=0.3, target="leader", skew_ms=2_000.0), {}),
    (kinds.Clock(at=SOON, for_seconds=0.3, target="f", skew_ms=-20_000.0, drift=2.0), {}),
    (kinds.Clock(at=SOON, for_seconds=0.3, target="all", drift=0.0), {}),
    (kinds.Stake(at=SOON, operation="bond", target="n4", amount=2), {"operations": 1}),
    (kinds.Stake(at=SOON, operation="unbond", target="n1"), {"operations": 1}),
    (kinds.Stake(at=SOON, for_seconds=0.4, operation="rotate_key", target="n1"), {"operations": 1, "restarts": 1}),
    (kinds.Burst(at=SOON, transactions=200), {}),
]


@pytest.mark.parametrize(
    ("fault", "marks"), BITES, ids=[f"{get_kind(fault)}-{number}" for number, (fault, _) in enumerate(BITES)]
)
def test_a_fault_bites_and_the_chain_goes_on(fault: Fault, marks: dict[str, int]) -> None:
    """Each class by itself changes what it says it changes; no promise breaks, and afterwards all is well."""
    outcome = run_scenario(make_play(fault, joiners=1 if isinstance(fault, kinds.Stake) else 0))
    assert outcome.verdict is Verdict.PASS, [line for line in (*outcome.safety, *outcome.liveness) if line.detail]
    assert len(outcome.faults) == fault.repeat
    assert all(record.bites for record in outcome.faults), outcome.faults
    for mark, least in marks.items():
        assert mark in MARKS
        assert outcome.marks.get(mark, 0) >= least, outcome.marks


def test_every_class_of_faults_is_tried_above() -> None:
    for_processes = {kinds.Oversize, kinds.SlowReaders}
    assert {type(fault) for fault, _ in BITES} == set(kinds.Fault.__args__) - for_processes
    modes = {fault.mode for fault, _ in BITES if isinstance(fault, kinds.DiskFault)} | {"bit_rot"}
    assert modes == set(kinds.DiskMode.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [kinds.Oversize, kinds.SlowReaders])
def test_what_only_processes_know_is_refused(kind: type[kinds.Oversize | kinds.SlowReaders]) -> None:
    with pytest.raises(ScenarioError, match=r"fault 1 \(.*\)\. It has no clients"):
        run_scenario(make_play(kind(at=SOON)))


def test_a_rotten_block_ends_whoever_reads_it() -> None:
    """A node that was away must catch up from others whose disks rot meanwhile. Whoever is asked ends, as in
    production, and when its disk can be read again all go on.
    """
    away = kinds.Kill(at=SOON, for_seconds=0.4, target="n0")
    rots = [kinds.DiskFault(at=Trigger(seconds=0.4), for_seconds=0.5, target="n1,n2,n3", mode="bit_rot")]
    outcome = run_scenario(make_play(away, *rots, chaos_seconds=1.5))
    assert outcome.verdict is Verdict.PASS
    assert outcome.marks["blocks_rotted"] >= 1
    assert outcome.marks["restarts"] >= 2


def test_nothing_is_left_of_a_fault_that_is_over() -> None:
    """All classes at once, some of them twice over the same nodes and links."""
    faults = [fault for fault, _ in BITES if not isinstance(fault, kinds.Kill)]
    run = ScenarioRun(make_play(*faults, *faults[:10], chaos_seconds=1.2, joiners=1), (), with_timeline=False)
    outcome = run.play()
    assert outcome.safety_verdict is Verdict.PASS
    assert len(outcome.faults) > len(faults)
    for row in run.cluster.network.links:
        for link in row:
            assert not link.hindrances
            assert not link.held
            assert not link.is_cut
            assert link.fixed_delay is not None
    for process in run.cluster.processes:
        assert process.is_alive
        assert not process.is_paused
        assert process.saboteur is None
        assert process.turn_microseconds == 0
        wrong = process.wrong_times
        run.cluster.run_for(0.1)
        assert process.wrong_times == wrong


def test_a_fault_without_an_end_lasts_as_long_as_the_chaos() -> None:
    outcome = run_scenario(make_play(kinds.Kill(at=SOON, target="n1"), chaos_seconds=0.7))
    (kill,) = outcome.faults
    assert kill.end_seconds == pytest.approx(0.7)
    assert outcome.verdict is Verdict.PASS


def test_two_faults_may_hold_one_node() -> None:
    """The first that ends does not wake what the second still keeps down."""
    long = kinds.Kill(at=SOON, for_seconds=0.6, target="n1")
    short = kinds.Kill(at=Trigger(seconds=0.1), for_seconds=0.1, target="n1")
    outcome = run_scenario(make_play(long, short), timeline=True)
    starts = [event.seconds for event in outcome.timeline.nodes if event.kind == "start" and event.node == 1]
    assert starts[1:] == pytest.approx([0.65])
    first, second = outcome.faults
    assert (first.bites, second.bites) == (1, 0)
    assert "but not kill" in next(line.detail for line in outcome.liveness if line.what == "faults felt")


def test_nobody_is_made_byzantine_beyond_a_third() -> None:
    """Two disks of four that go back would be two liars: the second stays as it is, and the books say why."""
    outcome = run_scenario(make_play(kinds.DiskFault(at=SOON, for_seconds=0.2, target="n1,n2", mode="old_snapshot")))
    assert outcome.verdict is Verdict.PASS
    assert outcome.marks["snapshots_put_back"] == 1
    assert "one too many" in outcome.faults[0].detail


def test_stake_stays_with_the_honest() -> None:
    """With one liar of four no honest stake may leave: that operation is not even submitted."""
    unbond = kinds.Stake(at=SOON, operation="unbond", target="n1")
    outcome = run_scenario(make_play(unbond, byzantine={"n3": "stall"}))
    assert outcome.faults[0].bites == 0
    assert "a third" in outcome.faults[0].detail
