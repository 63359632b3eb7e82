"""A light client: from a stake table that it trusts to those of later epochs, and to what is final in them (T5)."""

from typing import Final

from consensus.context import EpochContext
from consensus.epochs import EpochStart
from consensus.errors import InvalidMessage
from consensus.joining import open_snapshot
from consensus.leaf import Leaf
from consensus.messages import SNAPSHOT_BYTES_MAX, Snapshot, decode
from consensus.types import Epoch
from consensus.validation import verify_epoch_proof
from sequencer.anchor import Anchor
from sequencer.light.errors import ProofError
from sequencer.light.finality import Finality, verify_finality

SNAPSHOT_ENCODED_BYTES_MAX: Final = 2 * SNAPSHOT_BYTES_MAX
"""A snapshot with its two leaves and its proof: what fits into a frame between nodes."""


class LightClient:
    """Where it stands is one epoch of which it knows the stake table; it only ever goes on to the next one.

    `network` is the context of the network's first epoch: it follows from the network file, which is what the client
    trusts. With a checkpoint it trusts that as well, and has to be given the snapshot of its epoch first (`begin`).
    What it is given is checked before anything changes.
    """

    def __init__(self, network: EpochContext) -> None:
        self._network = network
        self.context = network
        """The epoch in which it stands."""
        self.epochs_followed = 0
        """Epochs whose end it has verified with their own stake tables."""

    @property
    def checkpoint(self) -> Anchor | None:
        """From here another client can go on; None in the network's first epoch."""
        genesis = self.context.genesis
        return None if self.context.start is None else Anchor(genesis.leaf.epoch, genesis.commitment)

    def begin(self, checkpoint: Anchor, encoded: bytes) -> None:
        """T5: stand in the epoch after the checkpoint's, of which `encoded` is the snapshot. Raises `ProofError`."""
        snapshot = decode_snapshot(encoded)
        _check_epoch(snapshot, checkpoint.epoch)
        start = _open(snapshot, self._network, checkpoint)
        self.context = self._network.follow(start)

    def follow(self, encoded: bytes) -> None:
        """Go on to the next epoch: the snapshot proves with this epoch's stake table that it is over (T2), and shows
        what its last leaf commits to, out of which the next stake table follows (T3). Raises `ProofError`.
        """
        snapshot, context = decode_snapshot(encoded), self.context
        _check_epoch(snapshot, context.epoch)
        try:
            verify_epoch_proof(snapshot.proof, context.epoch, context, context.stake_table)
        except InvalidMessage as error:
            raise ProofError.of(error, f"the proof that epoch {context.epoch} is over") from error
        start = _open(snapshot, context, Anchor(context.epoch, snapshot.proof.leaf))
        self.context = context.follow(start)
        self.epochs_followed += 1

    def verify(self, finality: Finality) -> Leaf:
        """The leaf of a block that is final in the epoch in which the client stands. Raises `ProofError`."""
        return verify_finality(self.context, finality)


def decode_snapshot(encoded: bytes) -> Snapshot:
    """As nodes send it to each other. Raises `ProofError`."""
    if len(encoded) > SNAPSHOT_ENCODED_BYTES_MAX:
        raise ProofError("P4", "malformed", f"a snapshot of {len(encoded)} bytes, above {SNAPSHOT_ENCODED_BYTES_MAX}")
    try:
        message = decode(encoded)
    except InvalidMessage as error:
        raise ProofError.of(error, "the snapshot") from error
    if not isinstance(message, Snapshot):
        raise ProofError("P4", "malformed", f"a {type(message).__name__} in place of a snapshot")
    return message


def _check_epoch(snapshot: Snapshot, epoch: Epoch) -> None:
    if snapshot.last.epoch != epoch:
        raise ProofError("T1", "wrong_epoch", f"the snapshot ends epoch {snapshot.last.epoch}, and not {epoch}")


def _open(snapshot: Snapshot, network: EpochContext, checkpoint: Anchor) -> EpochStart:
    try:
        return open_snapshot(snapshot, checkpoint.leaf, network)
    except InvalidMessage as error:
        raise ProofError.of(error, f"the snapshot of the end of epoch {checkpoint.epoch}") from error
