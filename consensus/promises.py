"""Soft confirmations: a leader's signed word that a transaction will be in its next leaf.

A promise never enters the vote rules. One that a decided leaf of the same leader has broken is evidence, see
`consensus.evidence.BrokenPromise`.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from consensus.signatures import Domain, SignatureScheme, Signer, make_statement
from consensus.types import NetworkId, WireCommitment, WireEpoch, WireSignature, WireValidatorId, WireView


class Promise(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """ "If a leaf of mine with a view from `first_view` to `last_view` is decided, this transaction is in it or in a
    leaf before it."
    """

    promiser: WireValidatorId
    epoch: WireEpoch
    first_view: WireView
    last_view: WireView
    transaction: WireCommitment
    """Hash of the transaction."""
    beneficiary: Annotated[bytes, Meta(max_length=96)]
    """Account that is compensated should the promise be broken; empty for nobody."""
    signature: WireSignature


def make_promise_statement(promise: Promise, network_id: NetworkId) -> bytes:
    """What the promiser signs: every field but the signature."""
    subject = promise.last_view.to_bytes(8, "big") + promise.transaction + promise.beneficiary
    return make_statement(network_id, Domain.PROMISE, promise.epoch, promise.first_view, subject)


def sign_promise(promise: Promise, signer: Signer, network_id: NetworkId) -> Promise:
    """The same promise with its promiser's signature. In a domain of its own: it is never mistaken for a vote."""
    return msgspec.structs.replace(promise, signature=signer.sign(make_promise_statement(promise, network_id)))


def is_promise_genuine(promise: Promise, public_key: bytes, scheme: SignatureScheme, network_id: NetworkId) -> bool:
    """Whether the holder of this key has given it."""
    return scheme.verify(public_key, make_promise_statement(promise, network_id), promise.signature)
