"""Four nodes order 1,027 real Ethereum transactions over TCP, outlive their leader, and prove it; then ten heal
themselves, see `healing`. Run with `make demo`.

Each step is checked from outside, through the nodes' public APIs. The exit code says whether all of it held.
"""

import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeAlias

from rich.box import ROUNDED
from rich.console import Console
from rich.table import Table

from examples.healing import heal
from examples.narrator import Narrator
from sequencer.cli.transactions import read_transactions
from sequencer.client import ApiProblem, Client, Unreachable
from sequencer.failures import ExitCode, explain_failure
from sequencer.home import BASE_PORT, HomePlan
from sequencer.local_cluster.cluster import LocalCluster
from sequencer.local_cluster.home import DEVNET_NAME, find_base_port, open_devnet
from sequencer.local_cluster.owner import ForkServerProcess
from sequencer.schema.blocks import BlockJson

TRANSACTIONS_FILE = Path(__file__).with_name("ethereum-mainnet-transactions.hex")
NODES = 4
BATCH_TRANSACTIONS = 8
SUBMIT_SECONDS = 4.0
"""The submission is spread over this time, so that the kill happens under load."""
WORKERS = 12
"""Clients that submit side by side and wait for finality: enough that the kill holds up none of the others."""
WAIT_SECONDS = 30.0
"""For any one thing; all of them take a fraction of a second on a working network."""
OBSERVE_SECONDS = 0.001
"""Between two looks at a survivor after the kill: the resolution of the time that is printed, with a request's 1 ms."""

Block: TypeAlias = BlockJson


@dataclass
class Load:
    """Clients that submit batches at any node and wait until these are final; a batch whose node dies goes to another.

    `latencies` has one entry per transaction: seconds from the moment at which it was due
    until its client was told that it is final.
    """

    cluster: LocalCluster
    transactions: Sequence[bytes]
    latencies: list[float] = field(default_factory=list)
    resubmitted: int = 0
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: SimpleQueue[tuple[float, list[bytes], str]] = SimpleQueue()
        names = self.cluster.names
        starts = range(0, len(self.transactions), BATCH_TRANSACTIONS)
        begin = time.monotonic()
        for number, start in enumerate(starts):
            due = begin + SUBMIT_SECONDS * number / len(starts)
            batch = list(self.transactions[start : start + BATCH_TRANSACTIONS])
            self._queue.put((due, batch, names[number % len(names)]))
        self._workers = [threading.Thread(target=self._work, daemon=True) for _ in range(WORKERS)]
        for worker in self._workers:
            worker.start()

    @property
    def final(self) -> int:
        with self._lock:
            return len(self.latencies)

    @property
    def is_over(self) -> bool:
        return not any(worker.is_alive() for worker in self._workers)

    def _work(self) -> None:
        clients = {name: self.cluster.client(name) for name in self.cluster.names}
        while True:
            try:
                due, batch, name = self._queue.get_nowait()
            except Empty:
                return
            time.sleep(max(0.0, due - time.monotonic()))
            self._submit(batch, name, clients, due)

    def _submit(self, batch: list[bytes], first: str, clients: dict[str, Client], started: float) -> None:
        names = list(clients)
        begin = names.index(first)
        reason = ""
        for name in names[begin:] + names[:begin]:
            try:
                answer = clients[name].submit_batch(batch, wait_seconds=WAIT_SECONDS)
            except (Unreachable, ApiProblem) as error:
                # The node is dead or dying. Sending the same to another is safe: nothing is ordered twice.
                reason = str(error)
                with self._lock:
                    self.resubmitted += len(batch)
                continue
            with self._lock:
                self.latencies += [time.monotonic() - started] * (len(batch) - len(answer.rejected))
                self.failures += [refusal.detail for refusal in answer.rejected]
            return
        with self._lock:
            self.failures.append(reason)


