"""A node as a process: everything that touches the outside is opened here, in an order in which failing costs nothing.

Configuration, key and database first, then the ports, then the network. A node that cannot sign safely never listens.
"""

import resource
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import structlog
import trio

from consensus.context import EpochContext
from consensus.ledger import Ledger
from consensus.member import Credentials
from consensus.safety import SafetyRecord, prove_identity
from consensus.signatures import Signer
from sequencer import __version__
from sequencer.anchor import parse_anchor
from sequencer.api.server import open_listener, serve_api
from sequencer.application import Application, Opaque
from sequencer.clock import NodeClock
from sequencer.config import ConfigError, LoadedNode
from sequencer.debug.task_tree import write_on_signal
from sequencer.fault_log import FaultLog
from sequencer.joining import fetch_start
from sequencer.journal import Journal
from sequencer.keys import load_keys, read_key
from sequencer.metrics import NodeMetrics
from sequencer.metrics.pulse import run_pulse
from sequencer.node import Node
from sequencer.payload import PayloadCache
from sequencer.storage import Recovered
from sequencer.storage.sqlite import SqliteStorage
from sequencer.transactions import MempoolLimits
from sequencer.transport.handshake import Identity, KeyDirectory
from sequencer.transport.tcp import TcpTransport

log = structlog.get_logger("process")

DESCRIPTORS = 65_536
"""Open files and connections that a node asks the system for, as far as the hard limit goes."""
DRAIN_SECONDS = 2
"""How long the end of the process may wait for a slow disk, so that what clients were promised goes to other nodes."""
LINGER_SECONDS = 0.05
"""For the writers to hand to the system what was queued last: it sends that after the process has ended."""
PAYLOADS_CACHED_MAX = 128
"""Opened payloads that are kept: those under way and those that clients ask for most, the recent ones."""


