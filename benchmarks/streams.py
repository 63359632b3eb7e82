"""What a thousand readers of a stream cost the node that they follow, and whether the cluster slows down for them."""

import argparse
import os
import selectors
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmarks.api import SHARE, make_plan, measure_peak, run_beside
from benchmarks.measuring import print_table, read_cpu_seconds, run_cluster
from sequencer.local_cluster.cluster import LocalCluster

MEMORY_FLOOR_MIB: Final = 200
SPEED_FLOOR: Final = 0.9
_PAGE_MIB: Final = os.sysconf("SC_PAGE_SIZE") / 2**20
_REQUEST: Final = "GET /v1/stream/blocks HTTP/1.1\r\nHost: {netloc}\r\nAccept: text/event-stream\r\n\r\n"


def read_streams(url: str, count: int, control: Connection) -> None:
    """In a process of its own: opens so many streams, and reads what comes until it is told to end."""
    parts = urlsplit(url)
    request = _REQUEST.format(netloc=parts.netloc).encode()
    selector = selectors.DefaultSelector()
    for _ in range(count):
        reader = socket.create_connection((parts.hostname, parts.port))
        reader.sendall(request)
        selector.register(reader, selectors.EVENT_READ)
    selector.register(control, selectors.EVENT_READ)
    control.send("connected")
    events = 0
    while True:
        for key, _ in selector.select():
            if key.fileobj is control:
                control.recv()
                control.send(events)
                return
            data = key.fileobj.recv(65_536)  # type: ignore[union-attr]
            if not data:
                raise ConnectionError("the node has ended a stream")
            events += data.count(b"event: block")


@contextmanager
def run_readers(url: str, count: int) -> Iterator[list[int]]:
    """Readers that are there; afterwards how many blocks they got, all together."""
    events: list[int] = []
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=read_streams, args=(url, count, theirs), daemon=True)
    process.start()
    theirs.close()
    ours.recv()
    yield events
    ours.send("end")
    events.append(ours.recv())
    process.join()


def read_resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MIB


def measure_speed(cluster: LocalCluster, seconds: float) -> float:
    """Blocks decided per second, by the node that nobody follows."""
    client = cluster.client(cluster.names[-1])
    before, started = client.status().height, time.monotonic()
    time.sleep(seconds)
    return float((client.status().height - before) / (time.monotonic() - started))


def main(arguments_given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks streams", description=__doc__)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--durability", choices=["fsync", "os"], default="os")
    parser.add_argument("--rounds", type=int, default=5, help="each with a phase without readers and one with them")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a phase")
    parser.add_argument("--peak-seconds", type=float, default=8.0, help="for finding the peak")
    parser.add_argument("--idle", action="store_true", help="order nothing instead of half of the peak")
    arguments = parser.parse_args(arguments_given)
    speeds: dict[bool, list[float]] = {False: [], True: []}
    memory: list[float] = []
    used: dict[bool, list[float]] = {False: [], True: []}
    received = 0
    with run_cluster(arguments.nodes, durability=arguments.durability) as cluster:
        followed = cluster.names[0]
        url, pid = cluster.url(followed), cluster.processes()[followed].pid

        peak = 0.0 if arguments.idle else measure_peak(cluster, arguments.peak_seconds)

        def run_phase(*, is_followed: bool) -> None:
            with ExitStack() as stack:
                if peak:
                    stack.enter_context(run_beside(make_plan(cluster, peak * SHARE, arguments.seconds)))
                cpu = read_cpu_seconds(pid)
                speeds[is_followed].append(measure_speed(cluster, arguments.seconds))
                used[is_followed].append((read_cpu_seconds(pid) - cpu) / arguments.seconds)

        for _ in range(arguments.rounds):
            run_phase(is_followed=False)
            before = read_resident_mib(pid)
            with run_readers(url, arguments.readers) as events:
                memory.append(read_resident_mib(pid) - before)
                run_phase(is_followed=True)
            received += events[0]
    ratio = statistics.median(speeds[True]) / statistics.median(speeds[False])
    rows = [
        (
            "with" if is_followed else "without",
            f"{statistics.median(speeds[is_followed]):.2f}",
            f"{min(speeds[is_followed]):.2f} to {max(speeds[is_followed]):.2f}",
            f"{statistics.median(used[is_followed]):.2f}",
        )
        for is_followed in speeds
    ]
    print_table(
        f"{arguments.nodes} nodes, {arguments.readers} readers of {followed}, "
        f"{f'half of {peak:,.0f} tx/s' if peak else 'idle'}, load average "
        f"{os.getloadavg()[0]:.1f}",
        ("readers", "blocks/s, median", "all rounds", f"cores of {followed}"),
        rows,
    )
    print(f"speed with readers: {ratio:.3f} of that without; the floor is {SPEED_FLOOR}")
    print(f"memory for them: at first {memory[0]:.0f} MiB, at most {max(memory):.0f}; the floor is {MEMORY_FLOOR_MIB}")
    print(f"blocks read by all of them: {received:,}")


if __name__ == "__main__":
    main()
