"""Faults of clocks, in the simulator."""

from netsim.scenario.faults import Clock
from netsim.scenario.injection import Injection
from netsim.scenario.stage import Stage


class SetClocks(Injection[Clock]):
    """It bites whenever a running node reads a wrong time."""

    def __init__(self, stage: Stage, fault: Clock) -> None:
        super().__init__(stage, fault)
        self._before: dict[int, int] = {}

    def begin(self) -> None:
        for node in self.choose(self.fault.target):
            self._before[node] = self.stage.cluster.node(node).wrong_times
            self.stage.set_clock(node, self, (round(self.fault.skew_ms * 1000), self.fault.drift))

    def end(self) -> None:
        for node, before in self._before.items():
            self.bites += self.stage.cluster.node(node).wrong_times - before
            self.stage.set_clock(node, self, None)
