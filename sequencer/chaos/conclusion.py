"""What a run on processes ends with: everything that was seen and read, judged and put into an `Outcome`."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from netsim.scenario import judging
from netsim.scenario.faults import get_kind
from netsim.scenario.model import Scenario
from netsim.scenario.outcome import Decided, FaultRecord, Line, NodeEvent, Outcome, Timeline, Verdict
from sequencer.chaos import judge
from sequencer.chaos.injector import Happening, Injector
from sequencer.chaos.judge import Block, Process
from sequencer.chaos.reading import Ledgers
from sequencer.chaos.stage import Stage

GROWN_UP_SECONDS: Final = 3.0
"""A process that was forked takes its pages one by one, and catches up: its memory is compared from this age on."""
COMPARED_SECONDS_MIN: Final = 4.0
"""For so long, or its memory says nothing."""


@dataclass
class Facts:
    """What was read of the nodes. Moments are of Trio's clock."""

    begun_at: float = 0.0
    steady_at: float = 0.0
    """End of the warm-up: all times of the outcome count from here."""
    healed_at: float = 0.0
    ended_at: float = 0.0
    healed_height: int = 0
    """Highest of any node at that moment."""
    recovered_seconds: float | None = None
    """From the end of the faults to enough more blocks on every node that was made whole."""
    chains: dict[str, list[Block]] = field(default_factory=dict)
    ledgers: Ledgers = field(default_factory=Ledgers)
    accused: set[str] = field(default_factory=set)
    unreadable: list[str] = field(default_factory=list)
    """Nodes that would not tell, and why."""
    trace: Line | None = None
    timeline: Timeline = field(default_factory=Timeline)
    """Views and messages, from the journals."""
    descriptors_before: dict[str, int] = field(default_factory=dict)
    descriptors_after: dict[str, int] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    """Processes that ended though nobody had told them to."""
    resident: dict[tuple[str, int], list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    """(node, process) -> [(when, bytes)]."""


def conclude_cold(scenario: Scenario, facts: Facts) -> Outcome:
    """The cluster was never steady, so nothing was done to it."""
    steady = scenario.steady
    detail = f"height {steady.height} on all nodes within {steady.within_seconds:g} s was not reached"
    if facts.ended:
        detail += f": {'; '.join(facts.ended)}"
    line = Line(what="warm-up", verdict=Verdict.INCONCLUSIVE, detail=detail)
    return Outcome(scenario=scenario, runtime="processes", safety=(), liveness=(line,))


def list_processes(facts: Facts) -> list[Process]:
    """Those that lived long enough, from the end of the warm-up on."""
    processes = []
    for (name, _), samples in facts.resident.items():
        start = max(facts.steady_at, samples[0][0] + GROWN_UP_SECONDS)
        later = [(when, resident) for when, resident in samples if when >= start]
        if later and later[-1][0] - later[0][0] >= COMPARED_SECONDS_MIN:
            processes.append(Process(name, later[-1][0] - later[0][0], later[0][1], later[-1][1]))
    return processes


class Conclusion:
    """Of one run that came to its end."""

    def __init__(self, scenario: Scenario, stage: Stage, injector: Injector, facts: Facts) -> None:
        self._scenario = scenario
        self._stage = stage
        self._injector = injector
        self._facts = facts
        self._chain: Sequence[Block] = max(facts.chains.values(), key=len, default=[])
        self._records = [self._to_record(happening) for happening in injector.happenings]
        firsts = {event.height: event for event in reversed(stage.observer.decides)}
        self._firsts = sorted(firsts.values(), key=lambda event: event.seconds)
        self._decided = [event.seconds - facts.steady_at for event in self._firsts]
        chaos = (min((record.start_seconds for record in self._records), default=0.0), self._seconds(facts.healed_at))
        self._judged = judging.select_judged(judging.merge_stretches(self._records), chaos)
        self._new_leaders = [self._find_next_decide(each) for each in injector.happenings if each.stops_leader]
        self._marks = self._count_marks()

    def make_outcome(self) -> Outcome:
        facts = self._facts
        return Outcome(
            scenario=self._scenario,
            runtime="processes",
            safety=tuple(self._judge_safety()),
            liveness=tuple(self._judge_liveness()),
            faults=tuple(self._records),
            marks=self._marks,
            figures=self._compute_figures(),
            predicted=judging.foresee(
                self._judged, [(self._seconds(moment), progress) for moment, progress in self._injector.predictions]
            ),
            observed=judging.observe(self._judged, self._decided),
            warm_up_seconds=facts.steady_at - facts.begun_at,
            seconds=facts.ended_at - facts.begun_at,
            timeline=self._make_timeline(),
        )

    def _judge_safety(self) -> list[Line]:
        facts, traffic, expect = self._facts, self._stage.traffic, self._scenario.expect
        agreement = judge.judge_agreement(facts.chains)
        if facts.unreadable and agreement.verdict is Verdict.PASS:
            agreement = Line(what=agreement.what, verdict=Verdict.INCONCLUSIVE, detail="; ".join(facts.unreadable))
        return [
            agreement,
            judge.judge_ledgers(facts.ledgers.samples, list(facts.chains), facts.ledgers.supplies),
            judge.judge_transactions(
                self._chain, traffic.sent, traffic.acknowledged, self._marks.get("messages_corrupted", 0)
            ),
            judge.judge_memory_of_decides(self._stage.observer.regressions),
            judging.judge_evidence(facts.accused, expect.evidence, self._scenario.cluster.byzantine),
            *([facts.trace] if facts.trace else ()),
            judge.judge_ends(facts.ended, self._stage.observer.defects),
        ]

    def _judge_liveness(self) -> list[Line]:
        facts, traffic, expect = self._facts, self._stage.traffic, self._scenario.expect
        healing = f"{expect.blocks_after} blocks after healing"
        return [
            *judging.judge_during(expect.during, self._judged, self._decided),
            *judging.judge_bound("time to a new leader", self._new_leaders, expect.new_leader_within_seconds),
            *judging.judge_bound(healing, [facts.recovered_seconds], expect.decide_within_seconds),
            judge.judge_pending(len(traffic.sent), len(traffic.acknowledged)),
            judge.judge_memory(list_processes(facts)),
            judge.judge_descriptors(facts.descriptors_before, facts.descriptors_after),
            *judging.judge_bites(self._records, len(self._scenario.fault)),
            *judge.judge_triggers(self._injector.untriggered),
            *judging.judge_floors(expect.floors, self._marks),
        ]

    def _compute_figures(self) -> dict[str, float]:
        facts, traffic = self._facts, self._stage.traffic
        known = [seconds for seconds in self._new_leaders if seconds is not None]
        first = next((event for event in self._firsts if event.height > facts.healed_height), None)
        decided = {each for block in self._chain for each in block.transactions}
        figures = {
            "new_leader_seconds_max": max(known, default=None),
            "new_leader_seconds_mean": sum(known) / len(known) if known else None,
            "first_decide_seconds": None if first is None else first.seconds - facts.healed_at,
            "healed_seconds": facts.recovered_seconds,
            "blocks": len(self._chain),
            "transactions_submitted": len(traffic.sent),
            "transactions_acknowledged": len(traffic.acknowledged),
            "transactions_lost": len(traffic.acknowledged - decided),
            "client_retries": traffic.retries,
        }
        return {name: float(value) for name, value in figures.items() if value is not None}

    def _to_record(self, happening: Happening) -> FaultRecord:
        return FaultRecord(
            kind=get_kind(happening.fault),
            nodes=happening.nodes,
            start_seconds=self._seconds(happening.start),
            end_seconds=self._seconds(self._facts.healed_at if happening.end is None else happening.end),
            bites=happening.count_bites(),
            predicted=happening.predicted,
        )

    def _find_next_decide(self, happening: Happening) -> float | None:
        """Seconds from the blow to the first decide of a later view, by a node that was not hit."""
        hit = {self._stage.names.index(name) for name in happening.nodes}
        for event in self._stage.observer.decides:
            if event.seconds > happening.start and event.view > happening.view and event.node not in hit:
                return event.seconds - happening.start
        return None

    def _count_marks(self) -> dict[str, int]:
        stage, observer, chain = self._stage, self._stage.observer, self._chain
        return {
            "decides": observer.height,
            "timeouts": len(observer.find_lines("timed_out")),
            "skipped_views": chain[-1].view - len(chain) if chain else 0,
            "restarts": stage.restarts,
            "pauses": stage.pauses,
            "epochs": observer.count_distinct("epoch_began"),
            "fallbacks": observer.count_distinct("fallback_activated"),
            "handbacks": observer.count_distinct("fallback_ended"),
            "benchings": observer.count_distinct("benched", "validator"),
            "jailings": observer.count_distinct("jailed", "validator"),
            "slashings": observer.count_distinct("slashed", "validator"),
            "evidence": len(self._facts.accused),
            **stage.proxies.counts,
        }

    def _make_timeline(self) -> Timeline:
        stage, seconds = self._stage, self._seconds
        observer, number = stage.observer, stage.names.index
        return Timeline(
            decides=tuple(Decided(seconds(e.seconds), e.node, e.height, e.view) for e in observer.decides),
            views=self._facts.timeline.views,
            flights=self._facts.timeline.flights,
            nodes=tuple(NodeEvent(seconds(when), number(name), what) for when, name, what in stage.events),
            latencies=tuple((seconds(when), taken) for when, taken in stage.traffic.latencies),
        )

    def _seconds(self, moment: float) -> float:
        return moment - self._facts.steady_at
