"""Who looks after a running devnet: nodes that end are noticed, and nodes that come and go are started and ended."""

import time
from typing import Final

from sequencer.cli.output import talk
from sequencer.failures import CommandError
from sequencer.local_cluster.cluster import LocalCluster, describe_exit
from sequencer.local_cluster.protocol import NodeProcess
from sequencer.ports import PortUnavailableError
from sequencer.toml_file import ConfigError

RESTART_SECONDS: Final = 5.0
"""Long enough to watch the others go on without the node, short enough not to be forgotten."""
MEMBERS_SECONDS: Final = 0.5
"""Between two looks at the home for nodes that `devnet add` has made or `devnet remove` has taken out."""


class Keeper:
    """To be asked to `look` again and again. `is_restarting`: a node that somebody killed is started again."""

    def __init__(self, cluster: LocalCluster, *, is_restarting: bool) -> None:
        self._cluster = cluster
        self._is_restarting = is_restarting
        self._told: set[int] = set()
        self._due: dict[str, float] = {}
        self._next_members = 0.0

    def look(self) -> None:
        now = time.monotonic()
        if now >= self._next_members:
            self._next_members = now + MEMBERS_SECONDS
            self._look_at_members()
        for process in self._cluster.processes().values():
            if not process.is_running and process.pid not in self._told:
                self._told.add(process.pid)
                self._note_end(process, now)
        for name in [name for name, due in self._due.items() if due <= now]:
            del self._due[name]
            self._start(name, "started again")

    def _look_at_members(self) -> None:
        """J5: a validator that has bonded gets a process, one that has left the stake table loses it."""
        try:
            found = self._cluster.discover()
        except ConfigError as error:
            talk(f"\ra node that was added cannot be read: {error}")
            return
        for name in found:
            self._start(name, "added and started")
        for name in self._cluster.find_gone():
            self._due.pop(name, None)
            if name in self._cluster.running:
                self._cluster.stop(name)
                self._told.add(self._cluster.pid(name))
            self._cluster.forget(name)
            talk(f"\r{name} has left the network, its process is ended")

    def _start(self, name: str, what: str) -> None:
        try:
            self._cluster.start(name)
        except (CommandError, PortUnavailableError) as error:
            # Somebody else may have started it: the others go on either way.
            talk(f"\r{name} is not {what}: {error}")
        else:
            talk(f"\r{name} is {what}, as process {self._cluster.pid(name)}")

    def _note_end(self, process: NodeProcess, now: float) -> None:
        is_killed = (process.exit_code or 0) < 0
        reason = process.message or describe_exit(process)
        if is_killed and self._is_restarting:
            self._due[process.name] = now + RESTART_SECONDS
            talk(f"\r{process.name} has ended ({reason}); it is started again in {RESTART_SECONDS:g} s")
        else:
            talk(f"\r{process.name} has ended ({reason}); its log: {self._cluster.log_path(process.name)}")
