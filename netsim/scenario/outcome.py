"""What a run of a scenario ends with, on the simulator and on real processes alike."""

from enum import StrEnum

import msgspec

from netsim.scenario.model import Scenario


class Verdict(StrEnum):
    """`inconclusive`: nothing wrong was seen, but the run has not shown what it was to show."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was judged."""

    what: str
    """Such as `agreement`, or `first decide after healing`."""
    verdict: Verdict
    detail: str = ""
    """With the numbers."""


class FaultRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as it happened."""

    kind: str
    nodes: tuple[str, ...]
    """Whom it hit; of a link fault the sources first, then the destinations after `>`."""
    start_seconds: float
    """Since the end of the warm-up, as all times here."""
    end_seconds: float
    bites: int
    """How often it changed anything: messages lost, writes undone, processes ended. Zero: it has not been felt."""
    predicted: str = ""
    """From quorum arithmetic: `live` or `stalls` while it lasts, with the stake that is left."""
    detail: str = ""
    """Why it has not done what it should, if so."""


class Decided(msgspec.Struct, frozen=True, array_like=True):
    """A block on one node."""

    seconds: float
    node: int
    height: int
    view: int


class ViewEvent(msgspec.Struct, frozen=True, array_like=True):
    """A node enters a view, or gives up on it."""

    seconds: float
    node: int
    view: int
    kind: str
    """`qc` or `tc`: entered by it. `timeout`: given up, and nothing else has happened to the view yet."""


class Flight(msgspec.Struct, frozen=True, array_like=True):
    """A message of the space-time diagram; only around the failure, for there are millions."""

    sent_seconds: float
    arrived_seconds: float | None
    """None: lost."""
    source: int
    destination: int
    kind: str
    view: int


class NodeEvent(msgspec.Struct, frozen=True, array_like=True):
    """`start`, `end`, `freeze` or `thaw`: what a process does, or has done to it."""

    seconds: float
    node: int
    kind: str


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """What the report draws. Empty where nobody asked for it."""

    views: tuple[ViewEvent, ...] = ()
    decides: tuple[Decided, ...] = ()
    flights: tuple[Flight, ...] = ()
    nodes: tuple[NodeEvent, ...] = ()
    latencies: tuple[tuple[float, float], ...] = ()
    """(when proposed or submitted, seconds until final)."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`marks` is how often things worth reaching were reached: decides, timeouts, restarts, epochs …"""

    scenario: Scenario
    runtime: str
    """`simulator` or `processes`."""
    safety: tuple[Line, ...]
    liveness: tuple[Line, ...]
    faults: tuple[FaultRecord, ...] = ()
    marks: dict[str, int] = {}
    figures: dict[str, float] = {}
    """Seconds and counts by name: `new_leader_seconds_max`, `first_decide_seconds`, `blocks`, `transactions_lost` …"""
    predicted: str = ""
    observed: str = ""
    """While the faults lasted: `live` or `stalls`, by arithmetic and in fact; `any` when they were too short to say."""
    replay: str = ""
    """The command that shows it again."""
    audit_hash: str = ""
    """Over every event: the same seed gives the same one. Empty on processes, of which nobody can say so."""
    warm_up_seconds: float = 0.0
    seconds: float = 0.0
    """In all, virtual on the simulator."""
    timeline: Timeline = Timeline()

    @property
    def verdict(self) -> Verdict:
        """The worst of all lines."""
        return self._judge((*self.safety, *self.liveness))

    @property
    def safety_verdict(self) -> Verdict:
        return self._judge(self.safety)

    @property
    def liveness_verdict(self) -> Verdict:
        return self._judge(self.liveness)

    @staticmethod
    def _judge(lines: tuple[Line, ...]) -> Verdict:
        verdicts = {line.verdict for line in lines}
        if Verdict.FAIL in verdicts:
            return Verdict.FAIL
        return Verdict.PASS if verdicts == {Verdict.PASS} else Verdict.INCONCLUSIVE
