"""The cluster under a scenario: who has which role now, who is kept down or frozen by which fault, and making it whole.

Several faults may hold the same node down, frozen or slow. Each holds it for itself, and it is free when nobody holds
it any more.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from random import Random
from typing import Final, TypeVar

from consensus.effects import Batch
from consensus.ledger import Ledger
from consensus.types import ValidatorId
from netsim.cluster import Cluster
from netsim.disk import DiskModel, Loss
from netsim.network import Hindrance
from netsim.process import Process, Saboteur
from netsim.scenario.prediction import NOT_VOTING, Prediction, predict
from netsim.scenario.targets import resolve_target
from netsim.simulation import make_tag

T = TypeVar("T")
KIND_FAULT: Final = 30
RESTORED: Final = "restored"
"""How a validator breaks the rules whose disk went back to an earlier moment: it has forgotten what it signed."""
VITAL_KINDS: Final = frozenset({"QuorumProposal", "QuorumVote", "FinalizeVote"})
"""Where none of one of these gets through, nothing is decided."""


class Saboteurs:
    """Everyone who waits for the right moment to end one process."""

    def __init__(self) -> None:
        self._members: list[Saboteur] = []
        self.loss = Loss.PREFIX

    def add(self, member: Saboteur) -> None:
        self._members.append(member)

    def remove(self, member: Saboteur) -> None:
        self._members = [other for other in self._members if other is not member]

    @property
    def is_empty(self) -> bool:
        return not self._members

    def ends_before_write(self, turn: Batch) -> bool:
        return self._ask(lambda member: member.ends_before_write(turn))

    def ends_before_sync(self, turn: Batch) -> bool:
        return self._ask(lambda member: member.ends_before_sync(turn))

    def _ask(self, question: Callable[[Saboteur], bool]) -> bool:
        for member in self._members:
            if question(member):
                self.loss = member.loss
                return True
        return False


class Stage:
    """`byzantine` is what the oracles go by; it grows when a disk goes back to an earlier moment."""

    def __init__(self, cluster: Cluster, byzantine: dict[ValidatorId, str], random: Random) -> None:
        self.cluster = cluster
        self.byzantine = byzantine
        self.random = random
        self.is_chaos = True
        self.marks: Counter[str] = Counter()
        self.on_frozen: Callable[[int, str], None] = lambda node, kind: None
        """`freeze` or `thaw`."""
        self.flapping: set[Hindrance] = set()
        self._genesis_stakes = {int(entry.id): entry.stake for entry in cluster.context.stake_table}
        self._bonded: Counter[int] = Counter()
        self._unbonded: Counter[int] = Counter()
        self._down: dict[int, set[object]] = defaultdict(set)
        self._frozen: dict[int, set[object]] = defaultdict(set)
        self._turn_times: dict[int, dict[object, int]] = defaultdict(dict)
        self._disk_models: dict[int, dict[object, DiskModel]] = defaultdict(dict)
        self._clocks: dict[int, dict[object, tuple[int, float]]] = defaultdict(dict)
        self._saboteurs: dict[int, Saboteurs] = {}
        self._ledger: Ledger = cluster.context.genesis_ledger

    # Roles: see `targets.Roles`

    def resolve(self, target: str) -> list[int]:
        return resolve_target(target, self, self.random)

    @property
    def stakes(self) -> Sequence[int]:
        self._look()
        weights = self._ledger.stakes
        return [weights.get(ValidatorId(node), 0) for node in range(len(self.cluster.processes))]

    @property
    def leader(self) -> int | None:
        front = self._look()
        return None if front is None or front.leader is None else int(front.leader)

    @property
    def next_leader(self) -> int | None:
        """Who leads the next view if this one makes a certificate."""
        front = self._look()
        if front is None:
            return None
        cycle = self._ledger.cycle
        turns = (cycle[(front.view + 1 + step) % len(cycle)] for step in range(len(cycle)))
        return next((int(turn) for turn in turns if turn not in self._ledger.sidelined), None)

    @property
    def primary(self) -> Sequence[int]:
        self._look()
        return list(self._ledger.state.primary)

    @property
    def fallback(self) -> Sequence[int]:
        self._look()
        return list(self._ledger.state.fallback)

    @property
    def ledger(self) -> Ledger:
        """Of the node that is furthest."""
        self._look()
        return self._ledger

    def _look(self) -> Process | None:
        """The running node that is furthest; what it knows is remembered for when none is running."""
        alive = self.cluster.alive()
        if not alive:
            return None
        front = max(alive, key=lambda process: (process.epoch, process.view, -process.id))
        self._ledger = front.member.ledger
        return front

    # Time

    @property
    def now(self) -> int:
        return self.cluster.simulation.now

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """As an event of its own."""
        simulation = self.cluster.simulation
        at = simulation.now + round(seconds * 1_000_000)
        simulation.schedule(at, lambda _: act(), None, make_tag(KIND_FAULT, 0))

    # Nodes

    def hold_down(self, node: int, holder: object, loss: Loss = Loss.PREFIX) -> bool:
        """Whether it was running."""
        process = self.cluster.node(node)
        self._down[node].add(holder)
        if not process.is_alive:
            return False
        process.crash(loss)
        return True

    def keep_down(self, node: int, holder: object) -> None:
        """Nobody starts it again if it ends by itself, until `holder` lets go."""
        self._down[node].add(holder)

    def let_up(self, node: int, holder: object) -> None:
        """Start it again unless another fault keeps it down."""
        self._down[node].discard(holder)
        process = self.cluster.node(node)
        if not self._down[node] and not process.is_alive:
            process.start()

    def freeze(self, node: int, holder: object) -> bool:
        """Whether it was running freely."""
        process = self.cluster.node(node)
        if not process.is_alive:
            return False
        self._frozen[node].add(holder)
        if process.is_paused:
            return False
        process.pause()
        self.marks["pauses"] += 1
        self.on_frozen(node, "freeze")
        return True

    def thaw(self, node: int, holder: object) -> None:
        self._frozen[node].discard(holder)
        process = self.cluster.node(node)
        if not self._frozen[node] and process.is_paused:
            self.on_frozen(node, "thaw")
            process.resume()

    def slow_down(self, node: int, holder: object, turn_microseconds: int | None) -> None:
        """None: not any more."""
        _put(self._turn_times[node], holder, turn_microseconds)
        self.cluster.node(node).turn_microseconds = max(self._turn_times[node].values(), default=0)

    def set_disk(self, node: int, holder: object, model: DiskModel | None) -> None:
        models = self._disk_models[node]
        _put(models, holder, model)
        disk = self.cluster.node(node).disk
        disk.set_model(next(reversed(models.values())) if models else self.cluster.disk_model)

    def set_clock(self, node: int, holder: object, error: tuple[int, float] | None) -> None:
        """`error` is skew in microseconds and drift; of several clock faults the last one counts."""
        errors = self._clocks[node]
        _put(errors, holder, error)
        skew, drift = next(reversed(errors.values())) if errors else (0, 1.0)
        self.cluster.node(node).set_clock(skew, drift)

    def plant(self, node: int, saboteur: Saboteur) -> None:
        saboteurs = self._saboteurs.setdefault(node, Saboteurs())
        saboteurs.add(saboteur)
        self.cluster.node(node).saboteur = saboteurs

    def dismiss(self, node: int, saboteur: Saboteur) -> None:
        saboteurs = self._saboteurs.setdefault(node, Saboteurs())
        saboteurs.remove(saboteur)
        if saboteurs.is_empty:
            self.cluster.node(node).saboteur = None

    # What is possible

    def may_be_byzantine(self, node: int) -> bool:
        """Whether Byzantine stake stays below a third, whichever of the submitted operations take effect when."""
        return self._bears({*map(int, self.byzantine), node})

    def admit(self, validator: ValidatorId) -> None:
        """From now on the oracles know that it may contradict itself."""
        self.byzantine.setdefault(validator, RESTORED)

    def may_move(self, node: int, amount: int) -> bool:
        """The same if so much is bonded to this node as well, or unbonded when it is negative; noted if so."""
        moved = self._bonded if amount > 0 else self._unbonded
        moved[node] += abs(amount)
        if self._bears(set(map(int, self.byzantine))):
            return True
        moved[node] -= abs(amount)
        return False

    def _bears(self, liars: Collection[int]) -> bool:
        byzantine = sum(self._genesis_stakes.get(liar, 0) + self._bonded[liar] for liar in liars)
        honest = sum(
            max(0, stake - self._unbonded[node]) for node, stake in self._genesis_stakes.items() if node not in liars
        )
        return honest > 0 and 2 * byzantine < honest

    def weigh_tables(self) -> list[dict[int, int]]:
        """The stake tables that are known, the running epoch's first; then tables to come: what is bonded now, and what
        will be when all operations that were handed in have taken effect.
        """
        state = self.ledger.state
        tables = [
            {int(entry.id): entry.stake for entry in table.entries}
            for table in state.tables
            if table.epoch >= state.epoch
        ]
        now = {int(validator.id): validator.stake for validator in state.validators if validator.stake}
        nodes = {*self._genesis_stakes, *self._bonded}
        then = {
            node: self._genesis_stakes.get(node, 0) + self._bonded[node] - self._unbonded[node]
            for node in sorted(nodes)
        }
        return [*tables, now, {node: stake for node, stake in then.items() if stake > 0}]

    def is_passing(self, source: int, destination: int) -> bool:
        """Whether messages of all vital kinds can get from one to the other now; a flapping link counts as whole."""
        link = self.cluster.network.links[source][destination]
        if not link.hindrances:
            return not link.is_cut
        return link.model.loss < 1 and not any(
            (one.cuts and one not in self.flapping)
            or one.clogs
            or (one.kinds_probability >= 1 and not one.kinds.isdisjoint(VITAL_KINDS))
            for one in link.hindrances
        )

    def takes_part(self, node: int) -> bool:
        """Whether its votes leave it."""
        process = self.cluster.node(node)
        behaviour = self.byzantine.get(process.id)
        return process.is_alive and not process.is_paused and behaviour not in NOT_VOTING

    def draw_core(self) -> list[int]:
        """Honest nodes that decide without the others: in this epoch and in those whose stake tables are known."""
        tables = self.weigh_tables()
        core: list[int] = []
        honest = [node for node in range(len(self.cluster.processes)) if node not in self.byzantine]
        for node in self.random.sample(honest, len(honest)):
            held = [sum(table.get(member, 0) for member in core) for table in tables]
            if all(mine >= sum(table.values()) * 2 // 3 + 1 for mine, table in zip(held, tables, strict=True)):
                break
            core.append(node)
        return sorted(core)

    def predict(self) -> Prediction:
        return predict(self.stakes, self.takes_part, self.is_passing)

    # The end

    def make_whole(self, nodes: Iterable[int]) -> None:
        """Nobody holds anything any more, and these nodes run. To be called when all faults have ended."""
        self._down.clear()
        self._frozen.clear()
        for process in self.cluster.processes:
            process.saboteur = None
        for node in nodes:
            process = self.cluster.node(node)
            if not process.is_alive:
                process.start()
            if process.is_paused:
                self.on_frozen(node, "thaw")
                process.resume()

    def leave_out(self, nodes: Iterable[int]) -> None:
        """Dead, or cut off for good, as is drawn."""
        network = self.cluster.network
        cut = Hindrance(cuts=True)
        for node in nodes:
            process = self.cluster.node(node)
            if self.random.random() < 0.5 or not process.is_alive:
                if process.is_alive:
                    process.crash()
                continue
            for other in range(network.nodes):
                if other != node:
                    network.links[node][other].hinder(cut)
                    network.links[other][node].hinder(cut)


def _put(table: dict[object, T], holder: object, value: T | None) -> None:
    """At the end of the table; None takes it out."""
    table.pop(holder, None)
    if value is not None:
        table[holder] = value
