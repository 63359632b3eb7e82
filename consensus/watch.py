"""Who contradicts himself: E1 to E5, out of single votes and certificates of one epoch, in whatever order they come.

Theory of operation. What validators have signed is kept as it came, unverified, by kind and view. A certificate stays
shut: who signed it, and what each signer put in, is worked out only when it meets something that it may contradict.
Every contradiction is made a proof, and `consensus.evidence.find_evidence_flaw` has the last word on that, so nothing
is reported that a ledger would refuse. A forgery accuses nobody; where it competes with what was signed, it gives way.

| offence | found when |
|---|---|
| E1, E2, E3 | two leaves are signed in one view: by two messages, a message and a certificate, or two certificates |
| E4 | a FinalizeVote or FC of view v meets a TimeoutVote or TC of a view ≥ v that was signed with a view < v |
| E5 | a QuorumVote or QC is for a leaf whose header R3c forbids to vote for, on its face |
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final

import msgspec

from consensus.certificates import (
    Certificate,
    FinalityCertificate,
    QuorumCertificate,
    TimeoutCertificate,
    decode_signers,
    make_timeout_subject,
)
from consensus.errors import InvalidMessage
from consensus.evidence import (
    BrokenPromise,
    DoubleFinalize,
    DoubleProposal,
    DoubleVote,
    Evidence,
    ForgottenFinalize,
    SignedLeaf,
    UnjustifiedVote,
    find_evidence_flaw,
    make_pair,
)
from consensus.header import LeafHeader, compute_header_commitment
from consensus.messages import FinalizeVote, QuorumVote, TimeoutVote
from consensus.signatures import Domain, SignatureScheme, make_statement
from consensus.stake_table import StakeTable
from consensus.tally import forget_below
from consensus.types import Commitment, Epoch, NetworkId, ValidatorId, View

OLD_FINALIZES_MAX: Final = 16
"""FinalizeVotes of a validator below the window that are kept before their signatures are looked at: whoever is late in
every view costs one verification in so many views.
"""
THINNING_VIEWS: Final = 16
"""FinalizeVotes below the window are thinned out when so many views of them have come together: one FC, the newest,
makes nearly all the others superfluous, so one is opened where it would be one a view.
"""
CERTIFICATES_MAX: Final = 4
"""Certificates of one kind and view that are kept. Honest quorums make certificates of one leaf."""
HEADER_BYTES_MAX: Final = 16 * 1024 * 1024
"""All headers that are kept: seventy at a thousand validators, whose certificates are 64 KiB each."""
_HEADER_BYTES: Final = 512
"""A header without its certificates."""


class _Shut:
    """A certificate, and what each of its signers put in once somebody asks."""

    def __init__(self, certificate: Certificate, table: StakeTable, scheme: SignatureScheme) -> None:
        self.certificate = certificate
        self.table = table
        self.scheme = scheme

    def holds(self, signer: ValidatorId, signature: bytes) -> bool:
        """Whether this signer put in this signature."""
        return self.signatures.get(signer) == signature

    @cached_property
    def signatures(self) -> dict[ValidatorId, bytes]:
        """Empty when the certificate is not of this table, or the scheme cannot tell single signatures."""
        try:
            signers = decode_signers(self.table, self.certificate.signers)
        except InvalidMessage:
            return {}
        return dict(zip(signers, self.scheme.split(self.certificate.proof, len(signers)) or (), strict=False))


class _LeafRoll(msgspec.Struct):
    """Who signed which leaf, in one view: one statement of each validator, and certificates that hold more."""

    single: dict[ValidatorId, SignedLeaf] = msgspec.field(default_factory=dict)
    certificates: list[tuple[Commitment, _Shut]] = msgspec.field(default_factory=list)

    def find(self, signer: ValidatorId, *, besides: Commitment | None = None) -> Iterator[SignedLeaf]:
        """What this validator is known to have signed, `besides` this leaf."""
        if signer in self.single and self.single[signer].leaf != besides:
            yield self.single[signer]
        for leaf, shut in self.certificates:
            if leaf != besides and signer in shut.signatures:
                yield SignedLeaf(leaf, shut.signatures[signer])

    def find_leaf(self, leaf: Commitment) -> Iterator[tuple[ValidatorId, bytes]]:
        """Everyone who is known to have signed this leaf, perhaps repeatedly."""
        for signer, signed in self.single.items():
            if signed.leaf == leaf:
                yield signer, signed.signature
        for certified, shut in self.certificates:
            if certified == leaf:
                yield from shut.signatures.items()


class _TimeoutRoll(msgspec.Struct):
    """Who timed out in one view, and with which signed `high_qc.view`."""

    single: dict[ValidatorId, tuple[View, bytes]] = msgspec.field(default_factory=dict)
    certificates: list[tuple[TimeoutCertificate, _Shut]] = msgspec.field(default_factory=list)

    def find_below(self, view: View, signer: ValidatorId | None) -> Iterator[tuple[ValidatorId, View, bytes]]:
        """Signers, or this signer, of a `high_qc.view` below `view`."""
        singles = self.single.items() if signer is None else ((signer, self.single.get(signer)),)
        for voter, said in singles:
            if said is not None and said[0] < view:
                yield voter, *said
        for tc, shut in self.certificates:
            if min(tc.high_qc_views, default=view) < view:
                for (voter, signature), signed in zip(shut.signatures.items(), tc.high_qc_views, strict=False):
                    if signed < view and signer in (None, voter):
                        yield voter, signed, signature


class Watch:
    """Over the validators of one epoch. Every method returns the proofs that what it was told has completed.

    Memory is bounded (L4): the owner moves the window with `forget_below` and tells nothing from beyond its upper end;
    per view, one statement of each kind and validator and a few certificates are kept, in all the newest headers. Each
    offender is reported once by each rule.

    An `exhaustive` one keeps all that it is told and reports each offender once by each rule and view.
    """

    def __init__(
        self,
        network_id: NetworkId,
        epoch: Epoch,
        table: StakeTable,
        scheme: SignatureScheme,
        *,
        exhaustive: bool = False,
    ) -> None:
        self._network_id = network_id
        self._epoch = epoch
        self._table = table
        self._stakes = table.stakes
        self._scheme = scheme
        self._exhaustive = exhaustive
        self._floor = View(0)
        self._thinned = View(0)
        """FinalizeVotes of lower views have been thinned out."""
        self._proposals: dict[View, _LeafRoll] = {}
        self._votes: dict[View, _LeafRoll] = {}
        self._finalizes: dict[View, _LeafRoll] = {}
        self._timeouts: dict[View, _TimeoutRoll] = {}
        self._headers: dict[Commitment, LeafHeader] = {}
        self._old_finalizes: dict[ValidatorId, list[View]] = {}
        """Of each validator the views below the window whose FinalizeVotes are kept, in ascending order."""
        self._reported: set[tuple[ValidatorId, type[Evidence], View | None]] = set()

    def note_proposal(self, proposer: ValidatorId, view: View, signed: SignedLeaf) -> list[Evidence]:
        """E1."""
        return self._note_single(DoubleProposal, self._proposals, proposer, view, signed)

    def note_vote(self, vote: QuorumVote) -> list[Evidence]:
        """E2, E5. Its signature need not have been looked at."""
        voter, signed = vote.voter, SignedLeaf(vote.leaf, vote.signature)
        found = self._note_single(DoubleVote, self._votes, voter, vote.view, signed)
        header = self._headers.get(vote.leaf) if self._headers else None
        if header is not None and header.view == vote.view:
            found += self._report(UnjustifiedVote(voter, header, vote.signature))
        return found

    def note_finalize(self, vote: FinalizeVote) -> list[Evidence]:
        """E3, E4. Its signature need not have been looked at."""
        voter, view = vote.voter, vote.view
        if view < self._floor or voter not in self._stakes:
            return []
        found = self._note_single(DoubleFinalize, self._finalizes, voter, view, SignedLeaf(vote.leaf, vote.signature))
        if self._timeouts:  # seldom
            found += self._find_forgotten_in(view, voter)
        return found

    def note_timeout(self, vote: TimeoutVote) -> list[Evidence]:
        """E4. The certificates that it carries are to be told by themselves."""
        if vote.view < self._floor or vote.voter not in self._table:
            return []
        voter, said = vote.voter, (vote.high_qc_view, vote.signature)
        single = self._timeouts.setdefault(vote.view, _TimeoutRoll()).single
        known = single.setdefault(voter, said)
        if known != said:
            genuine = [each for each in (known, said) if self._is_genuine_timeout(voter, vote.view, *each)]
            single[voter] = min(genuine, default=said)  # the lower view is the worse one
        return self._find_forgotten_by(vote.view, vote.high_qc_view, voter)

    def note_qc(self, qc: QuorumCertificate) -> list[Evidence]:
        """E2, E5."""
        found = self._note_certificate(DoubleVote, self._votes, qc)
        header = self._headers.get(qc.leaf)
        if header is not None and header.view == qc.view:
            for signer, signature in self._open(qc).signatures.items():
                found += self._report(UnjustifiedVote(signer, header, signature))
        return found

    def note_fc(self, fc: FinalityCertificate) -> list[Evidence]:
        """E3, E4, and E2 and E5 by the QC in it."""
        found = self.note_qc(fc.qc)
        found += self._note_certificate(DoubleFinalize, self._finalizes, fc)
        if self._timeouts:  # seldom
            found += self._find_forgotten_in(fc.view)
        return found

    def note_tc(self, tc: TimeoutCertificate) -> list[Evidence]:
        """E4, and E2 and E5 by the QC in it."""
        found = self.note_qc(tc.high_qc)
        if tc.view < self._floor or not tc.high_qc_views:
            return found
        kept = self._timeouts.setdefault(tc.view, _TimeoutRoll()).certificates
        if any(tc == known for known, _ in kept):
            return found
        kept.append((tc, self._open(tc)))
        found += self._find_forgotten_by(tc.view, min(tc.high_qc_views))
        if not self._exhaustive:
            del kept[CERTIFICATES_MAX:]
        return found

    def note_unjustified(self, header: LeafHeader) -> list[Evidence]:
        """E5, by the votes and QCs for this leaf, those included that come later. A justified header changes nothing.

        The owner has checked that the proposer signed it, so that nobody fills this memory in the name of another.
        """
        if header.epoch != self._epoch or header.view < self._floor or header.is_justified:
            return []
        leaf = compute_header_commitment(header)
        if not self._exhaustive and not self._make_room(header):
            return []
        self._headers[leaf] = header
        roll = self._votes.get(header.view, _LeafRoll())
        return [
            evidence
            for signer, signature in roll.find_leaf(leaf)
            for evidence in self._report(UnjustifiedVote(signer, header, signature))
        ]

    def report(self, evidence: Evidence) -> list[Evidence]:
        """A proof that somebody else has made; empty when there has been one like it."""
        return self._report(evidence)

    def forget_below(self, view: View) -> None:
        """L4: the window has moved. Each validator's latest genuine FinalizeVote is kept, whatever its view (E4)."""
        former, self._floor = self._floor, max(self._floor, view)
        for rolls in (self._proposals, self._votes, self._timeouts):
            if rolls:
                forget_below(rolls, view)
        if self._headers:
            self._headers = {leaf: header for leaf, header in self._headers.items() if header.view >= view}
        for old in self._select_finalizes(former, view):
            if not self._finalizes[old].single:
                del self._finalizes[old]
        if self._floor - self._thinned >= THINNING_VIEWS:
            self._thin_finalizes()

    def __len__(self) -> int:
        """Statements, certificates and headers that are kept."""
        rolls: list[_LeafRoll | _TimeoutRoll] = [
            roll for views in (self._proposals, self._votes, self._finalizes, self._timeouts) for roll in views.values()
        ]
        return sum(len(roll.single) + len(roll.certificates) for roll in rolls) + len(self._headers)

    # Two leaves in one view

    def _note_single(
        self, kind: "_Kind", rolls: dict[View, _LeafRoll], signer: ValidatorId, view: View, signed: SignedLeaf
    ) -> list[Evidence]:
        found: list[Evidence] = []
        if view < self._floor or signer not in self._stakes:
            return found
        roll = rolls.get(view)
        if roll is None:
            roll = rolls[view] = _LeafRoll()
        if signer not in roll.single:
            for certified, _ in roll.certificates:
                if certified != signed.leaf:
                    break
            else:  # nearly always: the first word of this signer, and no other leaf is certified
                roll.single[signer] = signed
                return found
        if roll.single.get(signer) == signed:
            return found
        for known in roll.find(signer, besides=signed.leaf):
            found += self._report(make_pair(kind, signer, self._epoch, view, known, signed))
        first = roll.single.setdefault(signer, signed)
        if first != signed and not self._is_genuine(_DOMAINS[kind], signer, view, first):
            roll.single[signer] = signed
        return found

    def _note_certificate(
        self, kind: "_Kind", rolls: dict[View, _LeafRoll], certificate: QuorumCertificate | FinalityCertificate
    ) -> list[Evidence]:
        view, leaf = certificate.view, certificate.leaf
        if view < self._floor or not certificate.signers:  # what an epoch begins with is signed by nobody
            return []
        roll = rolls.setdefault(view, _LeafRoll())
        for _, known_shut in roll.certificates:
            if known_shut.certificate is certificate or known_shut.certificate == certificate:
                return []
        shut = self._open(certificate)
        found: list[Evidence] = []
        for signer, known in _find_others(roll, leaf):
            if signer in shut.signatures:
                signed = SignedLeaf(leaf, shut.signatures[signer])
                found += self._report(make_pair(kind, signer, self._epoch, view, known, signed))
        if self._exhaustive or len(roll.certificates) < CERTIFICATES_MAX:
            roll.certificates.append((leaf, shut))
        return found

    # A finality that is forgotten

    def _find_forgotten_by(self, view: View, high_qc_view: View, voter: ValidatorId | None = None) -> list[Evidence]:
        """Finalize votes that a timeout of `view` with `high_qc_view` contradicts."""
        views = self._select_finalizes(View(high_qc_view + 1), View(view + 1))
        return [evidence for finalized in views for evidence in self._find_forgotten(finalized, view, voter)]

    def _find_forgotten_in(self, finalized: View, voter: ValidatorId | None = None) -> list[Evidence]:
        """Timeouts that contradict a finalize vote or FC of this view."""
        if not self._timeouts:
            return []
        later = [known for known in self._timeouts if known >= finalized]
        return [evidence for timed_out in later for evidence in self._find_forgotten(finalized, timed_out, voter)]

    def _find_forgotten(self, finalized: View, timed_out: View, voter: ValidatorId | None = None) -> list[Evidence]:
        roll = self._finalizes.get(finalized)
        if roll is None:
            return []
        return [
            evidence
            for signer, high_qc_view, signature in self._timeouts[timed_out].find_below(finalized, voter)
            for signed in roll.find(signer)
            for evidence in self._report(
                ForgottenFinalize(signer, self._epoch, finalized, signed, timed_out, high_qc_view, signature)
            )
        ]

    def _select_finalizes(self, start: View, stop: View) -> list[View]:
        """Views from `start` to below `stop` of which finalize votes are known, in ascending order."""
        known = self._finalizes
        if stop - start < len(known):
            return [View(each) for each in range(start, stop) if each in known]
        return sorted(each for each in known if start <= each < stop)

    def _thin_finalizes(self) -> None:
        """Below the window each validator keeps its latest FinalizeVote that an FC holds, and what came after it.

        Nobody erases a proof by a later vote whose signature is none: a vote makes way for one that is genuine. What an
        FC holds is genuine. Others are looked at when a validator has some more of them, newest first.
        """
        views, self._thinned = self._select_finalizes(self._thinned, self._floor), self._floor
        settled: set[ValidatorId] = set()
        later: dict[ValidatorId, list[View]] = {}
        for view in reversed(views):
            roll = self._finalizes[view]
            for voter in tuple(roll.single.keys() & settled):
                del roll.single[voter]
            for voter, signed in roll.single.items():
                if any(leaf == signed.leaf and shut.holds(voter, signed.signature) for leaf, shut in roll.certificates):
                    self._drop_finalizes(voter, self._old_finalizes.pop(voter, ()))
                    settled.add(voter)
                later.setdefault(voter, []).append(view)
            roll.certificates = []
            if not roll.single:
                del self._finalizes[view]
        for voter, added in later.items():
            kept = self._old_finalizes.setdefault(voter, [])
            kept += reversed(added)
            if len(kept) > OLD_FINALIZES_MAX:
                genuine = next((view for view in reversed(kept) if self._is_finalize_genuine(voter, view)), None)
                self._drop_finalizes(voter, [view for view in kept if view != genuine])
                kept[:] = [] if genuine is None else [genuine]

    def _drop_finalizes(self, voter: ValidatorId, views: Sequence[View]) -> None:
        for view in views:
            single = self._finalizes[view].single
            del single[voter]
            if not single:
                del self._finalizes[view]

    def _is_finalize_genuine(self, voter: ValidatorId, view: View) -> bool:
        return self._is_genuine(Domain.FINALIZE_VOTE, voter, view, self._finalizes[view].single[voter])

    # What all of them need

    def _report(self, evidence: Evidence) -> list[Evidence]:
        offender = evidence.offender
        key = (offender, type(evidence), get_view(evidence) if self._exhaustive else None)
        if key in self._reported or offender not in self._table:
            return []
        public_key = self._table.get_validator(offender).public_key
        if find_evidence_flaw(evidence, public_key, self._scheme, self._network_id) is not None:
            return []
        self._reported.add(key)
        return [evidence]

    def _open(self, certificate: Certificate) -> _Shut:
        return _Shut(certificate, self._table, self._scheme)

    def _is_genuine(self, domain: Domain, signer: ValidatorId, view: View, signed: SignedLeaf) -> bool:
        statement = make_statement(self._network_id, domain, self._epoch, view, signed.leaf)
        return self._scheme.verify(self._table.get_validator(signer).public_key, statement, signed.signature)

    def _is_genuine_timeout(self, signer: ValidatorId, view: View, high_qc_view: View, signature: bytes) -> bool:
        subject = make_timeout_subject(high_qc_view)
        statement = make_statement(self._network_id, Domain.TIMEOUT_VOTE, self._epoch, view, subject)
        return self._scheme.verify(self._table.get_validator(signer).public_key, statement, signature)

    def _make_room(self, header: LeafHeader) -> bool:
        """L4: one header of each proposer and view; the newest ones when they are too big together."""
        if any((known.proposer, known.view) == (header.proposer, header.view) for known in self._headers.values()):
            return False
        sizes = {leaf: _measure(known) for leaf, known in self._headers.items()}
        newer = sum(sizes[leaf] for leaf, known in self._headers.items() if known.view >= header.view)
        excess = sum(sizes.values()) + _measure(header) - HEADER_BYTES_MAX
        if newer + _measure(header) > HEADER_BYTES_MAX:
            return False
        for leaf in sorted(self._headers, key=lambda leaf: self._headers[leaf].view):
            if excess <= 0:
                break
            excess -= sizes[leaf]
            del self._headers[leaf]
        return True


