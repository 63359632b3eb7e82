"""The process and the machine: what runs, how late it is, its disk, its clock, and the faults that it was given."""

import os
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Info
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sequencer.fault_log import FAULTS, FaultLog
from sequencer.metrics.entries import DURATION_BUCKETS, FSYNC_BUCKETS, OTHER, Entry, Section

log = structlog.get_logger("metrics")

BUILD: Final = Entry(
    "sequencer_build",
    "info",
    "What is running here.",
    "Joins a version to any other figure. Two versions in a network: an upgrade is under way.",
    ("version", "network", "validator", "python"),
)
FSYNC: Final = Entry(
    "sequencer_fsync_seconds",
    "histogram",
    "Time to make one turn's write durable. Votes wait for it.",
    "Milliseconds on a good disk. It is in every phase of every view.",
    buckets=FSYNC_BUCKETS,
)
SCHEDULER_LAG: Final = Entry(
    "sequencer_scheduler_lag_seconds",
    "histogram",
    "How late the node's event loop runs a task that is due, measured four times a second.",
    "Under a few milliseconds. More: the machine has no CPU left, or something blocks the loop; timers fire late then.",
    buckets=DURATION_BUCKETS,
)
CLOCK: Final = Entry(
    "sequencer_clock_seconds",
    "gauge",
    "Unix time by the clock of this node.",
    "Minus timestamp() of itself: how far its clock is from that of Prometheus. Others refuse proposals from a clock "
    "that is more than clock_skew_max_ms ahead.",
)
CLOCK_DRIFT: Final = Entry(
    "sequencer_clock_drift_seconds",
    "gauge",
    "Seconds by which the wall clock has left the node's since it started.",
    "0. Else the wall clock was stepped or the machine slept: restart the node.",
)
DISK_FREE: Final = Entry(
    "sequencer_disk_free_bytes",
    "gauge",
    "Free space on the file system of the database.",
    "At 0 the node ends: it never goes on with what it cannot write.",
)
DISK_SIZE: Final = Entry(
    "sequencer_disk_size_bytes", "gauge", "Size of that file system.", "To tell how full it is in per cent."
)
DATABASE: Final = Entry(
    "sequencer_database_bytes",
    "gauge",
    "Size of the database with its log.",
    "Its growth says how long the disk lasts.",
)
FAULT_ACTIVE: Final = Entry(
    "sequencer_fault_active",
    "gauge",
    "Faults of this cluster's fault log that are on, by kind. Only where `faults` is set in node.toml.",
    "What is broken on purpose: dashboards mark it. GET /v1/faults names the nodes.",
    ("fault",),
)

SECTION: Final = Section(
    "Process and machine",
    (BUILD, FSYNC, SCHEDULER_LAG, CLOCK, CLOCK_DRIFT, DISK_FREE, DISK_SIZE, DATABASE, FAULT_ACTIVE),
)


class Host:
    def __init__(
        self,
        registry: CollectorRegistry,
        version: str,
        network: str,
        validator: str,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        build = Info(BUILD.name, BUILD.help, registry=registry)
        build.info(
            {"version": version, "network": network, "validator": validator, "python": platform.python_version()}
        )
        self.fsync_seconds = FSYNC.histogram(registry)
        self.scheduler_lag_seconds = SCHEDULER_LAG.histogram(registry)
        CLOCK.gauge(registry).set_function(wall)

    def watch_clock(self, drift: Callable[[], float]) -> None:
        """Called at each scrape."""
        CLOCK_DRIFT.gauge(self._registry).set_function(drift)

    def watch_disk(self, database: Path) -> None:
        """Looked at at each scrape."""
        self._registry.register(_Disk(database))

    def watch_faults(self, fault_log: FaultLog) -> None:
        """Read at each scrape."""
        self._registry.register(_Faults(fault_log))


class _Disk(Collector):
    def __init__(self, database: Path) -> None:
        self._database = database

    def collect(self) -> Iterable[Metric]:
        try:
            found = os.statvfs(self._database.parent)
        except OSError as error:
            log.warning("disk_unreadable", path=str(self._database.parent), reason=error.strerror)
            return
        yield DISK_FREE.gauge_family(found.f_bavail * found.f_frsize)
        yield DISK_SIZE.gauge_family(found.f_blocks * found.f_frsize)
        files = (self._database, self._database.with_name(self._database.name + "-wal"))
        yield DATABASE.gauge_family(sum(file.stat().st_size for file in files if file.exists()))


class _Faults(Collector):
    """Faults of the cluster that are on."""

    def __init__(self, fault_log: FaultLog) -> None:
        self._fault_log = fault_log

    def collect(self) -> Iterable[Metric]:
        try:
            kinds = [fault.fault if fault.fault in FAULTS else OTHER for fault in self._fault_log.read_active()]
        except OSError as error:
            log.warning("fault_log_unreadable", path=str(self._fault_log.path), reason=error.strerror)
            return
        active = FAULT_ACTIVE.gauge_family()
        for kind in (*FAULTS, OTHER):
            active.add_metric([kind], kinds.count(kind))
        yield active
