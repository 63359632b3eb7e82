"""Evidence for people: the signed messages in a proof, and in words why no honest validator signs both."""

from typing import assert_never

from consensus.evidence import (
    BrokenPromise,
    DoubleFinalize,
    DoubleProposal,
    DoubleVote,
    Evidence,
    ForgottenFinalize,
    SignedLeaf,
    UnjustifiedVote,
)
from consensus.header import LeafHeader, compute_header_commitment
from consensus.types import View
from sequencer.api.encoding import to_hex
from sequencer.schema.records import MessageKind, SignedMessageJson


def describe_messages(proof: Evidence) -> list[SignedMessageJson]:
    """What the offender signed, as far as it stands in the proof. One message proves E5 and a broken promise."""
    match proof:
        case DoubleProposal(view=view, first=first, second=second):
            return [_show_signed("proposal", view, first), _show_signed("proposal", view, second)]
        case DoubleVote(view=view, first=first, second=second):
            return [_show_signed("quorum_vote", view, first), _show_signed("quorum_vote", view, second)]
        case DoubleFinalize(view=view, first=first, second=second):
            return [_show_signed("finalize_vote", view, first), _show_signed("finalize_vote", view, second)]
        case ForgottenFinalize():
            signature = to_hex(proof.timeout_signature)
            return [
                _show_signed("finalize_vote", proof.finalized_view, proof.finalized),
                SignedMessageJson("timeout_vote", proof.timeout_view, signature, high_qc_view=proof.high_qc_view),
            ]
        case UnjustifiedVote(header=header, signature=vote):
            leaf = compute_header_commitment(header)
            return [_show_signed("quorum_vote", header.view, SignedLeaf(leaf, vote))]
        case BrokenPromise(promise=promise):
            signature = to_hex(promise.signature)
            transaction = to_hex(promise.transaction)
            return [SignedMessageJson("promise", promise.first_view, signature, transaction=transaction)]
        case _:
            assert_never(proof)


def _show_signed(kind: MessageKind, view: View, signed: SignedLeaf) -> SignedMessageJson:
    return SignedMessageJson(kind, view, to_hex(signed.signature), leaf=to_hex(signed.leaf))


def describe_contradiction(proof: Evidence) -> str:
    """Section 4: a sentence each for E1 to E5 and for promises."""
    match proof:
        case DoubleProposal(view=view):
            return f"As leader of view {view} it proposed two different leaves; a leader proposes once."
        case DoubleVote(view=view):
            return f"In view {view} it voted for two different leaves; a validator votes once in a view."
        case DoubleFinalize(view=view):
            return f"In view {view} it voted to finalize two different leaves; a validator does so once in a view."
        case ForgottenFinalize():
            return (
                f"It voted to finalize a leaf of view {proof.finalized_view}, so it held the QC of that view; when "
                f"view {proof.timeout_view} timed out it signed that its highest QC was of view {proof.high_qc_view}."
            )
        case UnjustifiedVote(header=header):
            return f"It voted for a leaf of view {header.view} {_tell_flaw(header)}."
        case BrokenPromise(promise=promise, height=height):
            return (
                f"It promised the transaction for its first leaf of views {promise.first_view} to {promise.last_view}; "
                f"that leaf is block {height}, and the transaction is in no block up to there."
            )
        case _:
            assert_never(proof)


def _tell_flaw(header: LeafHeader) -> str:
    """R3c: what the leaf lacks on its face."""
    justified, tc = header.justify_qc.view, header.timeout_certificate
    begins = f"that extends a leaf of view {justified}"
    if tc is None:
        return f"{begins}, with no timeout certificate for the views between"
    if tc.view != header.view - 1 or not tc.high_qc_views:
        return f"{begins}, with a timeout certificate of view {tc.view}, which does not lead there"
    return f"{begins}, although its timeout certificate tells of a QC of view {tc.highest_view}"
