"""The validators around the replica under test, as a model: what they signed, and what follows from it by arithmetic.

Number 0 is Byzantine: it signs anything. The others keep the rules of section 3, each with a memory of its own, and
sign only what they could have signed in a network. So whatever the tests do, safety must hold, and every certificate
that can exist is known here.
"""

from collections.abc import Iterable

from consensus.certificates import (
    FinalityCertificate,
    QuorumCertificate,
    TimeoutCertificate,
    assemble_finality_certificate,
    assemble_timeout_certificate,
)
from consensus.leaf import Block, Leaf
from consensus.messages import FinalizeVote, QuorumProposal, QuorumVote, TimeoutVote
from consensus.types import Commitment, ValidatorId, View
from tests.lab import EPOCH, Lab

LIAR = 0


class _Memory:
    """What an honest validator remembers of itself."""

    def __init__(self, genesis_qc: QuorumCertificate) -> None:
        self.voted = self.finalized = self.timed_out = 0
        self.high_qc = genesis_qc

    def learn(self, qc: QuorumCertificate) -> None:
        if qc.view > self.high_qc.view:
            self.high_qc = qc


class Others:
    """Everyone but `subject`, and the log of all that was signed, the subject's part included."""

    def __init__(self, lab: Lab, subject: int) -> None:
        self.lab = lab
        self.subject = subject
        self.stakes = [validator.stake for validator in lab.table]
        self.numbers = [number for number in range(len(self.stakes)) if number != subject]
        self.honest = [number for number in self.numbers if number != LIAR]
        self.sound: dict[Commitment, Block] = {lab.genesis.commitment: lab.genesis}
        """Blocks that an honest validator may vote for once it is in their view."""
        self.certified: dict[int, Block] = {0: lab.genesis}
        self.final: dict[int, Block] = {0: lab.genesis}
        self.tcs: dict[int, list[TimeoutCertificate]] = {}
        self._votes: dict[Commitment, set[int]] = {}
        self._finalizes: dict[Commitment, set[int]] = {}
        self._timeouts: dict[int, dict[int, TimeoutVote]] = {}
        self._memories = {number: _Memory(lab.genesis_qc) for number in self.honest}

    # What follows from the log

    @property
    def frontier(self) -> int:
        """The highest view that anyone can have entered (R1)."""
        return max(max(self.certified), max(self.tcs, default=0)) + 1

    @property
    def highest(self) -> Block:
        """The block of the highest QC that exists."""
        return self.certified[max(self.certified)]

    def is_quorum(self, numbers: Iterable[int]) -> bool:
        return 3 * sum(self.stakes[number] for number in set(numbers)) > 2 * sum(self.stakes)

    def has_voted(self, number: int, block: Block) -> bool:
        return number in self._votes.get(block.commitment, ())

    def is_justified(self, leaf: Leaf) -> bool:
        """R3c: by the view before, or by a TC of the view before that saw nothing higher."""
        tc = leaf.timeout_certificate
        return leaf.justify_qc.view == leaf.view - 1 or (
            tc is not None
            and tc.view == leaf.view - 1
            and all(leaf.justify_qc.view >= signed for signed in tc.high_qc_views)
        )

    def make_qc(self, block: Block, left_out: int = LIAR) -> QuorumCertificate:
        """Of votes that were given; without that of `left_out` where the others are enough."""
        return (
            self.lab.qc(block, self._select(self._votes[block.commitment], left_out))
            if block.leaf.view
            else (self.lab.genesis_qc)
        )

    def make_fc(self, block: Block, left_out: int = LIAR) -> FinalityCertificate:
        signers = self._select(self._finalizes[block.commitment], left_out)
        signatures = {ValidatorId(number): self.lab.finalize(number, block).signature for number in signers}
        return assemble_finality_certificate(self.lab.scheme, self.lab.table, self.make_qc(block, left_out), signatures)

    def _select(self, signers: set[int], left_out: int) -> list[int]:
        fewer = signers - {left_out}
        return sorted(fewer if self.is_quorum(fewer) else signers)

    def get_final_chain(self) -> list[Block]:
        """Up to the highest block with an FC, genesis first."""
        return self.get_branch(self.final[max(self.final)])

    def get_branch(self, block: Block) -> list[Block]:
        branch = [block]
        while branch[-1].leaf.height:
            branch.append(self.sound[branch[-1].leaf.parent])
        return branch[::-1]

    # What they do

    def list_places(self) -> list[tuple[Block, int, TimeoutCertificate | None]]:
        """Where a justified proposal can stand: parent, view and TC; the newest view first."""
        places: list[tuple[Block, int, TimeoutCertificate | None]] = [
            (block, view + 1, None) for view, block in self.certified.items()
        ]
        for view, tcs in self.tcs.items():
            for tc in tcs:
                signed = max(tc.high_qc_views)
                places += [(self.certified[at], view + 1, tc) for at in self.certified if signed <= at <= view]
        return sorted(places, key=lambda place: (place[1], place[0].leaf.view), reverse=True)

    def propose(self, parent: Block, view: int, tc: TimeoutCertificate | None, payload: bytes) -> Block | None:
        """By the leader of the view; None when that is the subject."""
        if self.lab.get_leader(view, parent) == self.subject:
            return None
        block = self.lab.block(parent, view, justify=self.make_qc(parent), tc=tc, payload=payload)
        self.sound[block.commitment] = block
        return block

    def vote(self, number: int, block: Block) -> QuorumVote | None:
        """None when an honest validator would not, in its place."""
        memory, leaf = self._memories.get(number), block.leaf
        if memory is not None:
            memory.learn(leaf.justify_qc)
            if leaf.timeout_certificate is not None:
                memory.learn(leaf.timeout_certificate.high_qc)
            if leaf.view <= max(memory.voted, memory.timed_out, memory.high_qc.view) or not self.is_justified(leaf):
                return None
            memory.voted = leaf.view
        vote = self.lab.vote(number, block)
        self._count_vote(number, block)
        return vote

    def finalize(self, number: int, view: int) -> FinalizeVote | None:
        """For the block that is certified in this view."""
        block, memory = self.certified[view], self._memories.get(number)
        if view == 0:
            return None
        if memory is not None:
            memory.learn(self.make_qc(block))
            if view <= max(memory.finalized, memory.timed_out):
                return None
            memory.finalized = view
        self._count_finalize(number, block)
        return self.lab.finalize(number, block)

    def time_out(self, number: int, view: int, claimed_view: int = 0) -> TimeoutVote | None:
        """Of a view that can have been entered. The liar claims another high_qc; nobody else looks at it."""
        tcs = self.tcs.get(view - 1, [])
        memory = self._memories.get(number)
        if memory is None:
            below = [at for at in self.certified if at < view and (tcs or at == view - 1)]
            if not below:
                return None
            high_qc = self.make_qc(self.certified[below[claimed_view % len(below)]])
        else:
            if view - 1 in self.certified:
                memory.learn(self.make_qc(self.certified[view - 1]))
            for tc in tcs[-1:]:
                memory.learn(tc.high_qc)
            if view <= memory.timed_out or memory.high_qc.view >= view:
                return None
            high_qc = memory.high_qc
        if high_qc.view != view - 1 and not tcs:
            return None
        if memory is not None:
            memory.timed_out = view
        vote = self.lab.timeout(number, view, high_qc, tcs[-1] if tcs else None)
        self._count_timeout(number, vote)
        return vote

    def certify_timeouts(self, view: int, left_out: int) -> TimeoutCertificate | None:
        """A TC of this view, without the vote of `left_out` where the others are enough."""
        votes = self._timeouts.get(view, {})
        if not self.is_quorum(votes):
            return None
        signers = self._select(set(votes), left_out)
        signed = {ValidatorId(number): (votes[number].high_qc_view, votes[number].signature) for number in signers}
        highest = max(votes[number].high_qc_view for number in signers)
        tc = assemble_timeout_certificate(
            self.lab.scheme, self.lab.table, EPOCH, View(view), signed, self.make_qc(self.certified[highest])
        )
        if tc not in self.tcs.setdefault(view, []):
            self.tcs[view].append(tc)
        return tc

    # The subject's own words, as they leave

    def hear_proposal(self, proposal: QuorumProposal) -> Block:
        """R2: it stands on a certified block, justified."""
        block = Block(proposal.leaf, proposal.payload)
        if block.commitment not in self.sound:
            leaf = proposal.leaf
            parent = self.certified[leaf.justify_qc.view]
            assert leaf.parent == leaf.justify_qc.leaf == parent.commitment
            assert leaf.height == parent.leaf.height + 1
            assert self.is_justified(leaf), f"R2: the proposal of view {leaf.view} is not justified"
            assert self.lab.get_leader(leaf.view, parent) == self.subject, "it proposed out of turn"
            self.lab.adopt(block, parent)
            self.sound[block.commitment] = block
        return block

    def hear_vote(self, vote: QuorumVote) -> None:
        """R3b, R3c: a block that is sound, in the view that the vote says."""
        block = self.sound.get(vote.leaf)
        assert block is not None, f"R3: voted in view {vote.view} for what no honest validator may vote for"
        assert block.leaf.view == vote.view
        assert self.is_justified(block.leaf), f"R3c: voted for an unjustified leaf in view {vote.view}"
        assert vote == self.lab.vote(self.subject, block)
        self._count_vote(self.subject, block)

    def hear_finalize(self, vote: FinalizeVote) -> None:
        """R5: on a QC that exists."""
        block = self.certified.get(vote.view)
        assert block is not None, f"R5: finalized view {vote.view} without a QC"
        assert block.commitment == vote.leaf
        assert vote == self.lab.finalize(self.subject, block)
        self._count_finalize(self.subject, block)

    def hear_timeout(self, vote: TimeoutVote) -> None:
        """R7: in a view that it can have entered."""
        assert vote.view <= self.frontier
        assert vote.high_qc_view in self.certified, f"R7: signed the QC of view {vote.high_qc_view}, which never was"
        self._count_timeout(self.subject, vote)

    # The argument of section 4, at every step

    def _count_vote(self, number: int, block: Block) -> None:
        signers = self._votes.setdefault(block.commitment, set())
        signers.add(number)
        if self.is_quorum(signers):
            known = self.certified.setdefault(block.leaf.view, block)
            assert known is block, f"R3a: two leaves are certified in view {block.leaf.view}"
            self._check_safe()

    def _count_finalize(self, number: int, block: Block) -> None:
        signers = self._finalizes.setdefault(block.commitment, set())
        signers.add(number)
        if self.is_quorum(signers):
            self.final.setdefault(block.leaf.view, block)
            self._check_safe()

    def _count_timeout(self, number: int, vote: TimeoutVote) -> None:
        self._timeouts.setdefault(vote.view, {})[number] = vote
        self.certify_timeouts(vote.view, self.subject)

    def _check_safe(self) -> None:
        """If FC(v, B) exists, every QC of a view w ≥ v certifies B or a descendant."""
        last = self.final[max(self.final)]
        for view, block in self.certified.items():
            branch = self.get_branch(block)
            if view >= last.leaf.view:
                assert last in branch, f"section 4: {block} is certified beside {last}, which is final"
        decided = self.get_final_chain()
        assert all(block in decided for block in self.final.values()), "two final blocks contradict each other"