@dataclass(frozen=True)
class Kill:
    """What happened to the leader, and how long the others took to decide past the view that it led."""

    leader: str
    view: int
    final_before: int
    seconds_to_decide: float


def kill_leader(cluster: LocalCluster, load: Load) -> Kill:
    """SIGKILL whoever leads now, and time the first decide of a later view on a survivor."""
    statuses = {name: cluster.client(name) for name in cluster.names}
    ahead = max((client.status() for client in statuses.values()), key=lambda status: status.view)
    leader, view = ahead.leader or ahead.validator, ahead.view
    final_before = load.final
    # The observer's connection is open already, so that its first look costs no handshake.
    observer = statuses[next(name for name in cluster.names if name != leader)]
    killed_ns = cluster.kill(leader)
    decided_ns = cluster.wait_until(
        lambda: observer.status().decided_view > view and time.monotonic_ns(),
        timeout_seconds=WAIT_SECONDS,
        poll_seconds=OBSERVE_SECONDS,
        what="the survivors to decide",
    )
    return Kill(leader, view, final_before, (decided_ns - killed_ns) / 1e9)


def read_chain(client: Client) -> list[Block]:
    """All finalized blocks of one node, from genesis on, with their transactions."""
    return list(client.iterate_blocks(0, transactions="full"))


def find_faults(chains: dict[str, list[Block]], transactions: Sequence[bytes]) -> list[str]:
    """What is wrong with these chains, in words; nothing when all are the same one, with each transaction once."""
    faults: list[str] = []
    common = min(map(len, chains.values()))
    reference_name, reference = next(iter(chains.items()))
    expected = Counter("0x" + transaction.hex() for transaction in transactions)
    for name, chain in chains.items():
        for height, (block, other) in enumerate(zip(chain[:common], reference, strict=False)):
            if block.height != height:
                faults.append(f"{name} reports height {block.height} at place {height}")
            if block.hash != other.hash:
                faults.append(f"{name} and {reference_name} hold different blocks at height {height}")
            if height and block.parent != chain[height - 1].hash:
                faults.append(f"{name}: the block at height {height} does not name the one before it as its parent")
        found = Counter(text for block in chain for text in block.transactions or ())
        faults += [f"{name} holds {found[text]} times: {text[:40]}…" for text in expected if found[text] != 1]
        faults += [f"{name} holds what nobody sent: {text[:40]}…" for text in found if text not in expected]
    return faults


def run(folder: Path, narrator: Narrator) -> list[str]:
    """The whole story. Returns what did not hold."""
    transactions = read_transactions([str(TRANSACTIONS_FILE)])
    started = time.monotonic()
    with ForkServerProcess() as server:
        plan = HomePlan(stakes=(100,) * NODES, name=DEVNET_NAME, base_port=find_base_port(NODES, first=BASE_PORT))
        home, _ = open_devnet(folder / "home", plan)
        with LocalCluster(home, server=server) as cluster:
            with narrator.step("four nodes start") as done:
                cluster.start()
                cluster.wait_ready(timeout_seconds=WAIT_SECONDS)
                pids = ", ".join(str(process.pid) for process in cluster.processes().values())
                done(f"four processes ({pids}) decide over TCP after {time.monotonic() - started:.1f} s")
            load, kill = _order_and_kill(cluster, transactions, narrator)
            _bring_back(cluster, kill.leader, narrator)
            with narrator.step("the four chains are compared") as done:
                chains = {name: read_chain(cluster.client(name)) for name in cluster.names}
                faults = load.failures + find_faults(chains, transactions)
                common = min(map(len, chains.values()))
                done(f"{common} blocks of each node compared by hash, {len(transactions):,} transactions by byte")
            _print_verdict(narrator.console, load, kill, common, faults)
            return faults


