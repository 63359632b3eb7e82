"""What leaves a node once its turn is written: messages, finality, and everything that people are told (R8)."""

from collections.abc import Sequence
from typing import assert_never

import structlog
import trio

from consensus.effects import (
    BeginEpoch,
    Broadcast,
    BuildPayload,
    CheckPayload,
    ComputeBeacon,
    Decide,
    Drop,
    Effect,
    EnteredView,
    LedgerAdvanced,
    LedgerChanges,
    Persist,
    Report,
    Send,
    SendEpochEnd,
    SetTimer,
    TimedOut,
)
from consensus.errors import InvariantViolation
from consensus.evidence import get_rule
from consensus.leaf import Block, compute_leaf_commitment
from consensus.ledger import Ledger
from consensus.member import Member
from consensus.messages import EpochEnd, FinalizeVote, QuorumProposal, QuorumVote, TimeoutVote, encode
from consensus.types import ValidatorId
from sequencer.application import Application
from sequencer.ledger_desk import LedgerDesk
from sequencer.metrics import NodeMetrics
from sequencer.payload import PayloadCache
from sequencer.storage import Storage
from sequencer.transactions import Transactions
from sequencer.transport import Transport
from sequencer.view_history import ViewHistory

log = structlog.get_logger("node")


class Release:
    """Carries out what a turn has made ready, in order. Nothing here changes the member."""

    def __init__(
        self,
        member: Member,
        storage: Storage,
        transport: Transport,
        desk: LedgerDesk,
        metrics: NodeMetrics,
        transactions: Transactions,
        application: Application,
        payloads: PayloadCache,
        history: ViewHistory,
    ) -> None:
        self._member = member
        self._storage = storage
        self._transport = transport
        self._desk = desk
        self._metrics = metrics
        self._transactions = transactions
        self._application = application
        self._payloads = payloads
        self._history = history
        self.announced = member.replica.tip
        """The last block that everybody here has been told to be final."""
        self.has_decided = False
        self.decided = trio.lowlevel.ParkingLot()
        """Where the next decide is waited for."""
        self.viewed = trio.lowlevel.ParkingLot()
        """Where the next view, or a decide, is waited for."""

    def carry_out(self, effect: Effect) -> None:  # noqa: C901 - one flat match over all effects
        match effect:
            case Broadcast(message):
                if isinstance(message, QuorumProposal):
                    commitment = compute_leaf_commitment(message.leaf)
                    self._metrics.on_proposal(commitment, trio.current_time())
                    self._history.hear_proposal(message.leaf, commitment)
                elif isinstance(message, QuorumVote | FinalizeVote | TimeoutVote):
                    self._history.hear_vote(message)
                self._transport.broadcast(encode(message))
                self._metrics.count_message(message, "sent")
            case Send(to, message):
                self._transport.send(to, encode(message))
            case Decide(blocks, fc):
                self._announce(blocks)
                self._history.on_decide(blocks, fc.view)
            case LedgerAdvanced(ledger, changes):
                self.on_ledger(ledger, changes)
            case BeginEpoch(start, changes):
                self._history.on_epoch(start)
                self.on_ledger(start.ledger, ((start.block.leaf.height, changes),))
            case SendEpochEnd(to, epoch):
                proof = self._storage.read_epoch_proof(epoch)
                if proof is not None:
                    self._transport.send(to, encode(EpochEnd(epoch, proof)))
            case EnteredView(view, leader, timed_out):
                ended = self._history.get_current()
                led_by = None if ended is None else ended.leader
                self._metrics.on_entered_view(view, timed_out=timed_out, now=trio.current_time(), led_by=led_by)
                self._history.on_entered(view, leader, timed_out=timed_out)
                certified = self._member.replica.high_block
                if certified is not None:
                    self._metrics.on_certified(certified.leaf.height)
                self.viewed.unpark_all()
            case TimedOut(view, cause):
                self._metrics.timeouts.inc(cause)
                self._history.on_timed_out(view, cause)
                log.info("timed_out", view=view, cause=cause)
            case Report(evidence):
                self._metrics.on_offence(evidence)
                self._history.on_report(evidence)
                offender = self._desk.directory.name_of(evidence.offender)
                log.warning("offence", offender=offender, rule=get_rule(evidence), evidence=repr(evidence))
            case Drop(sender, reason, detail):
                self.drop(sender, reason, detail)
            case Persist() | SetTimer() | BuildPayload() | CheckPayload() | ComputeBeacon():
                raise InvariantViolation(f"{type(effect).__name__} is handled before the write, never after it")
            case _:
                assert_never(effect)

    def on_ledger(self, ledger: Ledger, changes: LedgerChanges) -> None:
        """Transitions are told to the log, the metrics and the API; newcomers become peers."""
        self._desk.on_ledger(ledger, changes)
        self._transport.set_keys(self._desk.compute_keys(ledger))
        self._transport.set_peers(self._desk.compute_peers(ledger))

    def drop(self, sender: ValidatorId, reason: str, detail: str) -> None:
        """What a peer sent was of no use: counted, and told to whoever debugs."""
        self._metrics.on_drop(reason, sender)
        self._history.on_drop(sender, reason, detail)
        log.debug("frame_dropped", peer=self._desk.directory.name_of(sender), reason=reason, detail=detail)

    def _announce(self, blocks: Sequence[Block]) -> None:
        """These blocks are final and durable: tell the application, whoever waits, and the metrics."""
        transactions = 0
        for block in blocks:
            payload = self._payloads.open(block)
            transactions += len(payload.hashes)
            self._application.on_decide(block, payload)
            self._transactions.on_final(payload)
        self.has_decided = True
        self.announced = blocks[-1]
        self.decided.unpark_all()
        self.viewed.unpark_all()
        self._metrics.on_decide(blocks, transactions, trio.current_time())
