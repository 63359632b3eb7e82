"""What the nodes say of themselves while a run lasts: their status, asked for again and again, and their logs.

Nothing here waits for a node that is frozen or dead: each has a task of its own.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from netsim.scenario.faults import EventName
from netsim.scenario.outcome import Decided

ASK_SECONDS: Final = 1.0
"""A node that takes longer is passed over until it answers again."""
LOOK_SECONDS: Final = 0.05
"""Between two looks at a node, and as much more for each node beyond two: 60 questions a second at most."""
READ_SECONDS: Final = 0.1
"""Between two looks at the logs."""
_EVENTS: Final[Mapping[str, EventName]] = {
    "timed_out": "timeout",
    "fallback_activated": "fallback",
    "fallback_ended": "handback",
    "epoch_began": "epoch",
    "benched": "benched",
    "slashed": "slashed",
}
"""Log line -> event of a trigger."""
_KEPT: Final = (*_EVENTS, "jailed", "tombstoned", "offence")
_DEFECTS: Final = ("Traceback", '"level": "error"', '"level": "critical"')


@dataclass
class Sight:
    """What was last heard of a node."""

    height: int = 0
    view: int = 0
    status: dict[str, Any] = field(default_factory=dict)
    answered_at: float = float("-inf")


@dataclass(frozen=True)
class LogLine:
    """A line that counts, and when it was written by Trio's clock."""

    moment: float
    node: str
    event: str
    fields: dict[str, Any]


class Observer:
    """`urls` and `logs` by node name, in the order of the nodes."""

    def __init__(self, urls: Mapping[str, str], logs: Mapping[str, Path]) -> None:
        self._urls = dict(urls)
        self._logs = dict(logs)
        self._names = list(urls)
        self._offsets = {name: path.stat().st_size if path.exists() else 0 for name, path in logs.items()}
        self._epoch = trio.current_time() - time.time()
        self._changed = trio.Event()
        self._client: httpx.AsyncClient
        self.sights = {name: Sight() for name in urls}
        self.events: Counter[str] = Counter()
        self.lines: list[LogLine] = []
        self.defects: list[str] = []
        """Lines of a log that tell of an error that nobody foresaw, with the node's name."""
        self.decides: list[Decided] = []
        """Seconds are of Trio's clock here; a node that decides several blocks between two looks has one entry."""
        self.regressions: list[str] = []
        """A node that has forgotten what it had decided."""

    @property
    def height(self) -> int:
        """Highest that any node has decided."""
        return max(sight.height for sight in self.sights.values())

    @property
    def view(self) -> int:
        return max(sight.view for sight in self.sights.values())

    def note(self, event: EventName) -> None:
        """Something that the runner did itself, such as a restart."""
        self.events[event] += 1
        self._notify()

    def find_lines(self, event: str) -> list[LogLine]:
        return [line for line in self.lines if line.event == event]

    def count_distinct(self, event: str, *keys: str) -> int:
        """How often the ledger did this: each node that decides a block tells of it, so they are told apart by height
        and by these fields.
        """
        return len({tuple(line.fields.get(key) for key in ("height", *keys)) for line in self.find_lines(event)})

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Looked at whenever anything was heard."""
        while not condition():
            await self._changed.wait()

    async def ask(self, path: str, names: Sequence[str]) -> dict[str, Any] | None:
        """The first of these nodes that answers."""
        for name in names:
            try:
                answer = await self._client.get(self._urls[name] + path)
                if answer.is_success:
                    return dict(answer.json())
            except (httpx.HTTPError, ValueError):
                continue
        return None

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started means that nodes can be asked."""
        # One client for all questions: a new one costs tens of milliseconds, in which the leader changes.
        client = httpx.AsyncClient(timeout=ASK_SECONDS, trust_env=False)
        async with client as self._client, trio.open_nursery() as nursery:
            nursery.start_soon(self._read_logs_for_ever)
            for name in self._names:
                nursery.start_soon(self._watch, name)
            task_status.started()

    async def _watch(self, name: str) -> None:
        pause = LOOK_SECONDS * max(1, len(self._names) - 2)
        while True:
            status = await self.ask("/v1/status", [name])
            if status is not None:
                self._hear(name, status)
            await trio.sleep(pause)

    def _hear(self, name: str, status: dict[str, Any]) -> None:
        sight, height = self.sights[name], int(status["height"])
        now = trio.current_time()
        if height < sight.height:
            self.regressions.append(f"{name} had decided height {sight.height} and is at {height}")
        if height > sight.height:
            self.decides.append(Decided(now, self._names.index(name), height, status["decided_view"]))
            if height > self.height:
                self.events["decide"] += 1
        sight.height = max(sight.height, height)
        sight.view, sight.status, sight.answered_at = int(status["view"]), status, now
        self._notify()

    async def _read_logs_for_ever(self) -> None:
        while True:
            self.read_logs()
            await trio.sleep(READ_SECONDS)

    def read_logs(self) -> None:
        """Whatever whole lines have come since."""
        for name, path in self._logs.items():
            if not path.exists() or path.stat().st_size == self._offsets[name]:
                continue
            with path.open("rb") as file:
                file.seek(self._offsets[name])
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._offsets[name] += len(whole)
            for line in whole.decode(errors="replace").splitlines():
                self._read_line(name, line)
        self._notify()

    def _read_line(self, name: str, line: str) -> None:
        if any(sign in line for sign in _DEFECTS):
            self.defects.append(f"{name}: {line[:300]}")
        if not any(f'"{event}"' in line for event in _KEPT):
            return
        try:
            fields = json.loads(line)
        except ValueError:
            return
        event = fields.get("event")
        if event not in _KEPT:
            return
        moment = datetime.fromisoformat(fields["timestamp"]).timestamp() + self._epoch
        self.lines.append(LogLine(moment, name, event, fields))
        if event in _EVENTS:
            self.events[_EVENTS[event]] += 1

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
