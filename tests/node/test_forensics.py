"""`sequencer forensics` over databases that real storage wrote: is there a fork, and who made it?"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from typer import Typer
from typer.testing import CliRunner, Result

from consensus.certificates import FinalityCertificate
from consensus.effects import Batch, Decide
from consensus.evidence import Evidence, get_rule
from consensus.leaf import Block
from consensus.ledger import LedgerSchedule
from consensus.messages import QuorumVote
from consensus.safety import SafetyRecord
from consensus.validation import MessageValidator
from sequencer.cli.forensics import forensics
from sequencer.config import ConfigError
from sequencer.databases import create_database
from sequencer.failures import CommandError, ExitCode
from sequencer.home import Home, HomePlan, create_home
from sequencer.keys import read_key
from sequencer.payload import PayloadCache
from sequencer.storage.archive import Archive
from sequencer.storage.sqlite import SqliteStorage
from tests.lab import Lab

app = Typer()
app.command()(forensics)


class HomeLab(Lab):
    """Signs with the keys of a home's validators."""

    def __init__(self, home: Home) -> None:
        self.context = home.network.context()
        self.scheme = self.context.scheme  # type: ignore[assignment]
        self.signers = [read_key(node.key_path) for node in home.nodes]
        self.table = self.context.stake_table
        self.schedule = LedgerSchedule(self.context.ledger_parameters.leadership)
        self.validator = MessageValidator(self.context)
        self.genesis, self.genesis_qc = self.context.genesis, self.context.genesis_qc
        self._ledgers = {self.genesis.commitment: self.context.genesis_ledger}
        self.home = home

    def fc(self, block: Block, voters: Iterable[int] | None = None) -> FinalityCertificate:
        """Those who finalize it are those who voted for it."""
        return msgspec.structs.replace(super().fc(block, voters), qc=self.qc(block, voters))

    def store(
        self, number: int, *blocks: Block, voters: Sequence[int] = (0, 1, 2), record: SafetyRecord | None = None
    ) -> None:
        """This node has decided these blocks, each by its own FC."""

        async def write() -> None:
            with self.open(number) as storage:
                decides = tuple(Decide((block,), self.fc(block, voters=voters)) for block in blocks)
                await storage.append(Batch(record, (), decides, ()))

        trio.run(write)

    def open(self, number: int) -> SqliteStorage:
        node = self.home.nodes[number]
        return SqliteStorage(
            node.database_path, self.context.network_id, node.validator_id, self.genesis, PayloadCache(8), "os"
        )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(tmp_path / "home", HomePlan(stakes=(30, 20, 25, 25)), create_database)


@pytest.fixture
def lab(home: Home) -> HomeLab:
    return HomeLab(home)


@pytest.fixture
def forked(lab: HomeLab) -> tuple[Block, Block]:
    """After two blocks in common n0 and n1 finalize one with n2, forget it, and finalize another one with n3."""
    one, two = lab.chain(2)
    mine = lab.block(two, 3)
    theirs = lab.block(two, 4, tc=lab.tc(3, lab.qc(two), voters=(0, 1, 3)))
    lab.store(2, one, two, mine)
    lab.store(3, one, two)
    lab.store(3, theirs, lab.block(theirs, 5, justify=lab.qc(theirs, (0, 1, 3))), voters=(0, 1, 3))
    return mine, theirs


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)


def run_json(*arguments: object) -> tuple[int, dict[str, Any]]:
    result = run(*arguments, "-o", "json")
    return result.exit_code, json.loads(result.stdout)


def test_one_chain_of_which_some_have_more_is_no_fork(home: Home, lab: HomeLab) -> None:
    blocks = lab.chain(5)
    for number, length in enumerate((5, 3, 4, 0)):
        lab.store(number, *blocks[:length])
    code, report = run_json(home.path)
    assert code == ExitCode.OK
    assert (report["fork"], report["offences"], report["epochs"]) == (None, [], [])
    assert [(entry["validator"], entry["height"]) for entry in report["databases"]] == [
        ("n0", 5),
        ("n1", 3),
        ("n2", 4),
        ("n3", 0),
    ]
    assert "no fork: the chains of 4 databases agree" in run(home.path).stderr


def test_a_fork_names_those_who_made_it(home: Home, forked: tuple[Block, Block]) -> None:
    code, report = run_json(home.path)
    assert code == ExitCode.FAILED
    assert report["fork"] == {
        "height": 3,
        "sides": [
            {"leaf": block.commitment.hex(), "databases": [str(home.nodes[number].database_path)]}
            for number, block in zip((2, 3), forked, strict=True)
        ],
    }
    offences = [(entry["validator"], entry["rule"], entry["stake"]) for entry in report["offences"]]
    assert offences == [("n0", "E4", 30), ("n1", "E4", 20)]
    assert report["epochs"] == [
        {"epoch": 0, "offending_stake": 50, "one_honest_threshold": 34, "total_stake": 100},
    ]


