"""What of a leaf is under its commitment, with everything that can grow replaced by a hash.

A header proves what a leaf says about views and certificates without the rest of it, so evidence can carry one (E5)
and stays small however much the leaf held.
"""

from hashlib import sha256

import msgspec

from consensus.certificates import QuorumCertificate, TimeoutCertificate
from consensus.types import Commitment, WireCommitment, WireCount, WireEpoch, WireHeight, WireValidatorId, WireView

_TAG = b"sequencer/leaf/2\0"
_encode = msgspec.msgpack.Encoder().encode


class LeafHeader(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A leaf (P3) whose operations, evidence, beacon result and epoch proof are represented by `body`."""

    version: WireCount
    epoch: WireEpoch
    view: WireView
    height: WireHeight
    parent: WireCommitment
    proposer: WireValidatorId
    timestamp_ms: WireCount
    payload: WireCommitment
    payload_bytes: WireCount
    ledger: WireCommitment
    body: WireCommitment
    justify_qc: QuorumCertificate
    timeout_certificate: TimeoutCertificate | None

    @property
    def is_justified(self) -> bool:
        """R3c on its face: justify_qc.view = v-1, or TC(v-1) comes with it and justify_qc.view ≥ the TC's highest."""
        if self.justify_qc.view == self.view - 1:
            return True
        tc = self.timeout_certificate
        is_tc_right = tc is not None and tc.view == self.view - 1 and bool(tc.high_qc_views)
        return tc is not None and is_tc_right and self.justify_qc.view >= tc.highest_view


def compute_header_commitment(header: LeafHeader) -> Commitment:
    """The commitment of the leaf that this is the header of."""
    return Commitment(sha256(_TAG + _encode(header)).digest())
