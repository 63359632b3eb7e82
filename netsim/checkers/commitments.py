"""What leaves and ledgers commit to, computed from the text of P3 and not by the code under test."""

from hashlib import sha256
from operator import attrgetter

import msgspec

from consensus.leaf import Leaf
from consensus.ledger import LedgerState

_BODY = ("operations", "evidence", "beacon", "epoch_proof")
"""What can grow: it stands in the header as one hash, between the ledger and the certificates."""
_HEADER = [name for name in Leaf.__struct_fields__ if name not in _BODY]
_CERTIFICATES_AT = _HEADER.index("justify_qc")
_get_body = attrgetter(*_BODY)
_get_header = attrgetter(*_HEADER)
_encode = msgspec.msgpack.Encoder().encode


REMEMBERED_MAX = 1024
"""Leaves whose commitment is remembered: every node decides the same ones, soon after each other."""

_remembered: dict[int, tuple[Leaf, bytes]] = {}
"""By object id; holding the leaf itself keeps that id from being used again."""


def compute_commitment(leaf: Leaf) -> bytes:
    known = _remembered.get(id(leaf))
    if known is not None and known[0] is leaf:
        return known[1]
    if len(_remembered) >= REMEMBERED_MAX:
        _remembered.clear()
    commitment = _compute(leaf)
    _remembered[id(leaf)] = leaf, commitment
    return commitment


def _compute(leaf: Leaf) -> bytes:
    body = sha256(b"sequencer/leaf-body/2\x00" + _encode(_get_body(leaf))).digest()
    header = list(_get_header(leaf))
    header.insert(_CERTIFICATES_AT, body)
    return sha256(b"sequencer/leaf/2\x00" + _encode(header)).digest()


def compute_payload_commitment(payload: bytes) -> bytes:
    """RFC 6962, 2.1, word for word, over chunks of a KiB."""
    if not payload:
        return sha256().digest()
    if len(payload) <= 1024:
        return sha256(b"\x00" + payload).digest()
    left = 1024
    while left * 2 < len(payload):
        left *= 2
    halves = compute_payload_commitment(payload[:left]), compute_payload_commitment(payload[left:])
    return sha256(b"\x01" + b"".join(halves)).digest()


def compute_ledger_commitment(state: LedgerState) -> bytes:
    """The state with its stake tables taken out, and then those, each as a hash of its own."""
    fields = [() if name == "tables" else getattr(state, name) for name in state.__struct_fields__]
    digest = sha256(b"sequencer/ledger/2\x00" + msgspec.msgpack.encode(fields))
    for table in state.tables:
        digest.update(sha256(b"sequencer/stake-table/2\x00" + msgspec.msgpack.encode(table)).digest())
    return digest.digest()