_Kind = type[DoubleProposal] | type[DoubleVote] | type[DoubleFinalize]
_DOMAINS: dict[_Kind, Domain] = {
    DoubleProposal: Domain.PROPOSAL,
    DoubleVote: Domain.QUORUM_VOTE,
    DoubleFinalize: Domain.FINALIZE_VOTE,
}


def get_view(evidence: Evidence) -> View:
    """The view in which the offence was completed."""
    match evidence:
        case DoubleProposal() | DoubleVote() | DoubleFinalize():
            return evidence.view
        case ForgottenFinalize():
            return evidence.timeout_view
        case UnjustifiedVote():
            return evidence.header.view
        case BrokenPromise():
            return evidence.promise.last_view


def _find_others(roll: _LeafRoll, leaf: Commitment) -> Iterator[tuple[ValidatorId, SignedLeaf]]:
    """Who signed another leaf."""
    for signer, signed in roll.single.items():
        if signed.leaf != leaf:
            yield signer, signed
    for other, shut in roll.certificates:
        if other != leaf:
            for signer, signature in shut.signatures.items():
                yield signer, SignedLeaf(other, signature)


def _measure(header: LeafHeader) -> int:
    """Bytes, about."""
    tc = header.timeout_certificate
    certificates: Iterable[Certificate] = (header.justify_qc,) if tc is None else (header.justify_qc, tc, tc.high_qc)
    views = 0 if tc is None else 8 * len(tc.high_qc_views)
    return (
        _HEADER_BYTES + views + sum(len(certificate.signers) + len(certificate.proof) for certificate in certificates)
    )
