"""What can be said of a message without looking at any state: Message -> an `Item`, or InvalidMessage.

A message is `Verified` when everything in it that carries a signature has been checked. Votes come by the hundred
and most are late, so a vote is only `Deferred` here: well formed, from the peer that it names, signature unseen. The
tally checks the signature when a quorum is in reach or when the vote contradicts another one.
"""

from typing import Generic, TypeAlias, TypeVar

import msgspec

from consensus.certificates import CertificateVerifier, make_genesis_certificate, make_timeout_subject
from consensus.context import EpochContext
from consensus.errors import InvalidMessage
from consensus.header import LeafHeader, compute_header_commitment
from consensus.leaf import (
    LEAF_VERSION,
    EpochProof,
    Leaf,
    compute_leaf_commitment,
    make_header,
)
from consensus.messages import (
    EpochEnd,
    EvidenceNotice,
    FinalizeVote,
    LeafResponse,
    OperationNotice,
    ProposalEcho,
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
from consensus.payload_tree import compute_payload_commitment
from consensus.signatures import Domain, make_statement
from consensus.stake_table import StakeTable
from consensus.types import Commitment, Epoch, Microseconds, ValidatorId, View

M = TypeVar("M", bound=SingleMessage, covariant=True)


class Verified(msgspec.Struct, Generic[M], frozen=True, gc=False):
    """Everything in `message` that is signed has been checked. Made in this module only."""

    message: M
    commitment: Commitment | None = None
    """Of a proposal's leaf: hashing it was part of the check, so whoever receives the proposal need not."""


class Deferred(msgspec.Struct, frozen=True, gc=False):
    """A vote whose form, epoch and sender are right and whose signature has not been looked at."""

    vote: Vote


class Unjustified(msgspec.Struct, frozen=True, gc=False):
    """A proposal whose leaf breaks R3c on its face, signed by its proposer. Of use only against those who vote for it
    (E5).
    """

    header: LeafHeader


class Foreign(msgspec.Struct, frozen=True, gc=False):
    """A message of another epoch than this replica's; nothing in it has been checked (T1)."""

    epoch: Epoch
    message: ReplicaMessage


Item: TypeAlias = Verified[SingleMessage] | Deferred | Unjustified | Foreign


def get_epoch(message: ReplicaMessage) -> Epoch | None:
    """The epoch that a message belongs to; None for what is of use in any."""
    match message:
        case QuorumVote() | FinalizeVote() | TimeoutVote() | StatusRequest() | EpochEnd() | ProposalEcho():
            return message.epoch
        case QuorumProposal() | LeafResponse():
            return message.leaf.epoch
        case StatusResponse():
            return message.high_qc.epoch
        case RangeResponse():
            return message.fc.epoch
        case EvidenceNotice() | OperationNotice() | Snapshot():
            return None


class MessageValidator:
    """Stateless validation for one epoch; its only memory is which certificates it has verified already."""

    def __init__(self, context: EpochContext) -> None:
        self._context = context
        self._table = context.stake_table
        self.certificates = CertificateVerifier(
            context.network_id, context.scheme, context.stake_table, context.genesis_qc
        )
        self._before = None
        if context.start is not None:
            self._before = _make_verifier(context, Epoch(context.epoch - 1), context.start.before.table)

    def validate(self, sender: ValidatorId, message: ReplicaMessage) -> Item:
        """Raises `InvalidMessage`. `sender` is the validator that the connection has proven to be at its other end."""
        epoch = get_epoch(message)
        if epoch is not None and epoch != self._context.epoch:
            return Foreign(epoch, message)
        commitment: Commitment | None = None
        match message:
            case QuorumVote() | FinalizeVote():
                self._check_voter(sender, message.voter)
                return Deferred(message)
            case QuorumProposal():
                commitment = self._check_proposal(message)
                if commitment is None:
                    return Unjustified(make_header(message.leaf))
            case TimeoutVote():
                self._check_timeout(sender, message)
            case StatusResponse():
                self._check_status(message)
            case LeafResponse():
                self._check_payload(message.leaf, message.payload)
            case RangeResponse():
                self._check_range(message)
            case ProposalEcho():
                self._check_signed_leaf(message.proposer, message.view, message.leaf, message.signature)
            case EpochEnd(proof=proof):
                _check_epoch_proof(proof, self._context.epoch, self.certificates)
            case StatusRequest() | EvidenceNotice() | OperationNotice():
                pass
            case Snapshot():
                raise InvalidMessage("unsolicited", "a snapshot is for a node that has no chain yet")
        return Verified(message, commitment)

    def is_genuine(self, vote: Vote) -> bool:
        """The signature that `validate` put off."""
        domain = Domain.QUORUM_VOTE if isinstance(vote, QuorumVote) else Domain.FINALIZE_VOTE
        statement = make_statement(self._context.network_id, domain, vote.epoch, vote.view, vote.leaf)
        public_key = self._table.get_validator(vote.voter).public_key
        return self._context.scheme.verify(public_key, statement, vote.signature)

    def _check_proposal(self, proposal: QuorumProposal) -> Commitment | None:
        """The commitment of its leaf; None when all is right with it but its justification (R3c)."""
        leaf = proposal.leaf
        self._check_leaf(leaf)
        if leaf.justify_qc.view >= leaf.view or leaf.justify_qc.leaf != leaf.parent:
            raise InvalidMessage("bad_leaf", f"justify_qc of view {leaf.justify_qc.view} does not certify the parent")
        self._check_payload(leaf, proposal.payload)
        header = make_header(leaf)
        commitment = compute_header_commitment(header)
        self._check_signed_leaf(leaf.proposer, leaf.view, commitment, proposal.signature)
        if not header.is_justified:
            return None
        self.certificates.verify(leaf.justify_qc)
        if leaf.timeout_certificate is not None:
            if leaf.timeout_certificate.view != leaf.view - 1:
                raise InvalidMessage("bad_leaf", f"TC of view {leaf.timeout_certificate.view} in view {leaf.view}")
            self.certificates.verify(leaf.timeout_certificate)
        return commitment

    def _check_signed_leaf(self, proposer: ValidatorId, view: View, leaf: Commitment, signature: bytes) -> None:
        """The signature of a proposal."""
        if proposer not in self._table:
            raise InvalidMessage("unknown_validator", f"proposer {proposer} has no stake")
        context = self._context
        statement = make_statement(context.network_id, Domain.PROPOSAL, context.epoch, view, leaf)
        if not context.scheme.verify(self._table.get_validator(proposer).public_key, statement, signature):
            raise InvalidMessage("bad_signature", f"the proposal of view {view} is not signed by {proposer}")

    def _check_timeout(self, sender: ValidatorId, vote: TimeoutVote) -> None:
        """P2: a TimeoutVote(v) needs a high_qc of a view < v, at least the signed one, and QC(v-1) or TC(v-1)."""
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
        if leaf.epoch != self._context.epoch:
            raise InvalidMessage("wrong_epoch", f"a leaf of epoch {leaf.epoch}, this is {self._context.epoch}")
        self._check_shape(leaf)

    def _check_shape(self, leaf: Leaf) -> None:
        """T2: the first leaf of an epoch carries the proof that it may begin, and closing leaves carry nothing."""
        start = self._context.start
        if not self._context.is_first(leaf.height):
            if leaf.epoch_proof is not None:
                raise InvalidMessage("bad_leaf", f"an epoch proof at height {leaf.height}")
        elif leaf.epoch_proof is None or start is None or self._before is None:
            raise InvalidMessage("bad_leaf", "the first leaf of the epoch does not prove that it may begin")
        elif leaf.epoch_proof != start.proof:
            if leaf.epoch_proof.leaf != start.block.commitment:
                raise InvalidMessage("bad_leaf", "another leaf than the last one of the epoch before is proven")
            _check_epoch_proof(leaf.epoch_proof, Epoch(self._context.epoch - 1), self._before)
        if self._context.is_closing(leaf.height) and not _is_empty(leaf):
            raise InvalidMessage("bad_leaf", f"a closing leaf that is not empty, at height {leaf.height}")

    def _check_payload(self, leaf: Leaf, payload: bytes) -> None:
        limit = self._context.parameters.payload_bytes_max
        if len(payload) > limit:
            raise InvalidMessage("oversized_payload", f"{len(payload)} bytes, the limit is {limit}")
        if len(payload) != leaf.payload_bytes or compute_payload_commitment(payload) != leaf.payload:
            raise InvalidMessage("bad_payload", f"the payload of view {leaf.view} does not match its leaf")

    def _check_voter(self, sender: ValidatorId, voter: ValidatorId) -> None:
        if voter not in self._table.stakes:
            raise InvalidMessage("unknown_validator", f"voter {voter} has no stake")
        if voter != sender:
            raise InvalidMessage("wrong_sender", f"validator {sender} sent a vote of {voter}")


def _is_empty(leaf: Leaf) -> bool:
    return not (leaf.payload_bytes or leaf.operations or leaf.evidence or leaf.beacon)


def verify_epoch_proof(proof: EpochProof, epoch: Epoch, network: EpochContext, table: StakeTable) -> None:
    """T2: that the proof's leaf is final in this epoch, by its stake table. Raises `InvalidMessage`."""
    _check_epoch_proof(proof, epoch, _make_verifier(network, epoch, table))


def _make_verifier(network: EpochContext, epoch: Epoch, table: StakeTable) -> CertificateVerifier:
    """For certificates of an epoch that is over; what it began with does not matter any more."""
    origin = make_genesis_certificate(epoch, View(0), Commitment(bytes(32)))
    return CertificateVerifier(network.network_id, network.scheme, table, origin)


def _check_epoch_proof(proof: EpochProof, epoch: Epoch, certificates: CertificateVerifier) -> None:
    """T2: an FC of the last leaf, or of the last of some closing leaves that lead down to it, each certified by the
    next. That it is the epoch's last leaf is for those to see who hold it.
    """
    leaf = proof.leaf
    for closing in proof.path:
        if closing.epoch != epoch or closing.parent != leaf or closing.justify_qc.leaf != leaf:
            raise InvalidMessage("bad_epoch_proof", f"the leaf of view {closing.view} is not next on the path")
        if not _is_empty(closing):
            raise InvalidMessage("bad_epoch_proof", f"the closing leaf of view {closing.view} is not empty")
        leaf = compute_leaf_commitment(closing)
    if proof.fc.leaf != leaf:
        raise InvalidMessage("bad_epoch_proof", "the FC certifies another leaf than the last of the path")
    certificates.verify(proof.qc)
    certificates.verify(proof.fc)


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
