"""Proof of an offence: two signatures of one validator that no honest validator makes (section 4).

This module says what evidence is; finding more of it, gossip and punishment belong to the ledger.
"""

from typing import TypeAlias

import msgspec

from consensus.leaf import Leaf
from consensus.messages import FinalizeVote, QuorumVote
from consensus.types import ValidatorId, WireSignature


class _Evidence(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    pass


class DoubleProposal(_Evidence, frozen=True, tag="E1"):
    """E1: two proposals signed by one leader in one view."""

    first: Leaf
    first_signature: WireSignature
    second: Leaf
    second_signature: WireSignature

    @property
    def offender(self) -> ValidatorId:
        return self.first.proposer


class DoubleVote(_Evidence, frozen=True, tag="E2"):
    """E2: two QuorumVotes for different leaves in one view."""

    first: QuorumVote
    second: QuorumVote

    @property
    def offender(self) -> ValidatorId:
        return self.first.voter


class DoubleFinalize(_Evidence, frozen=True, tag="E3"):
    """E3: two FinalizeVotes for different leaves in one view."""

    first: FinalizeVote
    second: FinalizeVote

    @property
    def offender(self) -> ValidatorId:
        return self.first.voter


Evidence: TypeAlias = DoubleProposal | DoubleVote | DoubleFinalize
