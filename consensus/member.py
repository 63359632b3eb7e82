"""One validator through all epochs: a replica for the running one, and the step from each to the next (T1, T2).

Theory of operation. Every message belongs to an epoch. Those of the running one go to its replica. Whoever still
speaks in an earlier one is sent the proof that it is over; whoever speaks in a later one is asked for that proof. When
the replica has decided the last leaf of its epoch it signs nothing more, and in the same turn the next epoch's replica
starts: proof, ledger and the fresh safety record are one write, so nothing of the new epoch leaves before the proof is
durable. What waits for a leaf (operations, evidence) outlives the epochs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from consensus.certificates import FinalityCertificate
from consensus.context import EpochContext
from consensus.docket import Docket
from consensus.effects import (
    BeginEpoch,
    Broadcast,
    Decide,
    Drop,
    Effect,
    EnteredView,
    LedgerAdvanced,
    Persist,
    Report,
    Send,
    SendEpochEnd,
)
from consensus.epochs import EpochStart
from consensus.errors import InvalidMessage
from consensus.events import Event, EvidenceFound, OperationSubmitted, Received, Started
from consensus.evidence import Evidence
from consensus.leaf import Block
from consensus.ledger import Ledger, begin_epoch, describe_changes
from consensus.messages import (
    EpochEnd,
    EvidenceNotice,
    OperationNotice,
    QuorumProposal,
    ReplicaMessage,
    StatusRequest,
)
from consensus.operations import Operation
from consensus.peers import Peers
from consensus.promises import Promise, sign_promise
from consensus.replica import Replica
from consensus.safety import SafetyRecord, SafetyRules, select_signer
from consensus.schedule import LeaderSchedule
from consensus.signatures import Signer
from consensus.types import Commitment, Epoch, Microseconds, ValidatorId, View
from consensus.validation import Deferred, Foreign, Item, MessageValidator, Unjustified, Verified, get_epoch

ValidatorMaker: TypeAlias = Callable[[EpochContext], MessageValidator]
"""Makes the stateless validation of one epoch."""


class Recovered(Protocol):
    """What a validator starts from: its disk, or nothing but the network's genesis."""

    @property
    def record(self) -> SafetyRecord: ...
    @property
    def tip(self) -> Block: ...
    @property
    def tip_fc(self) -> FinalityCertificate | None: ...
    @property
    def undecided(self) -> Sequence[Block]: ...
    @property
    def ledger(self) -> Ledger | None:
        """After the tip; None at the beginning of the network."""
        ...

    @property
    def epoch(self) -> EpochStart | None:
        """What the epoch of the record began with; None in the first one."""
        ...


_CONCERNING: Final = frozenset((Report, LedgerAdvanced, Decide))
"""What of a replica's effects concerns the docket."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A validator and every key that it holds: which one signs is for the epoch's stake table to say."""

    validator_id: ValidatorId
    signers: tuple[Signer, ...]


