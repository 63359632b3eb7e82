"""The node: one task owns the replica and everything it decides by.

Theory of operation. A turn takes whatever has arrived (frames, lost connections, due timers), lets the replica handle
it, answers its questions about payloads on the spot, and ends with one write: append, sync, then release (R8). Votes,
proposals and notifications leave only after the write that they depend on. Everything else in the process (API,
transport) reaches this task by plain calls that touch the mempool, and by the inbox.

If the write fails, or the replica finds an invariant broken, the exception ends the process: a node never goes on after
that.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import perf_counter
from typing import assert_never

import structlog
import trio

from consensus.beacon import compute_beacon
from consensus.docket import Docket
from consensus.effects import (
    BeginEpoch,
    BuildPayload,
    CheckPayload,
    ComputeBeacon,
    Decide,
    Effect,
    SetTimer,
    batch,
)
from consensus.errors import InvalidMessage
from consensus.events import (
    BeaconComputed,
    Event,
    EvidenceFound,
    OperationSubmitted,
    PayloadReady,
    PeerLost,
    Received,
    Started,
    Timer,
    TimerFired,
)
from consensus.evidence import Evidence
from consensus.leaf import EpochProof
from consensus.ledger import LedgerSchedule
from consensus.ledger.admission import Admission
from consensus.member import Credentials, Member
from consensus.messages import (
    LeafRequest,
    PromiseRequest,
    PromiseResponse,
    RangeRequest,
    SnapshotRequest,
    TransactionForward,
    encode,
)
from consensus.operations import Operation
from consensus.promises import Promise
from consensus.types import Commitment, Epoch, ValidatorId, View
from consensus.validation import Deferred, Verified
from sequencer import __version__, mempool
from sequencer.api.node_view import NodeStatus
from sequencer.application import Application, replay
from sequencer.clock import DriftWatch, NodeClock
from sequencer.ingress import open_frame
from sequencer.journal import Journal
from sequencer.ledger_desk import LedgerDesk
from sequencer.ledger_log import ChangeEntry
from sequencer.metrics import NodeMetrics
from sequencer.network_config import NetworkConfig
from sequencer.operation_codec import OperationPlace
from sequencer.payload import Hash, PayloadCache, Transaction
from sequencer.payload_desk import PayloadDesk
from sequencer.ports import Address
from sequencer.promise_desk import PromiseDesk
from sequencer.promise_watch import PromiseWatch
from sequencer.promises import Promises
from sequencer.release import Release
from sequencer.schedule_view import Outlook
from sequencer.serving import BlockServer
from sequencer.storage import Recovered, Storage
from sequencer.transactions import MempoolLimits, Transactions
from sequencer.transport import Delivery, Found, Item, Lost, Transport
from sequencer.view_history import ViewHistory

log = structlog.get_logger("node")

INBOX_ITEMS_MAX = 0
"""A read is handed over, never stored: each connection has one that waits at most, and they are taken in order of
arrival. So no peer can crowd out the others or fill the memory; TCP slows down whoever sends more than is taken."""
TURN_ITEMS_MAX = 64
"""Reads that one turn takes: enough to share a sync among all peers, few enough that a vote never waits long."""
FORWARD_LEADERS = 2
"""How many of the next leaders a transaction is forwarded to: the second one covers for the first."""
BEACON_STEPS_INLINE = 4096
"""A chain of a millisecond is not worth a thread."""
EXPIRY_INTERVAL_SECONDS = 1.0
"""How often the mempool drops what has expired, old transactions are forwarded again, and the clock is looked at."""


class Wake:
    """The mempool has something new."""

    __slots__ = ()


class Node:
    """One validator's process without its sockets: replica, mempool, storage, application and a transport.

    Plain calls (`submit`, `status`, …) may come from any task of the same Trio run; `run` is the one task that turns.
    """

    def __init__(
        self,
        *,
        network: NetworkConfig,
        credentials: Credentials,
        recovered: Recovered,
        storage: Storage,
        payloads: PayloadCache,
        transport: Transport,
        application: Application,
        metrics: NodeMetrics,
        mempool_limits: MempoolLimits,
        clock: NodeClock,
        peers: Mapping[ValidatorId, Address],
        journal: Journal | None = None,
    ) -> None:
        self.network = network
        self.validator_id = credentials.validator_id
        self.version = __version__
        self.storage = storage
        self.payloads = payloads
        self.metrics = metrics
        self._transport = transport
        self._application = application
        self._clock = clock
        self._journal = journal
        self._drift = DriftWatch(clock, network.consensus.clock_skew_max_ms / 1000)
        self._transactions = Transactions(
            mempool_limits, network.transactions.transaction_bytes_max, payloads, storage.select_decided
        )
        context = network.context()
        admission = Admission(context.network_id, context.scheme, context.ledger_parameters)
        schedule = LedgerSchedule(context.ledger_parameters.leadership)
        docket = Docket(admission, lambda claim: self._watch.confirms(claim))
        self._member = Member(context, credentials, schedule, docket, recovered)
        bytes_max = network.consensus.payload_bytes_max
        self._promises = Promises(self._member, self.validator_id, storage, payloads, bytes_max)
        self._watch = PromiseWatch(self._member, storage, payloads, metrics)
        self._promise_desk = PromiseDesk(
            self._promises, self._watch, self._member, self.validator_id, transport, metrics, self._find_refusal
        )
        self._desk = LedgerDesk(network, credentials.validator_id, self._member.ledger, peers, metrics)
        self.views = ViewHistory(clock.now, self._member, context.ledger_parameters, self._desk.directory)
        self._send_beacon, self._beacons = trio.open_memory_channel[ComputeBeacon](math.inf)
        self._events: deque[Event] = deque()
        self._started_at = trio.current_time()
        self._turn: list[Effect] = []
        self._timers: dict[Timer, float] = {}
        self._release = Release(
            self._member,
            storage,
            transport,
            self._desk,
            metrics,
            self._transactions,
            application,
            payloads,
            self.views,
        )
        self._payload_desk = PayloadDesk(
            self._member,
            self.validator_id,
            payloads,
            self._transactions,
            self._promises,
            application,
            clock,
            self.views,
            self._release.drop,
        )
        self._is_woken = False
        self._has_forwarded = trio.Event()
        self._server = BlockServer(storage)
        self._send_inbox, self._inbox = trio.open_memory_channel[Item | Wake](INBOX_ITEMS_MAX)
        metrics.watch_mempool(lambda: len(self._transactions), lambda: self._transactions.bytes)
        metrics.watch_peers(lambda: len(transport.connected))

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled. Any exception that leaves here is fatal for the process (R8)."""
        replay(
            self._application, self.storage, self.payloads
        )  # before anybody connects: it may take long, and blocks everything else
        self._release.on_ledger(self._member.ledger, ())
        self.views.start()
        async with trio.open_nursery() as nursery:
            await nursery.start(self._transport.run, self._send_inbox)
            nursery.start_soon(self._look_after)
            nursery.start_soon(self._compute_beacons)
            nursery.start_soon(self._promise_desk.run)
            self._transactions.add_forwarded(self._promises.restore())
            task_status.started()
            self._drive(Started())
            while True:
                self._is_woken = False
                while self._events:
                    self._drive(self._events.popleft())
                built = self._payload_desk.build()
                if built is not None:
                    self._drive(built)
                waiting = self._payload_desk.press()
                if waiting is not None:
                    self._drive(waiting)
                self._forward(self._transactions.take_forwards())
                self._has_forwarded.set()
                await self._commit()
                self._serve()
                # What was built may have ended the view (alone, or on a late QC): then the next payload is due now.
                must_go_on = built is not None or self._is_woken or self._events or self._server.has_requests
                await self._take_items(trio.current_time() if must_go_on else self._next_deadline())

    # What the API calls

    def submit(self, transactions: Sequence[Transaction], hashes: Sequence[Hash]) -> list[mempool.Admission]:
        """Take transactions from a client: into the mempool, and on to the next leaders."""
        admissions = self._transactions.submit(transactions, hashes)
        if self._transactions.has_forwards:
            self._wake()
        return admissions

    async def promise(self, transaction: Transaction, hash_: Hash, beneficiary: bytes) -> Promise:
        """The next leader's word that this pending transaction is in its next leaf. Raises `PromiseRefusedError`."""
        return await self._promise_desk.ask(transaction, hash_, beneficiary)

    async def wait_finalized(self, hashes: Sequence[Hash]) -> bool:
        """True once all of these transactions are decided and durable here, False as soon as one has expired."""
        return await self._transactions.wait_finalized(hashes)

    async def wait_decide(self) -> None:
        await self._release.decided.park()

    async def wait_view(self) -> None:
        await self._release.viewed.park()

    async def drain(self) -> None:
        """Return once everything that was submitted before is on its way to the next leaders.

        What is pending here alone would be lost with this process. To be bounded: a turn may wait for the disk.
        """
        self._has_forwarded = trio.Event()
        self._wake()
        await self._has_forwarded.wait()

    def submit_operation(self, operation: Operation) -> str | None:
        """J5: None when it waits for a leaf now, else why it cannot."""
        flaw = self._member.find_operation_flaw(operation)
        if flaw is None:
            self._events.append(OperationSubmitted(operation))
            self._wake()
        return flaw

    def find_operation(self, operation_id: Commitment) -> OperationPlace | None:
        return self._desk.find_operation(operation_id, self.pending_operations(), self._release.announced.leaf.height)

    def pending_operations(self) -> Sequence[Operation]:
        queued = (event.operation for event in self._events if isinstance(event, OperationSubmitted))
        return (*self._member.docket.operations, *queued)

    def pending_evidence(self) -> Sequence[Evidence]:
        return self._member.docket.evidence

    def recent_changes(self) -> Sequence[ChangeEntry]:
        return self._desk.recent_changes

    def outlook(self) -> Outlook | None:
        """From where the next leaders can be told."""
        replica = self._member.replica
        parent = replica.candidate or replica.high_block
        if parent is None:
            return None
        view = replica.view if replica.candidate is None else View(replica.view + 1)
        return Outlook(view, parent.leaf, replica.chain.get_ledger(parent.commitment))

    def find_pending(self, transaction_hash: Hash) -> Transaction | None:
        """One that is accepted, and not yet final for everyone to see."""
        return self._transactions.find_pending(transaction_hash)

    def status(self) -> NodeStatus:
        replica = self._member.replica
        return NodeStatus(
            epoch=self._member.epoch,
            view=replica.view,
            leader=replica.leader,
            decided_height=self._release.announced.leaf.height,
            decided_view=self._release.announced.leaf.view,
            high_qc_view=replica.high_qc.view,
            ledger=self._member.ledger,
            is_behind=replica.is_behind,
            peers=self._transport.connected,
            mempool_transactions=len(self._transactions),
            mempool_bytes=self._transactions.bytes,
            uptime_seconds=trio.current_time() - self._started_at,
        )

    def find_epoch_proof(self, epoch: Epoch) -> EpochProof | None:
        return self.storage.read_epoch_proof(epoch)

    def is_ready(self) -> str | None:
        """None when this node has decided and is not behind, else the reason."""
        if self._member.replica.is_behind:
            return "this node is catching up"
        if not self._release.has_decided:
            return "nothing has been decided since this node started"
        return None

    # A turn

    async def _take_items(self, deadline: float) -> None:
        """Wait for the inbox or the deadline (Trio's clock), then take all that has arrived, up to a bound."""
        with trio.move_on_at(deadline):
            self._take(await self._inbox.receive())
            for _ in range(TURN_ITEMS_MAX - 1):
                try:
                    self._take(self._inbox.receive_nowait())
                except (trio.WouldBlock, trio.EndOfChannel):  # the end: the node is going down
                    break
        now = trio.current_time()
        for timer in [timer for timer, deadline in self._timers.items() if deadline <= now]:
            del self._timers[timer]
            self._drive(TimerFired(timer))

    def _next_deadline(self) -> float:
        return min((self._payload_desk.deadline, *self._timers.values()))

    def _take(self, item: "Item | Wake") -> None:
        match item:
            case Delivery(sender, frames):
                for frame in frames:
                    self._open(sender, frame)
            case Lost(peer):
                log.warning("peer_lost", peer=self._desk.directory.name_of(peer))
                self._drive(PeerLost(peer))
            case Found(peer):
                log.info("peer_found", peer=self._desk.directory.name_of(peer))
            case Wake():
                pass
            case _:
                assert_never(item)

    def _open(self, sender: ValidatorId, frame: bytes) -> None:
        try:
            incoming = open_frame(sender, frame, self._member)
        except InvalidMessage as error:
            self._release.drop(sender, error.reason, error.detail)
            return
        match incoming:
            case LeafRequest() | RangeRequest() | SnapshotRequest():
                if not self._server.add(sender, incoming):
                    self._release.drop(sender, "request_flood", "too many requests for blocks wait for their answer")
            case TransactionForward(transactions):
                self._transactions.add_forwarded(transactions)
            case PromiseRequest():
                if not self._promise_desk.on_request(sender, incoming):
                    self._release.drop(sender, "request_flood", "too many requests for promises wait for their answer")
            case PromiseResponse():
                self._promise_desk.on_response(sender, incoming)
            case Received(_, item):
                if isinstance(item, Deferred | Verified):
                    self.views.hear(item)
                    message = item.vote if isinstance(item, Deferred) else item.message
                    self.metrics.count_message(message, "received")
                    if self._journal is not None:
                        self._journal.hear(sender, message, self._clock.now())
                self._drive(incoming)
            case _:
                assert_never(incoming)

    def _drive(self, event: Event) -> None:
        """One event, and every event that follows from it within this node, to completion."""
        events = deque([event])
        while events:
            for effect in self._member.handle(events.popleft(), self._clock.now()):
                match effect:
                    case CheckPayload(block, ancestors):
                        self.metrics.on_proposal(block.commitment, trio.current_time())
                        is_acceptable = self._payload_desk.is_acceptable(block, ancestors)
                        events.append(PayloadReady(block.commitment, is_acceptable))
                    case BuildPayload():
                        self._payload_desk.ask(effect)
                    case ComputeBeacon():
                        self._send_beacon.send_nowait(effect)
                    case SetTimer(timer, deadline):
                        self._timers[timer] = self._clock.to_trio_time(deadline)
                    case _:
                        if isinstance(effect, Decide):
                            self._transactions.on_decide(effect.blocks)
                            self._promises.on_decide(effect.blocks)
                            self._desk.on_decide(effect.blocks)
                        elif isinstance(effect, BeginEpoch):
                            self._payload_desk.on_epoch()
                        self._turn.append(effect)

    async def _commit(self) -> None:
        """R8: append, sync, release."""
        if not self._turn:
            return
        turn, self._turn = batch(self._turn), []
        if turn.record is not None or turn.blocks or turn.decides:
            started = perf_counter()
            await self.storage.append(turn)
            if turn.must_sync:
                self.metrics.fsync_seconds.observe(perf_counter() - started)
        self._transactions.on_durable()
        if self._journal is not None:
            self._journal.write_turn(turn.release, self._clock.now())
        for effect in turn.release:
            self._release.carry_out(effect)
        for decide in turn.decides:
            self._events += map(EvidenceFound, self._watch.on_durable(decide.blocks))

    def _find_refusal(self, transaction: Transaction, hash_: Hash) -> str | None:
        """Somebody asks for a promise about this transaction: None when it is pending here now."""
        (admission,) = self.submit([transaction], [hash_])
        if admission is mempool.Admission.FINALIZED:
            return "the transaction is final already"
        is_pending = admission in (mempool.Admission.ACCEPTED, mempool.Admission.DUPLICATE)
        return None if is_pending else f"the leader does not take the transaction ({admission.value})"

    # What else a turn does

    def _forward(self, forwards: Sequence[TransactionForward]) -> None:
        """To the next leaders, as far as they are known and others than this node."""
        for leader in self._member.replica.compute_next_leaders(FORWARD_LEADERS) if forwards else ():
            if leader != self.validator_id:
                for forward in forwards:
                    self._transport.send(leader, encode(forward))

    def _serve(self) -> None:
        """L3, L5: one answer a turn, so that whoever asks for much slows nobody down."""
        if self._server.has_requests:
            peer, response = self._server.answer_next()
            if response is not None:
                self._transport.send(peer, encode(response))

    def _wake(self) -> None:
        """Make the turn task look at the mempool, at once if it sleeps, else when it has finished its turn."""
        self._is_woken = True
        with suppress(trio.WouldBlock, trio.ClosedResourceError):  # closed: the node is going down
            self._send_inbox.send_nowait(Wake())

    async def _compute_beacons(self) -> None:
        """T4: off the consensus path, in a thread of its own, for which the end of the node does not wait."""
        epochs = self._member.context.ledger_parameters.epochs
        async for request in self._beacons:
            if epochs.beacon_difficulty <= BEACON_STEPS_INLINE:
                result = compute_beacon(request.origin, epochs)
            else:
                result = await trio.to_thread.run_sync(compute_beacon, request.origin, epochs, abandon_on_cancel=True)
            self._events.append(BeaconComputed(request.epoch, result))
            self._wake()

    async def _look_after(self) -> None:
        """What time alone brings about: transactions expire, and the wall clock leaves this node's."""
        while True:
            await trio.sleep(EXPIRY_INTERVAL_SECONDS)
            self._transactions.expire(trio.current_time())
            self._drift.look()
            self._forward(self._transactions.take_overdue(self._member.replica.chain.blocks))
