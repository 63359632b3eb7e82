"""One run of a scenario on processes: from an empty folder to a verdict.

Warm-up, faults, healing, rest, and then everything is read and judged. All of it is one Trio run in this process, which
also holds the proxies; whatever blocks (starting and ending processes, reading whole chains) is done in threads.
"""

import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import trio

from netsim.checkers import Violation
from netsim.scenario.model import Scenario
from netsim.scenario.outcome import Line, Outcome, Timeline, Verdict
from netsim.scenario.targets import resolve_target
from netsim.trace import TraceError, check_trace, draw_timeline, read_journals
from sequencer.chaos.conclusion import Conclusion, Facts, conclude_cold, list_processes
from sequencer.chaos.injector import Injector
from sequencer.chaos.judge import judge_descriptors
from sequencer.chaos.observer import Observer
from sequencer.chaos.plan import check_supported, make_home_plan
from sequencer.chaos.proxy import Proxies
from sequencer.chaos.reading import read_accused, read_chain, read_ledgers
from sequencer.chaos.resources import count_descriptors, read_resident_bytes
from sequencer.chaos.stage import ObservedRoles, Stage
from sequencer.chaos.traffic import Traffic
from sequencer.client import ApiProblem, Unreachable
from sequencer.failures import CommandError, ExitCode
from sequencer.fault_log import FaultLog
from sequencer.home import Home
from sequencer.local_cluster.cluster import LocalCluster, describe_exit
from sequencer.local_cluster.home import (
    FAULTS_FILE,
    compute_fault_settings,
    compute_journal_settings,
    find_base_port,
    merge_settings,
    open_devnet,
)
from sequencer.local_cluster.targets import write_targets

SAMPLE_SECONDS: Final = 1.0
"""Between two looks at the processes and their memory."""
SHOW_SECONDS: Final = 0.25
REST_SECONDS: Final = 15.0
"""For nodes to reach one height, and for clients and descriptors to go, once there is no load any more."""
POLL_SECONDS: Final = 0.1


@dataclass(frozen=True)
class Talk:
    """How a run tells people what it does: lines that stay, and one that changes."""

    tell: Callable[[str], None] = lambda _line: None
    show: Callable[[str], None] = lambda _state: None


def run_scenario(scenario: Scenario, *, home: Path | None = None, talk: Talk | None = None) -> Outcome:
    """Blocks until it is over; ends every process that it started, whatever happens.

    `home` is made, and kept with all logs; without it only what a failed run leaves is kept, in a temporary folder.
    Raises `CommandError` for what processes do not know, and `KeyboardInterrupt` also when SIGTERM comes.
    """
    check_supported(scenario)
    if home is not None and home.exists() and any(home.iterdir()):
        raise CommandError(f"{home} is not empty: each run begins with an empty folder", ExitCode.USAGE)
    talk = talk or Talk()
    folder = home or Path(tempfile.mkdtemp(prefix="sequencer-chaos-"))
    is_kept = home is not None
    try:
        made, _ = open_devnet(folder, make_home_plan(scenario, find_base_port(scenario.cluster.nodes)))
        outcome = trio.run(_Run(scenario, made, talk).run)
        if outcome.verdict is Verdict.FAIL:
            is_kept = True
            talk.tell(f"the nodes' logs and journals are kept in {folder}")
        return outcome
    except Exception:
        # Neither a verdict nor an interrupt: what the nodes wrote is all there is to go by.
        is_kept = True
        talk.tell(f"the run has broken off; the nodes' logs are kept in {folder}")
        raise
    finally:
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)