class Member:
    """Runs one `Replica` at a time. `network` is the context of the first epoch; `make_validator` makes the stateless
    validation of an epoch, so that a simulation can share what its nodes verify.
    """

    def __init__(
        self,
        network: EpochContext,
        credentials: Credentials,
        schedule: LeaderSchedule,
        docket: Docket,
        recovered: Recovered,
        *,
        make_validator: ValidatorMaker = MessageValidator,
    ) -> None:
        self._credentials = credentials
        self._schedule = schedule
        self._make_validator = make_validator
        self._peers = Peers(network.parameters.fetch_interval)
        self.docket = docket
        self.context = network if recovered.epoch is None else network.follow(recovered.epoch)
        self._effects: list[Effect] = []
        self._now = Microseconds(0)
        fc = recovered.tip_fc
        self._start_replica(
            recovered.record,
            tip=recovered.tip,
            ledger=recovered.ledger or self.context.genesis_ledger,
            tip_fc=fc if fc is not None and fc.epoch == self.context.epoch else None,
            undecided=[block for block in recovered.undecided if block.leaf.epoch == self.context.epoch],
        )

    @property
    def epoch(self) -> Epoch:
        return self.context.epoch

    @property
    def ledger(self) -> Ledger:
        """After the last decided leaf; at the end of an epoch after the roll-over too."""
        return self.replica.chain.ledger

    def validate(self, sender: ValidatorId, message: ReplicaMessage) -> Item:
        """Raises `InvalidMessage`. What belongs to another epoch is not looked into."""
        return self._validator.validate(sender, message)

    def find_operation_flaw(self, operation: Operation) -> str | None:
        """J5: why this operation cannot be taken here and now; None when it can."""
        return self.docket.find_operation_flaw(operation, self.ledger)

    def sign_promise(self, transaction: Commitment, beneficiary: bytes, views: int) -> Promise | None:
        """A promise about leaves that this validator has not proposed yet, for so many views; None when it may not
        propose in this epoch. It never enters the vote rules; that it is kept is the caller's duty.
        """
        signer = select_signer(self.context, self._credentials.validator_id, self._credentials.signers)
        if signer is None:
            return None
        first = View(max(self.replica.view, self.replica.proposed_view + 1))
        me, last = self._credentials.validator_id, View(first + views - 1)
        promise = Promise(me, self.epoch, first, last, transaction, beneficiary, b"")
        return sign_promise(promise, signer, self.context.network_id)

    def handle(self, event: Event, now: Microseconds) -> list[Effect]:
        """One event to completion, through the end of an epoch where it comes to that; `now` must not decrease."""
        self._now = now
        if isinstance(event, Received):
            item = event.item
            if isinstance(item, Deferred) and item.vote.epoch == self.context.epoch:  # most of what comes
                found = self.replica.handle(event, now)
                if not found:  # and mostly it is only counted
                    return found
                self._effects = []
                self._take(found)
                return self._effects
        effects: list[Effect] = []
        self._effects = effects
        if isinstance(event, Received):
            self._on_received(event)
            return effects
        match event:
            case EvidenceFound(evidence):
                self._on_evidence(evidence)
            case OperationSubmitted(operation):
                if self.docket.add_operation(operation, self.ledger, self.replica.tip.leaf.height):
                    effects.append(Broadcast(OperationNotice(operation)))
            case _:
                self._drive(event)
        return effects

    def _on_received(self, received: Received) -> None:
        sender, item = received.sender, received.item
        own = self.context.epoch
        epoch = _get_item_epoch(item)
        if epoch == own:
            self._drive(received)
        elif epoch is not None and epoch < own:
            # Who says itself that the epoch is over needs no proof: two of them would answer each other for ever.
            message = item.message if isinstance(item, Verified | Foreign) else None
            if not isinstance(message, EpochEnd) and self._peers.may_answer(sender, self._now):
                self._effects.append(SendEpochEnd(sender, epoch))
        elif epoch is not None:
            self._on_ahead(sender, item)
        elif isinstance(item, Verified) and isinstance(item.message, EvidenceNotice):
            self._on_evidence(item.message.evidence)
        elif isinstance(item, Verified) and isinstance(item.message, OperationNotice):
            self.docket.add_operation(item.message.operation, self.ledger)
        else:
            self._drive(received)

    def _on_ahead(self, sender: ValidatorId, item: Item) -> None:
        """T2: the first proposal of the next epoch brings the proof that this one is over; else ask for it."""
        message = item.message if isinstance(item, Verified | Foreign) else None
        proof = message.leaf.epoch_proof if isinstance(message, QuorumProposal) else None
        if message is not None and proof is not None and get_epoch(message) == self.epoch + 1:
            try:
                self._drive(Received(sender, self.validate(sender, EpochEnd(self.epoch, proof))))
                if get_epoch(message) == self.epoch:
                    self._drive(Received(sender, self.validate(sender, message)))
                    return
            except InvalidMessage as error:
                self._effects.append(Drop(sender, error.reason, error.detail))
                return
        if self._peers.may_answer(sender, self._now):
            self._effects.append(Send(sender, StatusRequest(self.epoch, self.replica.view)))

    def _on_evidence(self, evidence: Evidence) -> None:
        """J4: told to everyone once, by whoever learns of it first or later."""
        if self.docket.add_evidence(evidence, self.ledger, self.replica.tip.leaf.height):
            self._effects.append(Broadcast(EvidenceNotice(evidence)))

    def _drive(self, event: Event) -> None:
        """One event for the running replica, and the start of the next one when the epoch ends with it."""
        self._take(self.replica.handle(event, self._now))

    def _take(self, effects: Sequence[Effect]) -> None:
        """What the running replica wants to be done."""
        self._absorb(effects)
        while self.replica.epoch_proof is not None:
            self._begin_next()

    def _absorb(self, effects: Sequence[Effect]) -> None:
        if _CONCERNING.isdisjoint(map(type, effects)):  # nearly always
            self._effects += effects
            return
        for effect in effects:
            self._effects.append(effect)
            if isinstance(effect, Report):
                self._on_evidence(effect.evidence)
            elif isinstance(effect, LedgerAdvanced):
                self.docket.on_ledger(self.ledger)
            elif isinstance(effect, Decide):
                self._effects += map(Broadcast, self.docket.take_overdue(self.replica.tip.leaf.height))

    def _begin_next(self) -> None:
        """T2, T3: everything the next epoch begins with follows from the last leaf of this one."""
        former, proof = self.replica, self.replica.epoch_proof
        chain = former.chain
        if proof is None:
            return
        ledger = begin_epoch(chain.ledger, self.context.ledger_parameters)
        start = EpochStart(chain.tip, proof, chain.ledger_before, ledger)
        self._effects.append(BeginEpoch(start, tuple(describe_changes(chain.ledger, ledger, 0))))
        ended, self.context = self.epoch, self.context.follow(start)
        record = SafetyRecord.initial(self.context.genesis_qc)
        self._start_replica(record, tip=chain.tip, ledger=ledger, tip_fc=None, undecided=())
        self.replica.inherit(former)
        self._effects.append(Persist(record, then=(Broadcast(EpochEnd(ended, proof)),)))
        self._effects.append(EnteredView(self.replica.view, self.replica.leader, timed_out=False))
        self.docket.on_ledger(ledger)
        self._absorb(self.replica.handle(Started(), self._now))

    def _start_replica(
        self,
        record: SafetyRecord,
        *,
        tip: Block,
        ledger: Ledger,
        tip_fc: FinalityCertificate | None,
        undecided: Sequence[Block],
    ) -> None:
        context = self.context
        self._validator = self._make_validator(context)
        safety = SafetyRules(context, self._credentials.validator_id, self._credentials.signers, record)
        self.replica = Replica(
            context,
            self._schedule,
            self._validator,
            safety,
            tip=tip,
            ledger=ledger,
            tip_fc=tip_fc,
            undecided=undecided,
            docket=self.docket,
        )


def _get_item_epoch(item: Item) -> Epoch | None:
    match item:
        case Deferred(vote):
            return vote.epoch
        case Foreign(epoch):
            return epoch
        case Unjustified(header):
            return header.epoch
        case Verified(message):
            return get_epoch(message)