def _order_and_kill(cluster: LocalCluster, transactions: Sequence[bytes], narrator: Narrator) -> tuple[Load, Kill]:
    total = len(transactions)
    with narrator.step(f"{total:,} Ethereum transactions are submitted at all nodes") as done:
        load = Load(cluster, transactions)
        cluster.wait_until(lambda: load.final >= total // 3, timeout_seconds=WAIT_SECONDS, what="a third to be final")
        done(f"{load.final:,} of {total:,} transactions are final, the others keep coming")
    with narrator.step("the leader is killed") as done:
        kill = kill_leader(cluster, load)
        done(
            f"[bold]kill -9 {kill.leader}[/], the leader of view {kill.view}: "
            f"the others decide again after [bold]{kill.seconds_to_decide * 1000:.0f} ms[/]"
        )
    with narrator.step("the remaining transactions are ordered by three nodes") as done:
        cluster.wait_until(lambda: load.is_over, timeout_seconds=2 * WAIT_SECONDS, what="all to be final")
        done(f"{load.final:,} of {total:,} are final; clients sent {load.resubmitted} of them again to another node")
    return load, kill


def _bring_back(cluster: LocalCluster, name: str, narrator: Narrator) -> None:
    with narrator.step(f"{name} is started again") as done:
        started = time.monotonic()
        height = max(cluster.client(other).block("latest", transactions="none").height for other in cluster.running)
        cluster.start(name)
        client = cluster.client(name)
        cluster.wait_until(
            lambda: client.is_ready() and client.block("latest", transactions="none").height >= height,
            timeout_seconds=WAIT_SECONDS,
            what=f"{name} to catch up",
        )
        done(f"{name} is back and has caught up to height {height} in {time.monotonic() - started:.1f} s")


def _print_verdict(console: Console, load: Load, kill: Kill, common: int, faults: Sequence[str]) -> None:
    latencies = sorted(load.latencies)
    rows = [
        ("transactions", f"{len(load.transactions):,} submitted, {load.final:,} final"),
        ("same chain on all four nodes", f"yes, {common} blocks" if not faults else "[red]no[/]"),
        ("each exactly once, byte-identical", "yes" if not faults else "[red]no[/]"),
        ("finality, p50", _format_ms(latencies, 0.50)),
        ("finality, p99", _format_ms(latencies, 0.99)),
        ("finality, longest (across the kill)", _format_ms(latencies, 1.0)),
        ("kill of the leader to next decide", f"{kill.seconds_to_decide * 1000:.0f} ms"),
    ]
    title = "[green]It held[/]" if not faults else "[red]It did not hold[/]"
    table = Table(box=ROUNDED, show_header=False, title=title)
    for row in rows:
        table.add_row(*row)
    console.print()
    console.print(table)
    for fault in faults[:10]:
        console.print(f"[red]✗[/] {fault}")


def _tell_healing(folder: Path, narrator: Narrator) -> list[str]:
    faults = heal(folder, narrator)
    verdict = "[red]it did not hold" if faults else "[green]only the cheat has paid, and not a unit is missing"
    narrator.console.print(verdict)
    for fault in faults:
        narrator.console.print(f"[red]✗[/] {fault}")
    return faults


def _format_ms(ordered: Sequence[float], share: float) -> str:
    return f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000:.0f} ms" if ordered else "none"


def main() -> ExitCode:
    narrator = Narrator()
    try:
        with tempfile.TemporaryDirectory(prefix="sequencer-demo-") as folder:
            faults = run(Path(folder), narrator)
            narrator.console.rule("[bold]self-healing")
            faults += _tell_healing(Path(folder), narrator)
    except (Exception, KeyboardInterrupt) as error:
        failure = explain_failure(error)
        if failure is None:
            raise
        print(f"error: {failure.message}", file=sys.stderr)
        return failure.code
    if not faults:
        narrator.console.print(
            "\nYour own: [bold]. .venv/bin/activate && sequencer devnet[/], then open http://127.0.0.1:27700 "
            "and type [bold]sequencer chaos kill-leader[/] in another terminal"
        )
    return ExitCode.FAILED if faults else ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