async def run_node(
    loaded: LoadedNode,
    *,
    application: Application | None = None,
    make_transport: Callable[..., TcpTransport] = TcpTransport,
    task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run one node until SIGTERM, SIGINT or cancellation; started means that it listens.

    `make_transport` takes what `TcpTransport` takes.

    Raises `ConfigError`, `StorageError` or `PortUnavailableError` before anything listens, and whatever is fatal later.
    """
    _raise_descriptor_limit()
    network = loaded.network
    payloads = PayloadCache(PAYLOADS_CACHED_MAX)
    context = network.context()
    storage = SqliteStorage(
        loaded.database_path,
        network.network_id,
        loaded.validator_id,
        context.genesis,
        payloads,
        durability=loaded.config.durability,
    )
    with closing(storage), open_listener(loaded.api) as listener, ExitStack() as stack:
        metrics = NodeMetrics(__version__, network.name, loaded.config.validator)
        recovered = storage.load()
        if loaded.config.trusted and not storage.latest_height:
            recovered = await _join(loaded, context, storage, make_transport, metrics)
        ledger = recovered.ledger or context.genesis_ledger
        signers = load_signers(loaded, ledger)
        transport = _make_transport(make_transport, loaded, _choose_prover(loaded, ledger, signers), metrics)
        fault_log = FaultLog(loaded.faults_path) if loaded.faults_path is not None else None
        clock = NodeClock()
        journal: Journal | None = None
        if loaded.journal_path is not None:
            journal = stack.enter_context(closing(_open_journal(loaded, loaded.journal_path, clock)))
            journal.begin(recovered, clock.now())
        node = Node(
            network=network,
            credentials=Credentials(loaded.validator_id, signers),
            recovered=recovered,
            storage=storage,
            payloads=payloads,
            transport=transport,
            application=application or Opaque(),
            metrics=metrics,
            mempool_limits=MempoolLimits(loaded.config.mempool_bytes_max, loaded.config.mempool_expiry_ms / 1000),
            clock=clock,
            peers=loaded.peers,
            journal=journal,
        )
        _connect_metrics(metrics, loaded, node, transport, clock, fault_log)
        is_closing = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_pulse, metrics)
            nursery.start_soon(_drain_on_signal, is_closing)
            await nursery.start(write_on_signal, loaded.database_path.parent)
            await nursery.start(node.run)
            async with trio.open_nursery() as api:
                await api.start(partial(serve_api, node, listener, closing=is_closing, fault_log=fault_log))
                log.info("listening", peers=str(loaded.listen), api=str(loaded.api), height=recovered.tip.leaf.height)
                task_status.started()
            with trio.move_on_after(DRAIN_SECONDS):
                await node.drain()
                await trio.sleep(LINGER_SECONDS)
            nursery.cancel_scope.cancel()


def _connect_metrics(
    metrics: NodeMetrics,
    loaded: LoadedNode,
    node: Node,
    transport: TcpTransport,
    clock: NodeClock,
    fault_log: FaultLog | None,
) -> None:
    """What is read when somebody scrapes."""
    metrics.voting.watch(loaded.validator_id, lambda: transport.connected)
    metrics.traffic.watch_links(transport)
    metrics.traffic.mempool_limit.set(loaded.config.mempool_bytes_max)
    metrics.progress.watch(lambda: node.status().is_behind, lambda: node.status().leader == node.validator_id)
    metrics.ledger.watch_evidence(lambda: len(node.pending_evidence()))
    metrics.host.watch_disk(loaded.database_path)
    metrics.host.watch_clock(clock.compute_drift)
    if fault_log is not None:
        metrics.host.watch_faults(fault_log)


async def _join(
    loaded: LoadedNode,
    context: EpochContext,
    storage: SqliteStorage,
    make_transport: Callable[..., TcpTransport],
    metrics: NodeMetrics,
) -> Recovered:
    """T5: the chain begins with the end of an epoch; what its key signs begins with the epoch after that."""
    signers = load_signers(loaded, context.genesis_ledger)
    prover = _choose_prover(loaded, context.genesis_ledger, signers)
    transport = _make_transport(make_transport, loaded, prover, metrics)
    start = await fetch_start(transport, parse_anchor(loaded.config.trusted), context)
    await storage.adopt_snapshot(start, SafetyRecord.initial(context.follow(start).genesis_qc))
    return Recovered(
        record=SafetyRecord.initial(context.follow(start).genesis_qc),
        tip=start.block,
        tip_fc=None,
        undecided=(),
        ledger=start.ledger,
        epoch=start,
    )


def load_signers(loaded: LoadedNode, ledger: Ledger) -> tuple[Signer, ...]:
    """Every key of this validator (J5). Raises `ConfigError` when the ledger and the network file know none of them.

    A newcomer's ledger may be older than its bond: then there is nothing to hold its key against.
    """
    me = loaded.validator_id
    known = {bytes.fromhex(entry.public_key) for entry in loaded.network.validators if entry.id == me}
    if me in ledger.validators:
        known.add(ledger.validators[me].public_key)
    known |= {entry.public_key for table in ledger.state.tables for entry in table.entries if entry.id == me}
    if not known:
        known = {read_key(loaded.key_path).public_key}
    return load_keys(loaded.key_path, loaded.config.validator, known)


def _choose_prover(loaded: LoadedNode, ledger: Ledger, signers: Sequence[Signer]) -> Signer:
    """The key by which peers know this validator for sure: that of the running epoch's stake table, where it is in
    one.
    """
    me = loaded.validator_id
    wanted = ledger.table.get_validator(me).public_key if me in ledger.table else None
    return next((signer for signer in signers if signer.public_key == wanted), signers[0])


def _open_journal(loaded: LoadedNode, folder: Path, clock: NodeClock) -> Journal:
    try:
        return Journal(folder, loaded.network.network_id, loaded.validator_id, clock.now())
    except OSError as error:
        raise ConfigError(
            loaded.origins["journal"],
            "journal",
            f"no journal can be begun in {folder}: {error.strerror}",
            "Name another folder, or leave it empty to keep none",
        ) from error


def _make_transport(
    make: Callable[..., TcpTransport], loaded: LoadedNode, signer: Signer, metrics: NodeMetrics
) -> TcpTransport:
    context = loaded.network.context()
    prove = partial(prove_identity, signer, context.network_id)
    keys = {validator.id: frozenset({validator.public_key}) for validator in context.stake_table}
    identity = Identity(context.network_id, context.scheme, loaded.validator_id, prove, KeyDirectory(keys))
    return make(identity, loaded.listen, loaded.peers, metrics=metrics)


def _raise_descriptor_limit() -> None:
    """Each client holds a descriptor, and the usual soft limit of 1,024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _drain_on_signal(is_closing: trio.Event) -> None:
    """The first signal lets requests finish; the supervisor or the user sends SIGKILL when that takes too long."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("draining", signal=signal.Signals(number).name)
            is_closing.set()
