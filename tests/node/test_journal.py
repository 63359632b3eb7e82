"""Journals: what real nodes write down is enough for every oracle, and no oracle lets a broken rule pass."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock
from typer.testing import CliRunner

from consensus.context import EpochContext
from consensus.effects import Broadcast, Send
from consensus.evidence import BrokenPromise
from consensus.messages import FinalizeVote, QuorumProposal, QuorumVote, StatusRequest, TimeoutVote
from consensus.promises import Promise
from consensus.trace import (
    Accused,
    Began,
    Decided,
    Entered,
    EpochBegan,
    GaveUp,
    Heard,
    Opened,
    Record,
    Said,
    decode_record,
    describe_effect,
    encode_record,
)
from consensus.types import Commitment, Epoch, Height, Microseconds, NetworkId, ValidatorId, View
from netsim.checkers import Violation
from netsim.trace import NodeJournal, TraceError, check_trace, draw_timeline, read_journals
from netsim.trace.timeline import FLIGHTS_MAX
from sequencer.cli.main import app
from sequencer.journal import Journal
from sequencer.network_config import NetworkConfig
from sequencer.toml_file import render_toml
from tests.node.fleet import open_fleet
from tests.node.mesh import Keyring

R = TypeVar("R", bound=Record)
NOW = Microseconds(1)
ELSEWHERE = Commitment(b"\7" * 32)


class World:
    """The journals of a fleet that lost a node, got it back, and crossed epochs."""

    def __init__(self, folder: Path, network: NetworkConfig) -> None:
        self.folder = folder
        self.network = network
        self.context: EpochContext = network.context()
        self.records: dict[ValidatorId, list[Record]] = {
            journal.validator_id: list(journal.read([])) for journal in self.read()
        }

    def read(self) -> list[NodeJournal]:
        return read_journals(self.folder.glob("*/journal/*.trace"), self.context.network_id)

    def find(self, node: int, kind: type[R], is_wanted: Callable[[R], bool] = lambda record: True) -> tuple[int, R]:
        """Position and record of the last one like this."""
        records = self.records[ValidatorId(node)]
        return next(
            (position, record)
            for position, record in reversed(list(enumerate(records)))
            if isinstance(record, kind) and is_wanted(record)
        )

    def write(self, folder: Path, node: int, records: Iterable[Record]) -> Path:
        """A journal with these records, as the node would have written it."""
        path = folder / f"n{node}" / "journal" / "000001.trace"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"".join(msgspec.msgpack.encode(encode_record(record)) for record in records))
        return path

    def falsify(self, folder: Path, node: int, records: list[Record]) -> list[NodeJournal]:
        """All journals, with these records in place of the node's own."""
        for other, own in self.records.items():
            self.write(folder, other, records if other == node else own)
        return read_journals(folder.glob("*/journal/*.trace"), self.context.network_id)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("fleet")
    networks: list[NetworkConfig] = []

    async def run() -> None:
        async with open_fleet(folder, keyring=Keyring(4, epoch_blocks=8)) as fleet:
            networks.append(fleet.keyring.network)
            await fleet.wait_height(10)
            await fleet.stop(2)
            await fleet.wait_height(20)
            await fleet.start(2)
            await fleet.wait_height(30)

    trio.run(run, clock=MockClock(autojump_threshold=0))
    return World(folder, networks[0])


def test_what_nodes_have_written_tells_every_oracle_all_it_needs(world: World) -> None:
    summary = check_trace(world.read(), world.context)
    assert (summary.nodes, summary.processes) == (4, 5)
    assert summary.heights >= 30
    assert summary.decides > 100
    assert summary.epochs >= 3
    assert summary.timeouts > 0
    assert summary.certificates > 60
    assert not summary.accused
    assert not summary.torn
    kinds = {type(record) for records in world.records.values() for record in records}
    assert kinds == {Opened, Began, Said, Heard, Entered, GaveUp, Decided, EpochBegan}


