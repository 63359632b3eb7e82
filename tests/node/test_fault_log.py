"""The fault log: append-only, closed by id, read from its end, and tolerant of writers that were interrupted."""

import os
import threading
from pathlib import Path

import msgspec
import pytest
import trio

from sequencer.fault_log import FAULTS, KILL, PARTITION, PAUSE, TAIL_BYTES, FaultLog
from sequencer.metrics import NodeMetrics
from sequencer.schema.faults import Fault
from tests.node.fake_node import FakeNode, make_client
from tests.node.test_api_status import assert_problem
from tests.node.test_metrics import read


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def log(tmp_path: Path, clock: Hand) -> FaultLog:
    return FaultLog(tmp_path / "faults.jsonl", clock)


def test_there_is_nothing_to_tell_without_a_file_and_nothing_is_made_by_asking(log: FaultLog) -> None:
    assert log.read() == ()
    assert log.end() == ()
    assert not log.path.exists()


def test_a_fault_is_on_until_somebody_ends_it(log: FaultLog, clock: Hand) -> None:
    """Another process that reads the same file sees both."""
    begun = log.begin(KILL, ["n1"], "chaos kill")
    reader = FaultLog(log.path, clock)
    assert begun is not None
    assert reader.read_active() == (begun,)
    clock.now += 5
    (ended,) = log.end(lambda fault: "n1" in fault.targets)
    assert (ended.id, ended.since_ms, ended.until_ms) == (begun.id, 1_000_000, 1_000_005)
    assert reader.read() == (ended,)
    assert reader.read_active() == ()
    assert len(log.path.read_bytes().splitlines()) == 2, "nothing is ever rewritten"


def test_a_fault_with_a_time_ends_by_itself_or_before(log: FaultLog, clock: Hand) -> None:
    log.begin(PARTITION, ["n0"], "chaos partition", seconds=10)
    log.begin(PAUSE, ["n1"], "chaos pause", seconds=0.5)
    clock.now += 500
    assert [fault.fault for fault in log.read_active()] == [PARTITION]
    assert [fault.until_ms for fault in log.end()] == [1_000_500]
    assert [fault.until_ms for fault in log.read()] == [1_000_500, 1_000_500]


def test_what_stands_there_already_is_not_written_twice(log: FaultLog) -> None:
    log.begin(KILL, ["n1"], "chaos kill")
    assert log.begin(KILL, ["n1"], "devnet", is_known=lambda fault: "n1" in fault.targets) is None
    assert log.begin(KILL, ["n2"], "devnet", is_known=lambda fault: "n2" in fault.targets) is not None
    assert len(log.read()) == 2


def test_a_torn_line_costs_itself_and_not_the_next_one(log: FaultLog) -> None:
    log.begin(KILL, ["n1"], "chaos kill")
    whole = log.path.read_bytes()
    log.begin(KILL, ["n2"], "chaos kill")
    os.truncate(log.path, len(whole) + 20)
    assert [fault.targets for fault in log.read()] == [("n1",)]
    log.begin(KILL, ["n3"], "chaos kill")
    assert [fault.targets for fault in log.read()] == [("n1",), ("n3",)]


def test_of_a_long_file_the_end_is_read(log: FaultLog, clock: Hand) -> None:
    """Its first line is half of one then, and no fault."""
    line = msgspec.json.encode(Fault(id="x" * 50, fault=KILL, targets=("n0",), since_ms=1, until_ms=2, by="chaos"))
    log.path.write_bytes((line + b"\n") * (2 * TAIL_BYTES // len(line)) + b"[1]\n{}\n")
    log.begin(PAUSE, ["n1"], "chaos pause")
    assert [fault.fault for fault in log.read()] == [KILL, PAUSE]


def test_many_writers_lose_nothing(log: FaultLog) -> None:
    """Each ends its own fault while the others write theirs."""

    def write(name: str) -> None:
        own = FaultLog(log.path)
        for _ in range(20):
            own.begin(KILL, [name], "chaos kill")
            own.end(lambda fault: name in fault.targets)

    threads = [threading.Thread(target=write, args=(f"n{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    faults = log.read()
    assert len(faults) == 80
    assert all(fault.until_ms is not None for fault in faults)


async def test_the_api_tells_the_last_faults_and_which_are_on(log: FaultLog, clock: Hand) -> None:
    log.begin(PAUSE, ["n1"], "chaos pause", seconds=1)
    clock.now += 2000
    log.begin(PARTITION, ["n0", "n2"], "chaos partition n0,n2 | n1,n3")
    async with make_client(FakeNode(), fault_log=log) as client:
        answer = (await client.get("/v1/faults")).json()
        last = (await client.get("/v1/faults?limit=1")).json()
        assert_problem(await client.get("/v1/faults?limit=0"), 400, "bad_parameter")
    assert answer["has_log"]
    assert answer["now_ms"] == clock.now
    kinds = [(fault["fault"], fault["targets"], fault["until_ms"]) for fault in answer["faults"]]
    assert kinds == [("pause", ["n1"], 1_001_000), ("partition", ["n0", "n2"], None)]
    assert [fault["fault"] for fault in last["faults"]] == ["partition"]


async def test_a_node_without_a_log_says_that_it_has_none() -> None:
    async with make_client(FakeNode(), trio.Event()) as client:
        answer = (await client.get("/v1/faults")).json()
    assert (answer["has_log"], answer["faults"]) == (False, [])


@pytest.fixture
def watching(log: FaultLog) -> NodeMetrics:
    metrics = NodeMetrics("1.2.3", "testnet", "n0")
    metrics.host.watch_faults(log)
    return metrics


def test_faults_that_are_on_are_counted_by_kind(watching: NodeMetrics, log: FaultLog, clock: Hand) -> None:
    """Kinds of somebody else's making are one."""
    assert {read(watching, "sequencer_fault_active", fault=kind) for kind in FAULTS} == {0}
    log.begin(PAUSE, ["n1"], "chaos pause")
    log.begin(PAUSE, ["n2"], "chaos pause", seconds=1)
    log.begin("earthquake", ["n3"], "somebody")
    assert read(watching, "sequencer_fault_active", fault="pause") == 2
    assert read(watching, "sequencer_fault_active", fault="other") == 1
    clock.now += 1000
    assert read(watching, "sequencer_fault_active", fault="pause") == 1


def test_a_log_that_cannot_be_read_takes_no_other_figure_off_the_page(watching: NodeMetrics, log: FaultLog) -> None:
    log.path.mkdir()
    assert read(watching, "sequencer_fault_active", fault="pause") is None
    assert read(watching, "sequencer_view") == 0