class _Run:
    def __init__(self, scenario: Scenario, home: Home, talk: Talk) -> None:
        self._scenario = scenario
        self._home = home
        self._talk = talk
        self._random = Random(scenario.seed)  # noqa: S311 - draws victims, no keys
        self._facts = Facts()
        self._phase = "warm-up"
        self._stage: Stage
        self._whole: tuple[str, ...] = ()

    @property
    def _honest(self) -> list[str]:
        return [name for name in self._stage.names if name not in self._scenario.cluster.byzantine]

    async def run(self) -> Outcome:
        self._facts.begun_at = self._facts.steady_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_on_signals)
            proxies = Proxies({node.config.validator: node.listen for node in self._home.nodes}, self._random)
            await nursery.start(proxies.run)
            byzantine = dict(self._scenario.cluster.byzantine)
            settings = merge_settings(
                proxies.peer_settings(), compute_journal_settings(self._home), compute_fault_settings(self._home)
            )
            with LocalCluster(self._home, settings, byzantine=byzantine) as cluster:
                write_targets(cluster)
                self._stage = self._make_stage(cluster, proxies, byzantine)
                # Whoever looks at the cluster has stopped before it closes.
                async with trio.open_nursery() as watching:
                    outcome = await self._run_phases(watching)
                    watching.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
        return outcome

    def _make_stage(self, cluster: LocalCluster, proxies: Proxies, byzantine: dict[str, str]) -> Stage:
        urls = {name: cluster.url(name) for name in cluster.names}
        load = self._scenario.load
        return Stage(
            cluster=cluster,
            proxies=proxies,
            observer=Observer(urls, {name: Path(cluster.log_path(name)) for name in cluster.names}),
            traffic=Traffic(urls, load.transactions_per_second, load.transaction_bytes, self._random),
            stakes=self._scenario.cluster.stakes or (1,) * self._scenario.cluster.nodes,
            byzantine=byzantine,
            random=self._random,
            tell=self._tell,
            fault_log=FaultLog(self._home.path / FAULTS_FILE),
        )

    async def _run_phases(self, nursery: trio.Nursery) -> Outcome:
        stage, scenario = self._stage, self._scenario
        injector = Injector(stage)
        self._whole = stage.names
        await trio.to_thread.run_sync(stage.cluster.start)
        await nursery.start(stage.observer.run)
        nursery.start_soon(self._watch_processes)
        nursery.start_soon(self._show_state)
        traffic_over = trio.Event()
        if not await self._warm_up(nursery, traffic_over):
            return conclude_cold(scenario, self._facts)
        self._phase = "faults"
        await injector.run(scenario.fault, scenario.chaos_seconds)
        stage.proxies.heal()
        self._phase = "healing"
        await self._heal(injector)
        self._phase = "coming to rest"
        stage.traffic.stop()
        with trio.move_on_after(max(REST_SECONDS, scenario.expect.decide_within_seconds)):
            await traffic_over.wait()
        await self._rest()
        self._phase = "reading"
        await self._read()
        await self._end_nodes()
        self._phase = "checking journals"
        self._facts.trace = await trio.to_thread.run_sync(self._check_trace)
        first = min((happening.start for happening in injector.happenings), default=self._facts.steady_at)
        zero = time.time() - (trio.current_time() - self._facts.steady_at)
        self._facts.timeline = await trio.to_thread.run_sync(
            self._draw_timeline, round(zero * 1e6), first - self._facts.steady_at
        )
        self._facts.ended_at = trio.current_time()
        return Conclusion(scenario, stage, injector, self._facts).make_outcome()

    # Phases

    async def _warm_up(self, nursery: trio.Nursery, traffic_over: trio.Event) -> bool:
        """Whether all nodes have decided what the scenario asks for, in time."""
        stage, steady = self._stage, self._scenario.steady
        sights = stage.observer.sights

        def are_connected() -> bool:
            others = len(stage.names) - 1
            return all(len(sights[name].status.get("peers", ())) == others for name in stage.names)

        async def load() -> None:
            await stage.traffic.run()
            traffic_over.set()

        with trio.move_on_after(steady.within_seconds):
            await stage.observer.wait_for(are_connected)
            self._facts.descriptors_before = await trio.to_thread.run_sync(self._count_descriptors)
            nursery.start_soon(load)
            await stage.observer.wait_for(lambda: all(sights[name].height >= steady.height for name in self._honest))
            # The first answers to clients belong to the warm-up too: what they hold is open by now.
            await trio.sleep(SAMPLE_SECONDS)
            self._facts.steady_at = trio.current_time()
            self._tell(f"{len(stage.names)} nodes are steady at height {stage.observer.height}")
            return True
        return False

    async def _heal(self, injector: Injector) -> None:
        stage, scenario = self._stage, self._scenario
        if scenario.heal.core == "quorum":
            roles = ObservedRoles(stage.stakes, None, None, (), ())
            core = {stage.names[node] for node in resolve_target("quorum", roles, self._random)}
            stage.dead = set(stage.names) - core
            self._whole = tuple(name for name in stage.names if name in core)
            await trio.to_thread.run_sync(partial(stage.cluster.kill, *sorted(stage.dead)))
            self._tell(f"dead for good: {' '.join(sorted(stage.dead))}; what is left is just a quorum")
        observer, expect = stage.observer, scenario.expect
        waiting = [name for name in self._whole if name in self._honest]
        before = self._facts.healed_height = observer.height
        self._facts.healed_at = trio.current_time()
        self._tell(f"healed at height {before}")
        with trio.move_on_after(expect.decide_within_seconds):
            await observer.wait_for(
                lambda: all(observer.sights[name].height >= before + expect.blocks_after for name in waiting)
            )
            self._facts.recovered_seconds = trio.current_time() - self._facts.healed_at
            self._tell(f"{expect.blocks_after} more blocks on every node after {self._facts.recovered_seconds:.2f} s")

    async def _rest(self) -> None:
        """Until all whole nodes are at one height, and a process is old enough for its memory to say something."""
        observer, height = self._stage.observer, self._stage.observer.height
        with trio.move_on_after(REST_SECONDS):
            await observer.wait_for(
                lambda: all(observer.sights[name].height >= height for name in self._whole if name in self._honest)
            )
            while not list_processes(self._facts):  # noqa: ASYNC110 - it is time alone that is waited for
                await trio.sleep(SAMPLE_SECONDS)

    async def _read(self) -> None:
        facts, cluster = self._facts, self._stage.cluster
        nodes = [name for name in self._whole if name in self._honest]
        for name in nodes:
            try:
                facts.chains[name] = await trio.to_thread.run_sync(read_chain, cluster, name)
            except (Unreachable, ApiProblem) as error:
                facts.unreadable.append(f"{name}: {error}")
        facts.ledgers = await trio.to_thread.run_sync(read_ledgers, cluster, nodes)
        try:
            facts.accused = await trio.to_thread.run_sync(read_accused, cluster, nodes)
        except (Unreachable, ApiProblem) as error:
            facts.unreadable.append(str(error))
        facts.accused |= {
            line.fields["offender"] for line in self._stage.observer.find_lines("offence") if line.node in self._honest
        }
        with trio.move_on_after(REST_SECONDS):
            while True:
                facts.descriptors_after = await trio.to_thread.run_sync(self._count_descriptors)
                line = judge_descriptors(facts.descriptors_before, facts.descriptors_after)
                if line.verdict is not Verdict.FAIL:
                    break
                await trio.sleep(POLL_SECONDS)

    async def _end_nodes(self) -> None:
        """All drain; whoever does not, or says why, is told of."""
        stage = self._stage
        await self._look_at_processes()
        self._phase = "ending"
        running = [name for name in stage.names if stage.is_meant_to_run(name)]
        for name in stage.names:
            stage.down[name].add(0)
        await trio.to_thread.run_sync(partial(stage.cluster.stop, *running))
        for name, process in (await trio.to_thread.run_sync(stage.cluster.processes)).items():
            if name in running and process.exit_code:
                self._facts.ended.append(f"{name} was told to end: {process.message or describe_exit(process)}")
        stage.observer.read_logs()

    def _check_trace(self) -> Line:
        """The oracles of the simulator over everything that the nodes have written down."""
        what, network = "trace rules", self._home.network
        liars = {network.id_of(name) for name in self._scenario.cluster.byzantine}
        try:
            journals = read_journals(self._home.path.glob("*/journal/*.trace"), network.network_id)
            summary = check_trace(journals, network.context(), liars)
        except Violation as violation:
            return Line(what=what, verdict=Verdict.FAIL, detail="; ".join([str(violation), *violation.__notes__]))
        except TraceError as error:
            return Line(what=what, verdict=Verdict.INCONCLUSIVE, detail=str(error))
        detail = f"{summary.statements:,} statements and {summary.certificates:,} certificates of {summary.nodes} nodes"
        return Line(what=what, verdict=Verdict.PASS, detail=detail)

    def _draw_timeline(self, zero: int, first_fault_seconds: float) -> Timeline:
        """Views and messages, as the journals have them; nothing when they cannot be read."""
        try:
            journals = read_journals(self._home.path.glob("*/journal/*.trace"), self._home.network.network_id)
            return draw_timeline(journals, zero, first_fault_seconds)
        except TraceError:
            return Timeline()

    # What is looked at all the time

    async def _watch_processes(self) -> None:
        while True:
            await self._look_at_processes()
            await trio.sleep(SAMPLE_SECONDS)

    async def _look_at_processes(self) -> None:
        stage = self._stage
        meant = {name for name in stage.names if stage.is_meant_to_run(name)}
        processes = await trio.to_thread.run_sync(stage.cluster.processes)
        for name, process in processes.items():
            if process.is_running:
                resident = read_resident_bytes(process.pid)
                if resident is not None:
                    self._facts.resident[name, process.pid].append((trio.current_time(), resident))
            elif name in meant and stage.is_meant_to_run(name):
                reason = f"{name} ended by itself: {process.message or describe_exit(process)}"
                if reason not in self._facts.ended:
                    self._facts.ended.append(reason)
                    self._tell(reason)

    async def _show_state(self) -> None:
        while True:
            observer, traffic = self._stage.observer, self._stage.traffic
            self._talk.show(
                f"{self._scenario.name}  {self._phase}  {trio.current_time() - self._facts.steady_at:5.1f} s  height "
                f"{observer.height:,}  view {observer.view:,}  acknowledged {len(traffic.acknowledged):,} of "
                f"{len(traffic.sent):,}"
            )
            await trio.sleep(SHOW_SECONDS)

    def _count_descriptors(self) -> dict[str, int]:
        counts = {
            name: count_descriptors(process.pid)
            for name, process in self._stage.cluster.processes().items()
            if process.is_running
        }
        return {name: count for name, count in counts.items() if count is not None}

    def _tell(self, line: str) -> None:
        self._talk.tell(f"{trio.current_time() - self._facts.steady_at:6.2f} s  {line}")


async def _end_on_signals() -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
        async for _ in signals:
            raise KeyboardInterrupt
