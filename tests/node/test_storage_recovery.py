"""A process may end at any moment: what `append` has returned for is there, all of it, and nothing else.

The oracle is the simulator's disk, which keeps the same things in plain dicts.
"""

import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from consensus.effects import Batch, Decide
from consensus.leaf import Block
from consensus.types import Epoch, Height
from netsim.disk import Disk, DiskModel
from sequencer.payload import PayloadCache, decode_payload
from sequencer.storage import create_database
from sequencer.storage.sqlite import SqliteStorage
from tests.node.chain import (
    GENESIS,
    NETWORK,
    RECORD,
    VALIDATOR,
    began,
    make_block,
    make_chain,
    make_fc,
    make_record,
    make_start,
)


class World:
    """Draws batches that a replica could have made, and gives each to the database and to the oracle."""

    def __init__(self, choices: random.Random) -> None:
        self._choices = choices
        self._view = 0
        self._recorded_view = 0
        self.epoch = 0
        self.tip = GENESIS
        self.tree: list[Block] = []
        self.decided_transactions: set[bytes] = set()

    def begin_with_snapshot(self) -> Batch:
        """The first turn of a node that joins later; the snapshot's block may have come with its payload."""
        last = make_chain(GENESIS, self._choices.randint(2, 5))[-1]
        if self._choices.random() < 0.5:
            self.decided_transactions.update(decode_payload(last.payload).hashes)
        else:
            last = Block(last.leaf, b"")
        self._view = self._recorded_view = last.leaf.view
        self.epoch, self.tip = 1, last
        return began(make_start(last))

    def draw(self) -> Batch:
        if self._choices.random() < 0.2:
            return self._end_epoch()
        blocks: list[Block] = []
        decides: list[Decide] = []
        for _ in range(self._choices.randint(1, 3)):
            match self._choices.randrange(5):
                case 0 | 1 | 2:
                    blocks.append(self._grow(self._choices.choice([self.tip, *self.tree])))
                case 3 if self.tree:
                    path = self._find_path(self._choices.choice(self.tree))
                    decides.append(self._decide(path, path[-1]))
                case _:
                    decides.append(self._catch_up())
        latest = max([*blocks, self.tip], key=lambda block: block.leaf.view)
        is_newer = latest.leaf.view > self._recorded_view
        record = make_record(latest) if is_newer else None
        self._recorded_view = max(self._recorded_view, latest.leaf.view)
        return Batch(record, tuple(blocks), tuple(decides), ())

    def _grow(self, parent: Block, *, into_tree: bool = True) -> Block:
        self._view += 1
        transactions = [f"{self._view}/{index}".encode() for index in range(self._choices.randint(0, 3))]
        block = make_block(parent, transactions, view=self._view, epoch=self.epoch)
        if into_tree:
            self.tree.append(block)
        return block

    def _find_path(self, block: Block) -> list[Block]:
        by_commitment = {other.commitment: other for other in self.tree}
        path = [block]
        while path[0].leaf.parent in by_commitment:
            path.insert(0, by_commitment[path[0].leaf.parent])
        return path

    def _catch_up(self) -> Decide:
        """Blocks that were never voted for; the FC may be for a leaf further up, which follows sooner or later."""
        new = [self._grow(self.tip, into_tree=False)]
        while self._choices.random() < 0.6:
            new.append(self._grow(new[-1], into_tree=False))
        known = new[: self._choices.randint(1, len(new))]
        self.tree += new[len(known) :]
        return self._decide(known, new[-1])

    def _end_epoch(self) -> Batch:
        """What leads to the epoch's last block, closing blocks that were or were not voted for, and the end itself."""
        path = self._find_path(self._choices.choice([self._grow(self.tip), *self.tree]))
        closing = [path[-1]]
        for _ in range(self._choices.randint(0, 2)):
            closing.append(self._grow(closing[-1], into_tree=False))
        voted = [block for block in closing[1:] if self._choices.random() < 0.5]
        start = make_start(*closing)
        decide = self._decide(path, closing[-1])
        self.epoch, self.tree, self._recorded_view = self.epoch + 1, [], self.tip.leaf.view
        batch = began(start, decide)
        return replace(batch, blocks=tuple(voted))

    def _decide(self, path: list[Block], certified: Block) -> Decide:
        self.tip = path[-1]
        alive = {self.tip.commitment}
        for block in self.tree:  # parents stand before their children
            if block.leaf.parent in alive:
                alive.add(block.commitment)
        self.tree = [block for block in self.tree if block.commitment in alive and block is not self.tip]
        for block in path:
            self.decided_transactions.update(decode_payload(block.payload).hashes)
        return Decide(tuple(path), make_fc(certified))


