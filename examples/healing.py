"""Ten nodes heal themselves: a cheat is slashed, a dead leader is benched, a dead committee is replaced and comes back.

The second act of `make demo`. Every step waits for what the nodes themselves say through their APIs, and at the end
their ledgers are compared to the last unit.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.box import ROUNDED
from rich.console import Console
from rich.table import Table

from examples.narrator import Narrator
from sequencer.home import HomePlan
from sequencer.local_cluster.cluster import LocalCluster
from sequencer.local_cluster.home import DEVNET_NAME, find_base_port, open_devnet
from sequencer.local_cluster.owner import ForkServerProcess
from sequencer.network_config import ConsensusSection, LeadershipSection
from sequencer.schema.records import ChangeJson

NODES = 10
STAKE = 1_000_000
PRIMARIES = 3
"""One of them cheats, the other two are killed together: a fifth of the stake, so the rest is a quorum."""
FIRST_PORT = 28_600
WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.02
LEADERSHIP = LeadershipSection(primary_size=PRIMARIES, fallback_size=3, handback_after=12)
CONSENSUS = ConsensusSection(idle_interval_ms=50)
"""Nobody submits anything here, and the story should go on."""

Ledger = dict[str, Any]


def heal(folder: Path, narrator: Narrator) -> list[str]:
    """The whole story. Returns what did not hold."""
    with ForkServerProcess() as server:
        plan = HomePlan(
            stakes=(STAKE,) * NODES,
            name=DEVNET_NAME,
            base_port=find_base_port(NODES, first=FIRST_PORT),
            leadership=LEADERSHIP,
            consensus=CONSENSUS,
        )
        home, _ = open_devnet(folder / "healing", plan)
        network = home.network
        cheat, *others = [network.name_of(member) for member in network.context().genesis_ledger.state.primary]
        with LocalCluster(home, server=server, byzantine={cheat: "equivocate"}) as cluster:
            honest = [name for name in cluster.names if name != cheat]
            observer = next(name for name in honest if name not in others)
            story = Story(cluster, honest, observer, narrator)
            before = story.start()
            story.punish(cheat)
            story.bench(others[0])
            story.replace(others)
            after = story.read_ledger()
            _print_ledgers(narrator.console, before, after, cheat)
            return story.find_faults(before, after, cheat)


class Story:
    """The steps, as one node that stays alive sees them."""

    def __init__(self, cluster: LocalCluster, honest: Sequence[str], observer: str, narrator: Narrator) -> None:
        self._cluster = cluster
        self._honest = tuple(honest)
        self._observer = cluster.client(observer)
        self._narrator = narrator

    def start(self) -> Ledger:
        with self._narrator.step("nine honest nodes start") as done:
            started = time.monotonic()
            self._cluster.start(*self._honest)
            self._cluster.wait_ready(*self._honest, timeout_seconds=WAIT_SECONDS)
            status = self._observer.status()
            done(
                f"{len(self._honest)} of {NODES} nodes decide after {time.monotonic() - started:.1f} s; "
                f"primary committee {', '.join(status.primary)}, fallback {', '.join(status.fallback)}"
            )
        return self.read_ledger()

    def punish(self, cheat: str) -> None:
        """J3: an equivocator is slashed and tombstoned, on every node at the same height."""
        with self._narrator.step(f"{cheat} starts, and tells different nodes different blocks when it leads") as done:
            started = time.monotonic()
            self._cluster.start(cheat)
            heights = self._wait(lambda: self._find_everywhere("tombstoned", cheat), f"{cheat} to be tombstoned")
            if len(set(heights)) != 1:
                raise AssertionError(f"{cheat} is tombstoned at different heights: {heights}")
            slashed = self._await_change("slashed", cheat)
            fields = slashed.fields
            done(
                f"[bold]{cheat} equivocates[/]: proof {fields['rule']} in block {slashed.height} after "
                f"{time.monotonic() - started:.1f} s, on all nodes alike: {fields['amount']:,} slashed "
                f"({fields['to_reporter']:,} to the reporter, {fields['to_pool']:,} to the pool, "
                f"{fields['burned']:,} burned), [bold]tombstoned[/]"
            )

    def bench(self, victim: str) -> None:
        """S3: a leader that misses its turns sits out the next ones."""
        with self._narrator.step(f"{victim} is killed") as done:
            self._cluster.kill(victim)
            started = time.monotonic()
            change = self._await_change("benched", victim)
            done(
                f"[bold]kill -9 {victim}[/]: benched at height {change.height} after "
                f"{(time.monotonic() - started) * 1000:.0f} ms, for {change.fields['turns']} turns; no stake is lost"
            )
        with self._narrator.step(f"{victim} is started again") as done:
            self._bring_back(victim)
            self._wait(lambda: victim not in self._observer.status().benched, f"{victim} to lead again")
            done(f"{victim} is back, has sat out its turns and leads again")

    def replace(self, primaries: Sequence[str]) -> None:
        """S4, S5: the primary committee dies as a whole; the fallback committee leads, and hands the lead back."""
        names = " and ".join(primaries)
        with self._narrator.step(f"{names} are killed together") as done:
            view = self._observer.status().view
            self._cluster.kill(*primaries)
            started = time.monotonic()
            change = self._await_change("fallback_activated", None)
            seconds = time.monotonic() - started
            done(
                f"[bold]kill -9 {names}[/], all of the primary committee that may lead, in view {view}: after "
                f"{change.fields['skipped_views']} skipped views, {seconds * 1000:.0f} ms, the "
                f"[bold]fallback committee leads[/] from height {change.height} on"
            )
        with self._narrator.step(f"{names} are started again") as done:
            for name in primaries:
                self._bring_back(name)
            change = self._await_change("fallback_ended", None)
            primary = ", ".join(self._observer.status().primary)
            done(
                f"[bold]handed back[/] at height {change.height}, after {LEADERSHIP.handback_after} blocks "
                f"without a skipped view; primary committee now {primary}"
            )

    def read_ledger(self) -> Ledger:
        """The ledger and the validators, at one height."""
        while True:
            ledger = self._observer.ledger()
            validators = self._observer.validators()
            if self._observer.ledger().commitment == ledger.commitment:
                rows = {row.name: msgspec.to_builtins(row) for row in validators.validators}
                return {**msgspec.to_builtins(ledger), "validators": rows}

    def find_faults(self, before: Ledger, after: Ledger, cheat: str) -> list[str]:
        """What should not be so; nothing when the cheat alone has paid, and not a unit is missing."""
        faults = []
        if before["supply"] != after["supply"]:
            faults.append(f"the supply was {before['supply']:,} and is {after['supply']:,}")
        for name, validator in after["validators"].items():
            lost = before["validators"][name]["stake"] - validator["stake"]
            if (lost > 0) != (name == cheat):
                faults.append(f"{name} has lost {lost:,}")
        if after["validators"][cheat]["status"] != "tombstoned":
            faults.append(f"{cheat} is {after['validators'][cheat]['status']}")
        common = min(
            self._cluster.client(name).block("latest", transactions="none").height for name in self._cluster.names
        )
        hashes = {self._cluster.client(name).block(common).hash for name in self._cluster.names}
        if len(hashes) != 1:
            faults.append(f"{len(hashes)} different blocks at height {common}")
        return faults

    def _bring_back(self, name: str) -> None:
        self._cluster.start(name)
        self._cluster.wait_ready(name, timeout_seconds=WAIT_SECONDS)

    def _find_everywhere(self, kind: str, validator: str) -> list[int]:
        """Heights at which the honest nodes report it; nothing until all of them do."""
        heights = []
        for name in self._honest:
            changes = self._cluster.client(name).changes(limit=1000).changes
            found = [entry.height for entry in changes if _is_about(entry, kind, validator)]
            if not found:
                return []
            heights.append(found[-1])
        return heights

    def _await_change(self, kind: str, validator: str | None) -> ChangeJson:
        """The first such change of the ledger that the observer tells."""

        def find() -> ChangeJson | None:
            changes = self._observer.changes(limit=1000).changes
            return next((entry for entry in changes if _is_about(entry, kind, validator)), None)

        found: ChangeJson = self._wait(find, f"{kind} {validator or ''}")
        return found

    def _wait(self, condition: Callable[[], Any], what: str) -> Any:
        return self._cluster.wait_until(condition, timeout_seconds=WAIT_SECONDS, poll_seconds=LOOK_SECONDS, what=what)


def _is_about(entry: ChangeJson, kind: str, validator: str | None) -> bool:
    return bool(entry.kind == kind and (validator is None or entry.fields.get("validator") == validator))


def _print_ledgers(console: Console, before: Ledger, after: Ledger, cheat: str) -> None:
    table = Table(box=ROUNDED, title="The ledger before and after")
    for heading in ("", f"height {before['height']}", f"height {after['height']}"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, validator in before["validators"].items():
        now = after["validators"][name]
        mark = "[red]" if name == cheat else ""
        table.add_row(f"{mark}{name}", *(f"{mark}{each['stake']:,} {each['status']}" for each in (validator, now)))
    table.add_section()
    for key in ("pool", "burned", "supply"):
        table.add_row(key, f"{before[key]:,}", f"{after[key]:,}")
    console.print()
    console.print(table)
