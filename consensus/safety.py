"""The rules that keep the chain from forking, and the only holder of the signing key.

Laws of this file:

1. A signature is made here or nowhere.
2. Each method is one rule of the protocol: its docstring is the rule, its body the same rule in the same order.
3. A rule that forbids a signature answers `Unsafe` and changes nothing.
4. A signature that was given is in the record. The caller makes the record durable before the signature leaves (R8),
   and a replica that starts again from that record never contradicts what it signed.
"""

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from consensus.certificates import QuorumCertificate, TimeoutCertificate, make_timeout_subject
from consensus.context import EpochContext
from consensus.errors import InvariantViolation, Unsafe
from consensus.leaf import Block, Leaf
from consensus.messages import FinalizeVote, QuorumProposal, QuorumVote, TimeoutVote
from consensus.signatures import Domain, Signer, make_statement
from consensus.types import Epoch, NetworkId, ValidatorId, View, WireCommitment, WireEpoch, WireView

_NOT_A_SIGNER = Unsafe("T1", "no key with stake in this epoch, or the epoch is over")

EntryCertificate: TypeAlias = QuorumCertificate | TimeoutCertificate


class SafetyRecord(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a replica must not forget (R8). Views are the highest of their kind in this epoch; 0 is none."""

    epoch: WireEpoch
    voted_view: WireView
    timed_out_view: WireView
    finalized_view: WireView
    proposed_view: WireView
    proposed_leaf: WireCommitment | None
    high_qc: QuorumCertificate
    entry: EntryCertificate
    last_vote: QuorumVote | None
    last_finalize: FinalizeVote | None
    last_timeout: TimeoutVote | None

    @classmethod
    def initial(cls, genesis_qc: QuorumCertificate) -> "SafetyRecord":
        """The record of a key that has never signed in this epoch. Only for a key that has just been made."""
        none = genesis_qc.view
        return cls(genesis_qc.epoch, none, none, none, none, None, genesis_qc, genesis_qc, None, None, None)


class SafetyRules:
    """One validator's signatures in one epoch. Without the key that the stake table names it signs nothing (T1)."""

    def __init__(
        self, context: EpochContext, validator_id: ValidatorId, signers: Iterable[Signer], record: SafetyRecord
    ) -> None:
        if record.epoch != context.epoch:
            raise InvariantViolation(f"safety record of epoch {record.epoch} used in epoch {context.epoch}")
        self._network_id: NetworkId = context.network_id
        self._epoch: Epoch = context.epoch
        self._signer = select_signer(context, validator_id, signers)
        self.validator_id = validator_id
        self.record = record

    @property
    def can_sign(self) -> bool:
        """Whether this validator has stake in this epoch, and its key is here, and the epoch is not over."""
        return self._signer is not None

    def retire(self) -> None:
        """T2: the epoch is over, nothing is signed in it any more."""
        self._signer = None

    @property
    def entry_tc(self) -> TimeoutCertificate | None:
        """The TC by which the current view was entered, if it was one."""
        return self.record.entry if isinstance(self.record.entry, TimeoutCertificate) else None

    def enter(self, entry: EntryCertificate) -> None:
        """R1: enter view v+1 on a certificate of view v; views never go back."""
        if entry.view > self.record.entry.view:
            self._update(entry=entry)

    def raise_high_qc(self, qc: QuorumCertificate) -> None:
        """R5: `high_qc` only ever rises."""
        if qc.view > self.record.high_qc.view:
            self._update(high_qc=qc)

    def sign_proposal(self, block: Block) -> QuorumProposal | Unsafe:
        """R2: one proposal per view, ever; it extends `high_qc`, at least the TC's highest when it carries one.

        The same proposal again, after a restart, is the same signature again (R8).
        """
        if self._signer is None:
            return _NOT_A_SIGNER
        record, leaf = self.record, block.leaf
        is_again = (leaf.view, block.commitment) == (record.proposed_view, record.proposed_leaf)
        if leaf.view <= record.proposed_view and not is_again:
            return Unsafe("R2", f"already proposed in view {record.proposed_view}, asked for {leaf.view}")
        if leaf.justify_qc.view < record.high_qc.view and not is_again:
            return Unsafe("R2", f"extends view {leaf.justify_qc.view}, below high_qc {record.high_qc.view}")
        unjustified = _check_justified(leaf)
        if unjustified is not None:
            return unjustified
        self._update(proposed_view=leaf.view, proposed_leaf=block.commitment)
        return QuorumProposal(leaf, block.payload, self._sign(Domain.PROPOSAL, leaf.view, block.commitment))

    def sign_vote(self, block: Block) -> QuorumVote | Unsafe:
        """R3: vote when (a) it has not voted and not timed out in a view ≥ v, and (c) the leaf is justified.

        (b), the validity of the leaf, is the caller's to check: it depends on the chain, not on what was signed.
        """
        if self._signer is None:
            return _NOT_A_SIGNER
        record, leaf = self.record, block.leaf
        if leaf.view <= record.voted_view:
            return Unsafe("R3a", f"already voted in view {record.voted_view}, asked for {leaf.view}")
        if leaf.view <= record.timed_out_view:
            return Unsafe("R3a", f"already timed out in view {record.timed_out_view}, asked for {leaf.view}")
        unjustified = _check_justified(leaf)
        if unjustified is not None:
            return unjustified
        signature = self._sign(Domain.QUORUM_VOTE, leaf.view, block.commitment)
        vote = QuorumVote(self._epoch, leaf.view, block.commitment, self.validator_id, signature)
        self._update(voted_view=leaf.view, last_vote=vote)
        return vote

    def sign_finalize(self, qc: QuorumCertificate) -> FinalizeVote | Unsafe:
        """R5: on QC(v), raise `high_qc`; unless it has timed out in a view ≥ v, finalize that leaf, once per view."""
        if self._signer is None:
            return _NOT_A_SIGNER
        record = self.record
        if qc.view <= record.timed_out_view:
            return Unsafe("R5", f"already timed out in view {record.timed_out_view}, asked to finalize {qc.view}")
        if qc.view <= record.finalized_view:
            return Unsafe("R5", f"already finalized in view {record.finalized_view}, asked for {qc.view}")
        self.raise_high_qc(qc)
        signature = self._sign(Domain.FINALIZE_VOTE, qc.view, qc.leaf)
        vote = FinalizeVote(self._epoch, qc.view, qc.leaf, self.validator_id, signature)
        self._update(finalized_view=qc.view, last_finalize=vote)
        return vote

    def sign_timeout(self, view: View) -> TimeoutVote | Unsafe:
        """R7: stop voting in v and sign (v, high_qc.view). A repetition carries the newest certificates; the signed
        view never changes."""
        if self._signer is None:
            return _NOT_A_SIGNER
        record = self.record
        if view != record.entry.view + 1:
            return Unsafe("R7", f"asked to time out in view {view}, entered by {record.entry.view}")
        last = record.last_timeout
        if last is not None and last.view >= view:
            if last.view > view:
                return Unsafe("R7", f"already timed out in view {last.view}, asked for {view}")
            return msgspec.structs.replace(last, high_qc=record.high_qc, entry_tc=self.entry_tc)
        high_qc_view = record.high_qc.view
        signature = self._sign(Domain.TIMEOUT_VOTE, view, make_timeout_subject(high_qc_view))
        vote = TimeoutVote(self._epoch, view, high_qc_view, self.validator_id, signature, record.high_qc, self.entry_tc)
        self._update(timed_out_view=view, last_timeout=vote)
        return vote

    def _sign(self, domain: Domain, view: View, subject: bytes) -> bytes:
        if self._signer is None:
            raise InvariantViolation("a signature was asked for without a key")
        return self._signer.sign(make_statement(self._network_id, domain, self._epoch, view, subject))

    def _update(self, **changes: object) -> None:
        self.record = msgspec.structs.replace(self.record, **changes)


def prove_identity(signer: Signer, network_id: NetworkId, challenge: bytes) -> bytes:
    """Sign a peer's fresh challenge; the domain keeps it from being mistaken for a vote (P1). Binds no epoch."""
    return signer.sign(make_statement(network_id, Domain.HELLO, Epoch(0), View(0), challenge))


def select_signer(context: EpochContext, validator_id: ValidatorId, signers: Iterable[Signer]) -> Signer | None:
    """The key that this epoch's stake table names for the validator; None when it has none, or it is not here (T1)."""
    if validator_id not in context.stake_table:
        return None
    public_key = context.stake_table.get_validator(validator_id).public_key
    return next((signer for signer in signers if signer.public_key == public_key), None)


def _check_justified(leaf: Leaf) -> Unsafe | None:
    """R3c: justify_qc.view = v-1, or a TC(v-1) comes with it and justify_qc.view ≥ the TC's highest high_qc.view."""
    if leaf.justify_qc.view == leaf.view - 1:
        return None
    tc = leaf.timeout_certificate
    if tc is None or tc.view != leaf.view - 1:
        return Unsafe("R3c", f"view {leaf.view} skips views after {leaf.justify_qc.view} without TC({leaf.view - 1})")
    if leaf.justify_qc.view < tc.highest_view:
        return Unsafe("R3c", f"justify_qc of view {leaf.justify_qc.view}, the TC's highest is {tc.highest_view}")
    return None
