"""The cluster under test: who leads it now, which processes and links are broken, and by whom.

What somebody holds down or frozen is started or thawed when nobody holds it any more. Taking hold is not cancelled half
way, where it could not be undone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

import trio

from netsim.scenario.prediction import NOT_VOTING, Prediction, predict
from netsim.scenario.targets import resolve_target
from sequencer.chaos.impairment import Impairment
from sequencer.chaos.observer import Observer
from sequencer.chaos.proxy import Proxies
from sequencer.chaos.traffic import Traffic
from sequencer.fault_log import FaultLog
from sequencer.local_cluster.cluster import LocalCluster

READY_SECONDS: Final = 20.0
"""Until a node that was restarted in turn is up to date; then the next one goes, whatever this one says."""


@dataclass(frozen=True)
class ObservedRoles:
    """Who is who at one moment, by number."""

    stakes: Sequence[int]
    leader: int | None
    next_leader: int | None
    primary: Sequence[int]
    fallback: Sequence[int]


@dataclass
class Stage:
    """What there is to break, and who looks on. `stakes` by node, in the order of the cluster's names."""

    cluster: LocalCluster
    proxies: Proxies
    observer: Observer
    traffic: Traffic
    stakes: Sequence[int]
    byzantine: dict[str, str]
    random: Random
    tell: Callable[[str], None]
    """One line for people about what has just been done."""
    down: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    frozen: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    flapping: set[Impairment] = field(default_factory=set)
    restarts: int = 0
    pauses: int = 0
    events: list[tuple[float, str, str]] = field(default_factory=list)
    """(when, node, what became of its process), by Trio's clock: `start`, `end`, `freeze`, `thaw`."""
    dead: set[str] = field(default_factory=set)
    """Nodes that nobody starts again."""
    fault_log: FaultLog | None = None
    """Where faults are noted for whoever looks at the nodes while this goes on."""

    @property
    def names(self) -> tuple[str, ...]:
        return self.cluster.names

    def is_meant_to_run(self, name: str) -> bool:
        return name not in self.dead and not self.down[name]

    # Roles

    async def resolve(self, target: str) -> list[str]:
        """The nodes that are meant, now."""
        roles = await self._look_at_roles(target)
        return [self.names[node] for node in resolve_target(target, roles, self.random)]

    async def find_leader(self) -> str | None:
        leader = (await self._look_at_roles("leader")).leader
        return None if leader is None else self.names[leader]

    async def _look_at_roles(self, target: str) -> ObservedRoles:
        status = await self.observer.ask("/v1/status", self._list_freshest()) or {}
        following = None
        if "next-leader" in target:
            schedule = await self.observer.ask("/v1/schedule?views=8", self._list_freshest())
            view = status.get("view", 0)
            later = [entry["leader"] for entry in (schedule or {"views": []})["views"] if entry["view"] > view]
            following = later[0] if later else None
        return ObservedRoles(
            self.stakes,
            self._number(status.get("leader")),
            self._number(following),
            self._number_all(status.get("primary", ())),
            self._number_all(status.get("fallback", ())),
        )

    def _list_freshest(self) -> list[str]:
        """Nodes that run, whoever is furthest ahead first."""
        sights = self.observer.sights
        running = [name for name in self.names if self.is_meant_to_run(name) and not self.frozen[name]]
        return sorted(running, key=lambda name: (-sights[name].view, -sights[name].answered_at))

    def _number(self, name: str | None) -> int | None:
        return self.names.index(name) if name in self.names else None

    def _number_all(self, names: Iterable[str]) -> list[int]:
        return [self.names.index(name) for name in names if name in self.names]

    # Nodes

    async def hold_down(self, names: Sequence[str], holder: object) -> int:
        """SIGKILL, all in the same moment. How many were running."""
        killed = [name for name in names if self.is_meant_to_run(name)]
        for name in names:
            self._note_down(name, holder)
        self._note(killed, "end")
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(partial(self.cluster.kill, *killed))
        return len(killed)

    async def drain(self, name: str, holder: object) -> int:
        """SIGTERM, until the process has ended."""
        was_running = self.is_meant_to_run(name)
        self._note_down(name, holder)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self.cluster.stop, name)
        self._note([name], "end")
        return int(was_running)

    async def let_up(self, names: Sequence[str], holder: object) -> None:
        """Start those whom nobody else holds down."""
        for name in names:
            if id(holder) not in self.down[name]:
                continue
            if self.down[name] == {id(holder)} and name not in self.dead:
                await trio.to_thread.run_sync(self.cluster.start, name)
                self.restarts += 1
                self._note([name], "start")
                self.observer.note("restart")
            self.down[name].discard(id(holder))

    async def freeze(self, names: Sequence[str], holder: object) -> int:
        """SIGSTOP. How many were running freely; a node that does not run is left alone."""
        free = [name for name in names if self.is_meant_to_run(name) and not self.frozen[name]]
        for name in names:
            if self.is_meant_to_run(name):
                self.frozen[name].add(id(holder))
        with trio.CancelScope(shield=True):
            for name in free:
                await trio.to_thread.run_sync(self.cluster.pause, name)
        self.pauses += len(free)
        self._note(free, "freeze")
        return len(free)

    async def thaw(self, names: Sequence[str], holder: object) -> None:
        for name in names:
            if id(holder) not in self.frozen[name]:
                continue
            self.frozen[name].discard(id(holder))
            if not self.frozen[name]:
                await trio.to_thread.run_sync(self.cluster.resume, name)
                self._note([name], "thaw")

    async def wait_up_to_date(self, name: str) -> None:
        asked = trio.current_time()
        sight = self.observer.sights[name]
        with trio.move_on_after(READY_SECONDS):
            await self.observer.wait_for(lambda: sight.answered_at > asked and bool(sight.status.get("ready")))

    def _note_down(self, name: str, holder: object) -> None:
        """The process that comes after this one is not frozen."""
        self.down[name].add(id(holder))
        self.frozen[name].clear()

    def _note(self, names: Iterable[str], what: str) -> None:
        self.events += [(trio.current_time(), name, what) for name in names]

    # What quorum arithmetic says

    def predict(self) -> Prediction:
        names = self.names

        def takes_part(node: int) -> bool:
            name = names[node]
            is_helping = self.byzantine.get(name) not in NOT_VOTING
            return is_helping and self.is_meant_to_run(name) and not self.frozen[name]

        def is_passing(source: int, destination: int) -> bool:
            imposed = self.proxies.direction(names[source], names[destination]).imposed
            return not any((each.is_cut and each not in self.flapping) or each.is_clogged for each in imposed)

        return predict(self.stakes, takes_part, is_passing)
