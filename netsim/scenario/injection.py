"""One happening of a fault: from its beginning, when its targets are chosen, to its end."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic, TypeVar

from netsim.scenario.faults import FaultBase
from netsim.scenario.stage import Stage
from netsim.scenario.targets import name_node

F = TypeVar("F", bound=FaultBase)


class Injection(ABC, Generic[F]):
    """Made anew for each repetition. `end` is called exactly once after `begin`."""

    lasts = True
    """False: it is over in the moment when it begins."""

    def __init__(self, stage: Stage, fault: F) -> None:
        self.stage = stage
        self.fault = fault
        self.bites = 0
        """How often it has changed anything; may go on growing after the end."""
        self.nodes: tuple[str, ...] = ()
        """Whom it has hit."""
        self.detail = ""

    @abstractmethod
    def begin(self) -> None: ...

    @abstractmethod
    def end(self) -> None: ...

    def choose(self, target: str) -> list[int]:
        chosen = self.stage.resolve(target)
        self.nodes = name_nodes(chosen)
        return chosen


def name_nodes(nodes: Iterable[int]) -> tuple[str, ...]:
    return tuple(name_node(node) for node in nodes)
