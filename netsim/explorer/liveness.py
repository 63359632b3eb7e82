"""From every state a calm network with an honest leader leads to a new FC (protocol section 5).

The fair continuation, made by the real rules, tallies and verifier: everything that honest validators have sent
arrives, the Byzantine ones fall silent, views that nobody honest leads or that are spoilt already are timed out by
everybody, then an honest leader proposes, everybody votes and finalizes. It is followed twice, from what the honest
hold by themselves, and from all certificates that exist: the adversary may have shown them, or not.
"""

import msgspec

from consensus.certificates import QuorumCertificate, TimeoutCertificate
from consensus.certifier import Certifier
from consensus.errors import InvalidMessage, Unsafe
from consensus.messages import FinalizeVote, QuorumVote, TimeoutVote
from consensus.safety import EntryCertificate, SafetyRules
from consensus.types import ValidatorId, View
from consensus.validation import MessageValidator
from netsim.explorer.material import Content, Material
from netsim.explorer.model import GENESIS, NO_TC, LeafId, Learned, LocalId, State
from netsim.explorer.moves import iterate_bits
from netsim.explorer.voters import Voters, on_qc, on_tc

_Course = tuple[tuple[int, ...], int, int, tuple[Learned, ...]]
"""What each validator has used up, the highest QC and the highest entry among them, and what arrives."""


_NUMBER_BITS = 32


class Stuck(Exception):
    """The continuation came to a halt; the text says where."""


