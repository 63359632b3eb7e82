"""The replica under test as a process: its disk, its clock, and the laws that hold of everything that leaves it.

A turn is one event, one write, one release. A turn may be lost before its sync, or synced and never released; then the
process dies and starts again from its disk.
"""

from collections import deque
from enum import Enum
from random import Random

import msgspec

from consensus.certificates import QuorumCertificate, TimeoutCertificate
from consensus.effects import (
    Broadcast,
    BuildPayload,
    CheckPayload,
    Decide,
    Effect,
    EnteredView,
    Persist,
    Report,
    Send,
    SetTimer,
    batch,
)
from consensus.errors import InvalidMessage
from consensus.events import Event, PayloadBuilt, PayloadReady, Received, Started, Timer, TimerFired
from consensus.evidence import DoubleProposal
from consensus.fetch import ORPHANS_MAX, WANTED_MAX
from consensus.messages import (
    FinalizeVote,
    LeafRequest,
    LeafResponse,
    Message,
    QuorumProposal,
    QuorumVote,
    RangeRequest,
    RangeResponse,
    ReplicaMessage,
    StatusResponse,
    TimeoutVote,
    decode,
    encode,
)
from consensus.safety import SafetyRecord
from consensus.types import Microseconds, ValidatorId
from consensus.validation import MessageValidator
from netsim.checkers.agreement import Agreement
from netsim.checkers.certificates import Certificates
from netsim.checkers.order import DecideOrder
from netsim.checkers.timeouts import FinalizeBeforeTimeout
from netsim.checkers.views import ViewsAdvance
from netsim.checkers.votes import OneVotePerView
from netsim.disk import Disk, DiskModel
from netsim.observer import Observer
from tests.consensus.others import Others
from tests.lab import START, Bench


class Fate(Enum):
    """What becomes of the next turn."""

    RELEASED = "synced and released"
    LOST = "killed before the sync"
    UNSENT = "synced, killed before the release"