def test_a_timeline_has_the_views_and_the_messages_around_a_moment(world: World) -> None:
    """One node is down from height 10 to 20: what is sent to it meanwhile is lost, everything else arrives."""
    zero = world.records[ValidatorId(0)][0].at
    _, gone = next(
        (position, record)
        for position, record in enumerate(world.records[ValidatorId(2)])
        if isinstance(record, Opened) and position > 0
    )
    timeline = draw_timeline(world.read(), zero, (gone.at - zero) / 1e6 - 0.5)
    assert {event.kind for event in timeline.views} == {"qc", "tc", "timeout"}
    assert {event.node for event in timeline.views} == {0, 1, 2, 3}
    assert 100 < len(timeline.flights) <= FLIGHTS_MAX
    lost = [flight for flight in timeline.flights if flight.arrived_seconds is None]
    back = (gone.at - zero) / 1e6
    assert {flight.destination for flight in lost if flight.sent_seconds < back} == {2}
    assert all(
        flight.sent_seconds < flight.arrived_seconds < flight.sent_seconds + 1
        for flight in timeline.flights
        if flight.arrived_seconds is not None
    )
    assert len(lost) < len(timeline.flights) / 2


def vote_for(world: World, kind: type[QuorumVote | FinalizeVote]) -> tuple[int, Said]:
    return world.find(0, Said, lambda said: isinstance(said.message, kind))


def test_a_second_vote_in_one_view_is_found(world: World, tmp_path: Path) -> None:
    kinds: tuple[type[QuorumVote | FinalizeVote], ...] = (QuorumVote, FinalizeVote)
    for number, kind in enumerate(kinds):
        position, said = vote_for(world, kind)
        other = msgspec.structs.replace(said, message=msgspec.structs.replace(said.message, leaf=ELSEWHERE))
        records = world.records[ValidatorId(0)]
        journals = world.falsify(tmp_path / str(number), 0, [*records[: position + 1], other, *records[position + 1 :]])
        with pytest.raises(Violation, match="two different") as caught:
            check_trace(journals, world.context)
        assert "in a record of validator 0" in "".join(caught.value.__notes__)
        assert check_trace(journals, world.context, byzantine={ValidatorId(0)}).nodes == 4


def test_a_finalize_vote_after_the_timeout_of_its_view_is_found(world: World, tmp_path: Path) -> None:
    position, said = world.find(0, Said, lambda said: isinstance(said.message, TimeoutVote))
    timeout = said.message
    assert isinstance(timeout, TimeoutVote)
    _, finalize = vote_for(world, FinalizeVote)
    late = msgspec.structs.replace(
        finalize, message=msgspec.structs.replace(finalize.message, epoch=timeout.epoch, view=timeout.view)
    )
    records = world.records[ValidatorId(0)]
    journals = world.falsify(tmp_path, 0, [*records[: position + 1], late, *records[position + 1 :]])
    with pytest.raises(Violation, match="after its timeout"):
        check_trace(journals, world.context)


def test_another_leaf_at_a_decided_height_is_found(world: World, tmp_path: Path) -> None:
    _, later = world.find(3, Decided)
    position, decided = world.find(3, Decided, lambda record: record.leaves[-1].height < later.leaves[-1].height - 3)
    leaf = msgspec.structs.replace(decided.leaves[-1], timestamp_ms=decided.leaves[-1].timestamp_ms + 1)
    records = list(world.records[ValidatorId(3)])
    records[position] = msgspec.structs.replace(decided, leaves=(*decided.leaves[:-1], leaf), fc=later.fc)
    with pytest.raises(Violation, match="two leaves at height"):
        check_trace(world.falsify(tmp_path, 3, records), world.context)


def test_a_decide_that_was_left_out_or_told_twice_is_found(world: World, tmp_path: Path) -> None:
    position, _ = world.find(1, Decided)
    records = world.records[ValidatorId(1)]
    before, _ = next(
        (number, record) for number, record in enumerate(records[:position]) if isinstance(record, Decided)
    )
    for name, changed in (
        ("gap", [*records[:before], *records[before + 1 :]]),
        ("twice", [*records[: before + 1], records[before], *records[before + 1 :]]),
    ):
        with pytest.raises(Violation, match="right after"):
            check_trace(world.falsify(tmp_path / name, 1, changed), world.context)


def test_a_forged_certificate_is_found(world: World, tmp_path: Path) -> None:
    position, decided = world.find(1, Decided)
    proof = bytes([decided.fc.proof[0] ^ 1]) + decided.fc.proof[1:]
    records = list(world.records[ValidatorId(1)])
    records[position] = msgspec.structs.replace(decided, fc=msgspec.structs.replace(decided.fc, proof=proof))
    with pytest.raises(Violation, match="forged signature"):
        check_trace(world.falsify(tmp_path, 1, records), world.context)


def test_a_view_that_goes_back_is_found(world: World, tmp_path: Path) -> None:
    position, entered = world.find(0, Entered)
    back = msgspec.structs.replace(entered, view=View(entered.view - 1))
    records = world.records[ValidatorId(0)]
    with pytest.raises(Violation, match="entered"):
        check_trace(world.falsify(tmp_path, 0, [*records[: position + 1], back]), world.context)