class Liveness:
    """Follows each continuation once.

    Where it leads depends on the views in the records (voted, timed out, finalized) and on the highest `high_qc` and
    entry that anybody has: everybody gets those first, and they replace what is lower. The last votes in a record are
    repeated by the rules and never looked at, but for the view of the last TimeoutVote.
    """

    def __init__(self, material: Material, voters: Voters) -> None:
        self._material = material
        self._voters = voters
        self._used: list[int] = []
        self._high_qcs: list[int] = []
        self._entries: list[int] = []
        """The same in numbers, by local state; those of certificates are in the order of their views."""
        self._used_ids: dict[tuple[int, ...], int] = {}
        self._entry_ids: dict[EntryCertificate, int] = {}
        self._outcomes: dict[_Course, LeafId | Stuck] = {}

    @property
    def followed(self) -> int:
        """Different continuations so far."""
        return len(self._outcomes)

    def find_stuck(self, state: State, fcs: int, arrivals: tuple[Learned, ...]) -> str | None:
        """None when a new leaf is finalized on top of the leaves that are final already (`fcs`)."""
        for local in range(len(self._used), len(self._voters.records)):
            self._number(local)
        used = tuple(sorted([self._used[local] for local in state]))
        high_qc = max([self._high_qcs[local] for local in state])
        course = used, high_qc, max([self._entries[local] for local in state]), arrivals
        outcome = self._outcomes.get(course)
        if outcome is None:
            try:
                outcome = self._follow(state, arrivals)
            except Stuck as stuck:
                outcome = stuck
            self._outcomes[course] = outcome
        if isinstance(outcome, Stuck):
            return f"{outcome}, although everything arrives and an honest validator leads"
        if fcs & ~self._material.ancestors[outcome]:
            return "a calm network finalizes a leaf beside those that are final"
        return None

    def _number(self, local: LocalId) -> None:
        record = self._voters.records[local]
        last_timeout = 0 if record.last_timeout is None else record.last_timeout.view
        views = record.voted_view, record.timed_out_view, record.finalized_view, last_timeout
        self._used.append(self._used_ids.setdefault(views, len(self._used_ids)))
        self._high_qcs.append(record.high_qc.view << _NUMBER_BITS | self._material.find_leaf(record.high_qc.leaf))
        entry = self._entry_ids.setdefault(record.entry, len(self._entry_ids))
        self._entries.append(record.entry.view << _NUMBER_BITS | entry)

    def _follow(self, state: State, arrivals: tuple[Learned, ...]) -> LeafId:
        context = self._material.context
        validator = MessageValidator(context)
        certifier = Certifier(context, validator)
        voters = [
            SafetyRules(context, ValidatorId(number), [self._material.signers[number]], self._voters.records[local])
            for number, local in enumerate(state)
        ]
        self._exchange(voters, arrivals)
        view = View(voters[0].record.entry.view + 1)
        while view <= self._material.model.views or any(_is_spoilt(rules, view) for rules in voters):
            tc = self._time_out(voters, view, certifier, validator)
            for rules in voters:
                on_tc(rules, tc)
            view = View(view + 1)
        return self._finalize_new(voters, view, certifier, validator)

    def _exchange(self, voters: list[SafetyRules], arrivals: tuple[Learned, ...]) -> None:
        """Everybody shows everybody the highest certificates; whoever may finalize the highest QC's leaf does."""
        for rules in voters:
            self._voters.take_in(rules, arrivals)
        high_qc = max((rules.record.high_qc for rules in voters), key=lambda qc: qc.view)
        entry = max((rules.record.entry for rules in voters), key=lambda certificate: certificate.view)
        for rules in voters:
            rules.raise_high_qc(high_qc)
            if high_qc.view > 0:
                rules.sign_finalize(high_qc)
            rules.enter(high_qc)
            rules.enter(entry)

    def _time_out(
        self, voters: list[SafetyRules], view: View, certifier: Certifier, validator: MessageValidator
    ) -> TimeoutCertificate:
        for rules in voters:
            vote = rules.sign_timeout(view)
            if isinstance(vote, Unsafe):
                raise Stuck(f"nobody can time out in view {view}: {vote.detail}")
            vote = self._adopt(rules, vote)
            self._show(validator, vote)
            tc = certifier.add_timeout(vote)
            if tc is not None:
                return tc
        raise Stuck(f"all honest timeouts make no TC of view {view}")

    def _adopt(self, rules: SafetyRules, vote: TimeoutVote) -> TimeoutVote:
        """A repeated vote is in the name of whoever stood for this validator; it has signed the same."""
        if vote.voter == rules.validator_id:
            return vote
        key = self._material.context.stake_table.get_validator(vote.voter).public_key
        own = self._material.context.stake_table.get_validator(rules.validator_id).public_key
        return msgspec.structs.replace(vote, voter=rules.validator_id, signature=own + vote.signature[len(key) :])

    def _show(self, validator: MessageValidator, message: QuorumVote | FinalizeVote | TimeoutVote) -> None:
        try:
            validator.validate(message.voter, message)
        except InvalidMessage as refused:
            raise Stuck(f"peers refuse a message of view {message.view}: {refused}") from refused

    def _finalize_new(
        self, voters: list[SafetyRules], view: View, certifier: Certifier, validator: MessageValidator
    ) -> LeafId:
        """R2 to R6, all of it calm."""
        leader = voters[self._material.model.get_leader(view)]
        tc = NO_TC if leader.entry_tc is None else self._material.find_tc(leader.entry_tc)
        parent = self._material.find_leaf(leader.record.high_qc.leaf)
        leaf = self._material.get_leaf(Content(view, parent, tc, 0))
        block = self._material.blocks[leaf]
        proposal = leader.sign_proposal(block)
        if isinstance(proposal, Unsafe):
            raise Stuck(f"the leader of view {view} cannot propose: {proposal.detail}")
        if not self._material.is_votable(leaf):
            raise Stuck(f"the honest proposal of view {view} is refused")
        qc: QuorumCertificate | None = None
        for rules in voters:
            on_qc(rules, block.leaf.justify_qc)
            vote = rules.sign_vote(block)
            if isinstance(vote, Unsafe):
                raise Stuck(f"the honest proposal of view {view} gets no vote: {vote.detail}")
            self._show(validator, vote)
            qc = certifier.add_quorum_vote(vote, genuine=False) or qc
        if qc is None:
            raise Stuck(f"all honest votes make no QC of view {view}")
        certifier.note_qc(qc)
        return self._finalize(voters, qc, leaf, certifier, validator)

    def _finalize(
        self,
        voters: list[SafetyRules],
        qc: QuorumCertificate,
        leaf: LeafId,
        certifier: Certifier,
        validator: MessageValidator,
    ) -> LeafId:
        for rules in voters:
            rules.raise_high_qc(qc)
            vote = rules.sign_finalize(qc)
            if isinstance(vote, Unsafe):
                raise Stuck(f"nobody finalizes the honest proposal of view {qc.view}: {vote.detail}")
            self._show(validator, vote)
            fc = certifier.add_finalize_vote(vote, genuine=False)
            if fc is not None:
                MessageValidator(self._material.context).certificates.verify(fc)
                return leaf
        raise Stuck(f"all honest FinalizeVotes make no FC of view {qc.view}")


def _is_spoilt(rules: SafetyRules, view: View) -> bool:
    """Somebody has stopped voting in this view, or has voted for what got no quorum."""
    return max(rules.record.timed_out_view, rules.record.voted_view) >= view


def compute_arrivals(material: Material, qcs: int, tcs: tuple[int, ...]) -> tuple[Learned, ...]:
    """Of these certificates the highest QC, and the highest TC if it opens a later view."""
    high = max(iterate_bits(qcs), key=lambda leaf: material.contents[leaf].view, default=GENESIS)
    latest = next((tc for tc in reversed(tcs) if tc != NO_TC), NO_TC)
    arrivals = [Learned(high, NO_TC)] if high != GENESIS else []
    if latest != NO_TC and material.tcs[latest].view > material.contents[high].view:
        arrivals.append(Learned(GENESIS, latest))
    return tuple(arrivals)
