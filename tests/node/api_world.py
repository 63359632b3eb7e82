"""The API over a real node: real replica, storage, mempool and application, in a network that the tests choose.

A network of one validator decides whatever it is given, at once. In a network of two of which only this one runs,
nothing is ever decided. No peer is reachable in either.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgpack
import trio
from trio.testing import wait_all_tasks_blocked

from consensus.member import Credentials
from consensus.safety import SafetyRecord
from consensus.signatures import Signer
from consensus.types import ValidatorId
from sequencer.api.app import make_app
from sequencer.api.server import open_listener, serve_api
from sequencer.application import Opaque
from sequencer.clock import NodeClock
from sequencer.metrics import NodeMetrics
from sequencer.node import Node
from sequencer.payload import PayloadCache
from sequencer.ports import Address
from sequencer.storage.schema import create_database
from sequencer.storage.sqlite import SqliteStorage
from sequencer.transactions import MempoolLimits
from sequencer.transport import Inbox
from tests.node.mesh import Keyring

MSGPACK = "application/vnd.msgpack"
NDJSON = "application/x-ndjson"
MEMPOOL_BYTES_MAX = 1024 * 1024
MEMPOOL_EXPIRY_SECONDS = 300


class Nobody:
    """A transport in a network whose other validators cannot be reached."""

    connected: frozenset[ValidatorId] = frozenset()

    async def run(self, inbox: Inbox, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        async with inbox:
            task_status.started()
            await trio.sleep_forever()

    def send(self, to: ValidatorId, frame: bytes) -> None:
        pass

    def broadcast(self, frame: bytes) -> None:
        pass

    def set_peers(self, peers: Mapping[ValidatorId, Address]) -> None:
        pass

    def set_keys(self, keys: Mapping[ValidatorId, frozenset[bytes]]) -> None:
        pass


@dataclass
class World:
    """A running node with its key, its API in this process, and what tells the API that the node is going down."""

    node: Node
    signer: Signer
    storage: SqliteStorage
    client: httpx.AsyncClient
    closing: trio.Event

    async def post_batch(self, transactions: list[bytes], query: str = "") -> httpx.Response:
        body = b"".join(map(msgpack.packb, transactions))
        return await self.client.post(f"/v1/transactions/batch{query}", content=body, headers={"Content-Type": MSGPACK})

    async def post_one(self, transaction: bytes, query: str = "") -> httpx.Response:
        return await self.client.post(
            f"/v1/transactions{query}", content=transaction, headers={"Content-Type": "application/octet-stream"}
        )

    async def get(self, path: str) -> Any:
        """The JSON of a successful answer."""
        response = await self.client.get(path)
        assert response.status_code == 200, response.text
        return response.json()


@contextlib.asynccontextmanager
async def open_node(folder: Path, keyring: Keyring) -> AsyncIterator[tuple[Node, SqliteStorage]]:
    network, context = keyring.network, keyring.context
    me, path = ValidatorId(0), folder / "node.db"
    record = SafetyRecord.initial(context.genesis_qc)
    create_database(path, context.network_id, me, record)
    payloads = PayloadCache(16)
    with SqliteStorage(path, context.network_id, me, context.genesis, payloads, "os") as storage:
        node = Node(
            network=network,
            credentials=Credentials(me, (keyring.signers[0],)),
            recovered=storage.load(),
            storage=storage,
            payloads=payloads,
            transport=Nobody(),
            application=Opaque(),
            metrics=NodeMetrics("1.2.3", network.name, "n0"),
            mempool_limits=MempoolLimits(MEMPOOL_BYTES_MAX, MEMPOOL_EXPIRY_SECONDS),
            clock=NodeClock(),
            peers={},
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            yield node, storage
            nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def open_world(folder: Path, *, validators: int, keyring: Keyring | None = None) -> AsyncIterator[World]:
    """The application is called directly; no sockets. `keyring` is a network other than of so many alike."""
    closing, keyring = trio.Event(), keyring or Keyring(validators)
    async with open_node(folder, keyring) as (node, storage):
        transport = httpx.ASGITransport(make_app(node, closing), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            yield World(node, keyring.signers[0], storage, client, closing)


@dataclass
class Served:
    """A running node whose API listens on loopback."""

    node: Node
    address: Address
    closing: trio.Event
    ended: trio.Event


@contextlib.asynccontextmanager
async def open_served(folder: Path, *, validators: int) -> AsyncIterator[Served]:
    closing, ended = trio.Event(), trio.Event()
    async with open_node(folder, Keyring(validators)) as (node, _), trio.open_nursery() as nursery:

        async def serve(*, task_status: trio.TaskStatus[Address]) -> None:
            await serve_api(node, open_listener(Address("127.0.0.1", 0)), closing=closing, task_status=task_status)
            ended.set()

        address = await nursery.start(serve)
        await wait_all_tasks_blocked()  # so that the server's own tasks are all there when a test counts tasks
        yield Served(node, address, closing, ended)
        nursery.cancel_scope.cancel()
