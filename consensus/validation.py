"""What can be said of a message without looking at any state: Message -> Verified, Deferred or InvalidMessage.

A message is `Verified` when everything in it that carries a signature has been checked. Votes come by the hundred
and most are late, so a vote is only `Deferred` here: well formed, from the peer that it names, signature unseen. The
tally checks the signature when a quorum is in reach or when the vote contradicts another one.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from consensus.certificates import CertificateVerifier, make_timeout_subject
from consensus.context import EpochContext
from consensus.errors import InvalidMessage
from consensus.leaf import LEAF_VERSION, Leaf, compute_leaf_commitment, compute_payload_commitment
from consensus.messages import (
    EpochEnd,
    EvidenceNotice,
    FinalizeVote,
    LeafResponse,
    OperationNotice,
    QuorumProposal,
    QuorumVote,
    RangeResponse,
    ReplicaMessage,
    SingleMessage,
    Snapshot,
    StatusRequest,
    StatusResponse,
    TimeoutVote,
    Vote,
)
from consensus.signatures import Domain, make_statement
from consensus.types import Commitment, Epoch, Microseconds, ValidatorId

M = TypeVar("M", bound=SingleMessage, covariant=True)


@dataclass(frozen=True, slots=True)
class Verified(Generic[M]):
    """Everything in `message` that is signed has been checked. Made in this module only."""

    message: M


@dataclass(frozen=True, slots=True)
class Deferred:
    """A vote whose form, epoch and sender are right and whose signature has not been looked at."""

    vote: Vote


class MessageValidator:
    """Stateless validation for one epoch; its only memory is which certificates it has verified already."""

    def __init__(self, context: EpochContext) -> None:
        self._context = context
        self._table = context.stake_table
        self.certificates = CertificateVerifier(
            context.network_id, context.scheme, context.stake_table, context.genesis_qc
        )

    def validate(self, sender: ValidatorId, message: ReplicaMessage) -> Verified[SingleMessage] | Deferred:
        """Raises `InvalidMessage`. `sender` is the validator that the connection has proven to be at its other end."""
        match message:
            case QuorumVote() | FinalizeVote():
                self._check_epoch(message.epoch)
                self._check_voter(sender, message.voter)
                return Deferred(message)
            case QuorumProposal():
                self._check_proposal(message)
            case TimeoutVote():
                self._check_timeout(sender, message)
            case StatusRequest():
                self._check_epoch(message.epoch)
            case StatusResponse():
                self._check_status(message)
            case LeafResponse():
                self._check_payload(message.leaf, message.payload)
            case RangeResponse():
                self._check_range(message)
            case EvidenceNotice() | OperationNotice() | EpochEnd() | Snapshot():
                pass
        return Verified(message)

    def is_genuine(self, vote: Vote) -> bool:
        """The signature that `validate` put off."""
        domain = Domain.QUORUM_VOTE if isinstance(vote, QuorumVote) else Domain.FINALIZE_VOTE
        statement = make_statement(self._context.network_id, domain, vote.epoch, vote.view, vote.leaf)
        public_key = self._table.get_validator(vote.voter).public_key
        return self._context.scheme.verify(public_key, statement, vote.signature)

    def _check_proposal(self, proposal: QuorumProposal) -> None:
        leaf = proposal.leaf
        self._check_leaf(leaf)
        if leaf.justify_qc.view >= leaf.view or leaf.justify_qc.leaf != leaf.parent:
            raise InvalidMessage("bad_leaf", f"justify_qc of view {leaf.justify_qc.view} does not certify the parent")
        if leaf.proposer not in self._table:
            raise InvalidMessage("unknown_validator", f"proposer {leaf.proposer} has no stake")
        self._check_payload(leaf, proposal.payload)
        statement = make_statement(
            self._context.network_id, Domain.PROPOSAL, leaf.epoch, leaf.view, compute_leaf_commitment(leaf)
        )
        public_key = self._table.get_validator(leaf.proposer).public_key
        if not self._context.scheme.verify(public_key, statement, proposal.signature):
            raise InvalidMessage("bad_signature", f"the proposal of view {leaf.view} is not signed by {leaf.proposer}")
        self.certificates.verify(leaf.justify_qc)
        if leaf.timeout_certificate is not None:
            if leaf.timeout_certificate.view != leaf.view - 1:
                raise InvalidMessage("bad_leaf", f"TC of view {leaf.timeout_certificate.view} in view {leaf.view}")
            self.certificates.verify(leaf.timeout_certificate)
        elif leaf.justify_qc.view != leaf.view - 1:
            raise InvalidMessage("bad_leaf", f"view {leaf.view} skips views without a TC")

    def _check_timeout(self, sender: ValidatorId, vote: TimeoutVote) -> None:
        """P2: a TimeoutVote(v) needs a high_qc of a view < v, at least the signed one, and QC(v-1) or TC(v-1)."""
        self._check_epoch(vote.epoch)
        self._check_voter(sender, vote.voter)
        if not vote.high_qc_view <= vote.high_qc.view < vote.view:
            raise InvalidMessage(
                "bad_timeout",
                f"signed {vote.high_qc_view}, holds the QC of {vote.high_qc.view}, times out in {vote.view}",
            )
        if vote.entry_tc is None:
            if vote.high_qc.view != vote.view - 1:
                raise InvalidMessage("bad_timeout", f"nothing shows how view {vote.view} was entered")
        elif vote.entry_tc.view != vote.view - 1:
            raise InvalidMessage("bad_timeout", f"TC of view {vote.entry_tc.view} in a timeout of view {vote.view}")
        statement = make_statement(
            self._context.network_id,
            Domain.TIMEOUT_VOTE,
            vote.epoch,
            vote.view,
            make_timeout_subject(vote.high_qc_view),
        )
        public_key = self._table.get_validator(vote.voter).public_key
        if not self._context.scheme.verify(public_key, statement, vote.signature):
            raise InvalidMessage("bad_signature", f"the timeout vote of view {vote.view} is not signed by {vote.voter}")
        self.certificates.verify(vote.high_qc)
        if vote.entry_tc is not None:
            self.certificates.verify(vote.entry_tc)

    def _check_status(self, status: StatusResponse) -> None:
        self.certificates.verify(status.high_qc)
        if status.fc is not None:
            self.certificates.verify(status.fc)
        if status.entry_tc is not None:
            self.certificates.verify(status.entry_tc)

    def _check_range(self, response: RangeResponse) -> None:
        """L5: parent links all the way to the leaf that the FC certifies."""
        previous: Commitment | None = None
        leaves = [entry.leaf for entry in response.blocks] + list(response.path)
        for leaf in leaves:
            self._check_leaf(leaf)
            if previous is not None and leaf.parent != previous:
                raise InvalidMessage("bad_range", f"the leaf at height {leaf.height} has another parent")
            previous = compute_leaf_commitment(leaf)
        heights = [leaf.height for leaf in leaves]
        if heights != list(range(heights[0], heights[0] + len(heights))):
            raise InvalidMessage("bad_range", "heights are not consecutive")
        for entry in response.blocks:
            self._check_payload(entry.leaf, entry.payload)
        if previous != response.fc.leaf:
            raise InvalidMessage("bad_range", "the FC certifies another leaf than the last one")
        self.certificates.verify(response.fc)

    def _check_leaf(self, leaf: Leaf) -> None:
        if leaf.version != LEAF_VERSION:
            raise InvalidMessage("bad_leaf", f"leaf version {leaf.version}, this node speaks {LEAF_VERSION}")
        self._check_epoch(leaf.epoch)

    def _check_payload(self, leaf: Leaf, payload: bytes) -> None:
        limit = self._context.parameters.payload_bytes_max
        if len(payload) > limit:
            raise InvalidMessage("oversized_payload", f"{len(payload)} bytes, the limit is {limit}")
        if len(payload) != leaf.payload_bytes or compute_payload_commitment(payload) != leaf.payload:
            raise InvalidMessage("bad_payload", f"the payload of view {leaf.view} does not match its leaf")

    def _check_voter(self, sender: ValidatorId, voter: ValidatorId) -> None:
        if voter not in self._table:
            raise InvalidMessage("unknown_validator", f"voter {voter} has no stake")
        if voter != sender:
            raise InvalidMessage("wrong_sender", f"validator {sender} sent a vote of {voter}")

    def _check_epoch(self, epoch: Epoch) -> None:
        if epoch != self._context.epoch:
            raise InvalidMessage("wrong_epoch", f"epoch {epoch}, this is {self._context.epoch}", retry=True)


def find_flaw(
    leaf: Leaf, parent: Leaf, leader: ValidatorId, ledger: Commitment, now: Microseconds, context: EpochContext
) -> str | None:
    """R3b, what needs the parent: None when `leaf` may follow it, else what is wrong with it. `ledger` is its state.

    The proposer's signature, the certificates and the payload have been checked by `MessageValidator`.
    """
    if leaf.proposer != leader:
        return f"validator {leaf.proposer} proposed in view {leaf.view}, its leader is {leader}"
    if parent.view >= leaf.view:
        return f"view {leaf.view} on a parent of view {parent.view}"
    if leaf.justify_qc.view != parent.view:
        return f"justify_qc of view {leaf.justify_qc.view} on a parent of view {parent.view}"
    if leaf.height != parent.height + 1:
        return f"height {leaf.height} on a parent at height {parent.height}"
    if leaf.ledger != ledger:
        return "another ledger than the parent leads to"
    if leaf.timestamp_ms < parent.timestamp_ms:
        return f"timestamp {leaf.timestamp_ms} ms, before its parent's {parent.timestamp_ms}"
    latest_ms = (now + context.parameters.clock_skew_max) // 1000
    if leaf.timestamp_ms > latest_ms:
        return f"timestamp {leaf.timestamp_ms} ms is ahead of this clock by more than is allowed"
    return None