def test_the_table_names_them_and_stderr_says_what_it_means(home: Home, forked: tuple[Block, Block]) -> None:
    result = run(home.nodes[2].folder, home.nodes[3].database_path)
    assert result.exit_code == ExitCode.FAILED
    header, _, *rows = result.stdout.splitlines()
    assert header.split() == ["validator", "rule", "epoch", "view", "stake", "offence"]
    assert [row.split()[:5] for row in rows] == [["n0", "E4", "0", "3", "30"], ["n1", "E4", "0", "3", "20"]]
    assert f"fork at height {forked[0].leaf.height}" in result.stderr
    assert "offenders have 50 of 100 stake; a fork takes 34" in result.stderr


def test_proofs_can_be_saved_and_read_again(home: Home, forked: tuple[Block, Block], tmp_path: Path) -> None:
    assert run(home.path, "--save", tmp_path / "proofs").exit_code == ExitCode.FAILED
    proofs = msgspec.msgpack.decode((tmp_path / "proofs").read_bytes(), type=list[Evidence])
    assert [(get_rule(proof), proof.offender) for proof in proofs] == [("E4", 0), ("E4", 1)]


def test_what_was_only_voted_for_counts_as_well(home: Home, lab: HomeLab) -> None:
    """No fork came of it: two copies of one node's database, each with another last vote."""
    leaves = [lab.block(lab.genesis, 1, payload=payload) for payload in (b"a", b"b")]
    for number, leaf in zip((0, 1), leaves, strict=True):
        vote: QuorumVote = lab.vote(3, leaf)
        record = SafetyRecord.initial(lab.genesis_qc)
        lab.store(number, record=msgspec.structs.replace(record, voted_view=vote.view, last_vote=vote))
    code, report = run_json(home.path)
    assert (code, report["fork"]) == (ExitCode.FAILED, None)
    assert [(entry["validator"], entry["rule"]) for entry in report["offences"]] == [("n3", "E2")]


@pytest.mark.usefixtures("forked")
def test_what_lies_below_the_first_height_is_not_looked_at(home: Home) -> None:
    code, report = run_json(home.path, "--from-height", 5)
    assert (code, report["from_height"], report["fork"]["height"]) == (ExitCode.FAILED, 5, 3)
    assert report["offences"] == []


def test_a_node_may_run_while_its_database_is_read(home: Home, lab: HomeLab) -> None:
    lab.store(0, *lab.chain(3))
    with lab.open(0):
        code, report = run_json(home.nodes[0].database_path)
    assert (code, report["databases"][0]["height"]) == (ExitCode.OK, 3)


def test_a_copy_elsewhere_needs_to_be_told_its_network(home: Home, lab: HomeLab, tmp_path: Path) -> None:
    lab.store(0, *lab.chain(3))
    copy = tmp_path / "elsewhere" / "deep" / "copy.db"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(home.nodes[0].database_path.read_bytes())
    result = run(copy)
    assert isinstance(result.exception, CommandError)
    assert "--network FILE" in str(result.exception)
    code, report = run_json(copy, "--network", home.path / "network.toml")
    assert (code, report["databases"][0]["validator"]) == (ExitCode.OK, "n0")


def test_a_database_of_another_network_is_refused(home: Home, tmp_path: Path) -> None:
    other = create_home(tmp_path / "other", HomePlan(), create_database)
    result = run(home.path, other.path)
    assert isinstance(result.exception, CommandError)
    assert "it belongs to network" in str(result.exception)


def test_a_place_that_is_nothing_of_the_kind_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path / "nowhere")
    assert isinstance(result.exception, CommandError)
    assert "neither a home, nor the folder of a node, nor a database" in str(result.exception)
    assert isinstance(run(tmp_path / "x", "--network", tmp_path / "none.toml").exception, ConfigError)


@pytest.mark.parametrize("damage", ["no database", "no leaf"])
def test_a_damaged_database_is_named_with_what_to_do_about_it(home: Home, lab: HomeLab, damage: str) -> None:
    lab.store(0, *lab.chain(3))
    path = home.nodes[0].database_path
    if damage == "no database":
        path.write_bytes(b"not SQLite")
    else:
        content = path.read_bytes()
        leaf = msgspec.msgpack.encode(lab.genesis_qc.leaf)
        assert leaf in content
        path.write_bytes(content.replace(leaf, b"\xc1" + leaf[1:]))
    result = run(home.path)
    assert isinstance(result.exception, CommandError)
    assert str(result.exception).startswith(str(path))
    assert "Leave it out, or give another copy of it" in str(result.exception)


def test_an_archive_knows_the_stake_tables_of_the_stored_ledger(home: Home, lab: HomeLab) -> None:
    (block,) = lab.chain(1)
    ledger = lab.get_ledger(block)

    async def write() -> None:
        with lab.open(0) as storage:
            await storage.append(Batch(None, (), (Decide((block,), lab.fc(block)),), (), ledger))

    trio.run(write)
    with Archive(home.nodes[0].database_path) as archive:
        tables = list(archive.iterate_tables(block.leaf.height))
        assert archive.ledger == ledger
    assert tables == [(0, lab.table), (1, lab.table)]
