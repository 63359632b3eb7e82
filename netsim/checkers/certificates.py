"""P2 at every decide: the FC with its QC, and the QC and TC of each decided leaf, counted and verified by itself."""

from collections.abc import Container
from struct import Struct

from consensus.certificates import Certificate, FinalityCertificate, QuorumCertificate, TimeoutCertificate
from consensus.context import EpochContext
from consensus.effects import Decide
from consensus.epochs import EpochStart
from consensus.leaf import Leaf
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.commitments import compute_commitment
from netsim.checkers.violation import Violation
from netsim.observer import Observer

_QUORUM_VOTE, _FINALIZE_VOTE, _TIMEOUT_VOTE = 2, 3, 4
"""Domain numbers under the signatures, as docs/spec.md lists them."""

_KIND_EPOCH_VIEW = Struct(">BQQ")

_REMEMBERED_MAX = 10_000
"""Certificates known to be right. Forgetting costs another verification, nothing else."""
_STATEMENTS_MAX = 1_000
"""Statements of which signatures are known to be right."""
_BITMAPS_MAX = 1_000
"""Bitmaps that have been read: among few nodes the same signers stand behind nearly everything."""


class Certificates(Observer):
    def __init__(self, context: EpochContext, byzantine: Container[ValidatorId] = ()) -> None:
        self._byzantine = byzantine
        self._prefix = b"sequencer/1\x00" + bytes(context.network_id)
        self._scheme = context.scheme
        self._first = {0: (int(context.genesis.leaf.view), bytes(context.genesis.commitment))}
        members = [(entry.public_key, entry.stake) for entry in context.stake_table.validators]
        self._members = {0: members, 1: members}
        self._verified: dict[Certificate, None] = {}
        self._signatures: dict[bytes, dict[bytes, bytes]] = {}
        """By statement, then by public key: those that have been verified."""
        self._quorums: dict[tuple[int, bytes], list[bytes]] = {}
        """By epoch and bitmap: the signers' keys, of those bitmaps that have more than two thirds of the stake."""
        self.verified = 0

    def add_epoch(self, start: EpochStart) -> None:
        """Its stake table, from the ledger that all nodes begin it with, and what its first leaf extends."""
        state = start.ledger.state
        for table in state.tables:
            self._members.setdefault(table.epoch, [(entry.public_key, entry.stake) for entry in table.entries])
        self._first[state.epoch] = (int(start.block.leaf.view), compute_commitment(start.block.leaf))

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        if node in self._byzantine:
            return
        self.check(decide.fc)
        for block in decide.blocks:
            self._check_leaf(block.leaf)

    def check(self, certificate: Certificate) -> None:
        """Raises `Violation` unless more than two thirds of the stake stand behind the certificate."""
        if certificate in self._verified or self._is_genesis(certificate):
            return
        match certificate:
            case QuorumCertificate():
                statement = self._state(_QUORUM_VOTE, certificate.epoch, certificate.view, certificate.leaf)
                self._check_stake(certificate, statement)
            case FinalityCertificate():
                view, leaf, qc = certificate.view, certificate.leaf, certificate.qc
                if qc.view != view or qc.leaf != leaf:
                    raise Violation("P2", f"the FC of view {view} holds the QC of view {qc.view} or of another leaf")
                self.check(qc)
                self._check_stake(certificate, self._state(_FINALIZE_VOTE, certificate.epoch, view, leaf))
            case TimeoutCertificate(view=view, high_qc_views=signed, high_qc=high_qc):
                if not high_qc.view < view or any(one > high_qc.view for one in signed):
                    raise Violation("P2", f"the TC of view {view} holds the QC of view {high_qc.view}, signed {signed}")
                self.check(high_qc)
                statements = [
                    self._state(_TIMEOUT_VOTE, certificate.epoch, view, one.to_bytes(8, "big")) for one in signed
                ]
                self._check_stake(certificate, statements)
        self.verified += 1
        if len(self._verified) >= _REMEMBERED_MAX:
            self._verified.clear()
        self._verified[certificate] = None

    def _is_genesis(self, certificate: Certificate) -> bool:
        """The first leaf of an epoch extends what the epoch begins with, which needs no certificate in it."""
        if not isinstance(certificate, QuorumCertificate) or certificate.signers or certificate.proof:
            return False
        return self._first.get(certificate.epoch) == (certificate.view, certificate.leaf)

    def _check_leaf(self, leaf: Leaf) -> None:
        if leaf.justify_qc.leaf != leaf.parent:
            raise Violation("P3", f"the leaf of view {leaf.view} does not extend what its justify_qc certifies")
        self.check(leaf.justify_qc)
        tc = leaf.timeout_certificate
        if tc is not None:
            self.check(tc)
        if leaf.justify_qc.view != leaf.view - 1 and (
            tc is None or tc.view != leaf.view - 1 or leaf.justify_qc.view < max(tc.high_qc_views)
        ):
            raise Violation("R3c", f"the leaf of view {leaf.view} skips views that nobody allowed it to skip")

    def _check_stake(self, certificate: Certificate, stated: bytes | list[bytes]) -> None:
        """`stated` is one statement for all signers, or one for each."""
        signers = self._quorums.get((certificate.epoch, certificate.signers)) or self._find_quorum(certificate)
        if isinstance(stated, bytes):
            known = self._signatures.get(stated, {})
            genuine = [known.get(public_key, b"") for public_key in signers]
            if all(genuine) and b"".join(genuine) == certificate.proof:
                return
            stated = [stated] * len(signers)
        size = len(certificate.proof) // len(signers)
        if size * len(signers) != len(certificate.proof) or len(stated) != len(signers):
            raise Violation("P2", f"{type(certificate).__name__}({certificate.view}) has not one signature a signer")
        for number, (public_key, statement) in enumerate(zip(signers, stated, strict=True)):
            signature = certificate.proof[number * size : (number + 1) * size]
            if not self._is_genuine(public_key, statement, signature):
                raise Violation("P2", f"a forged signature in {type(certificate).__name__}({certificate.view})")

    def _find_quorum(self, certificate: Certificate) -> list[bytes]:
        """Keys of the signers. Raises `Violation` when the bitmap is not in its only form, or has too little stake."""
        signed = total = 0
        signers: list[bytes] = []
        members, bits = self._members[certificate.epoch], int.from_bytes(certificate.signers, "little")
        if len(certificate.signers) != (len(members) + 7) // 8 or bits >> len(members):
            raise Violation("P4", f"{certificate.signers.hex()!r} are no signers for {len(members)} validators")
        for position, (public_key, stake) in enumerate(members):
            total += stake
            if bits >> position & 1:
                signed += stake
                signers.append(public_key)
        if 3 * signed <= 2 * total:
            raise Violation("P2", f"{signed} of {total} stake behind {type(certificate).__name__}({certificate.view})")
        if len(self._quorums) >= _BITMAPS_MAX:
            self._quorums.clear()
        self._quorums[certificate.epoch, certificate.signers] = signers
        return signers

    def _is_genuine(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        remembered = self._signatures.get(statement)
        if remembered is None:
            if len(self._signatures) >= _STATEMENTS_MAX:
                self._signatures.clear()
            remembered = self._signatures[statement] = {}
        if remembered.get(public_key) == signature:
            return True
        if not self._scheme.verify(public_key, statement, signature):
            return False
        remembered[public_key] = signature
        return True

    def _state(self, kind: int, epoch: int, view: int, subject: bytes) -> bytes:
        """P1: twelve bytes of prefix, the network, the kind, epoch and view in eight bytes each, the subject."""
        return self._prefix + _KIND_EPOCH_VIEW.pack(kind, epoch, view) + subject
