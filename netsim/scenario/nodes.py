"""Faults of nodes, in the simulator."""

from collections.abc import Callable
from typing import Final

from consensus.effects import Batch
from netsim.disk import Loss
from netsim.scenario.faults import Kill, Pause, RollingRestart, Slow
from netsim.scenario.injection import Injection
from netsim.scenario.stage import Stage

TURNS_MAX: Final = 4
"""A node that is killed again ends in one of so many first turns: while it recovers."""
RESTART_SECONDS: Final = 0.02
"""Until a node that was killed again is started again."""


class EndsWhilePending:
    """Ends a process once, in a turn that is written and not synced."""

    def __init__(self, loss: Loss = Loss.PREFIX) -> None:
        self.loss = loss
        self.hits = 0

    def ends_before_write(self, turn: Batch) -> bool:
        return False

    def ends_before_sync(self, turn: Batch) -> bool:
        if self.hits or not turn.must_sync:
            return False
        self.hits += 1
        return True


class _EndsInTurn:
    """Ends a process in its n-th turn from now on."""

    loss = Loss.PREFIX

    def __init__(self, turns: int) -> None:
        self._left = turns
        self.has_ended = False

    def ends_before_write(self, turn: Batch) -> bool:
        self._left -= 1
        self.has_ended |= self._left == 0
        return self._left == 0

    def ends_before_sync(self, turn: Batch) -> bool:
        return False


class KillNodes(Injection[Kill]):
    def __init__(self, stage: Stage, fault: Kill) -> None:
        super().__init__(stage, fault)
        self._chosen: list[int] = []
        self._saboteurs: dict[int, EndsWhilePending] = {}

    def begin(self) -> None:
        self._chosen = self.choose(self.fault.target)
        for node in self._chosen:
            if self.fault.when == "now":
                self.bites += self.stage.hold_down(node, self)
            else:
                self.stage.keep_down(node, self)
                self._saboteurs[node] = EndsWhilePending()
                self.stage.plant(node, self._saboteurs[node])

    def end(self) -> None:
        for node, saboteur in self._saboteurs.items():
            self.stage.dismiss(node, saboteur)
            self.bites += saboteur.hits
        for node in self._chosen:
            self._revive(node, self.fault.again)

    def _revive(self, node: int, again: int) -> None:
        """Start it, and kill it again while it recovers."""
        if not self.stage.is_chaos:
            return
        saboteur = _EndsInTurn(self.stage.random.randint(1, TURNS_MAX)) if again else None
        if saboteur is not None:
            self.stage.plant(node, saboteur)
        self.stage.let_up(node, self)
        if saboteur is not None:
            self.stage.later(RESTART_SECONDS, lambda: self._look_after(node, saboteur, again))

    def _look_after(self, node: int, saboteur: _EndsInTurn, again: int) -> None:
        self.stage.dismiss(node, saboteur)
        self.bites += saboteur.has_ended
        if saboteur.has_ended:
            self._revive(node, again - 1)


class RestartInTurn(Injection[RollingRestart]):
    def __init__(self, stage: Stage, fault: RollingRestart) -> None:
        super().__init__(stage, fault)
        self._waiting: list[int] = []
        self._down: int | None = None
        self._is_over = False
        self.on_over: Callable[[], None] = lambda: None
        """Called once all are up again."""

    def begin(self) -> None:
        self._waiting = self.choose(self.fault.target)
        self._stop_next()

    def end(self) -> None:
        self._is_over = True
        if self._down is not None:
            self.stage.let_up(self._down, self)

    def _stop_next(self) -> None:
        if self._is_over:
            return
        if not self._waiting:
            self.on_over()
            return
        self._down = self._waiting.pop(0)
        self.bites += self.stage.hold_down(self._down, self)
        self.stage.later(self.fault.down_seconds, self._start)

    def _start(self) -> None:
        if not self._is_over and self._down is not None:
            self.stage.let_up(self._down, self)
            self._down = None
            self.stage.later(self.fault.gap_seconds if self._waiting else 0.0, self._stop_next)


class PauseNodes(Injection[Pause]):
    def __init__(self, stage: Stage, fault: Pause) -> None:
        super().__init__(stage, fault)
        self._chosen: list[int] = []

    def begin(self) -> None:
        self._chosen = self.choose(self.fault.target)
        self.bites = sum(self.stage.freeze(node, self) for node in self._chosen)

    def end(self) -> None:
        for node in self._chosen:
            self.stage.thaw(node, self)


class SlowNodes(Injection[Slow]):
    """It bites in every turn that it makes longer."""

    def __init__(self, stage: Stage, fault: Slow) -> None:
        super().__init__(stage, fault)
        self._before: dict[int, int] = {}

    def begin(self) -> None:
        for node in self.choose(self.fault.target):
            self._before[node] = self.stage.cluster.node(node).slow_turns
            self.stage.slow_down(node, self, max(1, round(self.fault.turn_ms * 1000)))

    def end(self) -> None:
        for node, before in self._before.items():
            self.stage.slow_down(node, self, None)
            self.bites += self.stage.cluster.node(node).slow_turns - before
