"""Who looks after a running devnet: nodes that end are noticed, and nodes that come and go are started and ended."""

import time
from collections.abc import Callable
from typing import Final

from sequencer.chaos.resources import find_holder
from sequencer.cli.output import talk
from sequencer.failures import CommandError
from sequencer.fault_log import CRASH, KILL, PROCESS_FAULTS, STOP, FaultLog
from sequencer.local_cluster.cluster import LocalCluster, describe_exit
from sequencer.local_cluster.protocol import NodeProcess
from sequencer.local_cluster.targets import write_targets
from sequencer.ports import PortUnavailableError
from sequencer.schema.faults import Fault
from sequencer.toml_file import ConfigError

RESTART_SECONDS: Final = 5.0
"""Long enough to watch the others go on without the node, short enough not to be forgotten."""
MEMBERS_SECONDS: Final = 0.5
"""Between two looks at the home for nodes that `devnet add` has made or `devnet remove` has taken out."""
RETURN_SECONDS: Final = 2.0
"""Between two looks for nodes that are down, and that somebody may start by hand: it goes through all processes."""
NOTICED_BY: Final = "devnet"
"""Who tells of faults that nobody ordered here."""


class Keeper:
    """To be asked to `look` again and again. `is_restarting`: a node that somebody killed is started again.

    What happens to nodes goes into the fault log, except what `sequencer chaos` has written there before it did it.
    """

    def __init__(self, cluster: LocalCluster, fault_log: FaultLog, *, is_restarting: bool) -> None:
        self._cluster = cluster
        self._faults = _PatientLog(fault_log)
        self._down: set[str] = set()
        """Nodes that have ended and that nobody here is going to start."""
        self._next_returns = 0.0
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
        if self._down and now >= self._next_returns:
            self._next_returns = now + RETURN_SECONDS
            for name in [name for name in self._down if find_holder(self._cluster.database_path(name)) is not None]:
                self._note_return(name)

    def _look_at_members(self) -> None:
        """J5: a validator that has bonded gets a process, one that has left the stake table loses it."""
        try:
            found = self._cluster.discover()
        except ConfigError as error:
            talk(f"\ra node that was added cannot be read: {error}")
            return
        for name in found:
            self._start(name, "added and started")
        gone = self._cluster.find_gone()
        for name in gone:
            self._due.pop(name, None)
            if name in self._cluster.running:
                self._cluster.stop(name)
                self._told.add(self._cluster.pid(name))
            self._cluster.forget(name)
            self._note_return(name)
            talk(f"\r{name} has left the network, its process is ended")
        if found or gone:
            try:
                write_targets(self._cluster)
            except OSError as error:
                talk(f"\rPrometheus is not told of the change: {error}")

    def _start(self, name: str, what: str) -> None:
        try:
            self._cluster.start(name)
        except (CommandError, PortUnavailableError) as error:
            # Somebody else may have started it: the others go on either way.
            self._down.add(name)
            talk(f"\r{name} is not {what}: {error}")
        else:
            self._note_return(name)
            talk(f"\r{name} is {what}, as process {self._cluster.pid(name)}")

    def _note_return(self, name: str) -> None:
        """It runs again, or is no part of this devnet any more."""
        self._down.discard(name)
        self._faults.end(lambda fault: fault.fault in PROCESS_FAULTS and name in fault.targets)

    def _note_end(self, process: NodeProcess, now: float) -> None:
        code = process.exit_code or 0
        is_killed = code < 0
        reason = process.message or describe_exit(process)
        self._faults.begin(process.name, KILL if is_killed else CRASH if code else STOP)
        if is_killed and self._is_restarting:
            self._due[process.name] = now + RESTART_SECONDS
            talk(f"\r{process.name} has ended ({reason}); it is started again in {RESTART_SECONDS:g} s")
        else:
            self._down.add(process.name)
            talk(f"\r{process.name} has ended ({reason}); its log: {self._cluster.log_path(process.name)}")


class _PatientLog:
    """The fault log of somebody who has more important things to do: that it cannot be written is told, once."""

    def __init__(self, log: FaultLog) -> None:
        self._log = log
        self._is_told = False

    def begin(self, name: str, kind: str) -> None:
        """Unless an order has done it: then it stands there already."""

        def is_known(fault: Fault) -> bool:
            return fault.fault in (KILL, CRASH, STOP) and name in fault.targets

        try:
            self._log.begin(kind, [name], NOTICED_BY, is_known=is_known)
        except OSError as error:
            self._tell(error)

    def end(self, is_over: Callable[[Fault], bool]) -> None:
        try:
            self._log.end(is_over)
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._is_told:
            self._is_told = True
            talk(f"\rfaults are not written down: {self._log.path}: {error.strerror}")
