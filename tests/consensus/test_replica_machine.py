"""One replica against everything that three peers can do to it, in any order, with restarts (R1 to R8, section 4).

The machine draws proposals, votes, timeouts, certificates, repetitions, forgeries, timers, answers and crashes. The
model (`others`) knows what was signed by whom, so it knows which certificates exist and what may be voted for; the laws
(`one_replica`) look at each turn. At the end of every run the network heals, and the replica must take part again.

A larger run: `HYPOTHESIS_PROFILE=large pytest tests/consensus/test_replica_machine.py` (minutes).
"""

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from consensus.effects import Drop
from consensus.events import PayloadReady, PeerLost, Timer, TimerFired
from consensus.leaf import Block
from consensus.messages import (
    QuorumVote,
    ReplicaMessage,
    StatusRequest,
    StatusResponse,
)
from consensus.types import Microseconds, ValidatorId, View
from tests.consensus.forgeries import forge
from tests.consensus.healing import heal
from tests.consensus.one_replica import Fate, OneReplica
from tests.consensus.others import LIAR, Others
from tests.lab import EPOCH, Lab

SUBJECT = 3
STAKES = [(1, 1, 1, 1), (1, 1, 2, 1, 2), (1, 1, 1, 1, 3)]
"""The liar has less than a third; in the others some heads weigh more."""
picks = st.integers(0, 5)
seldom = st.sampled_from([False, False, False, True])
masks = st.just(0) | st.just(0) | st.integers(0, 31)
"""Validators, a bit each, that are absent or late: seldom, so that runs come far."""


