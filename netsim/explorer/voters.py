"""What one honest validator can be, and what the real rules let it do next.

A *local state* is a real `SafetyRecord` and the set of statements that the validator has ever signed. It is made only
by running `consensus.safety.SafetyRules`: every step builds them from the record, gives them the certificates and asks
for one signature. The answer is remembered by (local state, step).

That memory is sound because the rules have no other input: `SafetyRules` is made of the context, which is fixed, and
the record, which is in the key; its arguments are what the step names; and it keeps nothing outside of its record. It
looks at its own number only to sign, so one validator stands for all that lead the same views.

Every step adds one statement or one restart with a loss, so the length of every way to a state is the same.
"""

from collections.abc import Callable, Iterable
from typing import assert_never

import msgspec

from consensus.certificates import QuorumCertificate, TimeoutCertificate
from consensus.errors import InvalidMessage, Unsafe
from consensus.leaf import Block
from consensus.messages import FinalizeVote, QuorumProposal, QuorumVote, TimeoutVote
from consensus.safety import SafetyRecord, SafetyRules
from consensus.types import ValidatorId, View
from netsim.explorer.material import Material
from netsim.explorer.model import NO_TC, Kind, LeafId, Learned, LocalId, Signed, Step
from netsim.explorer.offences import SignedMessage, find_frame
from netsim.explorer.quorums import NO_TIMEOUT, SignedTimeout

Recover = Callable[[SafetyRecord], SafetyRecord]


