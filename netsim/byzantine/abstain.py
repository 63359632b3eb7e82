"""R4, R6: its vote stands in no certificate that anybody sees."""

from collections.abc import Iterable, Iterator

import msgspec

from consensus.certificates import FinalityCertificate, QuorumCertificate
from consensus.messages import Message
from consensus.types import ValidatorId
from netsim.byzantine.withhold_votes import WithholdVotes


class Abstain(WithholdVotes):
    """`withhold_votes` still counts its own vote, and so makes certificates that nobody else can; here it keeps those
    to itself as well. As good as gone, but for what it says about others.
    """

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        return () if any(map(self._has_signed, _find_certificates(message))) else super().send(message, to)

    def _has_signed(self, certificate: QuorumCertificate | FinalityCertificate) -> bool:
        sign = self.sign_vote if isinstance(certificate, QuorumCertificate) else self.sign_finalize
        return sign(certificate.epoch, certificate.view, certificate.leaf).signature in certificate.proof


def _find_certificates(value: object) -> Iterator[QuorumCertificate | FinalityCertificate]:
    if isinstance(value, QuorumCertificate | FinalityCertificate):
        yield value
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _find_certificates(getattr(value, name))
    elif isinstance(value, tuple):
        for part in value:
            yield from _find_certificates(part)
