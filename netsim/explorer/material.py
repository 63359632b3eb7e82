"""Every leaf and certificate that an exploration speaks of, as the real objects, each made once and numbered.

A leaf's number stands for its content: view, parent, TC, and which of several otherwise equal leaves it is. Of all
certificates that say the same, one represents them: nothing that is verified already is asked who signed it.
"""

from functools import cached_property
from typing import NamedTuple

from consensus.certificates import (
    QuorumCertificate,
    TimeoutCertificate,
    assemble_quorum_certificate,
    assemble_timeout_certificate,
    make_timeout_subject,
)
from consensus.chain import Chain
from consensus.context import EpochContext
from consensus.errors import InvalidMessage
from consensus.leaf import Block, Leaf, make_leaf
from consensus.ledger import EpochParameters, LeadershipParameters, Ledger, LedgerParameters
from consensus.messages import QuorumProposal
from consensus.parameters import ConsensusParameters
from consensus.signatures import Domain, Signer, make_statement
from consensus.stake_table import StakeTable, Validator
from consensus.types import Commitment, Microseconds, NetworkId, ValidatorId, View
from consensus.validation import MessageValidator, Verified, find_flaw
from netsim.explorer.model import GENESIS, NO_TC, LeafId, Model, TcId
from netsim.explorer.symbolic import Symbolic, make_term

_NOW = Microseconds(1_700_000_000_000_000)
_ONE_EPOCH = EpochParameters(epoch_blocks=2**40)
"""The explorer is about one epoch."""


class Content(NamedTuple):
    """What a leaf is, besides what can be computed from it."""

    view: int
    parent: LeafId
    tc: TcId
    copy: int
    """Leaves that differ in nothing that matters here (payload, say) are told apart by this."""


class TcContent(NamedTuple):
    """What a TC says: the highest view that was signed, and the leaf of the QC in it."""

    view: int
    highest: int
    leaf: LeafId


