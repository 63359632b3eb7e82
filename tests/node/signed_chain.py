"""A chain over several epochs whose stake table changes, with the real keys of everyone who ever votes in it.

What is in it follows the rules and is signed as nodes would sign it, so verification has nothing to wink at.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from consensus.certificates import (
    FinalityCertificate,
    QuorumCertificate,
    assemble_finality_certificate,
    assemble_quorum_certificate,
)
from consensus.context import EpochContext
from consensus.epochs import EpochStart
from consensus.joining import open_snapshot
from consensus.leaf import Block, EpochProof, make_leaf
from consensus.ledger import Ledger, LedgerSchedule, apply_leaf
from consensus.messages import Snapshot, encode
from consensus.operations import Bond, Operation, Unbond, prove_possession, sign_operation
from consensus.signatures import Domain, Signer, make_statement
from consensus.signatures.ed25519 import Ed25519
from consensus.types import Commitment, NetworkId, ValidatorId, View
from sequencer.light.finality import Finality
from sequencer.network_config import (
    AccountConfig,
    EpochsSection,
    LeadershipSection,
    NetworkConfig,
    ValidatorConfig,
)

EPOCH_BLOCKS = 4
STAKE = 10


class SignedChain:
    """Grows block by block; `blocks[h]` has height h, genesis included. Everybody who is in the table signs."""

    def __init__(
        self, validators: int = 4, *, seed: int = 1, name: str = "light", network_id: NetworkId | None = None
    ) -> None:
        """With a `network_id` they sign in the name of another network, whose keys they do not have."""
        self.signers = [Signer(Ed25519(), bytes([seed, number]) * 16) for number in range(validators)]
        self.staker = Signer(Ed25519(), bytes([seed, 255]) * 16)
        self.network = NetworkConfig(
            name=name,
            genesis_time_ms=0,
            leadership=LeadershipSection(primary_size=validators),
            epochs=EpochsSection(epoch_blocks=EPOCH_BLOCKS, beacon_difficulty=1600),
            accounts=(AccountConfig(name="staker", public_key=self.staker.public_key.hex(), balance=1000),),
            validators=tuple(
                ValidatorConfig(id=ValidatorId(i), name=f"n{i}", public_key=signer.public_key.hex(), stake=STAKE)
                for i, signer in enumerate(self.signers)
            ),
        )
        context = self.network.context()
        self.contexts = [context if network_id is None else replace(context, network_id=network_id)]
        """By epoch."""
        self.blocks = [self.contexts[0].genesis]
        self.snapshots: list[bytes] = []
        """By the epoch whose end they tell."""
        self._ledgers: list[Ledger] = [self.contexts[0].genesis_ledger]
        self._schedule = LedgerSchedule(self.contexts[0].ledger_parameters.leadership)
        self._nonce = 0

    @property
    def context(self) -> EpochContext:
        """Of the epoch under way."""
        return self.contexts[-1]

    def extend(self, *payloads: bytes, operations: Sequence[Operation] = (), closing: int = 0) -> None:
        """A block for each payload. `operations` stand in the first; an epoch ends by the FC of a leaf that comes
        `closing` leaves after its last one.
        """
        for payload in payloads:
            self._append(self.make_block(self.blocks[-1], payload, operations=operations), closing)
            operations = ()

    def make_block(
        self, parent: Block, payload: bytes = b"", *, view: int | None = None, operations: Sequence[Operation] = ()
    ) -> Block:
        """The next one after the last block of the chain, or after `parent` in the same epoch."""
        context, ledger = self.context, self._ledgers[-1]
        view_ = View(parent.leaf.view + 1 if view is None else view)
        is_first = parent is context.genesis
        leaf = make_leaf(
            parent,
            epoch=context.epoch,
            view=view_,
            proposer=self._schedule.leader(view_, parent.leaf, ledger),
            timestamp_ms=1000 * (parent.leaf.height + 1),
            payload=payload,
            ledger=ledger.commitment,
            justify_qc=context.genesis_qc if is_first else self.make_qc(parent),
            timeout_certificate=None,
            operations=tuple(operations),
            epoch_proof=context.start.proof if is_first and context.start is not None else None,
        )
        return Block(leaf, payload)

    def bond(self, number: int, amount: int) -> Operation:
        """A newcomer with a key of its own: it is in the table of the epoch after the next."""
        newcomer = Signer(Ed25519(), bytes([200, number]) * 16)
        self.signers.append(newcomer)
        network_id, account = self.context.network_id, self.staker.public_key
        possession = prove_possession(account, newcomer, network_id)
        operation = Bond(account, self._nonce, b"", newcomer.public_key, amount, f"m{number}", "", possession)
        return self._sign(operation, self.staker)

    def unbond(self, number: int) -> Operation:
        """A validator of the beginning takes all of its stake out; it is its own owner."""
        signer = self.signers[number]
        operation = Unbond(signer.public_key, 0, b"", ValidatorId(number), STAKE)
        return sign_operation(operation, signer, self.context.network_id)

    def make_qc(self, block: Block, voters: Iterable[int] | None = None) -> QuorumCertificate:
        context = self.contexts[block.leaf.epoch]
        signatures = self._sign_all(block, Domain.QUORUM_VOTE, voters)
        return assemble_quorum_certificate(
            context.scheme, context.stake_table, context.epoch, block.leaf.view, block.commitment, signatures
        )

    def make_fc(self, block: Block, voters: Iterable[int] | None = None) -> FinalityCertificate:
        """`voters` are validators by number; all of the table when they are not named."""
        context = self.contexts[block.leaf.epoch]
        signatures = self._sign_all(block, Domain.FINALIZE_VOTE, voters)
        return assemble_finality_certificate(context.scheme, context.stake_table, self.make_qc(block), signatures)

    def finality(self, height: int, *, up_to: int | None = None, voters: Iterable[int] | None = None) -> Finality:
        """By the FC of the block at `height`, or of the one at `up_to` in the same epoch."""
        blocks = self.blocks[height : (height if up_to is None else up_to) + 1]
        return Finality(tuple(block.leaf for block in blocks), self.make_fc(blocks[-1], voters))

    def _append(self, block: Block, closing: int) -> None:
        context, parent = self.context, self.blocks[-1]
        before = self._ledgers[-1]
        self.blocks.append(block)
        after = apply_leaf(before, parent.leaf, block.leaf, context.ledger_parameters)
        self._ledgers.append(after)
        if block.leaf.height == context.last_height:
            self._begin_epoch(self._close(block, closing), parent, before)

    def _close(self, last: Block, closing: int) -> EpochProof:
        path: list[Block] = []
        for _ in range(closing):
            path.append(self.make_block((path or [last])[-1]))
        return EpochProof(self.make_fc((path or [last])[-1]), tuple(block.leaf for block in path))

    def _begin_epoch(self, proof: EpochProof, parent: Block, before: Ledger) -> None:
        last = self.blocks[-1]
        snapshot = Snapshot(proof, parent.leaf, last.leaf, msgspec.msgpack.encode(before.state))
        start: EpochStart = open_snapshot(snapshot, last.commitment, self.contexts[0])
        self.snapshots.append(encode(snapshot))
        self.contexts.append(self.context.follow(start))
        self._ledgers[-1] = start.ledger

    def _sign_all(self, block: Block, domain: Domain, voters: Iterable[int] | None) -> dict[ValidatorId, bytes]:
        context = self.contexts[block.leaf.epoch]
        statement = make_statement(
            context.network_id, domain, context.epoch, block.leaf.view, Commitment(block.commitment)
        )
        by_key = {signer.public_key: signer for signer in self.signers}
        named = context.stake_table.ids if voters is None else list(map(ValidatorId, voters))
        return {each: by_key[context.stake_table.get_validator(each).public_key].sign(statement) for each in named}

    def _sign(self, operation: Operation, signer: Signer) -> Operation:
        self._nonce += 1
        return sign_operation(operation, signer, self.context.network_id)
