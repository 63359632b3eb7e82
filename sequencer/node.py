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
from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter
from typing import assert_never

import structlog
import trio

from consensus.effects import (
    Broadcast,
    BuildPayload,
    CheckPayload,
    Decide,
    Drop,
    Effect,
    EnteredView,
    LedgerAdvanced,
    Persist,
    Report,
    Send,
    SetTimer,
    TimedOut,
    batch,
)
from consensus.errors import InvalidMessage, InvariantViolation
from consensus.events import (
    Event,
    PayloadBuilt,
    PayloadReady,
    PeerLost,
    Received,
    Started,
    Timer,
    TimerFired,
    TransactionsWaiting,
)
from consensus.leaf import Block, compute_leaf_commitment
from consensus.ledger import LedgerChange, LedgerSchedule
from consensus.ledger.changes import Benched, Cleared, FallbackActivated, FallbackEnded
from consensus.messages import (
    LeafRequest,
    QuorumProposal,
    RangeRequest,
    SnapshotRequest,
    TransactionForward,
    encode,
)
from consensus.replica import Replica
from consensus.safety import SafetyRules
from consensus.types import Height, ValidatorId, View
from consensus.validation import Deferred, MessageValidator
from sequencer import __version__
from sequencer.api.node_view import NodeStatus
from sequencer.application import Application
from sequencer.clock import NodeClock
from sequencer.ingress import open_frame
from sequencer.mempool import Admission
from sequencer.metrics import NodeMetrics
from sequencer.network_config import NetworkConfig
from sequencer.payload import Hash, PayloadCache, PayloadError, Transaction, encode_payload
from sequencer.serving import BlockServer
from sequencer.storage import Recovered, Storage
from sequencer.transactions import MempoolLimits, Transactions
from sequencer.transport import Delivery, Found, Item, Lost, Transport

log = structlog.get_logger("node")