@contextmanager
def opened(path: Path) -> Iterator[SqliteStorage]:
    with SqliteStorage(path, NETWORK, VALIDATOR, GENESIS, PayloadCache(entries_max=4), "os") as storage:
        yield storage


def check_same(storage: SqliteStorage, oracle: Disk, world: World) -> None:
    assert storage.latest_height == oracle.latest_height
    for height in range(oracle.latest_height + 2):
        ours = storage.read_decided(Height(height), blocks_max=3, bytes_max=20)
        theirs = oracle.read_decided(Height(height), blocks_max=3, bytes_max=20)
        assert [block.commitment for block in ours] == [block.commitment for block in theirs]
        for leaves_max in (0, 2, 100):
            proof = oracle.read_finality_proof(Height(height), leaves_max=leaves_max)
            assert storage.read_finality_proof(Height(height), leaves_max=leaves_max) == proof
    for epoch in range(world.epoch + 1):
        assert storage.read_epoch_proof(Epoch(epoch)) == oracle.read_epoch_proof(Epoch(epoch))
        assert storage.read_snapshot(Epoch(epoch)) == oracle.read_snapshot(Epoch(epoch))
    assert (storage.read_epoch_proof(Epoch(0)) is None) is (world.epoch == 0)
    assert storage.select_decided(world.decided_transactions | {bytes(32)}) == world.decided_transactions


def check_recovered(storage: SqliteStorage, oracle: Disk) -> None:
    ours, theirs = storage.load(), oracle.load()
    assert ours.record == theirs.record
    assert (ours.tip.commitment, ours.tip_fc) == (theirs.tip.commitment, theirs.tip_fc)
    assert {block.commitment for block in ours.undecided} == {block.commitment for block in theirs.undecided}
    assert (ours.epoch is None, ours.ledger) == (theirs.epoch is None, theirs.ledger)
    if ours.epoch is not None and theirs.epoch is not None:
        assert ours.epoch.block.commitment == theirs.epoch.block.commitment
        assert (ours.epoch.proof, ours.epoch.before) == (theirs.epoch.proof, theirs.epoch.before)
        assert ours.epoch.ledger == theirs.epoch.ledger
    heights = [(block.leaf.height, block.leaf.view) for block in ours.undecided]
    assert heights == sorted(heights)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), turns=st.integers(1, 12), crash_often=st.booleans(), joins=st.booleans())
def test_a_process_that_ends_at_any_moment_finds_what_it_had_written(
    seed: int, turns: int, crash_often: bool, joins: bool
) -> None:
    choices = random.Random(seed)
    with TemporaryDirectory() as folder:
        trio.run(live_and_crash, Path(folder), choices, turns, crash_often, joins)


async def live_and_crash(folder: Path, choices: random.Random, turns: int, crash_often: bool, joins: bool) -> None:
    oracle = Disk(DiskModel(), random.Random(0), GENESIS, RECORD)
    world = World(choices)
    create_database(folder / "node.db", NETWORK, VALIDATOR, RECORD)
    with ExitStack() as stack:
        storage = stack.enter_context(opened(folder / "node.db"))
        for turn in range(turns):
            batch = world.begin_with_snapshot() if joins and turn == 0 else world.draw()
            await storage.append(batch)
            oracle.append(batch)
            check_same(storage, oracle, world)
            if crash_often or turn == turns - 1:
                copy = copy_files(folder, folder.parent / f"{folder.name}-{turn}")
                stack.callback(shutil.rmtree, copy)
                storage = stack.enter_context(opened(copy / "node.db"))
                check_recovered(storage, oracle)
                check_same(storage, oracle, world)
                folder = copy


def copy_files(folder: Path, to: Path) -> Path:
    """What is on disk while the process still has everything open, and would be if it ended here."""
    to.mkdir()
    for name in ("node.db", "node.db-wal", "node.db.index", "node.db.index-wal"):
        if (folder / name).exists():
            shutil.copy(folder / name, to / name)
    return to
