"""Holding what was presented against a question, step by step: the same for what comes from a node and from a file."""

from dataclasses import dataclass, field

import msgspec

from consensus.context import EpochContext
from consensus.leaf import Leaf, compute_leaf_commitment
from consensus.types import Commitment, Epoch, NetworkId, WireCount
from sequencer.anchor import Anchor
from sequencer.light.errors import ProofError
from sequencer.light.finality import Finality, Signed, compute_signed
from sequencer.light.light_client import LightClient
from sequencer.light.payload_proof import PayloadProof, verify_namespace, verify_transaction
from sequencer.light.questions import (
    BlockAt,
    BlockNamed,
    LatestBlock,
    NamespaceRange,
    Question,
    TransactionIn,
    WireNamespace,
)
from sequencer.payload import compute_transaction_hash


class TransactionPlace(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a transaction stands in its block: `position` counts from 0 among those of its namespace."""

    namespace: WireNamespace
    position: WireCount


@dataclass(frozen=True, slots=True)
class ProvenBlock:
    """A final block, and what of its payload was proven."""

    leaf: Leaf
    hash: Commitment
    signed: Signed
    """Of the FC that shows it."""
    certified: Leaf
    """The leaf which that FC is about: its own, or one above."""
    namespace: int | None = None
    """Of `transactions`; None where nothing of the payload was asked for."""
    transactions: tuple[bytes, ...] = ()
    """The one that was asked for, or all of the namespace."""


@dataclass(frozen=True, slots=True)
class Proven:
    """The answer to a question, and on what it rests."""

    question: Question
    network_id: NetworkId
    trusted: Anchor | None
    """The checkpoint from which it was followed; None for genesis."""
    epochs_followed: int
    """Epochs whose end was proven on the way."""
    blocks: tuple[ProvenBlock, ...]
    """Ascending by height."""
    checkpoint: Anchor | None
    """From which the next one may go on; None while the network's first epoch lasts."""


@dataclass
class Examination:
    """Takes the snapshots and blocks in the order of the chain, and refuses the first that does not follow.

    Everything raises `ProofError`. Nothing is proven before `conclude` says so.
    """

    network: EpochContext
    trusted: Anchor | None
    question: Question
    _blocks: list[ProvenBlock] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._client = LightClient(self.network)
        self._has_begun = self.trusted is None

    @property
    def epoch(self) -> Epoch:
        """In which it stands: of this one it can take blocks."""
        return self._client.context.epoch

    @property
    def needed_snapshot(self) -> Epoch:
        """Of the end of which epoch it takes the snapshot next."""
        return self.epoch if self.trusted is None or self._has_begun else self.trusted.epoch

    @property
    def has_begun(self) -> bool:
        """With a checkpoint, not before its snapshot has been taken."""
        return self._has_begun

    def take_snapshot(self, encoded: bytes) -> None:
        """T5: go on to the next epoch, or begin with the checkpoint's."""
        if self._has_begun or self.trusted is None:
            self._client.follow(encoded)
        else:
            self._client.begin(self.trusted, encoded)
            self._has_begun = True

    def take_block(
        self, finality: Finality, proof: PayloadProof | None = None, place: TransactionPlace | None = None
    ) -> None:
        """R6: a final block of the epoch in which it stands, above those before, and what its payload has (P3)."""
        if not self._has_begun:
            raise ProofError("T5", "no_checkpoint", "the snapshot of the checkpoint is missing")
        leaf = self._client.verify(finality)
        if self._blocks and leaf.height <= self._blocks[-1].leaf.height:
            raise ProofError("R6", "not_asked_for", f"the block at height {leaf.height} comes again or too late")
        signed = compute_signed(self._client.context, finality.fc)
        namespace, transactions = _read_payload(self.question, leaf, proof, place)
        certified = finality.leaves[-1]
        self._blocks.append(
            ProvenBlock(leaf, compute_leaf_commitment(leaf), signed, certified, namespace, tuple(transactions))
        )

    def conclude(self) -> Proven:
        """The answer, when all that was taken is what the question asks for."""
        if not self._has_begun:
            raise ProofError("T5", "no_checkpoint", "the snapshot of the checkpoint is missing")
        _check_answer(self.question, self._blocks)
        client = self._client
        return Proven(
            self.question,
            self.network.network_id,
            self.trusted,
            client.epochs_followed,
            tuple(self._blocks),
            client.checkpoint,
        )


def _read_payload(
    question: Question, leaf: Leaf, proof: PayloadProof | None, place: TransactionPlace | None
) -> tuple[int | None, list[bytes]]:
    """Namespace and transactions, as far as the question is about them."""
    match question:
        case TransactionIn(hash=hash_) if proof is not None and place is not None:
            data = verify_transaction(leaf.payload, leaf.payload_bytes, place.namespace, place.position, proof)
            if compute_transaction_hash(place.namespace, data) != hash_:
                raise ProofError("P3", "another_transaction", "the proof is of another transaction of this block")
            return place.namespace, [data]
        case NamespaceRange(namespace=namespace) if proof is not None and place is None:
            return namespace, verify_namespace(leaf.payload, leaf.payload_bytes, namespace, proof)
        case LatestBlock() | BlockAt() | BlockNamed() if proof is None and place is None:
            return None, []
        case _:
            raise ProofError("P3", "not_asked_for", "the proof of what the payload has is missing, or is not asked for")


def _check_answer(question: Question, blocks: list[ProvenBlock]) -> None:
    heights = [block.leaf.height for block in blocks]
    match question:
        case NamespaceRange(first=first, last=last):
            is_answered = heights == list(range(first, last + 1))
        case BlockAt(height=height):
            is_answered = heights == [height]
        case BlockNamed(hash=hash_):
            is_answered = [block.hash for block in blocks] == [hash_]
        case LatestBlock() | TransactionIn():
            is_answered = len(blocks) == 1
    if not is_answered:
        shown = ", ".join(map(str, heights[:5])) + ", …" * (len(heights) > 5)
        raise ProofError("R6", "not_asked_for", f"the blocks at heights {shown or 'none'} are not those asked for")
