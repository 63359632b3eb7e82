"""P2: certificates that prove nothing."""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import TypeVar

from msgspec.structs import replace

from consensus.certificates import FinalityCertificate, QuorumCertificate, TimeoutCertificate
from consensus.leaf import Leaf
from consensus.messages import Message, QuorumProposal, QuorumVote, StatusResponse, TimeoutVote
from consensus.types import Commitment, ValidatorId, View
from netsim.byzantine.actor import Actor

C = TypeVar("C", QuorumCertificate, FinalityCertificate, TimeoutCertificate)


class ForgeCertificates(Actor):
    """With each word that carries a certificate the same word with a forged one first; with each vote the QC and FC
    that it would like to see.
    """

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        match message:
            case QuorumProposal():
                self.remember(message)
                return (self.sign_proposal(self._forge_leaf(message), message.payload), message)
            case TimeoutVote(high_qc=high_qc, entry_tc=entry_tc):
                if entry_tc is not None and self.random.random() < 0.5:
                    return (replace(message, entry_tc=self._forge(entry_tc)), message)
                return (replace(message, high_qc=self._forge(high_qc)), message)
            case StatusResponse(high_qc, fc, entry_tc):
                return (
                    replace(message, high_qc=self._forge(high_qc)),
                    replace(message, fc=None if fc is None else self._forge(fc)),
                    replace(message, entry_tc=None if entry_tc is None else self._forge(entry_tc)),
                )
            case QuorumVote(leaf=leaf) if leaf in self.proposals:
                return (self._wish(message, self.proposals[leaf].leaf.justify_qc), message)
            case _:
                return (message,)

    def _forge_leaf(self, proposal: QuorumProposal) -> Leaf:
        leaf, tc = proposal.leaf, proposal.leaf.timeout_certificate
        if tc is not None and self.random.random() < 0.5:
            return replace(leaf, timeout_certificate=self._forge(tc))
        if leaf.justify_qc.signers and self.random.random() < 0.5:
            return replace(leaf, justify_qc=self._forge(leaf.justify_qc))
        # It has "seen" the view before time out.
        qc, view = leaf.justify_qc, View(leaf.view - 1)
        made_up = TimeoutCertificate(qc.epoch, view, qc.signers, qc.proof, (qc.view,) * _count(qc.signers), qc)
        return replace(leaf, timeout_certificate=made_up)

    def _wish(self, vote: QuorumVote, like: QuorumCertificate) -> StatusResponse:
        """Its own signature stands for everyone's."""
        qc = QuorumCertificate(vote.epoch, vote.view, like.signers, vote.signature * _count(like.signers), vote.leaf)
        fc = FinalityCertificate(vote.epoch, vote.view, qc.signers, qc.proof, vote.leaf, qc)
        return StatusResponse(qc, fc if self.random.random() < 0.5 else None, None)

    def _forge(self, certificate: C) -> C:
        ways: Sequence[Callable[[C], C]] = (
            _flip_a_bit,
            _drop_a_signer,
            _forget_a_signature,
            _repeat_a_signature,
            _claim_everyone,
            _claim_nobody,
            _move_a_view,
            _change_the_subject,
        )
        return self.random.choice(ways)(certificate)


def _count(signers: bytes) -> int:
    return int.from_bytes(signers, "little").bit_count()


def _size(certificate: C) -> int:
    """Bytes of one signature in the proof."""
    return len(certificate.proof) // max(1, _count(certificate.signers))


def _flip_a_bit(certificate: C) -> C:
    proof = certificate.proof or b"\0"
    return replace(certificate, proof=bytes([proof[0] ^ 1]) + proof[1:])


def _drop_a_signer(certificate: C) -> C:
    """One less than a quorum, consistently."""
    bits = int.from_bytes(certificate.signers, "little")
    fewer = (bits & (bits - 1) if bits else 0).to_bytes(len(certificate.signers), "little")
    changed = replace(certificate, signers=fewer, proof=certificate.proof[_size(certificate) :])
    if isinstance(changed, TimeoutCertificate):
        return replace(changed, high_qc_views=changed.high_qc_views[1:])
    return changed


def _forget_a_signature(certificate: C) -> C:
    return replace(certificate, proof=certificate.proof[_size(certificate) :])


def _repeat_a_signature(certificate: C) -> C:
    first = certificate.proof[: _size(certificate)]
    return replace(certificate, proof=first * _count(certificate.signers))


def _claim_everyone(certificate: C) -> C:
    """Beyond the end of the stake table too."""
    return replace(certificate, signers=b"\xff" * len(certificate.signers))


def _claim_nobody(certificate: C) -> C:
    """What an epoch begins with looks like that."""
    return replace(certificate, signers=b"", proof=b"")


def _move_a_view(certificate: C) -> C:
    return replace(certificate, view=View(certificate.view + 1))


def _change_the_subject(certificate: C) -> C:
    """Another leaf; other signed views."""
    if isinstance(certificate, TimeoutCertificate):
        return replace(certificate, high_qc_views=(View(0),) * len(certificate.high_qc_views))
    return replace(certificate, leaf=Commitment(sha256(certificate.leaf).digest()))
