"""Who broke the rules, from whatever is left: leaves, certificates, messages and safety records of any nodes.

Theorem (section 4, accountability). Two conflicting FCs, and the leaves of the two chains down to where they part, give
proofs of E2, E4 and E5 against at least `one_honest_threshold` of stake, as long as offenders have less than
`success_threshold`: every certified leaf has then been looked at by somebody honest. Let FC(v, B) be the one of the
lower view, and L the lowest leaf of the other chain with a view w ≥ v.

1. w = v: the QC of B (P2: the FC holds it) and the QC of L share that much stake, and whoever is in both voted twice:
   E2.
2. w > v, and L is unjustified on its face: its whole QC voted for it, E5.
3. w > v, and L is justified: its parent's view, hence that of its justify_qc, is below v, so it carries a TC(w-1) whose
   signers all signed a view below v. They share that much stake with the signers of the FC, who forgot it: E4.

Nothing here is believed. What is examined may be forged; every proof that comes out has been verified.
"""

from collections.abc import Iterable
from typing import TypeAlias

from consensus.certificates import Certificate, FinalityCertificate, QuorumCertificate, TimeoutCertificate
from consensus.evidence import BrokenPromise, Evidence, SignedLeaf, find_evidence_flaw, get_rule
from consensus.leaf import EpochProof, Leaf, compute_leaf_commitment, make_header
from consensus.messages import (
    EpochEnd,
    EvidenceNotice,
    FinalizeVote,
    LeafResponse,
    Message,
    ProposalEcho,
    QuorumProposal,
    QuorumVote,
    RangeResponse,
    Snapshot,
    StatusResponse,
    TimeoutVote,
)
from consensus.safety import SafetyRecord
from consensus.signatures import SignatureScheme
from consensus.stake_table import StakeTable
from consensus.types import Commitment, Epoch, NetworkId, ValidatorId, View
from consensus.watch import Watch, get_view

Exhibit: TypeAlias = Message | Leaf | EpochProof | Certificate | SafetyRecord | Evidence


def examine(
    exhibits: Iterable[Exhibit],
    tables: Iterable[tuple[Epoch, StakeTable]],
    scheme: SignatureScheme,
    network_id: NetworkId,
) -> list[Evidence]:
    """Every offence (E1 to E5) that the exhibits prove, once by each offender, rule, epoch and view, in that order.

    `tables` says who could vote in which epoch. What is of another epoch is passed over; an epoch may have several
    tables when chains that have parted disagree about it.
    """
    examiner = _Examiner(tables, scheme, network_id)
    for exhibit in exhibits:
        examiner.add(exhibit)
    found = examiner.found
    return [found[key] for key in sorted(found)]


def compute_offending_stake(found: Iterable[Evidence], epoch: Epoch, table: StakeTable) -> int:
    """Stake of those who have offended in this epoch; `table` is its stake table."""
    return table.compute_stake(proof.offender for proof in found if proof.epoch == epoch and proof.offender in table)


