"""Begins each fault of a scenario when its trigger comes true, on processes and their links, and ends it in time.

What a fault holds down or frozen it lets go of when it ends, however it ends; a node is started when nobody holds it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import trio

from netsim.scenario.faults import (
    Burst,
    Fault,
    Flap,
    Kill,
    Oversize,
    Partition,
    Pause,
    Reset,
    RollingRestart,
    SlowReaders,
    Trigger,
    get_kind,
)
from sequencer.chaos.impairment import Impairment
from sequencer.chaos.links import draw_groups, list_pairs, list_parted, make_impairment
from sequencer.chaos.proxy import Pair
from sequencer.chaos.stage import Stage
from sequencer.chaos.strangers import open_slow_readers, submit_oversize


@dataclass
class Happening:
    """One time that a fault was on. Seconds are of Trio's clock."""

    fault: Fault
    nodes: tuple[str, ...] = ()
    start: float = 0.0
    end: float | None = None
    bites: int = 0
    impairment: Impairment | None = None
    predicted: str = ""
    stops_leader: bool = False
    view: int = 0
    """Highest of any node when it began."""

    def count_bites(self) -> int:
        return self.bites + (self.impairment.bites if self.impairment else 0)


class Injector:
    """Runs the faults of one scenario. `happenings` is what has happened, in order of beginning."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.happenings: list[Happening] = []
        self.untriggered: list[str] = []
        self.predictions: list[tuple[float, str]] = []
        """From when on what was predicted: set at each beginning and end of a fault."""

    async def run(self, faults: Sequence[Fault], seconds: float) -> None:
        """Returns when all have happened and ended, or after this time. Whatever is on by then is ended."""
        self.untriggered = [get_kind(fault) for fault in faults]
        self._predict()
        started = trio.current_time()
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for fault in faults:
                    nursery.start_soon(self._run_fault, fault, started, nursery)

    async def _run_fault(self, fault: Fault, started: float, nursery: trio.Nursery) -> None:
        await self._wait_trigger(fault.at, started)
        self.untriggered.remove(get_kind(fault))
        first = trio.current_time()
        for number in range(fault.repeat):
            if fault.every_seconds is None:
                await self._happen(fault)
            else:
                await trio.sleep_until(first + number * fault.every_seconds)
                nursery.start_soon(self._happen, fault)

    async def _wait_trigger(self, trigger: Trigger, started: float) -> None:
        observer = self._stage.observer
        if trigger.seconds is not None:
            await trio.sleep_until(started + trigger.seconds)
        elif trigger.height is not None:
            height = trigger.height
            await observer.wait_for(lambda: observer.height >= height)
        elif trigger.view is not None:
            view = trigger.view
            await observer.wait_for(lambda: observer.view >= view)
        elif trigger.event is not None:
            event, before = trigger.event, observer.events[trigger.event]
            await observer.wait_for(lambda: observer.events[event] > before)
        await trio.sleep(trigger.after_seconds)

    async def _happen(self, fault: Fault) -> None:
        happening = Happening(fault, view=self._stage.observer.view, start=trio.current_time())
        noted = ExitStack()
        try:
            async with self._apply(fault, happening):
                happening.start = trio.current_time()
                happening.predicted = self._predict()
                self.happenings.append(happening)
                noted.enter_context(self._noting(happening))
                self._stage.tell(f"{self._describe(happening)} begins; predicted: {happening.predicted}")
                await self._last(fault, happening)
        finally:
            noted.close()
            happening.end = trio.current_time()
            self._predict()
        if not isinstance(fault, Reset | Burst | Oversize):
            self._stage.tell(f"{self._describe(happening)} has ended")

    @contextmanager
    def _noting(self, happening: Happening) -> Iterator[None]:
        """In the fault log, from the moment that it has its effect until it is undone."""
        log, names = self._stage.fault_log, self._stage.names
        if log is None:
            yield
            return
        hit = [name for name in names if name in happening.nodes]
        begun = log.begin(get_kind(happening.fault), hit, f"chaos run: {self._describe(happening)}")
        try:
            yield
        finally:
            log.end(lambda fault: begun is not None and fault.id == begun.id)

    def _describe(self, happening: Happening) -> str:
        return describe_fault(get_kind(happening.fault), happening.nodes, len(self._stage.names))

    def _predict(self) -> str:
        prediction = self._stage.predict()
        self.predictions.append((trio.current_time(), prediction.progress))
        return str(prediction)

    @asynccontextmanager
    async def _apply(self, fault: Fault, happening: Happening) -> AsyncIterator[None]:
        stage = self._stage
        impairment = make_impairment(fault)
        if impairment is not None:
            pairs = await self._choose_links(fault, happening)
            happening.impairment = impairment
            stage.proxies.impose(pairs, impairment)
            try:
                yield
            finally:
                stage.proxies.lift(impairment)
            return
        undo: Callable[[Sequence[str], object], Awaitable[None]] = _nothing
        match fault:
            case Kill():
                await self._choose_nodes(fault.target, happening)
                happening.bites = await stage.hold_down(happening.nodes, happening)
                undo = stage.let_up
            case Pause():
                await self._choose_nodes(fault.target, happening)
                happening.bites = await stage.freeze(happening.nodes, happening)
                undo = stage.thaw
            case RollingRestart():
                await self._choose_nodes(fault.target, happening)
                undo = stage.let_up
            case Reset():
                pairs = await self._choose_links(fault, happening)
                happening.impairment = Impairment()
                stage.proxies.break_connections(pairs, happening.impairment)
            case Burst():
                happening.bites = fault.transactions
                stage.traffic.burst(fault.transactions)
            case Oversize():
                await self._choose_nodes(fault.target, happening)
                happening.bites = await submit_oversize(self._list_urls(happening), fault.transactions)
            case SlowReaders():
                await self._choose_nodes(fault.target, happening)
                async with open_slow_readers(self._list_urls(happening), fault.readers) as happening.bites:
                    yield
                return
            case _:
                raise ValueError(f"{get_kind(fault)} is unknown to processes")
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await undo(happening.nodes, happening)

    async def _last(self, fault: Fault, happening: Happening) -> None:
        with trio.move_on_after(float("inf") if fault.for_seconds is None else fault.for_seconds):
            match fault:
                case RollingRestart():
                    await self._restart_in_turn(fault, happening)
                case Flap():
                    await self._flap(fault, happening)
                case Reset() | Burst() | Oversize():
                    return
                case _:
                    await trio.sleep_forever()

    async def _restart_in_turn(self, fault: RollingRestart, happening: Happening) -> None:
        stage = self._stage
        for place, name in enumerate(happening.nodes):
            if place:
                await trio.sleep(fault.gap_seconds)
            happening.bites += await stage.drain(name, happening)
            await trio.sleep(fault.down_seconds)
            await stage.let_up([name], happening)
            stage.tell(f"{name} was stopped and started")
            await stage.wait_up_to_date(name)

    async def _flap(self, fault: Flap, happening: Happening) -> None:
        """Cut first, which it is already."""
        stage, impairment = self._stage, happening.impairment
        if impairment is None:
            return
        pairs = [pair for pair in stage.proxies.pairs if impairment in stage.proxies.direction(*pair).imposed]
        stage.flapping.add(impairment)
        try:
            while True:
                await trio.sleep(fault.period_seconds / 2)
                stage.proxies.lift(impairment)
                await trio.sleep(fault.period_seconds / 2)
                stage.proxies.impose(pairs, impairment)
        finally:
            stage.flapping.discard(impairment)

    def _list_urls(self, happening: Happening) -> list[str]:
        return [self._stage.cluster.url(name) for name in happening.nodes]

    async def _choose_nodes(self, target: str, happening: Happening) -> None:
        """The leader is looked at first and last thing before the blow: it changes with every view."""
        leader = await self._stage.find_leader()
        chosen = [leader] if target == "leader" and leader else await self._stage.resolve(target)
        happening.nodes = tuple(chosen)
        happening.stops_leader = isinstance(happening.fault, Kill | Pause) and leader in chosen
        happening.view = self._stage.observer.view

    async def _choose_links(self, fault: Fault, happening: Happening) -> list[Pair]:
        stage = self._stage
        if isinstance(fault, Partition):
            groups = await self._choose_groups(fault)
            happening.nodes = tuple(part for group in groups for part in ("|", *group))[1:]
            return list_parted(stage.names, groups)
        sources = await stage.resolve(getattr(fault, "source", "all"))
        destinations = await stage.resolve(getattr(fault, "destination", "all"))
        happening.nodes = (*sources, ">", *destinations)
        return list_pairs(sources, destinations, both_ways=getattr(fault, "both_ways", False))

    async def _choose_groups(self, fault: Partition) -> list[list[str]]:
        stage = self._stage
        if fault.shape == "groups":
            return [sorted({name for part in group for name in await stage.resolve(part)}) for group in fault.groups]
        chosen = await stage.resolve(fault.target) if fault.shape in ("isolate", "bridge") else []
        quorum = await stage.resolve("quorum") if fault.shape == "majority" else []
        return draw_groups(fault, stage.names, chosen, quorum, stage.random)


def describe_fault(kind: str, nodes: Sequence[str], everyone: int) -> str:
    """`kill n2`, `cut n0 > n1 n2`, or `degrade all > all`: who is named after `>` hears those before it."""
    words = [kind.replace("_", " ")]
    if ">" in nodes:
        place = list(nodes).index(">")
        sources, destinations = nodes[:place], nodes[place + 1 :]
        reached = [name for name in destinations if (name,) != tuple(sources)]
        words += ["all"] if len(sources) == everyone else sources
        words += [">", "all"] if len(destinations) == everyone else [">", *reached]
    else:
        words += ["all"] if len(nodes) == everyone > 1 and "|" not in nodes else nodes
    return " ".join(words)


async def _nothing(_names: Sequence[str], _holder: object) -> None:
    """What is over at once needs no undoing."""