class Material:
    """Grows while an exploration goes on; a number never changes its meaning."""

    def __init__(self, model: Model) -> None:
        self.model = model
        keys = [b"validator %02d/symbolic" % number for number in range(model.honest + model.byzantine)]
        scheme = Symbolic()
        table = StakeTable.of(Validator(ValidatorId(number), key, 1) for number, key in enumerate(keys))
        leadership = LeadershipParameters(primary_size=len(keys))
        self.context = EpochContext.start_network(
            NetworkId(b"explorer".ljust(32, b".")),
            table,
            scheme,
            genesis_time_ms=_NOW // 1000,
            parameters=ConsensusParameters(),
            ledger_parameters=LedgerParameters(leadership, epochs=_ONE_EPOCH),
        )
        self.validator = MessageValidator(self.context)
        self.signers = [Signer(scheme, key) for key in keys]
        self.chain = Chain(self.context.genesis, self.context.genesis_ledger, self.context.ledger_parameters)
        self.blocks: list[Block] = [self.context.genesis]
        self.contents: list[Content] = [Content(0, GENESIS, NO_TC, 0)]
        self.ancestors: list[int] = [1]
        """Of each leaf, itself included."""
        self._qcs: list[QuorumCertificate] = [self.context.genesis_qc]
        self._votable: list[bool] = [False]
        self._ids: dict[Content, LeafId] = {self.contents[0]: GENESIS}
        self._leaf_ids: dict[Commitment, LeafId] = {self.context.genesis.commitment: GENESIS}
        self.tcs: list[TcContent] = []
        self._tc_objects: list[TimeoutCertificate] = []
        self._tc_ids: dict[TcContent, TcId] = {}

    @cached_property
    def validators(self) -> tuple[ValidatorId, ...]:
        return self.context.stake_table.ids

    @property
    def byzantine(self) -> tuple[ValidatorId, ...]:
        return self.validators[self.model.honest :]

    def make_signature(self, validator: ValidatorId, domain: Domain, view: int, subject: bytes) -> bytes:
        """The term that this validator's signature is, whether or not it has given it."""
        context = self.context
        statement = make_statement(context.network_id, domain, context.epoch, View(view), subject)
        return make_term(context.stake_table.get_validator(validator).public_key, statement)

    def get_leaf(self, content: Content) -> LeafId:
        """The number of the leaf of this content; its parent is known."""
        known = self._ids.get(content)
        return self._add_leaf(content) if known is None else known

    def find_leaf(self, commitment: Commitment) -> LeafId:
        return self._leaf_ids[commitment]

    def get_qc(self, leaf: LeafId) -> QuorumCertificate:
        """What represents all QCs of this leaf. Whether one exists is for `Quorums` to say."""
        return self._qcs[leaf]

    def get_tc(self, tc: TcId) -> TimeoutCertificate:
        return self._tc_objects[tc]

    def find_tc(self, tc: TimeoutCertificate) -> TcId:
        """Its number, by what it says."""
        return self.get_tc_id(TcContent(tc.view, max(tc.high_qc_views), self.find_leaf(tc.high_qc.leaf)))

    def get_tc_id(self, content: TcContent) -> TcId:
        known = self._tc_ids.get(content)
        if known is None:
            known = self._tc_ids[content] = len(self.tcs)
            self.tcs.append(content)
            self._tc_objects.append(self._make_tc(content))
        return known

    def is_votable(self, leaf: LeafId) -> bool:
        """R3b and what `MessageValidator` checks: whether honest validators look at a proposal of this leaf at all."""
        return self._votable[leaf]

    def make_block(self, content: Content, proposer: ValidatorId) -> Block:
        """R2 is not asked: a Byzantine leader makes what it likes."""
        parent = self.blocks[content.parent]
        payload = bytes([content.copy])
        leaf = make_leaf(
            parent,
            epoch=self.context.epoch,
            view=View(content.view),
            proposer=proposer,
            timestamp_ms=_NOW // 1000,
            payload=payload,
            ledger=self._get_ledger(parent).commitment,
            justify_qc=self._qcs[content.parent],
            timeout_certificate=None if content.tc == NO_TC else self._tc_objects[content.tc],
        )
        return Block(leaf, payload)

    def _add_leaf(self, content: Content) -> LeafId:
        block = self.make_block(content, ValidatorId(self.model.get_leader(content.view)))
        self.chain.add(block)
        number = len(self.blocks)
        self._ids[content] = self._leaf_ids[block.commitment] = number
        self._leaf_ids[block.commitment] = number
        self.blocks.append(block)
        self.contents.append(content)
        path = self.chain.compute_path(block.commitment) or ()
        self.ancestors.append(1 | sum(1 << self._leaf_ids[ancestor.commitment] for ancestor in path))
        self._qcs.append(self._make_qc(block))
        self._votable.append(self._find_flaw(block) is None)
        return number

    def _get_ledger(self, block: Block) -> Ledger:
        return self.chain.get_ledger(block.commitment)

    def _find_flaw(self, block: Block) -> str | None:
        leaf: Leaf = block.leaf
        proposer = leaf.proposer
        signature = self.make_signature(proposer, Domain.PROPOSAL, leaf.view, block.commitment)
        try:
            item = self.validator.validate(proposer, QuorumProposal(leaf, block.payload, signature))
        except InvalidMessage as refused:
            return str(refused)
        if not isinstance(item, Verified):
            return "unjustified"
        parent = self.chain.get(leaf.parent)
        if parent is None:
            return "unknown parent"
        return find_flaw(leaf, parent.leaf, proposer, self._get_ledger(parent).commitment, _NOW, self.context)

    def _make_qc(self, block: Block) -> QuorumCertificate:
        context, view = self.context, block.leaf.view
        signatures = {
            validator: self.make_signature(validator, Domain.QUORUM_VOTE, view, block.commitment)
            for validator in self.validators
        }
        return assemble_quorum_certificate(
            context.scheme, context.stake_table, context.epoch, view, block.commitment, signatures
        )

    def _make_tc(self, content: TcContent) -> TimeoutCertificate:
        context, view = self.context, View(content.view)
        signed: dict[ValidatorId, tuple[View, bytes]] = {}
        for validator in self.validators:
            high = View(0 if validator in self.byzantine else content.highest)
            subject = make_timeout_subject(high)
            signed[validator] = high, self.make_signature(validator, Domain.TIMEOUT_VOTE, view, subject)
        high_qc = self._qcs[content.leaf]
        return assemble_timeout_certificate(context.scheme, context.stake_table, context.epoch, view, signed, high_qc)
