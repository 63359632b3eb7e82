"""Runs a scenario on the simulator: warm-up, chaos, healing, judgement. Same scenario, same run, to the last event.

A safety promise that breaks ends the run, and so does any other exception in the core: both become a line of the
outcome and are not raised.
"""

from collections.abc import Sequence
from re import sub
from traceback import format_exception_only, walk_tb
from typing import Final

from consensus.ledger import EpochParameters, LeadershipParameters, LedgerParameters, SlashingParameters
from consensus.parameters import ConsensusParameters
from consensus.types import ValidatorId
from netsim.checkers import Violation
from netsim.cluster import Cluster
from netsim.collection import rare_collection
from netsim.disk import DiskModel
from netsim.network import Exponential
from netsim.observer import Observer
from netsim.scenario import judging
from netsim.scenario.director import Director, check_simulated
from netsim.scenario.links import make_link_model
from netsim.scenario.model import Scenario, Settings, Shape
from netsim.scenario.outcome import Line, Outcome, Timeline, Verdict
from netsim.scenario.recording import Recorder, count_marks
from netsim.scenario.stage import Stage
from netsim.scenario.targets import name_node, parse_name
from netsim.scenario.timeline import TimelineRecorder
from netsim.workload import Workload

QUIET_SECONDS: Final = 0.2
"""From the end of the last fault to healing: long enough for what it left behind to go on its way."""
BEACON_STEPS: Final = 16
"""The hash chain is long so that nobody can try many; in a simulation it would only cost time."""
TREASURY: Final = 1_000_000

_CONSENSUS_KEYS: Final = {
    "timeout_floor_ms": ("timeout_floor", 1000),
    "timeout_ceiling_ms": ("timeout_ceiling", 1000),
    "timeout_multiple": ("timeout_multiple", 1),
    "backoff_percent": ("backoff_percent", 1),
    "idle_interval_ms": ("idle_interval", 1000),
    "fetch_interval_ms": ("fetch_interval", 1000),
    "payload_bytes_max": ("payload_bytes_max", 1),
    "view_window": ("view_window", 1),
}
"""Setting -> parameter, and in how many of its units."""
_LEADERSHIP_KEYS: Final = ("primary_size", "fallback_size", "bench_after", "fallback_after", "handback_after")
_SLASHING_KEYS: Final = ("leader_window", "jail_after")
_EPOCH_KEYS: Final = ("epoch_blocks", "unbonding_epochs")


def run_scenario(scenario: Scenario, *, timeline: bool = False, observers: Sequence[Observer] = ()) -> Outcome:
    """`timeline`: collect what the report draws; it changes nothing about the run. `observers` watch besides.

    Raises `ScenarioError` for faults that only processes know.
    """
    check_simulated(scenario)
    with rare_collection():
        return ScenarioRun(scenario, observers, with_timeline=timeline).play()


def make_cluster(
    scenario: Scenario, byzantine: dict[ValidatorId, str], observers: Sequence[Observer] = (), *, start: bool = True
) -> Cluster:
    """The cluster of a scenario. The oracles go by `byzantine` even when it grows later."""
    shape = scenario.cluster
    links = make_link_model(
        shape.delay_ms,
        shape.jitter_ms,
        loss=shape.loss,
        duplication=shape.duplication,
        reordering=shape.reordering,
    )
    sync_microseconds = round(shape.sync_ms * 1000)
    load = scenario.load
    return Cluster(
        shape.nodes,
        scenario.seed,
        stakes=shape.stakes or None,
        joiners=shape.joiners,
        treasury=TREASURY,
        links=links,
        disk=DiskModel(Exponential(sync_microseconds)) if sync_microseconds else None,
        parameters=_make_parameters(shape.settings),
        ledger=_make_ledger_parameters(shape.settings),
        workload=Workload(load.transactions_per_second, load.transaction_bytes),
        lost_connections_seen=shape.lost_connections_seen,
        byzantine=byzantine,
        observers=observers,
        start=start,
    )


def read_byzantine(shape: Shape) -> dict[ValidatorId, str]:
    names = {name: parse_name(name, shape.nodes) for name in shape.byzantine}
    return {ValidatorId(node): shape.byzantine[name] for name, node in names.items() if node is not None}


