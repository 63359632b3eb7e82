"""One real replica on a bench, and everything that its peers could send it, signed with their real keys.

The lab crafts blocks, votes and certificates of any shape; the replica under test is the production one. Tests read the
effects that come back.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from consensus.certificates import (
    FinalityCertificate,
    QuorumCertificate,
    TimeoutCertificate,
    assemble_finality_certificate,
    assemble_quorum_certificate,
    assemble_timeout_certificate,
    make_timeout_subject,
)
from consensus.context import EpochContext
from consensus.docket import Docket
from consensus.effects import Broadcast, BuildPayload, CheckPayload, Decide, Effect, Persist, Send, SetTimer
from consensus.events import Event, PayloadBuilt, PayloadReady, Received, Started, Timer, TimerFired
from consensus.leaf import Block, make_leaf
from consensus.ledger import EpochParameters, LeadershipParameters, Ledger, LedgerParameters, LedgerSchedule, apply_leaf
from consensus.ledger.admission import Admission
from consensus.messages import (
    FinalizeVote,
    Message,
    QuorumProposal,
    QuorumVote,
    ReplicaMessage,
    TimeoutVote,
)
from consensus.parameters import ConsensusParameters
from consensus.replica import Replica
from consensus.safety import SafetyRecord, SafetyRules
from consensus.signatures import Domain, Signer, make_statement
from consensus.signatures.ed25519 import Ed25519
from consensus.stake_table import StakeTable, Validator
from consensus.types import Epoch, Microseconds, NetworkId, ValidatorId, View
from consensus.validation import MessageValidator

T = TypeVar("T")
EPOCH = Epoch(0)
START = Microseconds(1_700_000_000_000_000)
GENESIS_MS = 1_600_000_000_000
ONE_EPOCH = EpochParameters(epoch_blocks=2**40)
"""Tests that are about something else never meet the end of an epoch."""


class Lab:
    """A network of validators whose keys the tests hold; validator i leads the views v with v % n == i by default."""

    def __init__(
        self,
        stakes: Sequence[int] = (1, 1, 1, 1),
        parameters: ConsensusParameters | None = None,
        leadership: LeadershipParameters | None = None,
        ledger: LedgerParameters | None = None,
    ) -> None:
        # Everyone is in the primary committee, so that equal stakes lead in order of number.
        leadership = leadership or LeadershipParameters(primary_size=len(stakes))
        self.scheme = Ed25519()
        self.signers = [Signer(self.scheme, bytes([number + 1]) * 32) for number in range(len(stakes))]
        self.table = StakeTable.of(
            Validator(ValidatorId(number), signer.public_key, stake)
            for number, (signer, stake) in enumerate(zip(self.signers, stakes, strict=True))
        )
        self.context = EpochContext.start_network(
            NetworkId(b"L" * 32),
            self.table,
            self.scheme,
            genesis_time_ms=GENESIS_MS,
            parameters=parameters or ConsensusParameters(),
            ledger_parameters=ledger or LedgerParameters(leadership, epochs=ONE_EPOCH),
        )
        self.schedule = LedgerSchedule(self.context.ledger_parameters.leadership)
        self._ledgers = {self.context.genesis.commitment: self.context.genesis_ledger}
        self.validator = MessageValidator(self.context)
        self.admission = Admission(self.context.network_id, self.scheme, self.context.ledger_parameters)
        self.genesis = self.context.genesis
        self.genesis_qc = self.context.genesis_qc

    def bench(self, number: int, record: SafetyRecord | None = None, **chain: object) -> "Bench":
        """A fresh replica of this validator, or one that starts again from `record`."""
        return Bench(self, number, record or SafetyRecord.initial(self.genesis_qc), **chain)

    def get_leader(self, view: int, parent: Block | None = None) -> ValidatorId:
        """Who leads `view` on top of this block, genesis by default."""
        parent = parent or self.genesis
        return self.schedule.leader(View(view), parent.leaf, self.get_ledger(parent))

    def get_ledger(self, block: Block) -> Ledger:
        """After a block that the lab has made."""
        return self._ledgers[block.commitment]

    def block(
        self,
        parent: Block,
        view: int,
        *,
        justify: QuorumCertificate | None = None,
        tc: TimeoutCertificate | None = None,
        payload: bytes = b"",
        bend: Mapping[str, object] | None = None,
    ) -> Block:
        """The block that the leader of `view` would propose on `parent`; `bend` changes single fields of the leaf."""
        leaf = make_leaf(
            parent,
            epoch=EPOCH,
            view=View(view),
            proposer=self.get_leader(view, parent),
            timestamp_ms=START // 1000,
            payload=payload,
            ledger=self.get_ledger(parent).commitment,
            justify_qc=justify or (self.genesis_qc if parent is self.genesis else self.qc(parent)),
            timeout_certificate=tc,
        )
        block = Block(msgspec.structs.replace(leaf, **(bend or {})), payload)
        self.adopt(block, parent)
        return block

    def adopt(self, block: Block, parent: Block) -> None:
        """A block that the replica under test has made: others may build on it."""
        after = apply_leaf(self.get_ledger(parent), parent.leaf, block.leaf, self.context.ledger_parameters)
        self._ledgers[block.commitment] = after

    def sign(self, number: int, domain: Domain, view: int, subject: bytes) -> bytes:
        statement = make_statement(self.context.network_id, domain, EPOCH, View(view), subject)
        return self.signers[number].sign(statement)

    def proposal(self, block: Block) -> QuorumProposal:
        signature = self.sign(block.leaf.proposer, Domain.PROPOSAL, block.leaf.view, block.commitment)
        return QuorumProposal(block.leaf, block.payload, signature)

    def vote(self, number: int, block: Block) -> QuorumVote:
        signature = self.sign(number, Domain.QUORUM_VOTE, block.leaf.view, block.commitment)
        return QuorumVote(EPOCH, block.leaf.view, block.commitment, ValidatorId(number), signature)

    def finalize(self, number: int, block: Block) -> FinalizeVote:
        signature = self.sign(number, Domain.FINALIZE_VOTE, block.leaf.view, block.commitment)
        return FinalizeVote(EPOCH, block.leaf.view, block.commitment, ValidatorId(number), signature)

    def timeout(
        self,
        number: int,
        view: int,
        high_qc: QuorumCertificate,
        entry_tc: TimeoutCertificate | None = None,
        signed_view: int | None = None,
    ) -> TimeoutVote:
        signed = View(high_qc.view if signed_view is None else signed_view)
        signature = self.sign(number, Domain.TIMEOUT_VOTE, view, make_timeout_subject(signed))
        return TimeoutVote(EPOCH, View(view), signed, ValidatorId(number), signature, high_qc, entry_tc)

    def qc(self, block: Block, voters: Iterable[int] | None = None) -> QuorumCertificate:
        signatures = {ValidatorId(n): self.vote(n, block).signature for n in self._quorum(voters)}
        return assemble_quorum_certificate(
            self.scheme, self.table, EPOCH, block.leaf.view, block.commitment, signatures
        )

    def fc(self, block: Block, voters: Iterable[int] | None = None) -> FinalityCertificate:
        signatures = {ValidatorId(n): self.finalize(n, block).signature for n in self._quorum(voters)}
        return assemble_finality_certificate(self.scheme, self.table, self.qc(block), signatures)

    def tc(self, view: int, high_qc: QuorumCertificate, voters: Iterable[int] | None = None) -> TimeoutCertificate:
        votes = {ValidatorId(n): self.timeout(n, view, high_qc) for n in self._quorum(voters)}
        signed = {voter: (vote.high_qc_view, vote.signature) for voter, vote in votes.items()}
        return assemble_timeout_certificate(self.scheme, self.table, EPOCH, View(view), signed, high_qc)

    def chain(self, length: int) -> list[Block]:
        """Blocks of views 1 to `length`, each on the one before."""
        blocks = [self.genesis]
        for view in range(1, length + 1):
            blocks.append(self.block(blocks[-1], view))
        return blocks[1:]

    def _quorum(self, voters: Iterable[int] | None) -> Iterable[int]:
        if voters is not None:
            return voters
        return range(len(self.table) * 2 // 3 + 1)


class Bench:
    """The replica under test with its clock. Payload questions are answered at once: accepted, and `payload` when it
    leads.
    """

    def __init__(self, lab: Lab, number: int, record: SafetyRecord, **chain: object) -> None:
        self.lab = lab
        self.now = START
        self.accepts = True
        self.payload = b""
        self.effects: list[Effect] = []
        self.decided: list[Block] = []
        self.safety = SafetyRules(lab.context, ValidatorId(number), [lab.signers[number]], record)
        options: dict[str, object] = {
            "tip": lab.genesis,
            "ledger": lab.context.genesis_ledger,
            "tip_fc": None,
            "undecided": (),
            "docket": Docket(lab.admission),
            **chain,
        }
        self.replica = Replica(lab.context, lab.schedule, lab.validator, self.safety, **options)  # type: ignore[arg-type]

    @property
    def record(self) -> SafetyRecord:
        return self.safety.record

    def start(self) -> list[Effect]:
        return self.handle(Started())

    def receive(self, sender: int, message: ReplicaMessage) -> list[Effect]:
        item = self.lab.validator.validate(ValidatorId(sender), message)
        return self.handle(Received(ValidatorId(sender), item))

    def propose(self, block: Block) -> list[Effect]:
        """The block's proposer sends it."""
        return self.receive(block.leaf.proposer, self.lab.proposal(block))

    def certify(self, block: Block, voters: Iterable[int] = (0, 1, 2, 3)) -> list[Effect]:
        """The others vote for the block."""
        return [
            effect
            for number in voters
            if number != self.safety.validator_id
            for effect in self.receive(number, self.lab.vote(number, block))
        ]

    def handle(self, event: Event) -> list[Effect]:
        """One event and what follows from it; returns all effects, in order."""
        events: list[Event] = [event]
        effects: list[Effect] = []
        while events:
            for effect in self.replica.handle(events.pop(0), self.now):
                effects.append(effect)
                if isinstance(effect, CheckPayload):
                    events.append(PayloadReady(effect.block.commitment, self.accepts))
                elif isinstance(effect, BuildPayload):
                    events.append(PayloadBuilt(effect.view, effect.parent, self.payload))
                elif isinstance(effect, Decide):
                    self.decided += effect.blocks
        self.effects += effects
        return effects

    def expire_view(self) -> list[Effect]:
        """Let the view timer that was set last fire."""
        timers = [effect for effect in select(self.effects, SetTimer) if effect.timer is Timer.VIEW]
        self.now = Microseconds(max(self.now, timers[-1].deadline))
        return self.handle(TimerFired(Timer.VIEW))

    def wait(self, microseconds: int) -> None:
        self.now = Microseconds(self.now + microseconds)


def select(effects: Iterable[Effect], kind: type[T]) -> list[T]:
    """Effects of one type."""
    return [effect for effect in effects if isinstance(effect, kind)]


def get_messages(effects: Iterable[Effect], kind: type[T]) -> list[T]:
    """Messages of one type that leave with these effects, inside or outside a `Persist`."""
    messages: list[Message] = []
    for effect in effects:
        sends: Sequence[Effect] = effect.then if isinstance(effect, Persist) else (effect,)
        messages += [send.message for send in sends if isinstance(send, Send | Broadcast)]
    return [message for message in messages if isinstance(message, kind)]
