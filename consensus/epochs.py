"""Where one epoch ends and the next begins (T2, T3).

Everything that an epoch begins with follows from the last leaf of the one before, so nodes that hold different proofs
of it agree.
"""

from dataclasses import dataclass

from consensus.leaf import Block, EpochProof
from consensus.ledger import Ledger, LedgerParameters
from consensus.types import Epoch, Height


@dataclass(frozen=True, slots=True)
class EpochStart:
    """What an epoch begins with."""

    block: Block
    """The last block of the epoch before."""
    proof: EpochProof
    """That it is final."""
    before: Ledger
    """The state after that block's parent: what the block itself commits to."""
    ledger: Ledger
    """The state before the new epoch's first leaf: after the block and the roll-over."""


def compute_last_height(epoch: Epoch, parameters: LedgerParameters) -> Height:
    """T2: an epoch ends at a multiple of `epoch_blocks`."""
    return Height((epoch + 1) * parameters.epochs.epoch_blocks)


def compute_epoch(height: Height, parameters: LedgerParameters) -> Epoch:
    """The epoch that decides this height; genesis counts into the first."""
    return Epoch(max(0, height - 1) // parameters.epochs.epoch_blocks)