INBOX_ITEMS_MAX = 0
"""A read is handed over, never stored: each connection has one that waits at most, and they are taken in order of
arrival. So no peer can crowd out the others or fill the memory; TCP slows down whoever sends more than is taken."""
TURN_ITEMS_MAX = 64
"""Reads that one turn takes: enough to share a sync among all peers, few enough that a vote never waits long."""
FORWARD_LEADERS = 2
"""How many of the next leaders a transaction is forwarded to: the second one covers for the first."""
REPLAY_BLOCKS = 256
REPLAY_BYTES = 8 * 1024 * 1024
"""Decided blocks that are read in one go for an application that is behind."""
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
        safety: SafetyRules,
        recovered: Recovered,
        storage: Storage,
        payloads: PayloadCache,
        transport: Transport,
        application: Application,
        metrics: NodeMetrics,
        mempool_limits: MempoolLimits,
        clock: NodeClock,
    ) -> None:
        self.network = network
        self.validator_id = safety.validator_id
        self.version = __version__
        self.storage = storage
        self.payloads = payloads
        self.metrics = metrics
        self._transport = transport
        self._application = application
        self._clock = clock
        self._transactions = Transactions(
            mempool_limits, network.transactions.transaction_bytes_max, payloads, storage.select_decided
        )
        context = network.context()
        self._validator = MessageValidator(context)
        self._replica = Replica(
            context,
            LedgerSchedule(context.ledger_parameters.leadership),
            self._validator,
            safety,
            tip=recovered.tip,
            ledger=recovered.ledger or context.genesis_ledger,
            tip_fc=recovered.tip_fc,
            undecided=recovered.undecided,
        )
        self._started_at = trio.current_time()
        self._turn: list[Effect] = []
        self._timers: dict[Timer, float] = {}
        self._build: BuildPayload | None = None
        self._pressed_view: View | None = None
        self._announced = recovered.tip
        self._has_decided = False
        self._is_woken = False
        self._has_forwarded = trio.Event()
        self._server = BlockServer(storage)
        self._send_inbox, self._inbox = trio.open_memory_channel[Item | Wake](INBOX_ITEMS_MAX)
        metrics.watch_mempool(lambda: len(self._transactions), lambda: self._transactions.bytes)
        metrics.watch_peers(lambda: len(transport.connected))

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled. Any exception that leaves here is fatal for the process (R8)."""
        self._replay()  # before anybody connects: it may take long, and blocks everything else
        async with trio.open_nursery() as nursery:
            await nursery.start(self._transport.run, self._send_inbox)
            nursery.start_soon(self._look_after)
            task_status.started()
            self._drive(Started())
            while True:
                self._is_woken = False
                has_built = self._try_build()
                self._press()
                self._forward(self._transactions.take_forwards())
                self._has_forwarded.set()
                await self._commit()
                self._serve()
                # What was built may have ended the view (alone, or on a late QC): then the next payload is due now.
                must_go_on = has_built or self._is_woken or self._server.has_requests
                await self._take_items(trio.current_time() if must_go_on else self._next_deadline())

    # What the API calls

    def submit(self, transactions: Sequence[Transaction], hashes: Sequence[Hash]) -> list[Admission]:
        """Take transactions from a client: into the mempool, and on to the next leaders."""
        admissions = self._transactions.submit(transactions, hashes)
        if self._transactions.has_forwards:
            self._wake()
        return admissions

    async def wait_finalized(self, hashes: Sequence[Hash]) -> bool:
        """True once all of these transactions are decided and durable here, False as soon as one has expired."""
        return await self._transactions.wait_finalized(hashes)

    async def drain(self) -> None:
        """Return once everything that was submitted before is on its way to the next leaders.

        What is pending here alone would be lost with this process. To be bounded: a turn may wait for the disk.
        """
        self._has_forwarded = trio.Event()
        self._wake()
        await self._has_forwarded.wait()

    def is_pending(self, transaction_hash: Hash) -> bool:
        """Accepted, and not yet final for everyone to see."""
        return self._transactions.is_pending(transaction_hash)

    def status(self) -> NodeStatus:
        replica = self._replica
        return NodeStatus(
            epoch=replica.tip.leaf.epoch,
            view=replica.view,
            leader=replica.leader,
            decided_height=self._announced.leaf.height,
            decided_view=self._announced.leaf.view,
            high_qc_view=replica.high_qc.view,
            ledger=replica.chain.ledger,
            is_behind=replica.is_behind,
            peers=self._transport.connected,
            mempool_transactions=len(self._transactions),
            mempool_bytes=self._transactions.bytes,
            uptime_seconds=trio.current_time() - self._started_at,
        )

    def is_ready(self) -> str | None:
        """None when this node has decided and is not behind, else the reason."""
        if self._replica.is_behind:
            return "this node is catching up"
        if not self._has_decided:
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
                except trio.WouldBlock:
                    break
        now = trio.current_time()
        for timer in [timer for timer, deadline in self._timers.items() if deadline <= now]:
            del self._timers[timer]
            self._drive(TimerFired(timer))

    def _next_deadline(self) -> float:
        deadlines = list(self._timers.values())
        if self._build is not None:
            deadlines.append(self._clock.to_trio_time(self._build.deadline))
        return min(deadlines, default=math.inf)

    def _take(self, item: "Item | Wake") -> None:
        match item:
            case Delivery(sender, frames):
                for frame in frames:
                    self._open(sender, frame)
            case Lost(peer):
                log.warning("peer_lost", peer=self.network.name_of(peer))
                self._drive(PeerLost(peer))
            case Found(peer):
                log.info("peer_found", peer=self.network.name_of(peer))
            case Wake():
                pass
            case _:
                assert_never(item)

    def _open(self, sender: ValidatorId, frame: bytes) -> None:
        try:
            incoming = open_frame(sender, frame, self._validator)
        except InvalidMessage as error:
            self._drop(sender, error.reason, error.detail)
            return
        match incoming:
            case LeafRequest() | RangeRequest() | SnapshotRequest():
                if not self._server.add(sender, incoming):
                    self._drop(sender, "request_flood", "too many requests for blocks wait for their answer")
            case TransactionForward(transactions):
                self._transactions.add_forwarded(transactions)
            case Received(_, item):
                message = item.vote if isinstance(item, Deferred) else item.message
                self.metrics.count_message(message, "received")
                self._drive(incoming)
            case _:
                assert_never(incoming)

    def _drive(self, event: Event) -> None:
        """One event, and every event that follows from it within this node, to completion."""
        events = deque([event])
        while events:
            for effect in self._replica.handle(events.popleft(), self._clock.now()):
                match effect:
                    case CheckPayload(block, ancestors):
                        self.metrics.on_proposal(block.commitment, trio.current_time())
                        events.append(PayloadReady(block.commitment, self._is_acceptable(block, ancestors)))
                    case BuildPayload():
                        self._build = effect
                    case SetTimer(timer, deadline):
                        self._timers[timer] = self._clock.to_trio_time(deadline)
                    case _:
                        if isinstance(effect, Decide):
                            self._transactions.on_decide(effect.blocks)
                        self._turn.append(effect)

    def _replay(self) -> None:
        """Decided and durable, but the process ended before its application took it."""
        height = self._application.height
        while height is not None and height < self.storage.latest_height:
            blocks = self.storage.read_decided(Height(height + 1), blocks_max=REPLAY_BLOCKS, bytes_max=REPLAY_BYTES)
            for block in blocks:
                self._application.on_decide(block, self.payloads.open(block))
            height = blocks[-1].leaf.height

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
        for effect in turn.release:
            self._release(effect)

    def _release(self, effect: Effect) -> None:
        match effect:
            case Broadcast(message):
                if isinstance(message, QuorumProposal):
                    self.metrics.on_proposal(compute_leaf_commitment(message.leaf), trio.current_time())
                self._transport.broadcast(encode(message))
                self.metrics.count_message(message, "sent")
            case Send(to, message):
                self._transport.send(to, encode(message))
            case Decide(blocks):
                self._announce(blocks)
            case LedgerAdvanced(_, changes):
                self._tell_changes(changes)
            case EnteredView(view, _, timed_out):
                self.metrics.on_entered_view(view, timed_out=timed_out, now=trio.current_time())
                if self._replica.high_block is not None:
                    self.metrics.on_certified(self._replica.high_block.leaf.height)
            case TimedOut(view, cause):
                self.metrics.timeouts.inc(cause)
                log.info("timed_out", view=view, cause=cause)
            case Report(evidence):
                log.warning("equivocation", offender=self.network.name_of(evidence.offender), evidence=repr(evidence))
            case Drop(sender, reason, detail):
                self._drop(sender, reason, detail)
            case Persist() | SetTimer() | BuildPayload() | CheckPayload():
                raise InvariantViolation(f"{type(effect).__name__} is handled before the write, never after it")
            case _:
                assert_never(effect)

    def _announce(self, blocks: Sequence[Block]) -> None:
        """These blocks are final and durable: tell the application, whoever waits, and the metrics."""
        transactions = 0
        for block in blocks:
            payload = self.payloads.open(block)
            transactions += len(payload.hashes)
            self._application.on_decide(block, payload)
            self._transactions.on_final(payload)
        self._has_decided = True
        self._announced = blocks[-1]
        self.metrics.on_decide(blocks, transactions, trio.current_time())

    def _tell_changes(self, changes: Sequence[tuple[Height, Sequence[LedgerChange]]]) -> None:
        """Every transition is a log line with its reason and a metric."""
        for height, described in changes:
            for change in described:
                self.metrics.on_ledger_change(change)
                match change:
                    case Benched(validator, missed, turns):
                        name = self.network.name_of(validator)
                        log.warning("benched", validator=name, height=height, missed=missed, turns=turns)
                    case Cleared(validator):
                        log.info("bench_cleared", validator=self.network.name_of(validator), height=height)
                    case FallbackActivated(skipped_views):
                        log.warning("fallback_activated", height=height, skipped_views=skipped_views)
                    case FallbackEnded():
                        log.info("fallback_ended", height=height)
                    case _:
                        assert_never(change)

    def _drop(self, sender: ValidatorId, reason: str, detail: str) -> None:
        self.metrics.on_drop(reason, sender)
        log.debug("frame_dropped", peer=self.network.name_of(sender), reason=reason, detail=detail)

    # Payloads

    def _is_acceptable(self, block: Block, ancestors: Sequence[Block]) -> bool:
        """R3b: well formed, no transaction twice in the chain, and the application agrees."""
        try:
            payload = self.payloads.open(block)
        except PayloadError as error:
            self._drop(block.leaf.proposer, error.reason, error.detail)
            return False
        return self._transactions.may_follow(payload, ancestors) and self._application.accept(payload, block.leaf)

    def _try_build(self) -> bool:
        """L6: the leader proposes as soon as there is something to propose, or when it has waited long enough.

        Whether it did.
        """
        build = self._build
        if build is None:
            return False
        if build.view != self._replica.view:
            self._build = None
            return False
        transactions = self._transactions.take(build.bytes_max, build.ancestors) if build.bytes_max else []
        if not transactions and self._clock.now() < build.deadline:
            return False
        self._build = None
        self._drive(PayloadBuilt(build.view, build.parent, encode_payload(transactions)))
        return True

    def _press(self) -> None:
        """L6: tell the replica, once per view, that an honest leader has something to propose."""
        if self._pressed_view != self._replica.view and self._transactions.has_besides(self._replica.chain.blocks):
            self._pressed_view = self._replica.view
            self._drive(TransactionsWaiting())

    def _forward(self, forwards: Sequence[TransactionForward]) -> None:
        """To the next leaders, as far as they are known and others than this node."""
        for leader in self._replica.compute_next_leaders(FORWARD_LEADERS) if forwards else ():
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
        with suppress(trio.WouldBlock):
            self._send_inbox.send_nowait(Wake())

    async def _look_after(self) -> None:
        """What time alone brings about: transactions expire, and the wall clock leaves this node's."""
        is_told = False
        skew_max = self.network.consensus.clock_skew_max_ms / 1000
        while True:
            await trio.sleep(EXPIRY_INTERVAL_SECONDS)
            self._transactions.expire(trio.current_time())
            drift = self._clock.compute_drift()
            if abs(drift) > skew_max and not is_told:
                log.warning(
                    "clock_left_behind",
                    seconds=round(drift, 3),
                    reason="the wall clock was stepped, or the machine slept, while the node ran",
                    action="restart the node: others may refuse its timestamps, and it theirs (R3b)",
                )
            is_told = abs(drift) > skew_max
            self._forward(self._transactions.take_overdue(self._replica.chain.blocks))