class ScenarioRun:
    """One run and what is left of it; `run_scenario` is how to get the outcome."""

    def __init__(self, scenario: Scenario, observers: Sequence[Observer], *, with_timeline: bool) -> None:
        self.scenario = scenario
        self.recorder = Recorder()
        self.timeline = TimelineRecorder() if with_timeline else None
        watching = [self.recorder, *([self.timeline] if self.timeline else []), *observers]
        self.byzantine = read_byzantine(scenario.cluster)
        self.cluster = make_cluster(scenario, self.byzantine, watching, start=False)
        self.stage = Stage(self.cluster, self.byzantine, self.cluster.simulation.streams["faults"])
        self.director = Director(self.stage, scenario.fault, self.recorder)
        self.error: Exception | None = None
        self.is_steady = False
        self.start = self.chaos_end = self.heal_height = 0
        self.core: list[int] = []
        self.healed_seconds: float | None = None
        self.drained = (0, 0)
        """How many of the transactions that were submitted before the healing are decided, and how many there were."""

    def play(self) -> Outcome:
        try:
            self._play()
        except Exception as error:
            self.error = error
        return self._judge()

    def _play(self) -> None:
        cluster, scenario = self.cluster, self.scenario
        if self.timeline is not None:
            self.timeline.attach(cluster)
            self.stage.on_frozen = self.timeline.on_frozen
            self.director.on_first_fault = self.timeline.mark_first_fault
        for process in cluster.processes:
            process.start()
        steady = scenario.steady
        self.is_steady = cluster.advance(steady.within_seconds, lambda: cluster.height >= steady.height)
        self.start = self.chaos_end = cluster.simulation.now
        if self.is_steady:
            self._do_chaos()
            self._heal()
            self._settle()
        cluster.finish(self.drained[0])

    def _do_chaos(self) -> None:
        cluster, director = self.cluster, self.director
        director.begin()
        seconds = self.scenario.chaos_seconds
        if self.scenario.fault:
            if cluster.advance(seconds, lambda: director.is_over):
                left = seconds - self._to_seconds(cluster.simulation.now)
                cluster.run_for(max(0.0, min(QUIET_SECONDS, left)))
        else:
            cluster.run_for(seconds)
        self.chaos_end = cluster.simulation.now

    def _heal(self) -> None:
        """All faults end, links lose nothing any more, and what is not in the core never comes back."""
        stage, shape = self.stage, self.scenario.cluster
        stage.is_chaos = False
        self.director.stop()
        everyone = range(len(self.cluster.processes))
        chosen = list(everyone) if self.scenario.heal.core == "all" else stage.draw_core()
        stage.leave_out(node for node in everyone if node not in chosen)
        stage.make_whole(chosen)
        self.core = [node for node in chosen if node not in self.byzantine]
        if shape.loss:
            calm = make_link_model(
                shape.delay_ms, shape.jitter_ms, duplication=shape.duplication, reordering=shape.reordering
            )
            self.cluster.network.set_model(calm)

    def _settle(self) -> None:
        cluster, expect = self.cluster, self.scenario.expect
        processes = [cluster.node(node) for node in self.core]
        self.heal_height = max(int(process.disk.latest_height) for process in cluster.processes)
        target = self.heal_height + expect.blocks_after
        submitted = cluster.workload.count(cluster.simulation.now)

        def is_healed() -> bool:
            return self.recorder.height >= target and all(
                process.is_alive and process.disk.latest_height >= target for process in processes
            )

        def is_drained() -> bool:
            return any(process.oldest_pending >= submitted for process in processes)

        if cluster.advance(expect.decide_within_seconds, is_healed):
            self.healed_seconds = (cluster.simulation.now - self.chaos_end) / 1e6
            cluster.advance(expect.decide_within_seconds, is_drained)
        self.drained = (min(submitted, max((one.oldest_pending for one in processes), default=0)), submitted)

    # Judgement

    def _judge(self) -> Outcome:
        cluster, recorder = self.cluster, self.recorder
        records = self.director.list_records()
        decided = [self._to_seconds(one.now) for one in recorder.first_decides]
        chaos = (min((record.start_seconds for record in records), default=0.0), self._to_seconds(self.chaos_end))
        judged = judging.select_judged(judging.merge_stretches(records), chaos)
        marks = count_marks(recorder, self.stage)
        leaderless = self._measure_new_leaders()
        return Outcome(
            scenario=self.scenario,
            runtime="simulator",
            safety=tuple(self._judge_safety()),
            liveness=(
                self._judge_warm_up(),
                *(judging.judge_during(self.scenario.expect.during, judged, decided) if self.is_steady else ()),
                *self._judge_end(leaderless),
                *judging.judge_bites(records, len(self.scenario.fault)),
                *judging.judge_floors(self.scenario.expect.floors, marks),
            ),
            faults=tuple(records),
            marks=marks,
            figures=self._compute_figures(leaderless),
            predicted=judging.foresee(
                judged, [(self._to_seconds(now), progress) for now, progress in self.director.predictions]
            ),
            observed=judging.observe(judged, decided),
            replay=f"sequencer chaos run {self.scenario.name} --seed {self.scenario.seed} --runtime simulator",
            audit_hash=cluster.audit_hash,
            warm_up_seconds=(self.start - cluster.simulation.start) / 1e6,
            seconds=cluster.simulation.elapsed_seconds,
            timeline=Timeline() if self.timeline is None else self.timeline.collect(self.start, self.error is not None),
        )

    def _judge_safety(self) -> list[Line]:
        """One line per oracle; the one that found something is told apart by where the exception comes from."""
        culprit = None if self.error is None else _find_checker(self.error)
        lines = []
        for observer in self.cluster.observers:
            if _is_oracle(observer):
                name = sub("(?<!^)([A-Z])", lambda match: f" {match[1].lower()}", type(observer).__name__)
                if observer is culprit:
                    lines.append(Line(what=name, verdict=Verdict.FAIL, detail=str(self.error)))
                else:
                    lines.append(Line(what=name, verdict=Verdict.PASS))
        if self.error is not None and culprit is None:
            what = self.error.rule if isinstance(self.error, Violation) else "No exception in the core"
            detail = " ".join(format_exception_only(self.error)).strip()
            lines.append(Line(what=what, verdict=Verdict.FAIL, detail=detail))
        accused = [name_node(int(validator)) for validator in self.recorder.accused]
        liars = [name_node(int(validator)) for validator in self.byzantine]
        return [*lines, judging.judge_evidence(accused, self.scenario.expect.evidence, liars)]

    def _judge_warm_up(self) -> Line:
        steady = self.scenario.steady
        if self.is_steady:
            return Line(what="warm-up", verdict=Verdict.PASS)
        detail = f"height {self.cluster.height} of {steady.height} within {steady.within_seconds:g} s"
        return Line(what="warm-up", verdict=Verdict.INCONCLUSIVE, detail=detail)

    def _judge_end(self, leaderless: Sequence[float | None]) -> list[Line]:
        expect = self.scenario.expect
        if not self.is_steady or self.error is not None:
            return [Line(what="after healing", verdict=Verdict.INCONCLUSIVE, detail="the run did not get so far")]
        decided, submitted = self.drained
        is_lost = decided < submitted
        what = f"{expect.blocks_after} blocks after healing"
        return [
            *judging.judge_bound("time to a new leader", leaderless, expect.new_leader_within_seconds),
            *judging.judge_bound(what, [self.healed_seconds], expect.decide_within_seconds),
            Line(
                what="transactions",
                verdict=Verdict.FAIL if is_lost else Verdict.PASS,
                detail=f"{decided} of {submitted} submitted before healing are decided",
            ),
        ]

    def _measure_new_leaders(self) -> list[float | None]:
        """From each stop of a leader to the first decide of a later view's block."""
        times: list[float | None] = []
        for happening in self.director.happenings:
            if happening.stops_leader:
                decides = self.recorder.first_decides
                later = (one.now for one in decides if one.view > happening.view and one.now > happening.start)
                found = next(later, None)
                times.append(None if found is None else (found - happening.start) / 1e6)
        return times

    def _compute_figures(self, leaderless: Sequence[float | None]) -> dict[str, float]:
        known = [seconds for seconds in leaderless if seconds is not None]
        first = next((one.now for one in self.recorder.first_decides if one.height > self.heal_height), None)
        figures = {"blocks": float(self.recorder.height), "transactions_submitted": float(self.drained[1])}
        if known:
            figures["new_leader_seconds_max"] = max(known)
            figures["new_leader_seconds_mean"] = sum(known) / len(known)
        if first is not None and self.core:
            figures["first_decide_seconds"] = (first - self.chaos_end) / 1e6
        if self.healed_seconds is not None:
            figures["healed_seconds"] = self.healed_seconds
        figures["transactions_lost"] = float(self.drained[1] - self.drained[0])
        figures["messages"] = float(self.cluster.wire.messages)
        figures["events"] = float(self.cluster.simulation.events)
        return figures

    def _to_seconds(self, now: int) -> float:
        return (now - self.start) / 1e6


