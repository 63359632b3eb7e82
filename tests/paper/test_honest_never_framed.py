"""Section 4: an honest node can never be framed, whoever puts together what it has signed (E1 to E5, J4).

An honest validator lives through some views as the rules allow. An adversary then takes everything that it signed and
makes every proof of it that the formats can hold: each must have a flaw.
"""

from collections.abc import Iterator
from functools import cache
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.evidence import (
    DoubleFinalize,
    DoubleProposal,
    DoubleVote,
    Evidence,
    ForgottenFinalize,
    SignedLeaf,
    UnjustifiedVote,
    find_evidence_flaw,
    get_rule,
)
from consensus.leaf import Block, make_header
from consensus.messages import FinalizeVote, QuorumVote, TimeoutVote
from consensus.signatures import Domain
from consensus.types import ValidatorId, View
from tests.lab import EPOCH, Lab

HONEST = ValidatorId(3)
VIEWS = 5
LAB = Lab()


@cache
def make_rivals(view: int) -> tuple[Block, Block]:
    """Two justified leaves of this view: a leader that equivocates splits the votes between them."""
    tc = None if view == 1 else LAB.tc(view - 1, LAB.genesis_qc)
    one, other = (LAB.block(LAB.genesis, view, tc=tc, payload=payload) for payload in (b"one", b"other"))
    return one, other


class Life:
    """Everything that the validator has signed."""

    def __init__(self) -> None:
        self.signed: list[tuple[Domain, View, SignedLeaf]] = []
        self.votes: list[tuple[Block, QuorumVote]] = []
        self.timeouts: list[TimeoutVote] = []
        self._high_qc, self._timed_out = LAB.genesis_qc, 0

    def live(self, view: int, word: str) -> None:
        """P proposes, V votes, Q gets the rival's QC and finalizes if it may, T times out unless there was a QC."""
        one, other = make_rivals(view)
        if "P" in word:
            self._add(Domain.PROPOSAL, view, one, LAB.sign(HONEST, Domain.PROPOSAL, view, one.commitment))
        if "V" in word:
            vote = LAB.vote(HONEST, one)
            self.votes.append((one, vote))
            self._add(Domain.QUORUM_VOTE, view, one, vote.signature)
        for letter in word:
            if letter == "T" and self._high_qc.view < view:
                self.timeouts.append(LAB.timeout(HONEST, view, self._high_qc))
                self._timed_out = view
            elif letter == "Q":
                self._high_qc = LAB.qc(other)
                if self._timed_out < view:
                    finalize: FinalizeVote = LAB.finalize(HONEST, other)
                    self._add(Domain.FINALIZE_VOTE, view, other, finalize.signature)

    def _add(self, domain: Domain, view: int, block: Block, signature: bytes) -> None:
        self.signed.append((domain, View(view), SignedLeaf(block.commitment, signature)))

    def list_proofs(self) -> Iterator[Evidence]:
        """Everything that an adversary can make of it."""
        for (_, view, one), (_, _, other) in product(self.signed, repeat=2):
            for kind in (DoubleProposal, DoubleVote, DoubleFinalize):
                yield kind(HONEST, EPOCH, view, one, other)
        for (_, view, signed), timeout in product(self.signed, self.timeouts):
            for claimed in {timeout.high_qc_view, View(0)}:
                yield ForgottenFinalize(HONEST, EPOCH, view, signed, timeout.view, claimed, timeout.signature)
        for block, vote in self.votes:
            yield UnjustifiedVote(HONEST, make_header(block.leaf), vote.signature)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["", "V", "PVQ", "VQ", "Q", "T", "VT", "PT", "VTQ", "TQ"]), min_size=1, max_size=VIEWS))
def test_no_proof_can_be_made_of_what_an_honest_validator_signs(words: list[str]) -> None:
    life = Life()
    for view, word in enumerate(words, 1):
        life.live(view, word)
    public_key = LAB.table.get_validator(HONEST).public_key
    for proof in life.list_proofs():
        flaw = find_evidence_flaw(proof, public_key, LAB.scheme, LAB.context.network_id)
        assert flaw is not None, f"{get_rule(proof)} frames it: {words}"


def test_of_those_who_break_a_rule_such_proofs_can_be_made() -> None:
    """So that the test above is about something: two votes, and a timeout that denies a finalize vote."""
    life = Life()
    life.live(1, "VQ")
    _, other = make_rivals(1)
    life._add(Domain.QUORUM_VOTE, 1, other, LAB.vote(HONEST, other).signature)
    life.timeouts.append(LAB.timeout(HONEST, 2, LAB.genesis_qc))
    public_key = LAB.table.get_validator(HONEST).public_key
    proven = {
        get_rule(proof)
        for proof in life.list_proofs()
        if find_evidence_flaw(proof, public_key, LAB.scheme, LAB.context.network_id) is None
    }
    assert proven == {"E2", "E4"}
