"""Which certificates exist, given what honest validators have signed: asked of the real tallies and the real verifier.

The Byzantine validators co-sign everything. A certificate exists when the tallies of a replica make it, or when an
adversary who assembles it of the same signatures gets it past `CertificateVerifier`.

Stakes are equal, so that whether a certificate exists depends on how many honest validators signed, not on who, which
leaf or which view: the real code is asked once per number and kind, and of TCs once per view and set of signed views.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

from consensus.certificates import (
    Certificate,
    TimeoutCertificate,
    assemble_finality_certificate,
    assemble_quorum_certificate,
    assemble_timeout_certificate,
    make_timeout_subject,
)
from consensus.certifier import Certifier
from consensus.errors import InvalidMessage, InvariantViolation
from consensus.leaf import Block
from consensus.messages import FinalizeVote, QuorumVote, TimeoutVote
from consensus.signatures import Domain
from consensus.tally import select_high_qc
from consensus.types import ValidatorId, View
from consensus.validation import MessageValidator
from netsim.explorer.material import Content, Material, TcContent
from netsim.explorer.model import GENESIS, NO_TC, LeafId, TcId

NO_TIMEOUT = (-1, -1)
SignedTimeout = tuple[int, LeafId]
"""What a TimeoutVote says: the signed `high_qc.view`, and the leaf of the attached high_qc."""


class Quorums:
    """The thresholds as the real code applies them."""

    def __init__(self, material: Material) -> None:
        self._material = material
        leader = ValidatorId(material.model.get_leader(1))
        block = material.make_block(Content(1, GENESIS, NO_TC, 0), leader)
        helpers = material.byzantine
        self.qc_signers = self._find_threshold(lambda signers: self._can_certify(block, (*signers, *helpers)))
        """Honest validators whose votes make a QC, together with all Byzantine ones."""
        self.fc_signers = self._find_threshold(lambda signers: self._can_finalize(block, (*signers, *helpers)))
        self.qc_signers_alone = self._find_threshold(lambda signers: self._can_certify(block, signers))
        """The same without any Byzantine one; more than there are when the honest cannot."""
        if not self.qc_signers or not self.fc_signers:
            raise InvariantViolation("the Byzantine validators are a quorum by themselves")
        self._tcs: dict[tuple[int, tuple[SignedTimeout, ...], bool], TcId] = {}

    def find_tc(self, view: int, signed: Sequence[SignedTimeout], *, alone: bool = False) -> TcId:
        """Of all TCs of this view that can be made of these timeout votes, the one with the lowest highest view.

        Every other one permits fewer leaves (R3c) and tells of nothing that a validator may not learn anyway. The
        Byzantine validators sign too, unless the honest are `alone`.
        """
        timeouts = tuple(sorted(each for each in signed if each != NO_TIMEOUT))
        key = view, timeouts, alone
        if key not in self._tcs:
            self._tcs[key] = self._find_lowest_tc(view, timeouts, () if alone else self._material.byzantine)
        return self._tcs[key]

    def _find_lowest_tc(self, view: int, timeouts: tuple[SignedTimeout, ...], helpers: tuple[ValidatorId, ...]) -> TcId:
        for count in range(1, len(timeouts) + 1):
            if self._can_time_out(view, timeouts[:count], helpers):
                high_leaf = max((leaf for _, leaf in timeouts[:count]), key=self._get_view)
                return self._material.get_tc_id(TcContent(view, timeouts[count - 1][0], high_leaf))
        return NO_TC

    def _get_view(self, leaf: LeafId) -> int:
        return self._material.contents[leaf].view

    def _find_threshold(self, is_enough: Callable[[tuple[ValidatorId, ...]], bool]) -> int:
        """How many honest signers it takes. Raises `InvariantViolation` when it matters who they are."""
        honest = self._material.validators[: self._material.model.honest]
        threshold = len(honest) + 1
        for count in range(len(honest), -1, -1):
            answers = {is_enough(signers) for signers in combinations(honest, count)}
            if len(answers) > 1:
                raise InvariantViolation(f"{count} equal stakes are a quorum or not, depending on whose they are")
            if answers == {False}:
                break
            threshold = count
        return threshold

    def _can_certify(self, block: Block, signers: tuple[ValidatorId, ...]) -> bool:
        context, certifier = self._material.context, self._make_certifier()
        signatures = self._sign(Domain.QUORUM_VOTE, block, signers)
        for signer, signature in signatures.items():
            vote = QuorumVote(context.epoch, block.leaf.view, block.commitment, signer, signature)
            if certifier.add_quorum_vote(vote, genuine=False) is not None:
                return True
        return self._is_accepted(
            assemble_quorum_certificate(
                context.scheme, context.stake_table, context.epoch, block.leaf.view, block.commitment, signatures
            )
        )

    def _can_finalize(self, block: Block, signers: tuple[ValidatorId, ...]) -> bool:
        context, certifier = self._material.context, self._make_certifier()
        everybody = self._sign(Domain.QUORUM_VOTE, block, self._material.validators)
        qc = assemble_quorum_certificate(
            context.scheme, context.stake_table, context.epoch, block.leaf.view, block.commitment, everybody
        )
        certifier.note_qc(qc)
        signatures = self._sign(Domain.FINALIZE_VOTE, block, signers)
        for signer, signature in signatures.items():
            vote = FinalizeVote(context.epoch, block.leaf.view, block.commitment, signer, signature)
            if certifier.add_finalize_vote(vote, genuine=False) is not None:
                return True
        return self._is_accepted(assemble_finality_certificate(context.scheme, context.stake_table, qc, signatures))

    def _can_time_out(self, view: int, timeouts: Iterable[SignedTimeout], helpers: tuple[ValidatorId, ...]) -> bool:
        context, certifier = self._material.context, self._make_certifier()
        votes: dict[ValidatorId, TimeoutVote] = {}
        said = dict(zip(self._material.validators, timeouts, strict=False))
        said |= dict.fromkeys(helpers, (0, GENESIS))
        for signer, (high_qc_view, leaf) in said.items():
            subject = make_timeout_subject(View(high_qc_view))
            signature = self._material.make_signature(signer, Domain.TIMEOUT_VOTE, view, subject)
            qc = self._material.get_qc(leaf)
            vote = TimeoutVote(context.epoch, View(view), View(high_qc_view), signer, signature, qc, None)
            votes[signer] = vote
            if certifier.add_timeout(vote) is not None:
                return True
        signed = {signer: (vote.high_qc_view, vote.signature) for signer, vote in votes.items()}
        tc: TimeoutCertificate = assemble_timeout_certificate(
            context.scheme, context.stake_table, context.epoch, View(view), signed, select_high_qc(votes)
        )
        return self._is_accepted(tc)

    def _sign(self, domain: Domain, block: Block, signers: Iterable[ValidatorId]) -> Mapping[ValidatorId, bytes]:
        sign = self._material.make_signature
        return {signer: sign(signer, domain, block.leaf.view, block.commitment) for signer in signers}

    def _make_certifier(self) -> Certifier:
        return Certifier(self._material.context, MessageValidator(self._material.context))

    def _is_accepted(self, certificate: Certificate) -> bool:
        """By somebody who has seen none of its votes."""
        try:
            MessageValidator(self._material.context).certificates.verify(certificate)
        except InvalidMessage:
            return False
        return True
