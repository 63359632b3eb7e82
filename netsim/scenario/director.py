"""Begins each fault when its trigger comes true, ends it in time, repeats it, and keeps the books (see `faults`).

Nothing is done from within a node's turn: what a turn sets off happens right after it, as an event of its own.
"""

from collections.abc import Callable
from typing import Any, Final

from netsim.scenario import faults as kinds
from netsim.scenario.clocks import SetClocks
from netsim.scenario.disks import BreakDisk, SlowDownDisk
from netsim.scenario.faults import EventName, Fault, get_kind
from netsim.scenario.files import ScenarioError
from netsim.scenario.injection import Injection
from netsim.scenario.links import (
    ClogLinks,
    CorruptOnLinks,
    CutLinks,
    DegradeLinks,
    DropOnLinks,
    FlapLinks,
    PartitionLinks,
    ResetLinks,
)
from netsim.scenario.model import Scenario
from netsim.scenario.nodes import KillNodes, PauseNodes, RestartInTurn, SlowNodes
from netsim.scenario.outcome import FaultRecord
from netsim.scenario.recording import Recorder
from netsim.scenario.stage import Stage
from netsim.scenario.stakes import SubmitBurst, SubmitStake
from netsim.scenario.targets import name_node

_INJECTIONS: Final[dict[type[Any], Callable[[Stage, Any], Injection[Any]]]] = {
    kinds.Degrade: DegradeLinks,
    kinds.Cut: CutLinks,
    kinds.Partition: PartitionLinks,
    kinds.Flap: FlapLinks,
    kinds.Clog: ClogLinks,
    kinds.DropKinds: DropOnLinks,
    kinds.Reset: ResetLinks,
    kinds.Corrupt: CorruptOnLinks,
    kinds.Kill: KillNodes,
    kinds.RollingRestart: RestartInTurn,
    kinds.Pause: PauseNodes,
    kinds.Slow: SlowNodes,
    kinds.DiskFault: BreakDisk,
    kinds.SlowDisk: SlowDownDisk,
    kinds.Clock: SetClocks,
    kinds.Stake: SubmitStake,
    kinds.Burst: SubmitBurst,
}


def check_simulated(scenario: Scenario) -> None:
    """Raises `ScenarioError` that names every fault that only processes know."""
    unknown = [
        f"fault {number} ({get_kind(fault)})"
        for number, fault in enumerate(scenario.fault, 1)
        if type(fault) not in _INJECTIONS
    ]
    if unknown:
        raise ScenarioError(
            f"{scenario.name} cannot run on the simulator: {'; '.join(unknown)}. It has no clients; processes have: "
            "`sequencer chaos run` without --runtime"
        )


class Happening:
    """One injection with its times."""

    def __init__(self, injection: Injection[Any], start: int, view: int) -> None:
        self.injection = injection
        self.start = start
        self.end: int | None = None
        self.view = view
        """The highest that anyone was in."""
        self.stops_leader = False
        self.predicted = ""


class _Plan:
    """One fault of the scenario and how much of it is still to come."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.repeat
        self.is_triggered = False
        self.active = 0

    @property
    def is_over(self) -> bool:
        return not self.left and not self.active


class Director:
    def __init__(self, stage: Stage, faults: tuple[Fault, ...], recorder: Recorder) -> None:
        self._stage = stage
        self._recorder = recorder
        self._plans = [_Plan(fault) for fault in faults]
        self._start = 0
        self._is_on = False
        self.on_first_fault: Callable[[], None] = lambda: None
        self.happenings: list[Happening] = []
        self.predictions: list[tuple[int, str]] = []
        """From when on what was predicted; set at each beginning and end of a fault."""

    @property
    def is_over(self) -> bool:
        """All faults have happened, as often as they should, and have ended."""
        return all(plan.is_over for plan in self._plans)

    def begin(self) -> None:
        """From now on triggers count."""
        self._start, self._is_on = self._stage.now, True
        self._note_prediction()
        for plan in self._plans:
            if plan.fault.at.seconds is not None:
                self._trigger(plan, plan.fault.at.seconds)
        recorder = self._recorder
        recorder.on_event, recorder.on_height, recorder.on_view = self._on_event, self._on_height, self._on_view
        self._on_height(recorder.height)
        self._on_view(recorder.view)

    def stop(self) -> None:
        """End everything that is still on; nothing begins any more."""
        self._is_on = False
        for happening in self.happenings:
            if happening.end is None:
                self._end(happening)

    def list_records(self) -> list[FaultRecord]:
        return [
            FaultRecord(
                kind=get_kind(happening.injection.fault),
                nodes=happening.injection.nodes,
                start_seconds=self._to_seconds(happening.start),
                end_seconds=self._to_seconds(self._stage.now if happening.end is None else happening.end),
                bites=int(happening.injection.bites),
                predicted=happening.predicted,
                detail=happening.injection.detail,
            )
            for happening in self.happenings
        ]

    # Triggers

    def _on_event(self, event: EventName) -> None:
        self._fire(lambda plan: plan.fault.at.event == event)

    def _on_height(self, height: int) -> None:
        self._fire(lambda plan: plan.fault.at.height is not None and plan.fault.at.height <= height)

    def _on_view(self, view: int) -> None:
        self._fire(lambda plan: plan.fault.at.view is not None and plan.fault.at.view <= view)

    def _fire(self, is_it: Callable[[_Plan], bool]) -> None:
        for plan in self._plans:
            if not plan.is_triggered and is_it(plan):
                self._trigger(plan, 0.0)

    def _trigger(self, plan: _Plan, seconds: float) -> None:
        plan.is_triggered = True
        self._stage.later(seconds + plan.fault.at.after_seconds, lambda: self._begin(plan))

    # Beginning and ending

    def _begin(self, plan: _Plan) -> None:
        if not self._is_on or not plan.left:
            return
        stage, fault = self._stage, plan.fault
        plan.left -= 1
        plan.active += 1
        if not self.happenings:
            self.on_first_fault()
        leader = stage.leader
        injection = _INJECTIONS[type(fault)](stage, fault)
        happening = Happening(injection, stage.now, self._recorder.view)
        injection.begin()
        is_stop = isinstance(fault, kinds.Kill | kinds.Pause) and bool(injection.bites)
        happening.stops_leader = is_stop and leader is not None and name_node(leader) in injection.nodes
        happening.predicted = self._note_prediction()
        self.happenings.append(happening)
        if plan.left and fault.every_seconds is not None:
            stage.later(fault.every_seconds, lambda: self._begin(plan))
        if not injection.lasts:
            self._finish(plan, happening)
        elif fault.for_seconds is not None:
            stage.later(fault.for_seconds, lambda: self._finish(plan, happening))
        elif isinstance(injection, RestartInTurn):
            injection.on_over = lambda: self._finish(plan, happening)

    def _finish(self, plan: _Plan, happening: Happening) -> None:
        if happening.end is not None:
            return
        plan.active -= 1
        self._end(happening)
        self._stage.cluster.simulation.changed = True
        if plan.left and plan.fault.every_seconds is None:
            self._stage.later(0.0, lambda: self._begin(plan))

    def _end(self, happening: Happening) -> None:
        happening.end = self._stage.now
        happening.injection.end()
        self._note_prediction()

    def _note_prediction(self) -> str:
        prediction = self._stage.predict()
        self.predictions.append((self._stage.now, prediction.progress))
        return str(prediction)

    def _to_seconds(self, now: int) -> float:
        return (now - self._start) / 1e6