class OneReplica:
    """Validator `others.subject`. Whatever it says goes through the codec, as what it hears does."""

    def __init__(self, others: Others) -> None:
        lab = others.lab
        self.others = others
        self.id = ValidatorId(others.subject)
        self.now = START
        self.fate = Fate.RELEASED
        self.restarts = 0
        self.questions: deque[Event] = deque()
        """Answers that the application owes."""
        self.requests: deque[LeafRequest | RangeRequest] = deque()
        self.deadlines: dict[Timer, Microseconds] = {}
        self._disk = Disk(DiskModel(), Random(1), lab.genesis, SafetyRecord.initial(lab.genesis_qc))
        self._certificates = Certificates(lab.context)
        self._checkers: list[Observer] = [
            Agreement(lab.genesis),
            OneVotePerView(),
            FinalizeBeforeTimeout(),
            DecideOrder(),
            ViewsAdvance(),
            self._certificates,
        ]
        self._listener = MessageValidator(lab.context)
        """A peer that has verified nothing yet."""
        self._timed_out_view = 0
        self._said: set[QuorumVote | FinalizeVote] = set()
        self.start()

    # Its life

    def start(self) -> None:
        found = self._disk.load()
        record = msgspec.msgpack.decode(msgspec.msgpack.encode(found.record), type=SafetyRecord)
        ledger = found.ledger or self.others.lab.context.genesis_ledger
        self.bench: Bench = self.others.lab.bench(
            self.id, record, tip=found.tip, ledger=ledger, tip_fc=found.tip_fc, undecided=found.undecided
        )
        self.questions.clear()
        self.deadlines.clear()
        # What was signed and synced is said again, whenever it was due: it counts as said.
        self._said |= {vote for vote in (record.last_vote, record.last_finalize) if vote is not None}
        for checker in self._checkers:
            checker.on_start(self.now, self.id, record, self._disk.decided)
        self.handle(Started())

    def crash(self) -> None:
        """Unsynced writes may be lost, all or the last of them."""
        self._disk.crash()
        self.restarts += 1
        self.fate = Fate.RELEASED
        self.start()

    def handle(self, event: Event) -> list[Effect]:
        """One turn."""
        before = self.bench.record
        effects = self.bench.replica.handle(event, self.now)
        self._check_persists(effects, before)
        self._check_bounds()
        turn = batch(effects)
        fate, self.fate = self.fate, Fate.RELEASED
        if fate is Fate.LOST:
            self.crash()
            return effects
        if turn.record is not None or turn.blocks or turn.decides:
            self._disk.append(turn)
        if turn.must_sync:
            self._disk.sync()
        if fate is Fate.UNSENT:
            self.crash()
            return effects
        for effect in turn.release:
            self._release(effect)
        assert self.bench.replica.view <= self.others.frontier, "R1: entered without a certificate"
        return effects

    def receive(self, sender: int, message: ReplicaMessage) -> list[Effect] | None:
        """What came of it; None when it was refused at the door."""
        try:
            heard = decode(encode(message))
            assert heard == message
            item = self.others.lab.validator.validate(ValidatorId(sender), message)
        except InvalidMessage:
            return None
        return self.handle(Received(ValidatorId(sender), item))

    def describe(self) -> tuple[object, ...]:
        """What an invalid input must not change."""
        replica = self.bench.replica
        chain = [block.commitment for block in replica.chain.blocks]
        return self.bench.record, replica.view, replica.tip.commitment, chain, replica.candidate

    # What is around it

    def answer_all(self) -> None:
        """The application has an answer to everything, and accepts."""
        while self.questions:
            self.handle(self.questions.popleft())

    def wait_for_fetch(self) -> None:
        self.now = Microseconds(max(self.now, self.deadlines.get(Timer.FETCH, 0)))
        self.handle(TimerFired(Timer.FETCH))

    def serve_one(self) -> bool:
        """Whether there was a request; the next one is answered as well as can be."""
        if not self.requests:
            return False
        request = self.requests.popleft()
        chain, server = self.others.get_final_chain(), self.others.honest[0]
        if isinstance(request, LeafRequest):
            block = self.others.sound[request.leaf]
            self.receive(server, LeafResponse(block.leaf, block.payload))
        elif request.from_height < len(chain):
            blocks = tuple(LeafResponse(block.leaf, block.payload) for block in chain[request.from_height :])
            self.receive(server, RangeResponse(blocks, (), self.others.make_fc(chain[-1])))
        return True

    # What leaves it

    def _release(self, effect: Effect) -> None:
        match effect:
            case Broadcast(message):
                self._on_message(message)
            case Send(to, message):
                assert to != self.id
                self._on_message(message)
            case SetTimer(timer, deadline):
                self.deadlines[timer] = deadline
            case BuildPayload(view=view, parent=parent):
                self.questions.append(PayloadBuilt(view, parent, b""))
            case CheckPayload(block, _):
                self.questions.append(PayloadReady(block.commitment, accepted=True))
            case EnteredView():
                for checker in self._checkers:
                    checker.on_enter(self.now, self.id, effect)
            case Decide():
                for checker in self._checkers:
                    checker.on_decide(self.now, self.id, effect)
            case Report(evidence):
                assert evidence.offender != self.id, "it accuses itself"
                # Whoever leads may propose twice here, so that votes split; nobody but the liar breaks another rule.
                is_honest = evidence.offender in self.others.honest and not isinstance(evidence, DoubleProposal)
                assert not is_honest, f"it accuses an honest validator: {evidence}"
            case _:
                pass

    def _on_message(self, message: Message) -> None:
        assert decode(encode(message)) == message
        for checker in self._checkers:
            checker.on_send(self.now, self.id, message)
        match message:
            case QuorumProposal():
                self._listener.validate(self.id, message)
                self.others.hear_proposal(message)
            case QuorumVote():
                self._check_votes_in_time(message)
                self.others.hear_vote(message)
            case FinalizeVote():
                self._check_votes_in_time(message)
                self.others.hear_finalize(message)
            case TimeoutVote():
                self._listener.validate(self.id, message)
                self._timed_out_view = max(self._timed_out_view, message.view)
                self.others.hear_timeout(message)
            case StatusResponse():
                self._listener.validate(self.id, message)
            case LeafRequest() | RangeRequest():
                self.requests.append(message)
            case _:
                pass

    # The laws

    def _check_votes_in_time(self, vote: QuorumVote | FinalizeVote) -> None:
        """R3a, R5: no new vote in a view that it has timed out of, or in a lower one."""
        if vote not in self._said:
            assert vote.view > self._timed_out_view, f"voted in view {vote.view}, timed out in {self._timed_out_view}"
            self._said.add(vote)

    def _check_persists(self, effects: list[Effect], before: SafetyRecord) -> None:
        """R8: whatever is signed stands in the `then` of the record that holds it; records only rise."""
        for effect in effects:
            if isinstance(effect, Send | Broadcast):
                assert not isinstance(effect.message, QuorumProposal | QuorumVote | FinalizeVote | TimeoutVote)
            elif isinstance(effect, Persist):
                _check_rise(before, effect.record)
                before = effect.record
                for send in effect.then:
                    _check_held(effect, send.message)
                self._check_certificates(effect.record)
        _check_rise(before, self.bench.record)
        # A QC that nothing depends on yet may wait for the next write.
        unsynced = msgspec.structs.replace(self.bench.record, high_qc=before.high_qc)
        assert unsynced == before, "R8: something was signed or entered that was not to be made durable"
        assert self.bench.replica.view == self.bench.record.entry.view + 1

    def _check_certificates(self, record: SafetyRecord) -> None:
        for certificate in (record.high_qc, record.entry):
            assert isinstance(certificate, QuorumCertificate | TimeoutCertificate)
            self._certificates.check(certificate)

    def _check_bounds(self) -> None:
        """L4: per validator and view from the tip on one vote of a kind, and little else."""
        replica, members = self.bench.replica, len(self.others.stakes)
        # After a restart the last own vote may be of a view below the tip.
        views = range(replica.tip.leaf.view - 1, self.others.frontier + 1)
        for tally in (replica._certifier._votes, replica._certifier._finalizes):
            assert len(tally) <= members * len(views)
            assert all(view in views or set(entry.votes) == {self.id} for view, entry in tally._views.items())
        assert len(replica._certifier._timeouts._votes) <= members
        assert len(replica._fetcher._wanted) <= WANTED_MAX
        assert len(replica._fetcher._orphans) <= ORPHANS_MAX
        assert set(replica._certifier._qcs) <= set(views)
        assert len(replica._proposals._waiting) <= members
        assert len(replica._proposals._signed) <= 3 * members
        assert all(block.leaf.height > replica.tip.leaf.height for block in replica.chain.blocks)


def _check_rise(before: SafetyRecord, after: SafetyRecord) -> None:
    for name in ("voted_view", "timed_out_view", "finalized_view", "proposed_view"):
        assert getattr(after, name) >= getattr(before, name), f"R8: {name} has fallen"
    assert after.high_qc.view >= before.high_qc.view, "R5: high_qc has fallen"
    assert after.entry.view >= before.entry.view, "R1: a view has gone back"


def _check_held(persist: Persist, message: Message) -> None:
    record = persist.record
    match message:
        case QuorumVote():
            assert record.last_vote == message
            assert record.voted_view == message.view
        case FinalizeVote():
            assert record.last_finalize == message
            assert record.finalized_view == message.view <= record.high_qc.view
        case TimeoutVote():
            assert record.last_timeout is not None
            assert record.last_timeout.signature == message.signature
            assert record.timed_out_view == message.view
            assert message.high_qc == record.high_qc, "R7: a repetition carries the newest certificates"
        case QuorumProposal(leaf=leaf):
            assert record.proposed_view == leaf.view
            assert record.proposed_leaf in {block.commitment for block in persist.blocks}
        case _:
            pass
