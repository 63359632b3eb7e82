"""Holding what was presented against a question, step by step: the same for what comes from a node and from a file."""

from dataclasses import dataclass, field

from consensus.context import EpochContext
from consensus.leaf import Leaf, compute_leaf_commitment
from consensus.types import Commitment, Epoch, NetworkId
from sequencer.anchor import Anchor
from sequencer.light.errors import ProofError
from sequencer.light.finality import Finality, Signed, compute_signed
from sequencer.light.light_client import LightClient
from sequencer.light.questions import BlockAt, BlockNamed, LatestBlock, Question


@dataclass(frozen=True, slots=True)
class ProvenBlock:
    """A final block, and what of its payload was proven."""

    leaf: Leaf
    hash: Commitment
    signed: Signed
    """Of the FC that shows it."""
    certified: Leaf
    """The leaf which that FC is about: its own, or one above."""


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

    def take_block(self, finality: Finality) -> None:
        """R6: a final block of the epoch in which it stands, above those before."""
        if not self._has_begun:
            raise ProofError("T5", "no_checkpoint", "the snapshot of the checkpoint is missing")
        leaf = self._client.verify(finality)
        if self._blocks and leaf.height <= self._blocks[-1].leaf.height:
            raise ProofError("R6", "not_asked_for", f"the block at height {leaf.height} comes again or too late")
        signed = compute_signed(self._client.context, finality.fc)
        self._blocks.append(ProvenBlock(leaf, compute_leaf_commitment(leaf), signed, finality.leaves[-1]))

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


def _check_answer(question: Question, blocks: list[ProvenBlock]) -> None:
    if len(blocks) != 1:
        raise ProofError("R6", "not_asked_for", f"{len(blocks)} blocks answer a question about one")
    match question:
        case LatestBlock():
            pass
        case BlockAt(height=height):
            if blocks[0].leaf.height != height:
                raise ProofError("R6", "not_asked_for", f"the block at height {blocks[0].leaf.height}, not {height}")
        case BlockNamed(hash=hash_):
            if blocks[0].hash != hash_:
                raise ProofError("R6", "not_asked_for", f"the block 0x{blocks[0].hash.hex()}, and not the one named")
