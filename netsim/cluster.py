"""The scenario language: a cluster, roles, faults, and conditions to wait for. All times are virtual.

    cluster = Cluster(nodes=4, seed=7)
    cluster.run_until(height=10)
    cluster.leader().crash()
    cluster.run_until(height=20, timeout_seconds=10)

A condition that does not come true, and every violation that a checker finds, names the seed and how to see it again.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from hashlib import sha256

from consensus.context import EpochContext
from consensus.ledger import Account, EpochParameters, LeadershipParameters, LedgerParameters, LedgerSchedule
from consensus.parameters import ConsensusParameters
from consensus.safety import SafetyRecord
from consensus.signatures import SignatureScheme, Signer
from consensus.signatures.simulated import Simulated
from consensus.stake_table import StakeTable, Validator
from consensus.types import Height, Microseconds, NetworkId, ValidatorId
from netsim.byzantine.wire import make_wire
from netsim.checkers import make_checkers
from netsim.disk import Disk, DiskModel
from netsim.network import LinkModel, LinkModels, Network
from netsim.observer import Audience, Observer
from netsim.process import Process, World
from netsim.simulation import Simulation
from netsim.staking import Stakers
from netsim.wire import GenuineVotes, SharedVotes
from netsim.workload import Workload

START = Microseconds(1_700_000_000_000_000)
"""Virtual time at which every simulation begins, and the timestamp of its genesis."""

EPOCHS = EpochParameters(beacon_difficulty=16, beacon_checkpoints=16)
"""Unless a scenario sets others: virtual time passes the beacon by, so it need not cost twenty times what the rest of a
cluster costs to make."""

TIMEOUT_SECONDS = 60.0
"""How long a scenario waits unless it says otherwise: a dozen timer ceilings would be too long to be right."""


class ExpectationFailed(AssertionError):
    """A scenario expected something that did not come true. The message holds the seed and the state of every node."""


class Cluster:
    """`nodes` validators with ids from 0, each in a process of its own, all started at once unless `start` is False.

    `joiners` more nodes follow the chain without stake, until they are bonded: the first that is bonded must be the
    first of them, because ids are given in order. `treasury` is what there is to bond with.

    `byzantine` are those that no oracle holds to the rules; a mapping says how they break them: `{3: "equivocate"}`.
    """

    def __init__(
        self,
        nodes: int = 4,
        seed: int = 0,
        *,
        stakes: Sequence[int] | None = None,
        joiners: int = 0,
        treasury: int = 0,
        links: LinkModels | None = None,
        disk: DiskModel | None = None,
        parameters: ConsensusParameters | None = None,
        leadership: LeadershipParameters | None = None,
        ledger: LedgerParameters | None = None,
        workload: Workload | None = None,
        scheme: SignatureScheme | None = None,
        lost_connections_seen: bool = True,
        byzantine: Container[ValidatorId] = (),
        observers: Sequence[Observer] = (),
        start: bool = True,
    ) -> None:
        self.seed = seed
        self.simulation = Simulation(seed, START)
        streams = self.simulation.streams
        signers = [
            Signer(scheme or Simulated(), sha256(f"key/{seed}/{node}".encode()).digest())
            for node in range(nodes + joiners)
        ]
        purse = Signer(scheme or Simulated(), sha256(f"treasury/{seed}".encode()).digest())
        weights = stakes or [1] * nodes
        self.context = _make_context(
            seed,
            signers[:nodes],
            weights,
            [Account(purse.public_key, treasury)],
            parameters or ConsensusParameters(),
            ledger or LedgerParameters(leadership or LeadershipParameters(), epochs=EPOCHS),
        )
        self.network = Network(nodes + joiners, LinkModel() if links is None else links, streams["network"])
        self.workload = workload or Workload()
        self.workload.begin(streams["workload"], START)
        self.observers = Audience([*make_checkers(self.context, byzantine), *observers])
        self.wire = make_wire(self.simulation, self.network, self.context, signers, byzantine, self.observers)
        schedule = LedgerSchedule(self.context.ledger_parameters.leadership)
        world = World(
            self.simulation, self.context, schedule, self.wire, self.workload, self.observers, lost_connections_seen
        )
        record = SafetyRecord.initial(self.context.genesis_qc)
        genuine: GenuineVotes = {}
        self.disk_model = disk or DiskModel()
        self.processes = [
            Process(
                world,
                ValidatorId(node),
                signer,
                lambda context: SharedVotes(context, genuine),
                Disk(self.disk_model, streams["disk"], self.context.genesis, record),
            )
            for node, signer in enumerate(signers)
        ]
        self.stakers = Stakers(self.context.network_id, purse, self.alive)
        self.wire.attach([process.receive for process in self.processes])
        for observer in self.observers:
            observer.on_begin(self.processes)
        if start:
            for process in self.processes:
                process.start()

    def __repr__(self) -> str:
        return f"Cluster(nodes={len(self.processes)}, seed={self.seed})"

    # Roles

    def node(self, validator_id: int) -> Process:
        return self.processes[validator_id]

    def alive(self) -> list[Process]:
        return [process for process in self.processes if process.is_alive]

    def leader(self) -> Process:
        """Leader of the highest view that a running node is in, alive or not."""
        front = max(
            (process for process in self.alive() if process.leader is not None),
            key=lambda process: process.view,
            default=None,
        )
        if front is None or front.leader is None:
            raise self._fail("no running node knows a leader")
        return self.processes[front.leader]

    def backups(self) -> list[Process]:
        """The running nodes that do not lead."""
        leader = self.leader()
        return [process for process in self.alive() if process is not leader]

    # State

    @property
    def height(self) -> Height:
        """The lowest height among the running nodes: what all of them have decided."""
        return min((process.height for process in self.alive()), default=Height(0))

    @property
    def highest(self) -> Height:
        """The highest height that any node has on its disk, running or not."""
        return max(process.height for process in self.processes)

    def count_transactions(self) -> int:
        """Transactions in the longest decided chain."""
        chain = max((process.disk.decided for process in self.processes), key=len)
        return sum(len(self.workload.parse(block) or ()) for block in chain)

    def count_submitted(self) -> int:
        """Transactions that have reached the nodes so far."""
        return self.workload.count(self.simulation.now)

    @property
    def audit_hash(self) -> str:
        return self.simulation.audit_hash

    # Faults

    def partition(self, *groups: Iterable[Process | int]) -> None:
        """Only nodes of one group reach each other. Replaces earlier cuts."""
        self.network.partition(*([_position(node) for node in group] for group in groups))

    def isolate(self, node: Process | int) -> None:
        """Cut everything to and from this node."""
        self.network.isolate(_position(node))

    def cut(self, source: Process | int, destination: Process | int) -> None:
        """One way: nothing that `source` sends reaches `destination`."""
        self.network.cut(_position(source), _position(destination))

    def heal(self) -> None:
        """End all cuts."""
        self.network.heal()

    def submit(self, count: int) -> None:
        """This many transactions reach every node now."""
        self.workload.submit(count)
        for process in self.alive():
            process.on_submit()

    # Time

    def run_for(self, seconds: float) -> None:
        """Let this much time pass."""
        self._run(self.simulation.now + round(seconds * 1_000_000), None)

    def run_until(
        self,
        condition: Callable[[], bool] | None = None,
        *,
        height: int | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Until `condition` holds and every running node has decided `height`. Raises `ExpectationFailed`."""

        def is_done() -> bool:
            return (height is None or self.height >= height) and (condition is None or condition())

        if not self._run(self.simulation.now + round(timeout_seconds * 1_000_000), is_done):
            wanted = "the condition" if height is None else f"height {height}"
            raise self._fail(f"{wanted} was not reached within {timeout_seconds} virtual seconds")

    def finish(self, submitted: int = 0) -> None:
        """The end of the scenario: oracles look at what can only be said of a whole run. Raises `Violation`.

        The first `submitted` transactions must be decided by now: take `count_submitted` when everything is healed, and
        give the cluster time after that.
        """
        try:
            for observer in self.observers:
                observer.on_end(self.simulation.now, self.processes, submitted)
        except Exception as error:
            error.add_note(self._describe())
            raise

    def advance(self, seconds: float, is_done: Callable[[], bool]) -> bool:
        """Until `is_done` holds, but at most so long; whether it held."""
        return self._run(self.simulation.now + round(seconds * 1_000_000), is_done)

    def expect(self, held: bool, what: str) -> None:
        """Raises `ExpectationFailed` unless `held`; `what` says what was expected."""
        if not held:
            raise self._fail(f"expected that {what}")

    def _run(self, until: int, is_done: Callable[[], bool] | None) -> bool:
        try:
            return self.simulation.run(until, is_done)
        except Exception as error:
            error.add_note(self._describe())
            raise

    def _fail(self, what: str) -> ExpectationFailed:
        return ExpectationFailed(f"{what}\n{self._describe()}")

    def _describe(self) -> str:
        nodes = "; ".join(map(repr, self.processes))
        return (
            f"after {self.simulation.elapsed_seconds:.6f} virtual seconds, {self.simulation.events} events: {nodes}\n"
            f"replay: run the same scenario with {self!r}; its audit hash up to here is {self.audit_hash}"
        )


def _position(node: Process | int) -> int:
    return int(node.id) if isinstance(node, Process) else node


def _make_context(
    seed: int,
    signers: Sequence[Signer],
    stakes: Sequence[int],
    accounts: Sequence[Account],
    parameters: ConsensusParameters,
    ledger_parameters: LedgerParameters,
) -> EpochContext:
    table = StakeTable.of(
        Validator(ValidatorId(node), signer.public_key, stake)
        for node, (signer, stake) in enumerate(zip(signers, stakes, strict=True))
    )
    network_id = NetworkId(sha256(f"netsim/{seed}".encode()).digest())
    return EpochContext.start_network(
        network_id,
        table,
        signers[0].scheme,
        genesis_time_ms=START // 1000,
        parameters=parameters,
        ledger_parameters=ledger_parameters,
        accounts=accounts,
    )