def test_proof_against_an_honest_node_is_found(world: World, tmp_path: Path) -> None:
    """Whatever it says: an honest node is never accused, unless by a liar, whom nobody has to believe."""
    promise = Promise(ValidatorId(2), Epoch(0), View(1), View(2), ELSEWHERE, bytes(32), bytes(64))
    accused = Accused(world.records[ValidatorId(0)][-1].at, BrokenPromise(promise, Height(3)))
    journals = world.falsify(tmp_path, 0, [*world.records[ValidatorId(0)], accused])
    with pytest.raises(Violation, match="against honest 2"):
        check_trace(journals, world.context)
    assert check_trace(journals, world.context, byzantine={ValidatorId(2)}).accused == {ValidatorId(2)}
    assert not check_trace(journals, world.context, byzantine={ValidatorId(0)}).accused


def test_a_killed_process_leaves_a_torn_file_that_can_be_read(world: World, tmp_path: Path) -> None:
    for node, records in world.records.items():
        path = world.write(tmp_path, node, records)
        if node == 1:
            path.write_bytes(path.read_bytes()[:-5])
    summary = check_trace(read_journals(tmp_path.glob("*/journal/*.trace"), world.context.network_id), world.context)
    assert summary.torn == [tmp_path / "n1" / "journal" / "000001.trace"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (msgspec.msgpack.encode([1, 2]), "holds something else than records"),
        (msgspec.msgpack.encode(b"nonsense"), "a record cannot be read"),
        (msgspec.msgpack.encode(encode_record(GaveUp(NOW, View(1), "timer"))), "does not begin like a journal"),
        (msgspec.msgpack.encode(encode_record(Opened(NOW, 99, bytes(32), ValidatorId(0)))), "version 99"),
        (msgspec.msgpack.encode(encode_record(Opened(NOW, 1, bytes(32), ValidatorId(0)))), "another network"),
    ],
)
def test_what_is_no_journal_is_told_with_its_file(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.trace").write_bytes(content)
    with pytest.raises(TraceError, match=told) as caught:
        read_journals(tmp_path.glob("*.trace"), NetworkId(b"\1" * 32))
    assert "x.trace" in str(caught.value)


def test_what_is_no_statement_of_the_node_is_not_kept(world: World) -> None:
    status = StatusRequest(Epoch(0), View(3))
    assert describe_effect(Broadcast(status), NOW) is None
    assert describe_effect(Send(ValidatorId(1), status), NOW) is None


def test_a_proposal_is_kept_without_its_payload(world: World) -> None:
    _, said = world.find(0, Said, lambda said: isinstance(said.message, QuorumProposal))
    proposal = said.message
    assert isinstance(proposal, QuorumProposal)
    full = msgspec.structs.replace(proposal, payload=b"many transactions")
    kept = describe_effect(Broadcast(full), said.at)
    assert kept == said
    assert decode_record(encode_record(said)) == said


def test_a_disk_that_refuses_the_journal_ends_it_and_not_the_node(tmp_path: Path) -> None:
    journal = Journal(tmp_path, NetworkId(bytes(32)), ValidatorId(0), NOW)
    journal.close()
    journal = Journal(tmp_path, NetworkId(bytes(32)), ValidatorId(0), NOW)
    journal._descriptor = os.open("/dev/full", os.O_WRONLY)
    with capture_logs() as logs:
        journal.write_turn([Broadcast(FinalizeVote(Epoch(0), View(1), ELSEWHERE, ValidatorId(0), bytes(64)))], NOW)
    assert [entry["event"] for entry in logs] == ["journal_ended"]
    journal.write_turn([], NOW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000001.trace", "000002.trace"]


def test_the_command_tells_what_held(world: World, tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text(render_toml(world.network))
    for node, records in world.records.items():
        world.write(tmp_path, node, records)
    run = CliRunner().invoke(app, ["check", "trace", str(tmp_path)])
    assert run.exit_code == 0, run.output
    assert "every rule held" in run.output
    assert "nobody" in run.output


def test_the_command_tells_where_no_journal_is(world: World, tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text(render_toml(world.network))
    run = CliRunner().invoke(app, ["check", "trace", str(tmp_path), "--byzantine", "n9"])
    assert "there are n0, n1, n2, n3" in str(run.exception)
    run = CliRunner().invoke(app, ["check", "trace", str(tmp_path)])
    assert "there is no journal" in str(run.exception)
