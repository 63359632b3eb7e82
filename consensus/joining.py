"""How a node that has no chain begins with the end of an epoch instead of genesis (T5).

It trusts one thing, the commitment of an epoch's last leaf, which is what an FC certifies. Everything else that it is
told must follow from that.
"""

from typing import Final

import msgspec

from consensus.context import EpochContext
from consensus.epochs import EpochStart, compute_last_height
from consensus.errors import InvalidMessage
from consensus.leaf import Block, compute_leaf_commitment
from consensus.ledger import Ledger, LedgerState, apply_leaf, begin_epoch
from consensus.messages import Snapshot
from consensus.types import Commitment
from consensus.validation import verify_epoch_proof

_encode = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(LedgerState)


def open_snapshot(snapshot: Snapshot, trusted: Commitment, network: EpochContext) -> EpochStart:
    """What the next epoch begins with. `network` is the context of the network's first epoch.

    Raises `InvalidMessage` ("bad_snapshot", or what is wrong with its proof) unless all of it follows from the leaf
    `trusted`.
    """
    last, parent, parameters = snapshot.last, snapshot.parent, network.ledger_parameters
    if compute_leaf_commitment(last) != trusted:
        raise InvalidMessage("bad_snapshot", f"its last leaf, at height {last.height}, is not the trusted one")
    if last.height != compute_last_height(last.epoch, parameters):
        raise InvalidMessage("bad_snapshot", f"height {last.height} is not the last one of epoch {last.epoch}")
    if compute_leaf_commitment(parent) != last.parent:
        raise InvalidMessage("bad_snapshot", f"the leaf at height {parent.height} is not the parent of the last one")
    before = Ledger(_decode_state(snapshot.ledger))
    if before.commitment != last.ledger or before.epoch != last.epoch:
        raise InvalidMessage("bad_snapshot", "the last leaf commits to another ledger")
    if snapshot.proof.leaf != trusted:
        raise InvalidMessage("bad_snapshot", "its proof is about another leaf")
    verify_epoch_proof(snapshot.proof, last.epoch, network, before.table)
    ledger = begin_epoch(apply_leaf(before, parent, last, parameters), parameters)
    # Its payload is of no use to anybody who begins here, and is not asked for.
    return EpochStart(Block(last, b""), snapshot.proof, before, ledger)


def _decode_state(encoded: bytes) -> LedgerState:
    try:
        state = _decoder.decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage("bad_snapshot", f"its ledger cannot be read: {error}") from error
    if _encode(state) != encoded:
        raise InvalidMessage("bad_snapshot", "its ledger is in another form than its only one")
    return state