def _find_checker(error: Exception) -> Observer | None:
    """The oracle in whose code a violation was raised."""
    if not isinstance(error, Violation):
        return None
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    owners = (frame.f_locals.get("self") for frame in reversed(frames))
    return next((owner for owner in owners if isinstance(owner, Observer) and _is_oracle(owner)), None)


def _is_oracle(observer: Observer) -> bool:
    return type(observer).__module__.startswith("netsim.checkers")


def _make_parameters(settings: Settings) -> ConsensusParameters:
    given = {
        parameter: getattr(settings, key) * units
        for key, (parameter, units) in _CONSENSUS_KEYS.items()
        if getattr(settings, key) is not None
    }
    return ConsensusParameters(**given)


def _make_ledger_parameters(settings: Settings) -> LedgerParameters:
    def pick(keys: Sequence[str]) -> dict[str, int]:
        return {key: getattr(settings, key) for key in keys if getattr(settings, key) is not None}

    epochs = EpochParameters(**pick(_EPOCH_KEYS), beacon_difficulty=BEACON_STEPS, beacon_checkpoints=BEACON_STEPS)
    return LedgerParameters(
        LeadershipParameters(**pick(_LEADERSHIP_KEYS)), SlashingParameters(**pick(_SLASHING_KEYS)), epochs
    )
