"""Whole nodes on simulated links and virtual time: the real `Node`, storage and mempool, no socket, no wall clock."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import trio

from consensus.joining import open_snapshot
from consensus.leaf import Block
from consensus.member import Credentials
from consensus.safety import SafetyRecord
from consensus.types import Epoch, Height, ValidatorId
from netsim.network import LinkModel, Network, Uniform
from netsim.trace import TraceSummary, check_trace, read_journals
from netsim.transport import Hub, Makers
from sequencer.application import Opaque
from sequencer.clock import NodeClock
from sequencer.journal import Journal
from sequencer.mempool import Admission
from sequencer.metrics import NodeMetrics
from sequencer.node import Node
from sequencer.payload import Payload, PayloadCache, compute_hashes
from sequencer.ports import Address
from sequencer.storage import create_database
from sequencer.storage.sqlite import SqliteStorage
from sequencer.transactions import MempoolLimits
from sequencer.transport import Delivery, Found, Item, Lost
from tests.node.mesh import Keyring

LAN = LinkModel(Uniform(500, 2_000))
PATIENCE_SECONDS = 300.0
"""Virtual."""


class Recorder(Opaque):
    """An application that remembers what it was told, across restarts of its node, as one with its own disk would."""

    def __init__(self) -> None:
        self.height = Height(0)
        self.blocks: list[Block] = []
        self.transactions: list[bytes] = []

    def on_decide(self, block: Block, payload: Payload) -> None:
        self.blocks.append(block)
        self.transactions += payload.transactions
        self.height = block.leaf.height


class Fleet:
    """Nodes n0, n1, … of equal stake; each can be stopped at any moment and started again from its disk."""

    def __init__(
        self, folder: Path, nursery: trio.Nursery, keyring: Keyring, model: LinkModel = LAN, seed: int = 1
    ) -> None:
        self.keyring = keyring
        self.folder = folder
        nodes = len(keyring.signers)
        self.network = Network(nodes, model, Random(seed))
        self.nodes: dict[int, Node] = {}
        self.liars: set[ValidatorId] = set()
        """Whom a test has made break the rules, so that they may be accused."""
        self.applications = {number: Recorder() for number in range(nodes)}
        self._nursery = nursery
        self._hub: Hub[Item] = Hub(self.network, list(map(ValidatorId, range(nodes))), Makers(Delivery, Lost, Found))
        self._paths = {number: folder / f"n{number}.db" for number in range(nodes)}
        self._scopes: dict[int, trio.CancelScope] = {}
        self._ended: dict[int, trio.Event] = {}
        record = SafetyRecord.initial(self.keyring.context.genesis_qc)
        for number, path in self._paths.items():
            create_database(path, self.keyring.context.network_id, ValidatorId(number), record)

    async def start(self, *numbers: int) -> None:
        for number in numbers:
            await self._nursery.start(self._run, number)

    async def stop(self, *numbers: int) -> None:
        """The process is gone; its disk stays."""
        for number in numbers:
            self._scopes[number].cancel()
            await self._ended[number].wait()

    async def _run(self, number: int, *, task_status: trio.TaskStatus[None]) -> None:
        context, me = self.keyring.context, ValidatorId(number)
        payloads = PayloadCache(64)
        scope = self._scopes[number] = trio.CancelScope()
        ended = self._ended[number] = trio.Event()
        with scope, SqliteStorage(self._paths[number], context.network_id, me, context.genesis, payloads, "os") as disk:
            recovered = disk.load()
            clock = NodeClock(wall=lambda: 1_700_000_000 + trio.current_time())
            journal = Journal(self.folder / f"n{number}" / "journal", context.network_id, me, clock.now())
            journal.begin(recovered, clock.now())
            node = self.nodes[number] = Node(
                network=self.keyring.network,
                credentials=Credentials(me, (self.keyring.signers[number],)),
                recovered=recovered,
                storage=disk,
                payloads=payloads,
                transport=self._hub.make_transport(me),
                application=self.applications[number],
                metrics=NodeMetrics("test", "test", f"n{number}"),
                mempool_limits=MempoolLimits(bytes_max=10_000_000, expiry_seconds=3600),
                clock=clock,
                peers={peer: Address("simulated", 1) for peer in map(ValidatorId, self._paths) if peer != me},
                journal=journal,
            )
            await node.run(task_status=task_status)
        journal.close()
        self.nodes.pop(number, None)
        ended.set()

    async def rejoin(self, number: int, source: int) -> None:
        """T5: a node that was stopped starts with nothing but the snapshot of the last epoch that `source` has seen
        end. Its record begins anew: only for one that has not signed in the running epoch.
        """
        disk, context, me = self.nodes[source].storage, self.keyring.context, ValidatorId(number)
        snapshot = disk.read_snapshot(Epoch(self.nodes[source].status().epoch - 1))
        if snapshot is None:
            raise ValueError(f"n{source} has no snapshot to offer")
        start = open_snapshot(snapshot, snapshot.proof.leaf, context)
        for path in self.folder.glob(f"{self._paths[number].name}*"):
            path.unlink()
        create_database(self._paths[number], context.network_id, me, SafetyRecord.initial(context.genesis_qc))
        record = SafetyRecord.initial(context.follow(start).genesis_qc)
        with SqliteStorage(
            self._paths[number], context.network_id, me, context.genesis, PayloadCache(1), "os"
        ) as fresh:
            await fresh.adopt_snapshot(start, record)
        await self.start(number)

    def submit(self, number: int, *transactions: bytes) -> list[Admission]:
        """As nodes pass them on: the first four bytes are the namespace."""
        return self.nodes[number].submit(transactions, compute_hashes(transactions))

    def get_height(self, number: int) -> int:
        return self.nodes[number].status().decided_height

    def get_leader(self) -> int:
        """As the running nodes that know it see it."""
        leaders = [
            status.leader for status in (node.status() for node in self.nodes.values()) if status.leader is not None
        ]
        return leaders[0]

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110 - virtual time, and what is waited for has no event
                await trio.sleep(0.01)

    async def wait_height(self, height: int, numbers: Sequence[int] | None = None) -> None:
        """Until these nodes (all that run) have decided this height."""
        await self.wait_until(lambda: all(self.get_height(n) >= height for n in (numbers or self.nodes)))

    async def wait_decided(self, *transactions: bytes) -> None:
        """Until every running node knows that these are final."""
        hashes = compute_hashes(transactions)
        for node in list(self.nodes.values()):
            with trio.fail_after(PATIENCE_SECONDS):
                await node.wait_finalized(hashes)

    def check_same_chain(self) -> None:
        """Every two running nodes agree on every height that both have decided."""
        lowest = min(self.get_height(number) for number in self.nodes)
        for height in range(1, lowest + 1):
            blocks = [node.storage.read_decided_at(height) for node in self.nodes.values()]  # type: ignore[arg-type]
            assert len({block.commitment for block in blocks if block is not None}) == 1
            assert None not in blocks

    def check_journals(self) -> TraceSummary:
        """Play what the nodes have written down to the oracles."""
        context = self.keyring.context
        journals = read_journals(self.folder.glob("*/journal/*.trace"), context.network_id)
        assert len(journals) == len(self._paths)
        return check_trace(journals, context, self.liars)


@asynccontextmanager
async def open_fleet(
    folder: Path, *, nodes: int = 4, model: LinkModel = LAN, seed: int = 1, keyring: Keyring | None = None
) -> AsyncIterator[Fleet]:
    """All nodes are running on entry, and stopped on exit; what they have done is held against the rules then.

    `keyring` is a network other than of `nodes` alike.
    """
    async with trio.open_nursery() as nursery:
        fleet = Fleet(folder, nursery, keyring or Keyring(nodes), model, seed)
        await fleet.start(*fleet.applications)
        yield fleet
        await fleet.stop(*list(fleet.nodes))
    fleet.check_journals()