def read_back(record: SafetyRecord) -> SafetyRecord:
    """A restart: what was written is what is read (R8)."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=SafetyRecord)


class Voters:
    """Numbers the local states as they are reached. `recover` is what a restart makes of a record."""

    def __init__(self, material: Material, recover: Recover = read_back) -> None:
        self._material = material
        self._recover = recover
        self._ids: dict[tuple[int, int, SafetyRecord, frozenset[Signed]], LocalId] = {}
        self._origins: list[tuple[LocalId, Step] | None] = []
        self._answers: dict[tuple[LocalId, Step], LocalId | None] = {}
        self._messages: list[tuple[SignedMessage, ...]] = []
        self._restarts: list[int] = []
        self.roles: list[int] = []
        """Its number, if it leads a view; all others are -1."""
        self.records: list[SafetyRecord] = []
        self.signed: list[frozenset[Signed]] = []
        self.votes: list[int] = []
        self.finalizes: list[int] = []
        self.proposals: list[int] = []
        self.leaves: list[int] = []
        """All that its statements are about, ancestors included."""
        self.timeouts: list[tuple[SignedTimeout, ...]] = []
        """By view, from 1."""
        self.frames: list[str | None] = []
        """What this validator could be accused of, although it is honest."""
        self.predecessors: list[set[LocalId]] = []
        """From where one step leads here."""
        self.refused = 0
        """Messages of honest validators that their peers would not accept."""

    def start(self, number: int) -> LocalId:
        """The honest validator of this number, with a key that has never signed."""
        model = self._material.model
        leads = any(model.get_leader(view) == number for view in range(1, model.views + 1))
        record = SafetyRecord.initial(self._material.context.genesis_qc)
        return self._intern((number if leads else -1, 0, record), (), None)

    def get_origin(self, local: LocalId) -> tuple[LocalId, Step] | None:
        """One way to get there: from which local state, by which step. None for one that has never signed."""
        return self._origins[local]

    def apply(self, local: LocalId, step: Step) -> LocalId | None:
        """Where the step leads; None when the rules forbid it, or when it says and changes nothing new."""
        key = local, step
        if key not in self._answers:
            after = self._answers[key] = self._ask(local, step)
            if after is not None:
                self.predecessors[after].add(local)
        return self._answers[key]

    def make_rules(self, local: LocalId) -> SafetyRules:
        number = self._get_number(self.roles[local])
        signers = self._material.signers[number : number + 1]
        return SafetyRules(self._material.context, ValidatorId(number), signers, self.records[local])

    def _get_number(self, role: int) -> int:
        """Somebody honest in this role."""
        if role >= 0:
            return role
        model = self._material.model
        leaders = {model.get_leader(view) for view in range(1, model.views + 1)}
        return min(set(range(model.honest)) - leaders)

    def _ask(self, local: LocalId, step: Step) -> LocalId | None:
        rules = self.make_rules(local)
        self.take_in(rules, step.learned)
        message = self._sign(rules, step)
        if isinstance(message, Unsafe):
            return None
        messages, restarts = self._messages[local], self._restarts[local]
        if message is None:
            if rules.record == self.records[local]:
                return None
            restarts += 1
        elif message in messages or not self._is_accepted(rules.validator_id, message):
            return None
        else:
            messages = (*messages, message)
        return self._intern((self.roles[local], restarts, rules.record), messages, (local, step))

    def take_in(self, rules: SafetyRules, certificates: Iterable[Learned]) -> None:
        """Without finalizing: that is a step of its own, and may wait for the leaf."""
        for leaf, tc in certificates:
            if tc == NO_TC:
                on_qc(rules, self._material.get_qc(leaf))
            else:
                on_tc(rules, self._material.get_tc(tc))

    def _sign(self, rules: SafetyRules, step: Step) -> SignedMessage | Unsafe | None:
        match step.kind:
            case Kind.VOTE:
                return self._vote(rules, step.leaf)
            case Kind.FINALIZE:
                qc = self._material.get_qc(step.leaf)
                rules.raise_high_qc(qc)
                vote = rules.sign_finalize(qc)
                rules.enter(qc)
                return vote
            case Kind.TIME_OUT:
                return rules.sign_timeout(View(step.view))
            case Kind.PROPOSE:
                return rules.sign_proposal(self._material.blocks[step.leaf])
            case Kind.RESTART:
                return self._restart(rules)
        assert_never(step.kind)

    def _restart(self, rules: SafetyRules) -> Unsafe | None:
        before, rules.record = rules.record, self._recover(rules.record)
        return Unsafe("R8", "a restart that loses nothing is none") if rules.record == before else None

    def _vote(self, rules: SafetyRules, leaf: LeafId) -> QuorumVote | Unsafe:
        """R3: a proposal's certificates first, then the leaf, if it is of the current view."""
        block = self._material.blocks[leaf]
        on_qc(rules, block.leaf.justify_qc)
        if block.leaf.timeout_certificate is not None:
            on_tc(rules, block.leaf.timeout_certificate)
        view = rules.record.entry.view + 1
        return rules.sign_vote(block) if block.leaf.view == view else Unsafe("R3", f"the current view is {view}")

    def _is_accepted(self, signer: ValidatorId, message: SignedMessage) -> bool:
        """Whether a peer lets it through."""
        try:
            self._material.validator.validate(signer, message)
        except InvalidMessage:
            self.refused += 1
            return False
        return True

    def describe(self, message: SignedMessage) -> Signed:
        """What a message of an honest validator says, without who says it."""
        find = self._material.find_leaf
        match message:
            case QuorumProposal(leaf=leaf):
                return Signed(Kind.PROPOSE, leaf.view, find(Block(leaf, message.payload).commitment))
            case QuorumVote():
                return Signed(Kind.VOTE, message.view, find(message.leaf))
            case FinalizeVote():
                return Signed(Kind.FINALIZE, message.view, find(message.leaf))
            case TimeoutVote():
                return Signed(Kind.TIME_OUT, message.view, find(message.high_qc.leaf), message.high_qc_view)
        assert_never(message)

    def _intern(
        self,
        memory: tuple[int, int, SafetyRecord],
        messages: tuple[SignedMessage, ...],
        origin: tuple[LocalId, Step] | None,
    ) -> LocalId:
        """`memory` is role, restarts and record."""
        role, restarts, record = memory
        signed = frozenset(map(self.describe, messages))
        key = role, restarts, record, signed
        known = self._ids.get(key)
        if known is not None:
            return known
        local = self._ids[key] = len(self.records)
        self._origins.append(origin)
        self._messages.append(messages)
        self._restarts.append(restarts)
        self.predecessors.append(set())
        self.roles.append(role)
        self.records.append(record)
        self.signed.append(signed)
        self.votes.append(_get_mask(signed, Kind.VOTE))
        self.finalizes.append(_get_mask(signed, Kind.FINALIZE))
        self.proposals.append(_get_mask(signed, Kind.PROPOSE))
        leaves = 1
        for statement in signed:
            leaves |= self._material.ancestors[statement.leaf]
        self.leaves.append(leaves)
        self.timeouts.append(_get_timeouts(signed, self._material.model.views))
        self.frames.append(find_frame(self._material, signed, messages))
        return local


def on_qc(rules: SafetyRules, qc: QuorumCertificate) -> None:
    """R5, R1, in the order of `Replica._on_qc`."""
    rules.raise_high_qc(qc)
    rules.enter(qc)


def on_tc(rules: SafetyRules, tc: TimeoutCertificate) -> None:
    """The QC in it first, then R1, as in `Replica._on_tc`."""
    on_qc(rules, tc.high_qc)
    rules.enter(tc)


def _get_mask(signed: frozenset[Signed], kind: Kind) -> int:
    mask = 0
    for statement in signed:
        if statement.kind is kind:
            mask |= 1 << statement.leaf
    return mask


def _get_timeouts(signed: frozenset[Signed], views: int) -> tuple[SignedTimeout, ...]:
    """The lowest that was signed in each view: all that an adversary needs of them."""
    found = [NO_TIMEOUT] * (views + 1)
    for statement in signed:
        said = statement.high_qc_view, statement.leaf
        if statement.kind is Kind.TIME_OUT and (found[statement.view] == NO_TIMEOUT or said < found[statement.view]):
            found[statement.view] = said
    return tuple(found[1:])