class _Examiner:
    """Takes exhibits apart and shows their signed parts to one watch per stake table."""

    def __init__(
        self, tables: Iterable[tuple[Epoch, StakeTable]], scheme: SignatureScheme, network_id: NetworkId
    ) -> None:
        self._scheme = scheme
        self._network_id = network_id
        self._watches: dict[Epoch, list[tuple[StakeTable, Watch]]] = {}
        for epoch, table in dict.fromkeys(tables):
            watch = Watch(network_id, epoch, table, scheme, exhaustive=True)
            self._watches.setdefault(epoch, []).append((table, watch))
        self._leaves: set[Commitment] = set()
        self.found: dict[tuple[ValidatorId, str, Epoch, View], Evidence] = {}

    def add(self, exhibit: Exhibit) -> None:  # noqa: C901 - one flat match over all there is
        match exhibit:
            case Leaf():
                self._add_leaf(exhibit)
            case EpochProof(fc=fc, path=path):
                self._add_all(fc, *path)
            case QuorumCertificate() | FinalityCertificate() | TimeoutCertificate():
                self._add_certificate(exhibit)
            case QuorumVote() | FinalizeVote():
                self._add_vote(exhibit)
            case TimeoutVote():
                for watch in self._get_watches(exhibit.epoch):
                    self._keep(watch.note_timeout(exhibit))
                self._add_all(exhibit.high_qc, exhibit.entry_tc)
            case QuorumProposal(leaf=leaf, signature=signature):
                self._add_proposal(leaf.epoch, leaf.view, leaf.proposer, compute_leaf_commitment(leaf), signature)
                self._add_leaf(leaf)
            case ProposalEcho(epoch, view, leaf, proposer, signature):
                self._add_proposal(epoch, view, proposer, leaf, signature)
            case SafetyRecord():
                self._add_all(exhibit.high_qc, exhibit.entry)
                self._add_all(exhibit.last_vote, exhibit.last_finalize, exhibit.last_timeout)
            case StatusResponse():
                self._add_all(exhibit.high_qc, exhibit.fc, exhibit.entry_tc)
            case LeafResponse(leaf=leaf):
                self._add_leaf(leaf)
            case RangeResponse(blocks=blocks, path=path, fc=fc):
                self._add_all(*(block.leaf for block in blocks), *path, fc)
            case EpochEnd(proof=proof):
                self.add(proof)
            case Snapshot():
                self._add_all(exhibit.proof, exhibit.parent, exhibit.last)
            case EvidenceNotice(evidence=evidence):
                self._add_evidence(evidence)
            case _:
                if isinstance(exhibit, Evidence):
                    self._add_evidence(exhibit)

    def _add_all(self, *exhibits: Exhibit | None) -> None:
        for exhibit in exhibits:
            if exhibit is not None:
                self.add(exhibit)

    def _add_leaf(self, leaf: Leaf) -> None:
        commitment = compute_leaf_commitment(leaf)
        if commitment in self._leaves or leaf.height == 0:  # nobody votes for genesis
            return
        self._leaves.add(commitment)
        for watch in self._get_watches(leaf.epoch):
            self._keep(watch.note_unjustified(make_header(leaf)))
        self._add_all(leaf.justify_qc, leaf.timeout_certificate, leaf.epoch_proof, *leaf.evidence)

    def _add_proposal(
        self, epoch: Epoch, view: View, proposer: ValidatorId, leaf: Commitment, signature: bytes
    ) -> None:
        for watch in self._get_watches(epoch):
            self._keep(watch.note_proposal(proposer, view, SignedLeaf(leaf, signature)))

    def _add_vote(self, vote: QuorumVote | FinalizeVote) -> None:
        for watch in self._get_watches(vote.epoch):
            self._keep(watch.note_vote(vote) if isinstance(vote, QuorumVote) else watch.note_finalize(vote))

    def _add_certificate(self, certificate: Certificate) -> None:
        for watch in self._get_watches(certificate.epoch):
            match certificate:
                case QuorumCertificate():
                    self._keep(watch.note_qc(certificate))
                case FinalityCertificate():
                    self._keep(watch.note_fc(certificate))
                case TimeoutCertificate():
                    self._keep(watch.note_tc(certificate))

    def _add_evidence(self, evidence: Evidence) -> None:
        """A proof that somebody else has found. Promises are not judged here: that takes the blocks."""
        if isinstance(evidence, BrokenPromise):
            return
        for table, _ in self._watches.get(evidence.epoch, ()):
            if evidence.offender in table:
                public_key = table.get_validator(evidence.offender).public_key
                if find_evidence_flaw(evidence, public_key, self._scheme, self._network_id) is None:
                    self._keep([evidence])

    def _get_watches(self, epoch: Epoch) -> Iterable[Watch]:
        return (watch for _, watch in self._watches.get(epoch, ()))

    def _keep(self, found: Iterable[Evidence]) -> None:
        for evidence in found:
            key = (evidence.offender, get_rule(evidence), evidence.epoch, get_view(evidence))
            self.found.setdefault(key, evidence)
