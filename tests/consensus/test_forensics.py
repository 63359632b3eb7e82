"""Accountability, over random attacks: honest validators are production `SafetyRules`, the others sign what they like.

The adversary decides who sees what and when, which is all that an asynchronous network can do.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import combinations
from random import Random

import pytest
from msgspec.structs import replace

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
from consensus.evidence import DoubleVote, Evidence, SignedLeaf, find_evidence_flaw, get_rule, make_pair
from consensus.forensics import Exhibit, compute_offending_stake, examine
from consensus.leaf import Block, make_header, make_leaf
from consensus.ledger import EpochParameters, LeadershipParameters, LedgerParameters
from consensus.messages import EvidenceNotice, FinalizeVote, ProposalEcho, QuorumProposal, QuorumVote, TimeoutVote
from consensus.parameters import ConsensusParameters
from consensus.safety import SafetyRecord, SafetyRules
from consensus.signatures import Domain, Signer, make_statement
from consensus.signatures.simulated import Simulated
from consensus.stake_table import StakeTable, Validator
from consensus.types import Commitment, Epoch, NetworkId, ValidatorId, View

EPOCH = Epoch(0)
NETWORK = NetworkId(b"A" * 32)
VIEWS = 5
Signatures = dict[ValidatorId, bytes]


class Attack:
    """One history of a few views. `vices` are the rules that the offenders break whenever they can."""

    def __init__(self, random: Random, stakes: Sequence[int], offenders: set[ValidatorId], vices: set[str]) -> None:
        self.random, self.offenders, self.vices = random, offenders, vices
        self.scheme = Simulated()
        self.signers = [Signer(self.scheme, sha256(bytes([number])).digest()) for number in range(len(stakes))]
        self.table = StakeTable.of(
            Validator(ValidatorId(number), signer.public_key, stake)
            for number, (signer, stake) in enumerate(zip(self.signers, stakes, strict=True))
        )
        self.context = EpochContext.start_network(
            NETWORK,
            self.table,
            self.scheme,
            genesis_time_ms=0,
            parameters=ConsensusParameters(),
            ledger_parameters=LedgerParameters(LeadershipParameters(), epochs=EpochParameters(epoch_blocks=2**40)),
        )
        record = SafetyRecord.initial(self.context.genesis_qc)
        self.honest = {
            voter: SafetyRules(self.context, voter, [self.signers[voter]], record)
            for voter in self.table.ids
            if voter not in offenders
        }
        genesis = self.context.genesis
        self.blocks: dict[Commitment, Block] = {genesis.commitment: genesis}
        self.qcs: dict[Commitment, QuorumCertificate] = {genesis.commitment: self.context.genesis_qc}
        self.fcs: list[FinalityCertificate] = []
        self.tcs: dict[View, list[TimeoutCertificate]] = {}
        self.finalized: dict[ValidatorId, View] = {}
        self.said: list[Exhibit] = []
        for view in range(1, VIEWS + 1):
            self.play(View(view))

    def play(self, view: View) -> None:
        """Proposals, votes, then finalize and timeout votes, the honest ones in any order."""
        leaves = [self.propose(view, number) for number in range(self.random.choice([1, 2, 2, 3]))]
        votes: dict[Commitment, Signatures] = {block.commitment: {} for block in leaves}
        for voter in self.honest:
            self.vote_honestly(voter, leaves, votes)
        for voter in self.offenders:
            open_to = [block for block in leaves if "E5" in self.vices or make_header(block.leaf).is_justified]
            wanted = open_to if "E2" in self.vices else self.random.sample(open_to, min(1, len(open_to)))
            for block in wanted:
                self.add_vote(votes, voter, block, self.sign(voter, Domain.QUORUM_VOTE, view, block.commitment))
        certified = [block for block in leaves if self.is_quorum(votes[block.commitment])]
        for block in certified:
            signed = votes[block.commitment]
            self.qcs[block.commitment] = assemble_quorum_certificate(
                self.scheme, self.table, EPOCH, view, block.commitment, signed
            )
        self.conclude(view, certified)

    def propose(self, view: View, number: int) -> Block:
        """On any certified block, with any TC there is or none. It may well be unjustified."""
        parent = self.blocks[self.random.choice(list(self.qcs))]
        leaf = make_leaf(
            parent,
            epoch=EPOCH,
            view=view,
            proposer=ValidatorId(number % len(self.table)),
            timestamp_ms=number,
            payload=b"",
            ledger=self.context.genesis_ledger.commitment,
            justify_qc=self.qcs[parent.commitment],
            timeout_certificate=self.random.choice([None, *self.tcs.get(View(view - 1), [])]),
        )
        block = Block(leaf, b"")
        self.blocks[block.commitment] = block
        return block

    def vote_honestly(self, voter: ValidatorId, leaves: Sequence[Block], votes: dict[Commitment, Signatures]) -> None:
        """R3: for the first proposal that it sees, if it may; some see none."""
        if self.random.random() < 0.15:
            return
        block = self.random.choice(leaves)
        if self.enter(voter, block.leaf.view, block.leaf.justify_qc, block.leaf.timeout_certificate):
            vote = self.honest[voter].sign_vote(block)
            if isinstance(vote, QuorumVote):
                self.add_vote(votes, voter, block, vote.signature)

    def enter(self, voter: ValidatorId, view: View, qc: QuorumCertificate, tc: TimeoutCertificate | None) -> bool:
        """R1, R5: these certificates reach it. Whether it is in `view` then."""
        safety = self.honest[voter]
        safety.raise_high_qc(qc)
        safety.enter(qc)
        if tc is not None:
            safety.raise_high_qc(tc.high_qc)
            safety.enter(tc)
        return safety.record.entry.view == view - 1

    def conclude(self, view: View, certified: Sequence[Block]) -> None:
        finals: dict[Commitment, Signatures] = {block.commitment: {} for block in certified}
        timeouts: dict[ValidatorId, tuple[View, bytes]] = {}
        for voter in self.honest:
            steps = self.random.sample(["finalize", "time out"], self.random.choice([0, 1, 1, 2]))
            for step in steps:
                if step == "finalize" and certified:
                    qc = self.qcs[self.random.choice(certified).commitment]
                    final = self.honest[voter].sign_finalize(qc)
                    if isinstance(final, FinalizeVote):
                        self.said.append(final)
                        finals[qc.leaf][voter] = final.signature
                elif step == "time out":
                    self.time_out_honestly(voter, view, timeouts)
        for voter in self.offenders:
            self.conclude_badly(voter, view, certified, finals, timeouts)
        self.fcs += [
            assemble_finality_certificate(self.scheme, self.table, self.qcs[leaf], signed)
            for leaf, signed in finals.items()
            if self.is_quorum(signed)
        ]
        lowest_first = sorted(timeouts, key=lambda voter: timeouts[voter][0])
        for count in range(len(lowest_first) + 1):
            chosen = {voter: timeouts[voter] for voter in lowest_first[:count]}
            if self.is_quorum(chosen):
                highest = max(signed for signed, _ in chosen.values())
                high_qc = next(qc for qc in self.qcs.values() if qc.view == highest)
                self.tcs.setdefault(view, []).append(
                    assemble_timeout_certificate(self.scheme, self.table, EPOCH, view, chosen, high_qc)
                )

    def time_out_honestly(
        self, voter: ValidatorId, view: View, timeouts: dict[ValidatorId, tuple[View, bytes]]
    ) -> None:
        known = [qc for qc in self.qcs.values() if qc.view == view - 1]
        tcs = self.tcs.get(View(view - 1), [])
        if known and self.random.random() < 0.5:
            self.enter(voter, view, self.random.choice(known), None)
        elif tcs:
            tc = self.random.choice(tcs)
            self.enter(voter, view, tc.high_qc, tc)
        vote = self.honest[voter].sign_timeout(view)
        if isinstance(vote, TimeoutVote):
            self.said.append(vote)
            timeouts[voter] = (vote.high_qc_view, vote.signature)

    def conclude_badly(
        self,
        voter: ValidatorId,
        view: View,
        certified: Sequence[Block],
        finals: dict[Commitment, Signatures],
        timeouts: dict[ValidatorId, tuple[View, bytes]],
    ) -> None:
        wanted = certified if "E3" in self.vices else self.random.sample(certified, min(1, len(certified)))
        for block in wanted:
            finals[block.commitment][voter] = self.sign(voter, Domain.FINALIZE_VOTE, view, block.commitment)
            self.finalized[voter] = view
        views = [qc.view for qc in self.qcs.values() if qc.view < view]
        high = self.random.choice([0, *views]) if "E4" in self.vices else max(views)
        if high >= self.finalized.get(voter, 0) or "E4" in self.vices:
            signature = self.sign(voter, Domain.TIMEOUT_VOTE, view, make_timeout_subject(View(high)))
            timeouts[voter] = (View(high), signature)

    def add_vote(self, votes: dict[Commitment, Signatures], voter: ValidatorId, block: Block, signature: bytes) -> None:
        votes[block.commitment][voter] = signature
        self.said.append(QuorumVote(EPOCH, block.leaf.view, block.commitment, voter, signature))

    def sign(self, voter: ValidatorId, domain: Domain, view: View, subject: bytes) -> bytes:
        return self.signers[voter].sign(make_statement(NETWORK, domain, EPOCH, view, subject))

    def is_quorum(self, signed: object) -> bool:
        return self.table.compute_stake(signed) >= self.table.success_threshold  # type: ignore[arg-type]

    def find_path(self, leaf: Commitment) -> list[Block]:
        """From genesis, which is left out."""
        path: list[Block] = []
        while leaf != self.context.genesis.commitment:
            path.append(self.blocks[leaf])
            leaf = self.blocks[leaf].leaf.parent
        return path[::-1]

    def find_conflicts(self) -> Iterator[list[Exhibit]]:
        """All that is left of two conflicting chains: their FCs and their leaves."""
        for one, other in combinations(self.fcs, 2):
            paths = [self.find_path(fc.leaf) for fc in (one, other)]
            if not any(
                paths[0][at].commitment != block.commitment for at, block in enumerate(paths[1][: len(paths[0])])
            ):
                continue
            yield [one, other, *(block.leaf for path in paths for block in path)]

    def examine(self, exhibits: Sequence[Exhibit]) -> list[Evidence]:
        return examine(exhibits, [(EPOCH, self.table)], self.scheme, NETWORK)

    @property
    def everything(self) -> list[Exhibit]:
        tcs = [tc for view in self.tcs.values() for tc in view]
        leaves = [block.leaf for block in self.blocks.values()]
        return [*self.said, *leaves, *self.qcs.values(), *self.fcs, *tcs]


VICES = (["E2"], ["E4"], ["E2", "E3"], ["E2", "E3"], ["E2", "E3", "E4"], ["E5", "E2"], ["E5", "E4"])


def make_attack(seed: int, *, is_strong: bool = True) -> Attack:
    """Offenders with a third of the stake or more; for E5 they have a quorum of their own."""
    random = Random(seed)
    vices = set(random.choice(VICES))
    while True:
        stakes = [random.randint(1, 4) for _ in range(random.choice([4, 5, 7]))]
        offenders = set(map(ValidatorId, random.sample(range(len(stakes)), random.randint(1, len(stakes) - 1))))
        weight = sum(stakes[offender] for offender in offenders)
        quorum, third = sum(stakes) * 2 // 3 + 1, sum(stakes) // 3 + 1
        least, most = (quorum, sum(stakes)) if "E5" in vices else (third, quorum - 1)
        if least <= weight <= most if is_strong else 3 * weight < sum(stakes):
            return Attack(random, stakes, offenders, vices)


def test_two_conflicting_fcs_prove_offences_of_a_third_of_the_stake() -> None:
    """Section 4, accountability: whatever rules were broken, from two FCs and the leaves below them alone."""
    kinds: Counter[str] = Counter()
    for seed in range(1200):
        attack = make_attack(seed)
        for exhibits in attack.find_conflicts():
            found = attack.examine(exhibits)
            convicted = compute_offending_stake(found, EPOCH, attack.table)
            assert convicted >= attack.table.one_honest_threshold, f"seed {seed}: {found}"
            assert {proof.offender for proof in found} <= attack.offenders, f"seed {seed}: {found}"
            kinds.update({get_rule(proof) for proof in found})
    assert kinds.keys() == {"E2", "E3", "E4", "E5"}
    assert min(kinds.values()) >= 5, f"every kind of attack must succeed now and then: {kinds}"


def test_offenders_below_a_third_make_no_conflict_and_are_caught_all_the_same() -> None:
    caught = 0
    for seed in range(300):
        attack = make_attack(seed, is_strong=False)
        assert not list(attack.find_conflicts()), f"seed {seed}"
        found = attack.examine(attack.everything)
        assert {proof.offender for proof in found} <= attack.offenders, f"seed {seed}: {found}"
        caught += bool(found)
    assert caught > 100


def test_what_is_found_does_not_depend_on_the_order() -> None:
    for seed in range(60):
        attack = make_attack(seed)
        exhibits = attack.everything
        convicted = {proof.offender for proof in attack.examine(exhibits)}
        for _ in range(3):
            attack.random.shuffle(exhibits)
            assert {proof.offender for proof in attack.examine(exhibits)} == convicted, f"seed {seed}"


def test_every_proof_would_convince_a_ledger() -> None:
    proofs = 0
    for seed in range(60):
        attack = make_attack(seed)
        for proof in attack.examine(attack.everything):
            public_key = attack.table.get_validator(proof.offender).public_key
            assert find_evidence_flaw(proof, public_key, attack.scheme, NETWORK) is None
            proofs += 1
    assert proofs > 100


def forge(exhibit: Exhibit, random: Random, table: StakeTable) -> Exhibit:
    """The same statement with another signature, or in the name of another validator, or about another leaf."""
    match exhibit:
        case QuorumVote() | FinalizeVote() | TimeoutVote():
            changes: list[dict[str, object]] = [
                {"voter": random.choice(table.ids)},
                {"signature": random.randbytes(16)},
            ]
            if not isinstance(exhibit, TimeoutVote):
                changes.append({"leaf": Commitment(random.randbytes(32))})
            return replace(exhibit, **random.choice(changes))
        case QuorumCertificate() | FinalityCertificate() | TimeoutCertificate():
            everyone = (2 ** len(table) - 1).to_bytes(1, "little")
            proof = random.randbytes(16 * len(table))
            changes = [{"signers": everyone, "proof": proof}, {"signers": everyone}, {"proof": exhibit.proof[16:]}]
            if isinstance(exhibit, TimeoutCertificate):
                changes.append({"high_qc_views": (View(0),) * len(exhibit.high_qc_views)})
            return replace(exhibit, **random.choice(changes))
        case _:
            return exhibit


def test_forgeries_accuse_nobody_and_hide_nothing() -> None:
    for seed in range(120):
        attack = make_attack(seed)
        genuine = attack.everything
        forged = [forge(exhibit, attack.random, attack.table) for exhibit in genuine for _ in range(3)]
        convicted = {proof.offender for proof in attack.examine(genuine)}
        mixed = attack.examine([*forged, *genuine, *forged])
        assert {proof.offender for proof in mixed} == convicted, f"seed {seed}"


class TestOtherExhibits:
    @pytest.fixture
    def attack(self) -> Attack:
        return make_attack(1)

    def make_double_vote(self, attack: Attack, offender: ValidatorId) -> DoubleVote:
        leaves = [Commitment(bytes([name]) * 32) for name in range(2)]
        halves = [SignedLeaf(leaf, attack.sign(offender, Domain.QUORUM_VOTE, View(9), leaf)) for leaf in leaves]
        proof = make_pair(DoubleVote, offender, EPOCH, View(9), *halves)
        assert isinstance(proof, DoubleVote)
        return proof

    def test_a_proof_that_others_have_found_counts_once(self, attack: Attack) -> None:
        proof = self.make_double_vote(attack, ValidatorId(0))
        assert attack.examine([proof, EvidenceNotice(proof), proof]) == [proof]

    def test_a_false_proof_counts_for_nothing(self, attack: Attack) -> None:
        proof = self.make_double_vote(attack, ValidatorId(0))
        assert attack.examine([replace(proof, offender=ValidatorId(1)), replace(proof, view=View(8))]) == []

    def test_a_proof_of_an_epoch_that_nobody_knows_the_voters_of_is_passed_over(self, attack: Attack) -> None:
        proof = self.make_double_vote(attack, ValidatorId(0))
        assert examine([proof], [(Epoch(1), attack.table)], attack.scheme, NETWORK) == []

    def test_two_proposals_of_one_leader_in_one_view(self, attack: Attack) -> None:
        """E1. Leaves alone do not say who signed them."""
        blocks = [attack.propose(View(VIEWS + 1), number * len(attack.table)) for number in (1, 2)]
        leader = blocks[0].leaf.proposer
        proposals = [
            QuorumProposal(block.leaf, b"", attack.sign(leader, Domain.PROPOSAL, block.leaf.view, block.commitment))
            for block in blocks
        ]
        echoes = [
            ProposalEcho(EPOCH, block.leaf.view, block.commitment, leader, proposal.signature)
            for block, proposal in zip(blocks, proposals, strict=True)
        ]
        exhibits: list[list[Exhibit]] = [[*proposals], [*echoes], [proposals[0], echoes[1]]]
        for pair in exhibits:
            (found,) = attack.examine(pair)
            assert (get_rule(found), found.offender) == ("E1", leader)
        assert attack.examine([block.leaf for block in blocks]) == []

    def test_two_safety_records_of_one_validator(self, attack: Attack) -> None:
        """An old copy that went on by itself is as good a witness as any message."""
        voter = next(iter(attack.honest))
        record = SafetyRecord.initial(attack.context.genesis_qc)
        leaves = [Commitment(bytes([name]) * 32) for name in range(2)]
        records = [
            replace(
                record,
                last_vote=QuorumVote(
                    EPOCH, View(1), leaf, voter, attack.sign(voter, Domain.QUORUM_VOTE, View(1), leaf)
                ),
            )
            for leaf in leaves
        ]
        (found,) = attack.examine(records)
        assert (get_rule(found), found.offender) == ("E2", voter)
