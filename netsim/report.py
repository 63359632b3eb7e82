"""One run from settings to figures: what `sequencer simulate` and the benchmark show."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

from consensus.effects import Decide, EnteredView, TimedOut
from consensus.messages import Message, QuorumProposal
from consensus.parameters import ConsensusParameters
from consensus.signatures import SignatureScheme
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.commitments import compute_commitment
from netsim.cluster import Cluster
from netsim.collection import rare_collection
from netsim.disk import DiskModel
from netsim.network import LinkModel, LinkModels
from netsim.observer import Observer
from netsim.workload import Workload

PROGRESS_STEPS = 200
"""How often progress is reported in one run: smooth to the eye, nothing to the clock."""


@dataclass(frozen=True)
class SimulationSettings:
    """What a run needs; `duration_seconds` is virtual. Raises `ValueError` for a run that cannot be."""

    nodes: int = 4
    duration_seconds: float = 10.0
    seed: int = 1
    links: LinkModels = field(default_factory=LinkModel)
    disk: DiskModel = field(default_factory=DiskModel)
    parameters: ConsensusParameters = field(default_factory=ConsensusParameters)
    transactions_per_second: int = 1000
    scheme: SignatureScheme | None = None
    """None is the simulated scheme, which costs next to nothing."""

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise ValueError(f"{self.nodes} nodes: a cluster has at least one")
        if not self.duration_seconds > 0:
            raise ValueError(f"a duration of {self.duration_seconds} seconds: it must be positive")


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """Virtual times, unless named real. Finality is from a proposal's broadcast to its decide, over all nodes."""

    nodes: int
    seed: int
    audit_hash: str
    blocks: int
    """Decided by all nodes."""
    transactions: int
    views: int
    timeouts: int
    """How often a replica gave up on a view."""
    views_timed_out: int
    """Views that ended by a TC."""
    block_interval_ms: float | None
    """None with fewer than two blocks; so are the latencies without any."""
    finality_mean_ms: float | None
    finality_p50_ms: float | None
    finality_p99_ms: float | None
    events: int
    deliveries: int
    messages_lost: int
    virtual_seconds: float
    real_seconds: float


class Recorder(Observer):
    """Notes when blocks are proposed and decided, and which views fail."""

    heard = frozenset({QuorumProposal})

    def __init__(self) -> None:
        self._proposed: dict[bytes, Microseconds] = {}
        self.latencies: list[int] = []
        self.first_decides: list[Microseconds] = []
        """When any node decided each height, from 1 on."""
        self.timeouts = 0
        self.views_timed_out: set[int] = set()

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        if isinstance(message, QuorumProposal):
            self._proposed.setdefault(compute_commitment(message.leaf), now)

    def on_enter(self, now: Microseconds, node: ValidatorId, entered: EnteredView) -> None:
        if entered.timed_out:
            self.views_timed_out.add(entered.view - 1)

    def on_timeout(self, now: Microseconds, node: ValidatorId, timed_out: TimedOut) -> None:
        self.timeouts += 1

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        for block in decide.blocks:
            self.latencies.append(now - self._proposed[block.commitment])
            if block.leaf.height > len(self.first_decides):
                self.first_decides.append(now)


def run_simulation(
    settings: SimulationSettings, on_progress: Callable[[float, int], None] | None = None
) -> SimulationReport:
    """Run with all checkers on. `on_progress(virtual_seconds, height)` is called now and then. Raises `Violation`."""
    recorder = Recorder()
    started = perf_counter()
    with rare_collection():
        cluster = Cluster(
            settings.nodes,
            settings.seed,
            links=settings.links,
            disk=settings.disk,
            parameters=settings.parameters,
            workload=Workload(settings.transactions_per_second),
            scheme=settings.scheme,
            observers=(recorder,),
        )
        for _ in range(PROGRESS_STEPS):
            cluster.run_for(settings.duration_seconds / PROGRESS_STEPS)
            if on_progress is not None:
                on_progress(cluster.simulation.elapsed_seconds, cluster.height)
    return _make_report(settings, cluster, recorder, perf_counter() - started)


def _make_report(
    settings: SimulationSettings, cluster: Cluster, recorder: Recorder, real_seconds: float
) -> SimulationReport:
    latencies = sorted(recorder.latencies)
    decides = recorder.first_decides
    counters = cluster.network.counters
    return SimulationReport(
        nodes=settings.nodes,
        seed=settings.seed,
        audit_hash=cluster.audit_hash,
        blocks=cluster.height,
        transactions=cluster.count_transactions(),
        views=max(process.view for process in cluster.processes),
        timeouts=recorder.timeouts,
        views_timed_out=len(recorder.views_timed_out),
        block_interval_ms=(decides[-1] - decides[0]) / (len(decides) - 1) / 1000 if len(decides) > 1 else None,
        finality_mean_ms=sum(latencies) / len(latencies) / 1000 if latencies else None,
        finality_p50_ms=_compute_percentile(latencies, 50),
        finality_p99_ms=_compute_percentile(latencies, 99),
        events=cluster.simulation.events,
        deliveries=cluster.wire.deliveries,
        messages_lost=counters.lost + counters.cut,
        virtual_seconds=cluster.simulation.elapsed_seconds,
        real_seconds=real_seconds,
    )


def _compute_percentile(ordered_microseconds: list[int], percent: int) -> float | None:
    """Nearest rank, in milliseconds."""
    if not ordered_microseconds:
        return None
    rank = -(-len(ordered_microseconds) * percent // 100)
    return ordered_microseconds[rank - 1] / 1000