class ReplicaMachine(RuleBasedStateMachine):
    @initialize(stakes=st.sampled_from(STAKES))
    def begin(self, stakes: tuple[int, ...]) -> None:
        self.lab = Lab(stakes)
        self.others = Others(self.lab, SUBJECT)
        self.replica = OneReplica(self.others)
        self.mail: list[tuple[int, ReplicaMessage]] = []
        self.payloads = 0
        self.is_slow = False

    # What others say

    @rule(place=picks, now=st.booleans())
    def propose(self, place: int, now: bool) -> None:
        """A sound proposal, perhaps the second one of its view."""
        block = self._make_block(place)
        if block is not None:
            self._post(block.leaf.proposer, self.lab.proposal(block), now)

    @rule(pick=picks, absent=masks, late=masks)
    def vote(self, pick: int, absent: int, late: int) -> None:
        block = self._pick_block(pick)
        for number in self._list_others(absent):
            self._post(number, self.others.vote(number, block), not late >> number & 1)

    @rule(pick=picks, absent=masks, late=masks)
    def finalize(self, pick: int, absent: int, late: int) -> None:
        view = self._pick_certified(pick)
        for number in self._list_others(absent):
            self._post(number, self.others.finalize(number, view), not late >> number & 1)

    @rule(back=picks, absent=masks, late=masks, claimed=picks)
    def time_out(self, back: int, absent: int, late: int, claimed: int) -> None:
        view = max(1, self.others.frontier - back // 2)
        for number in self._list_others(absent):
            self._post(number, self.others.time_out(number, view, claimed), not late >> number & 1)

    @rule(number=picks, qc=picks, fc=picks, tc=picks, left_out=picks)
    def tell_certificates(self, number: int, qc: int, fc: int, tc: int, left_out: int) -> None:
        others = self.others
        finals = sorted(view for view in others.final if view)
        made = others.certify_timeouts(max(others.tcs), left_out) if others.tcs and tc > 2 else None
        status = StatusResponse(
            others.make_qc(others.certified[self._pick_certified(qc)], left_out),
            others.make_fc(others.final[finals[-1 - fc % len(finals)]], left_out) if finals and fc < 3 else None,
            made,
        )
        self._post(others.numbers[number % len(others.numbers)], status, True)

    @rule(count=st.integers(1, 4), absent=masks, late=masks, is_block_late=seldom)
    def run_views(self, count: int, absent: int, late: int, is_block_late: bool) -> None:
        """Views as they should be, of which the replica hears more or less in time; each ends by a QC or a TC."""
        for _ in range(count):
            view, others = self.others.frontier, self.others
            block = self._make_block(0)
            if block is not None:
                self._post(block.leaf.proposer, self.lab.proposal(block), not is_block_late)
            block = block or next((own for own in others.sound.values() if own.leaf.view == view), None)
            present = self._list_others(absent)
            for number in present:
                vote = None if block is None else others.vote(number, block)
                self._post(number, vote, not late >> number & 1)
            is_certified = view in others.certified
            for number in present:
                end = others.finalize(number, view) if is_certified else others.time_out(number, view)
                self._post(number, end, not late >> number & 1)

    @rule(number=picks)
    def ask_status(self, number: int) -> None:
        number = self.others.numbers[number % len(self.others.numbers)]
        self._post(number, StatusRequest(EPOCH, View(1 + number)), True)

    @rule(letter=st.integers(0, 200), again=st.booleans())
    def deliver(self, letter: int, again: bool) -> None:
        """Something that was said earlier, late or once more; said twice it changes nothing more (L4)."""
        if not self.mail:
            return
        sender, message = self.mail[letter % len(self.mail)]
        restarts = self.replica.restarts
        assert self.replica.receive(sender, message) is not None
        if again:
            before = self.replica.describe()
            self.replica.receive(sender, message)
            assert self.replica.restarts > restarts or self.replica.describe() == before, f"said twice: {message}"

    # What nobody honest says

    @rule(letter=st.integers(0, 200), how=st.integers(0, 20))
    def tamper(self, letter: int, how: int) -> None:
        """A message with one thing wrong is refused, or dropped without a trace."""
        if self.mail:
            sender, message = self.mail[letter % len(self.mail)]
            forgeries = forge(sender, message, self.others)
            self._check_refused(*forgeries[how % len(forgeries)])

    @rule(place=picks, how=st.sampled_from(["height", "ledger", "timestamp_ms", "payload", "version", "proposer"]))
    def propose_nonsense(self, place: int, how: str) -> None:
        """Signed by its proposer; the certificates in it are sound, so they may count, but never the leaf (R3b)."""
        places = self.others.list_places()
        parent, view, tc = places[place % len(places)]
        leader = self.lab.get_leader(view, parent)
        if leader == SUBJECT:
            return
        wrong: dict[str, object] = {
            "height": parent.leaf.height + 2,
            "ledger": bytes(32),
            "timestamp_ms": self.replica.now // 1000 + 60_000,
            "payload": bytes(32),
            "version": 1,
            "proposer": ValidatorId(LIAR if leader != LIAR else 1),
        }
        block = self.lab.block(parent, view, justify=self.others.make_qc(parent), tc=tc, bend={how: wrong[how]})
        self.replica.receive(block.leaf.proposer, self.lab.proposal(block))

    @rule(place=picks, skip=st.integers(1, 3), with_tc=st.booleans())
    def propose_unjustified(self, place: int, skip: int, with_tc: bool) -> None:
        """R3c: views are skipped without leave, or the TC's signers saw more."""
        others = self.others
        parent = others.certified[self._pick_certified(place)]
        tcs = [tc for view in others.tcs for tc in others.tcs[view] if max(tc.high_qc_views) > parent.leaf.view]
        tc = tcs[place % len(tcs)] if tcs and with_tc else None
        view = tc.view + 1 if tc is not None else parent.leaf.view + 1 + skip
        leader = self.lab.get_leader(view, parent)
        if leader == SUBJECT:
            return
        block = self.lab.block(parent, view, justify=others.make_qc(parent), tc=tc)
        self._check_refused(leader, self.lab.proposal(block))

    # What happens inside

    @rule(early=st.booleans())
    def fire_view_timer(self, early: bool) -> None:
        deadline = self.replica.deadlines[Timer.VIEW]
        if not early:
            self.replica.now = Microseconds(max(self.replica.now, deadline))
        self.replica.handle(TimerFired(Timer.VIEW))

    @rule(number=picks)
    def lose_peer(self, number: int) -> None:
        self.replica.handle(PeerLost(ValidatorId(self.others.numbers[number % len(self.others.numbers)])))

    @rule(is_slow=st.booleans())
    def change_pace(self, is_slow: bool) -> None:
        """Whether the application takes its time."""
        self.is_slow = is_slow

    @rule(last=st.booleans(), accepted=st.booleans())
    def answer(self, last: bool, accepted: bool) -> None:
        """The application has built or looked at a payload; perhaps it refuses."""
        questions = self.replica.questions
        if questions:
            event = questions.pop() if last else questions.popleft()
            if isinstance(event, PayloadReady) and not accepted:
                event = PayloadReady(event.leaf, accepted=False)
            self.replica.handle(event)

    @rule()
    def fetch(self) -> None:
        """The fetch timer fires, and one request is answered."""
        self.replica.wait_for_fetch()
        self.replica.serve_one()

    @rule(fate=st.sampled_from(Fate))
    def die(self, fate: Fate) -> None:
        """At once, or in the middle of the next turn."""
        if fate is Fate.RELEASED:
            self.replica.crash()
        else:
            self.replica.fate = fate

    def teardown(self) -> None:
        """From every state a fair continuation leads to new decides, with the replica's votes (section 5)."""
        if hasattr(self, "replica"):
            self.replica.fate = Fate.RELEASED
            heal(self.others, self.replica)

    # Small steps

    def _post(self, sender: int, message: ReplicaMessage | None, now: bool) -> None:
        """Say it, and let the replica hear it now or later."""
        if message is None:
            return
        self.mail.append((sender, message))
        if now:
            assert self.replica.receive(sender, message) is not None, f"refused: {message}"
            if not self.is_slow:
                self.replica.answer_all()

    def _check_refused(self, sender: int, message: ReplicaMessage) -> None:
        before, restarts = self.replica.describe(), self.replica.restarts
        effects = self.replica.receive(sender, message)
        if self.replica.restarts == restarts:
            assert self.replica.describe() == before, f"this changed something: {message}"
            is_vote = isinstance(message, QuorumVote) or effects is None
            assert is_vote or any(isinstance(effect, Drop) for effect in effects or ()), f"not refused: {message}"

    def _list_others(self, absent: int) -> list[int]:
        return [number for number in self.others.numbers if not absent >> number & 1]

    def _make_block(self, place: int) -> Block | None:
        places = self.others.list_places()
        self.payloads += 1
        payload = msgspec.msgpack.encode([b"%d" % self.payloads])
        return self.others.propose(*places[place % len(places)], payload=payload)

    def _pick_block(self, pick: int) -> Block:
        blocks = sorted(self.others.sound.values(), key=lambda block: block.leaf.view)
        return blocks[-1 - pick % len(blocks)]

    def _pick_certified(self, pick: int) -> int:
        views = sorted(self.others.certified)
        return views[-1 - pick % len(views)]


TestReplica = ReplicaMachine.TestCase
LIMITS = {"large": settings(max_examples=5000, stateful_step_count=80)}
USUAL = settings(max_examples=300, stateful_step_count=40, derandomize=True, database=None)
"""The same runs every time, so that a failure in the suite is about the change that was made."""
TestReplica.settings = settings(
    LIMITS.get(settings.get_current_profile_name(), USUAL), deadline=None, suppress_health_check=list(HealthCheck)
)
