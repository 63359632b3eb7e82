"""Many seeds on any `concurrent.futures.Executor`: this machine's cores, or Dask's workers on others.

Seeds are handed out in chunks and in order, a bounded number at a time, so that a campaign can stop when its time is
up and has then run an unbroken range. What comes back is small; a failing seed is run again by whoever looks at it.
"""

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from typing import Final

import msgspec

from netsim.scenario.judging import FAULTS_FELT
from netsim.scenario.model import Scenario
from netsim.scenario.outcome import Outcome, Verdict
from netsim.scenario.simulated import run_scenario
from netsim.swarm.scenarios import sample_scenario

CHUNK_SEEDS: Final = 4
"""Seeds of one task: enough to make the executor's overhead small, few enough to stop soon."""
TASKS_PER_WORKER: Final = 3
"""Handed out at a time, so that no worker waits for the next one."""
COLLECT_EVERY_SEEDS: Final = 8
"""A simulation makes many objects and few cycles: they are looked for between seeds only."""

FLOORS: Final[dict[str, float]] = {
    "decides": 10.0,
    "timeouts": 1.0,
    "skipped_views": 0.5,
    "restarts": 0.2,
    "restarts_with_journal": 0.05,
    "epochs": 0.2,
    "fallbacks": 0.05,
    "handbacks": 0.01,
    "benchings": 0.05,
    "jailings": 0.002,
    "slashings": 0.01,
    "evidence": 0.02,
    "messages_lost": 1.0,
    "messages_cut": 1.0,
    "messages_duplicated": 0.5,
    "messages_reordered": 0.5,
    "messages_clogged": 0.1,
    "messages_corrupted": 0.1,
    "connections_reset": 0.05,
    "pauses": 0.05,
    "disk_errors": 0.01,
    "blocks_rotted": 0.001,
    "snapshots_put_back": 0.002,
    "operations": 0.02,
    "writes_lost": 0.01,
}
"""Mark -> how often a seed must reach it on average, a few times less than it does. A campaign that stays below has not
tested what it says; what is so rare that a short one may miss it is demanded of long ones only.
"""
UNFELT_SHARE_MAX: Final = 0.1
"""Seeds none of whose faults did anything, such as a clog of links on which nobody spoke."""
FLOORS_FROM_SEEDS: Final = 400
"""Below so many seeds an average says little."""


class SeedResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one seed."""

    seed: int
    verdict: Verdict
    failures: tuple[str, ...]
    """Of every line that did not pass: what, verdict and detail."""
    kinds: tuple[str, ...]
    """Of its faults."""
    nodes: int
    marks: dict[str, int]
    virtual_seconds: float
    is_felt: bool
    """Some fault of it has done something, or it has none."""
    audit_hash: str


@dataclass
class Campaign:
    """What is known of a campaign so far."""

    seeds: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    """Seeds with this kind of fault."""
    marks: Counter[str] = field(default_factory=Counter)
    virtual_seconds: float = 0.0
    failed: list[SeedResult] = field(default_factory=list)
    """In the order in which they came."""
    inconclusive: list[SeedResult] = field(default_factory=list)
    """Those that did not even get going. That nobody felt a fault is counted apart."""
    unfelt: int = 0

    def add(self, result: SeedResult) -> None:
        self.seeds += 1
        self.verdicts[result.verdict] += 1
        self.sizes[result.nodes] += 1
        self.kinds.update(set(result.kinds))
        self.marks.update(result.marks)
        self.virtual_seconds += result.virtual_seconds
        self.unfelt += not result.is_felt
        if result.verdict is Verdict.FAIL:
            self.failed.append(result)
        elif result.verdict is Verdict.INCONCLUSIVE:
            self.inconclusive.append(result)

    def find_low_floors(self) -> list[str]:
        """Marks that were reached too seldom, each with the numbers; none in a campaign too short to say."""
        if self.seeds < FLOORS_FROM_SEEDS:
            return []
        due = {mark: int(floor * self.seeds) for mark, floor in FLOORS.items()}
        low = [
            f"{mark}: {self.marks[mark]:,} in {self.seeds:,} seeds, at least {least:,} are due"
            for mark, least in due.items()
            if self.marks[mark] < least
        ]
        if self.unfelt > UNFELT_SHARE_MAX * self.seeds:
            low.append(f"faults felt: in {self.unfelt:,} of {self.seeds:,} seeds nobody felt any")
        return low


def run_seed(seed: int, nodes: int | None = None) -> SeedResult:
    """Sample, run and judge one seed."""
    scenario = sample_scenario(seed, nodes)
    return summarize(run_scenario(scenario))


def summarize(outcome: Outcome) -> SeedResult:
    scenario = outcome.scenario
    judged = msgspec.structs.replace(
        outcome, liveness=tuple(line for line in outcome.liveness if line.what != FAULTS_FELT)
    )
    return SeedResult(
        seed=scenario.seed,
        verdict=judged.verdict,
        failures=describe_failures(judged),
        kinds=tuple(record.kind for record in outcome.faults if record.bites),
        nodes=scenario.cluster.nodes,
        marks=dict(outcome.marks),
        virtual_seconds=outcome.seconds,
        is_felt=not scenario.fault or any(record.bites for record in outcome.faults),
        audit_hash=outcome.audit_hash,
    )


def describe_failures(outcome: Outcome) -> tuple[str, ...]:
    """One text for each line that did not pass, the worst first."""
    lines = [line for line in (*outcome.safety, *outcome.liveness) if line.verdict is not Verdict.PASS]
    lines.sort(key=lambda line: line.verdict is not Verdict.FAIL)
    return tuple(f"{line.what} ({line.verdict}): {line.detail}" for line in lines)


def run_campaign(
    first: int,
    count: int,
    executor: Executor,
    *,
    workers: int,
    nodes: int | None = None,
    is_over: Callable[[Campaign], bool] = lambda campaign: False,
    on_result: Callable[[Campaign, SeedResult], None] = lambda campaign, result: None,
) -> Campaign:
    """Seeds `first` to `first + count - 1`, fewer when `is_over` holds before that: then what runs is waited for."""
    campaign = Campaign()
    chunks = _make_chunks(first, count)
    running: set[Future[list[SeedResult]]] = set()
    is_ended = False
    while True:
        while not is_ended and len(running) < workers * TASKS_PER_WORKER:
            chunk = next(chunks, None)
            if chunk is None:
                break
            running.add(executor.submit(_run_chunk, chunk, nodes))
        if not running:
            return campaign
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            if future.cancelled():
                continue
            for result in future.result():
                campaign.add(result)
                on_result(campaign, result)
        if not is_ended and is_over(campaign):
            is_ended = True
            running = {future for future in running if not future.cancel()}


def _make_chunks(first: int, count: int) -> Iterator[range]:
    for start in range(first, first + count, CHUNK_SEEDS):
        yield range(start, min(start + CHUNK_SEEDS, first + count))


def _run_chunk(seeds: Sequence[int], nodes: int | None) -> list[SeedResult]:
    gc.disable()
    try:
        return [_run_and_collect(seed, nodes) for seed in seeds]
    finally:
        gc.enable()


def _run_and_collect(seed: int, nodes: int | None) -> SeedResult:
    try:
        result = run_seed(seed, nodes)
    except Exception as error:  # a defect of the simulator itself: one seed has failed, and not the campaign
        result = SeedResult(
            seed=seed,
            verdict=Verdict.FAIL,
            failures=(f"simulator: {type(error).__name__}: {error}",),
            kinds=(),
            nodes=nodes or 0,
            marks={},
            virtual_seconds=0.0,
            is_felt=True,
            audit_hash="",
        )
    if seed % COLLECT_EVERY_SEEDS == 0:
        gc.collect()
    return result


def is_failing(scenario: Scenario, like: str) -> bool:
    """Whether the scenario fails in the line named `like`: what a smaller scenario must still do."""
    return like in get_failing_lines(run_scenario(scenario))


def get_failing_lines(outcome: Outcome) -> list[str]:
    """Names of the lines that failed, safety first."""
    return [line.what for line in (*outcome.safety, *outcome.liveness) if line.verdict is Verdict.FAIL]
