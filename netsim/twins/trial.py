"""One scenario, from a number to a verdict: its views, and then a network that is whole and must decide again.

All oracles are on. The twins are Byzantine for them; but each is honest by itself, so it must decide the same chain.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final

from consensus.context import EpochContext
from consensus.effects import Decide, TimedOut
from consensus.errors import InvariantViolation
from consensus.evidence import Evidence, get_rule
from consensus.leaf import Leaf, compute_leaf_commitment
from consensus.ledger import Ledger, LedgerParameters, LedgerSchedule
from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote
from consensus.parameters import ConsensusParameters
from consensus.safety import SafetyRecord
from consensus.signatures import Signer
from consensus.signatures.simulated import Simulated
from consensus.stake_table import StakeTable, Validator
from consensus.types import Commitment, Microseconds, NetworkId, ValidatorId, View
from consensus.watch import get_view
from netsim.checkers import Violation, make_checkers
from netsim.disk import Disk, DiskModel
from netsim.network import Constant, LinkModel, Network
from netsim.observer import Audience, Observer
from netsim.process import Process, World
from netsim.simulation import Simulation, make_stream
from netsim.twins.space import Scenario, Space, name_node
from netsim.twins.teller import Teller
from netsim.twins.wire import ScenarioWire
from netsim.wire import GenuineVotes, SharedVotes
from netsim.workload import Workload

START: Final = Microseconds(1_700_000_000_000_000)
STAKE: Final = 1_000_000
"""Of each validator: enough that a slash is no rounding error."""
DELAY: Final = Constant(1_000)
"""Of every message, in microseconds: who is first is left to the order of simultaneous events, which is drawn."""
PARAMETERS: Final = ConsensusParameters(
    timeout_floor=Microseconds(20_000),
    timeout_ceiling=Microseconds(200_000),
    idle_interval=Microseconds(0),
    fetch_interval=Microseconds(5_000),
    payload_bytes_max=48,
)
"""A timer is many delays long, so that only a view that cannot end times out; a payload has room for two transactions.
"""
TRANSACTIONS: Final = 64
"""Enough that no proposal of a trial is empty: the empty ones of two twins would be the same."""

DECIDES: Final = 3
"""Blocks of the healed network that every honest node must decide."""
TIMEOUTS_SPARE: Final = 2
"""Views of the healed network that an honest node may give up on until then, and one more for each twin: it may lead
one in vain before it is caught, one passes until everyone is back, and one is to spare.
"""
DURATION_SECONDS: Final = 60
"""Virtual; without progress it takes a few seconds until the timeouts are too many."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one scenario."""

    number: int
    decides: int
    """Height that the honest nodes have reached."""
    timeouts: int
    """How often an honest node gave up on a view."""
    timeouts_healed: int
    """Most views of the healed network that one honest node gave up on."""
    kept_apart: int
    """Deliveries that the partitions prevented."""
    equivocations: int
    """Statements of which the twins signed two versions, by validator, kind and view."""
    evidence: int
    """Offences that were proven, by offender, rule and view."""
    violation: str | None
    """What an oracle said."""


class ScenarioSchedule:
    """A `LeaderSchedule`: the scenario's leaders, then the ledger's."""

    def __init__(self, scenario: Scenario, then: LedgerSchedule) -> None:
        self._leaders = [ValidatorId(setting.leader) for setting in scenario]
        self._then = then

    def leader(self, view: View, parent: Leaf, ledger: Ledger) -> ValidatorId:
        if view <= len(self._leaders):
            return self._leaders[view - 1]
        return self._then.leader(view, parent, ledger)


class Sparing(Workload):
    """The same transactions, of which a payload takes one: so two twins never propose the same block."""

    def fit(self, bytes_max: int) -> int:
        return min(1, super().fit(bytes_max))


