"""Faults of processes, and that each is undone whatever moment the end of the chaos phase comes at."""

from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.lowlevel

from netsim.scenario.faults import Fault, Kill, Pause, RollingRestart, Trigger
from sequencer.chaos.injector import Injector
from sequencer.chaos.proxy import Proxies
from sequencer.chaos.stage import Stage
from sequencer.ports import Address

NAMES = ("n0", "n1", "n2", "n3")
NOW = Trigger(seconds=0.0)


class Processes:
    """Stands for the local cluster: which nodes run and which are frozen. `on_signal` is told of each blow."""

    names = NAMES

    def __init__(self) -> None:
        self.running = set(NAMES)
        self.frozen: set[str] = set()
        self.on_signal: Callable[[str], None] = lambda name: None

    def kill(self, *names: str) -> None:
        self.on_signal(names[0])
        self.running -= set(names)
        self.frozen -= set(names)

    def stop(self, *names: str) -> None:
        self.kill(*names)

    def start(self, name: str) -> None:
        assert name not in self.running, "its ports are taken"
        self.running.add(name)

    def pause(self, name: str) -> None:
        self.on_signal(name)
        if name in self.running:
            self.frozen.add(name)

    def resume(self, name: str) -> None:
        self.frozen.discard(name)


class Sights:
    """Stands for the observer of nodes that say nothing."""

    height = view = 1
    sights: dict[str, Any]

    def __init__(self) -> None:
        self.sights = {name: SimpleNamespace(view=1, answered_at=0.0, status={}) for name in NAMES}

    def note(self, event: str) -> None:
        pass

    async def ask(self, path: str, names: object) -> dict[str, Any]:
        return {"leader": "n0"}

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        await trio.lowlevel.checkpoint()


def make_stage(processes: Processes) -> Stage:
    addresses = {name: Address("127.0.0.1", 1) for name in NAMES}
    anything: Any = None
    cluster: Any = processes
    observer: Any = Sights()
    proxies = Proxies(addresses, Random(1))
    return Stage(cluster, proxies, observer, anything, (1,) * 4, {}, Random(1), lambda line: None)


@pytest.mark.parametrize(
    "fault", [Pause(at=NOW, target="all"), Kill(at=NOW, target="n1,n2"), RollingRestart(at=NOW, down_seconds=0.0)]
)
def test_what_is_begun_when_the_chaos_ends_is_undone(fault: Fault) -> None:
    """Half of the nodes are frozen, or one is about to be stopped, when everything has to be made whole."""
    processes = Processes()
    stage = make_stage(processes)

    async def run() -> None:
        with trio.CancelScope() as scope:
            processes.on_signal = lambda name: trio.from_thread.run_sync(scope.cancel)
            await Injector(stage).run([fault], 10.0)
        assert scope.cancelled_caught

    trio.run(run)
    assert processes.running == set(NAMES)
    assert not processes.frozen
    assert not any(stage.down.values())
    assert not any(stage.frozen.values())


def test_a_node_that_does_not_run_is_not_frozen() -> None:
    """The mark counts processes that were, and the prediction goes by what runs."""
    processes = Processes()
    stage = make_stage(processes)

    async def run() -> None:
        await stage.hold_down(["n3"], "killer")
        assert await stage.freeze(["n2", "n3"], "first") == 1
        assert await stage.freeze(["n2"], "second") == 0
        assert (stage.pauses, processes.frozen) == (1, {"n2"})
        await stage.thaw(["n2", "n3"], "first")
        assert processes.frozen == {"n2"}
        await stage.thaw(["n2"], "second")
        assert not processes.frozen

    trio.run(run)
    assert [(name, what) for _, name, what in stage.events] == [("n3", "end"), ("n2", "freeze"), ("n2", "thaw")]
