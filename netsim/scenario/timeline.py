"""What the report draws of a simulated run: views, decides, starts and ends, and messages around what went wrong."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from consensus.effects import Decide, EnteredView, TimedOut
from consensus.leaf import Block
from consensus.messages import Message, QuorumProposal
from consensus.safety import SafetyRecord
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.commitments import compute_commitment
from netsim.cluster import Cluster
from netsim.network import Hindrance
from netsim.observer import Observer
from netsim.scenario.outcome import Decided, Flight, NodeEvent, Timeline, ViewEvent

FLIGHTS_MAX: Final = 400
"""Messages that are drawn: more are a grey blot."""


class TimelineRecorder(Observer):
    """`attach` puts a hindrance that does nothing on every link: only such links tell how each message fares."""

    def __init__(self) -> None:
        self._views: list[tuple[int, int, int, str]] = []
        self._decides: list[tuple[int, int, int, int]] = []
        self._nodes: list[tuple[int, int, str]] = []
        self._proposed: dict[bytes, int] = {}
        self._latencies: list[tuple[int, int]] = []
        self._decided: set[bytes] = set()
        self._flights: deque[tuple[int, int | None, int, int, str, int]] = deque(maxlen=FLIGHTS_MAX)
        self._first_flights: list[tuple[int, int | None, int, int, str, int]] = []
        self._is_disturbed = False
        self._cluster: Cluster | None = None

    def attach(self, cluster: Cluster) -> None:
        self._cluster = cluster
        tap = Hindrance()
        for row in cluster.network.links:
            for link in row:
                link.hinder(tap)
        cluster.wire.on_flight = self._on_flight

    def mark_first_fault(self) -> None:
        """The messages that follow are kept, besides the last ones of the run."""
        self._is_disturbed = True

    def on_frozen(self, node: int, kind: str) -> None:
        """`freeze` or `thaw`."""
        now = 0 if self._cluster is None else self._cluster.simulation.now
        self._nodes.append((now, node, kind))

    def on_start(self, now: Microseconds, node: ValidatorId, record: SafetyRecord, decided: Sequence[Block]) -> None:
        self._nodes.append((now, node, "start"))

    def on_crash(self, now: Microseconds, node: ValidatorId) -> None:
        self._nodes.append((now, node, "end"))

    def on_enter(self, now: Microseconds, node: ValidatorId, entered: EnteredView) -> None:
        self._views.append((now, node, entered.view, "tc" if entered.timed_out else "qc"))

    def on_timeout(self, now: Microseconds, node: ValidatorId, timed_out: TimedOut) -> None:
        self._views.append((now, node, timed_out.view, "timeout"))

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        if isinstance(message, QuorumProposal):
            self._proposed.setdefault(compute_commitment(message.leaf), now)

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        for block in decide.blocks:
            self._decides.append((now, node, block.leaf.height, block.leaf.view))
            proposed = self._proposed.get(block.commitment)
            if proposed is not None and block.commitment not in self._decided:
                self._decided.add(block.commitment)
                self._latencies.append((proposed, now - proposed))

    def _on_flight(
        self, source: ValidatorId, destination: int, message: Message, times: Sequence[Microseconds]
    ) -> None:
        now = 0 if self._cluster is None else self._cluster.simulation.now
        view = message.leaf.view if isinstance(message, QuorumProposal) else getattr(message, "view", 0)
        flight = (now, times[0] if times else None, int(source), destination, type(message).__name__, int(view))
        if self._is_disturbed and len(self._first_flights) < FLIGHTS_MAX:
            self._first_flights.append(flight)
        self._flights.append(flight)

    def collect(self, start: int, is_failed: bool) -> Timeline:
        """Times count from `start`. Messages: the last ones of a run that failed, else those around the first fault."""

        def to_seconds(now: int) -> float:
            return (now - start) / 1e6

        flights = self._flights if is_failed or not self._first_flights else self._first_flights
        return Timeline(
            views=tuple(
                ViewEvent(to_seconds(now), int(node), int(view), kind) for now, node, view, kind in self._views
            ),
            decides=tuple(
                Decided(to_seconds(now), int(node), int(height), int(view)) for now, node, height, view in self._decides
            ),
            flights=tuple(
                Flight(
                    to_seconds(sent), None if arrived is None else to_seconds(arrived), source, destination, kind, view
                )
                for sent, arrived, source, destination, kind, view in flights
            ),
            nodes=tuple(NodeEvent(to_seconds(now), int(node), kind) for now, node, kind in self._nodes),
            latencies=tuple((to_seconds(now), taken / 1e6) for now, taken in self._latencies),
        )