class Tally(Observer):
    """Counts, and holds one thing against the run: a healed network in which too many views are given up."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._timeouts_max = TIMEOUTS_SPARE + space.twins
        self._left = dict.fromkeys(range(space.twins, space.validators), DECIDES)
        self._healed: dict[int, int] = {}
        self._said: dict[tuple[int, type[Message], int], set[bytes]] = {}
        self._proven: set[tuple[int, str, int]] = set()
        self.timeouts = 0

    @property
    def is_done(self) -> bool:
        return not self._left

    @property
    def timeouts_healed(self) -> int:
        return max(self._healed.values(), default=0)

    @property
    def equivocations(self) -> int:
        return sum(len(versions) > 1 for versions in self._said.values())

    @property
    def evidence(self) -> int:
        return len(self._proven)

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        if node in self._left:
            self._left[node] -= sum(block.leaf.view > self._space.views for block in decide.blocks)
            if self._left[node] <= 0:
                del self._left[node]

    def on_timeout(self, now: Microseconds, node: ValidatorId, timed_out: TimedOut) -> None:
        if node < self._space.twins:
            return
        self.timeouts += 1
        if timed_out.view > self._space.views:
            self._healed[node] = self._healed.get(node, 0) + 1
            if self._healed[node] > self._timeouts_max:
                raise Violation("liveness", f"node {node} timed out in {self._healed[node]} views of a whole network")

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        if node >= self._space.twins:
            return
        if isinstance(message, QuorumProposal):
            leaf = compute_leaf_commitment(message.leaf)
            self._said.setdefault((node, QuorumProposal, message.leaf.view), set()).add(leaf)
        elif isinstance(message, QuorumVote | FinalizeVote):
            self._said.setdefault((node, type(message), message.view), set()).add(message.leaf)

    def on_report(self, now: Microseconds, node: ValidatorId, evidence: Evidence) -> None:
        self._proven.add((evidence.offender, get_rule(evidence), get_view(evidence)))


@dataclass(frozen=True)
class _Ground:
    """What all trials of one size share. Nothing in it changes."""

    signers: tuple[Signer, ...]
    context: EpochContext
    schedule: LedgerSchedule
    workloads: tuple[Workload, Workload]
    """Of first nodes, and of second twins."""


@lru_cache(maxsize=4)
def _make_ground(validators: int) -> _Ground:
    signers = tuple(Signer(Simulated(), sha256(f"twins/key/{node}".encode()).digest()) for node in range(validators))
    ledger = LedgerParameters()
    context = EpochContext.start_network(
        NetworkId(sha256(b"twins/network").digest()),
        StakeTable.of(Validator(ValidatorId(node), signer.public_key, STAKE) for node, signer in enumerate(signers)),
        Simulated(),
        genesis_time_ms=START // 1000,
        parameters=PARAMETERS,
        ledger_parameters=ledger,
    )
    workloads = Workload(0, 16), Sparing(0, 16)
    for workload in workloads:
        workload.begin(make_stream(0, "workload"), START)
        workload.submit(TRANSACTIONS)
    return _Ground(signers, context, LedgerSchedule(ledger.leadership), workloads)


class Trial:
    """Builds the nodes of one scenario; `run` runs it. The order of simultaneous events is drawn from `seed`.

    `tell` is given a line for everything that is worth one. Raises `ValueError` for a number that the space has not.
    """

    def __init__(self, space: Space, number: int, seed: int = 0, tell: Callable[[str], None] | None = None) -> None:
        scenario = space.make_scenario(number)
        self.space, self.number, self._seed = space, number, seed
        self.simulation = Simulation(seed << 128 ^ number, START)
        self.tally = Tally(space)
        ground = _make_ground(space.validators)
        network = Network(space.nodes, LinkModel(DELAY), self.simulation.streams["network"])
        schedule = ScenarioSchedule(scenario, ground.schedule)
        record = SafetyRecord.initial(ground.context.genesis_qc)
        twinned = set(map(ValidatorId, range(space.twins)))
        self._oracles = oracles = Audience([*make_checkers(ground.context, twinned), self.tally])
        genuine: GenuineVotes = {}
        self.wires: list[ScenarioWire] = []
        self.processes: list[Process] = []
        for position, owner in enumerate(space.owners):
            observers = oracles
            if tell is not None:
                observers = Audience([Teller(name_node(space, position), tell), *oracles])
            wire = ScenarioWire(self.simulation, network, ground.context, observers, space, scenario, position)
            workload = ground.workloads[position >= space.validators]
            world = World(self.simulation, ground.context, schedule, wire, workload, observers, False)
            disk = Disk(DiskModel(), self.simulation.streams["disk"], ground.context.genesis, record)
            process = Process(
                world,
                ValidatorId(owner),
                ground.signers[owner],
                lambda context: SharedVotes(context, genuine),
                disk,
            )
            self.wires.append(wire)
            self.processes.append(process)
        for wire, process in zip(self.wires, self.processes, strict=True):
            wire.attach([process.receive for process in self.processes])
            wire.serve(process, self.wires[0])
        for oracle in oracles:
            oracle.on_begin(self._by_validator)

    def run(self) -> Verdict:
        """To the end, which is bounded; a violation of whatever kind is part of the verdict."""
        violation: str | None = None
        try:
            self._run()
        except (Violation, InvariantViolation) as error:
            violation = str(error)
        except Exception as error:
            error.add_note(f"in scenario {self.number} of {self.space}, seed {self._seed}")
            raise
        tally = self.tally
        honest = self.processes[self.space.twins : self.space.validators]
        return Verdict(
            self.number,
            min((int(process.height) for process in honest), default=0),
            tally.timeouts,
            tally.timeouts_healed,
            sum(wire.kept_apart for wire in self.wires),
            tally.equivocations,
            tally.evidence,
            violation,
        )

    @property
    def _by_validator(self) -> list[Process]:
        """Without the second twins, which oracles cannot tell from the first ones by their number."""
        return self.processes[: self.space.validators]

    def _run(self) -> None:
        for process in self.processes:
            process.start()
        if not self.simulation.run(START + DURATION_SECONDS * 1_000_000, lambda: self.tally.is_done):
            raise Violation("liveness", f"no {DECIDES} decides of a whole network after {DURATION_SECONDS} seconds")
        for oracle in self._oracles:
            oracle.on_end(self.simulation.now, self._by_validator, 0)
        self._compare_chains()

    def _compare_chains(self) -> None:
        """Agreement once more, with the twins, which no oracle looks at."""
        longest: list[Commitment] = []
        for process in self.processes:
            chain = [block.commitment for block in process.disk.decided]
            shorter = min(len(longest), len(chain))
            if chain[:shorter] != longest[:shorter]:
                raise Violation("agreement", f"{process} has decided another chain than somebody else")
            longest = max(longest, chain, key=len)
