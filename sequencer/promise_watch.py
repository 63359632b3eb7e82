"""Soft confirmations of others: what they are held to, and who has broken one.

The node that asked for a promise looks at every decided block of the promiser within its bound. A claim that a promise
was broken is checked by every node against its own decided blocks, whoever makes it.

All of it is in memory: an order that is kept needs no memory, and a node that starts again forgets whom it has watched.
Writing it down would cost each client a second sync before its answer.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from consensus.evidence import BrokenPromise
from consensus.leaf import Block, Leaf
from consensus.member import Member
from consensus.promises import Promise, is_promise_genuine
from consensus.types import Height, ValidatorId
from sequencer.metrics import NodeMetrics
from sequencer.payload import Hash, PayloadCache
from sequencer.promises import PROMISE_VIEWS, PromiseRefusedError
from sequencer.storage import Storage

CLAIM_HEIGHTS: Final = 4
"""Blocks that are decided above a broken promise before anybody hears of it: whoever votes about the claim must have
decided the block too, and a voter that has not costs the leader its view."""
WATCHED_MAX: Final = 16_384
"""Promises at a time: four times what one honest validator gives. One that cannot be watched is not passed on."""


class PromiseWatch:
    """Plain calls of one Trio run. A promise is watched until it is kept or broken, or its bound has passed."""

    def __init__(self, member: Member, storage: Storage, payloads: PayloadCache, metrics: NodeMetrics) -> None:
        self._member = member
        self._storage = storage
        self._payloads = payloads
        self._metrics = metrics
        self._held: dict[ValidatorId, dict[Hash, Promise]] = {}
        self._seen = member.replica.tip.leaf
        """The last leaf that everything was held against."""
        self._recent: deque[Leaf] = deque(maxlen=PROMISE_VIEWS)
        self._claims: dict[ValidatorId, BrokenPromise] = {}
        """One for each offender is all that counts (J3)."""

    def hold(self, promise: Promise, promiser: ValidatorId, hash_: Hash, beneficiary: bytes) -> None:
        """The answer of a peer, to be watched. Raises `PromiseRefusedError` unless it is what was asked for."""
        context, view = self._member.context, self._member.replica.view
        asked = (promiser, context.epoch, hash_, beneficiary)
        if (promise.promiser, promise.epoch, promise.transaction, promise.beneficiary) != asked:
            raise PromiseRefusedError("the leader has promised something else")
        if max(view, promise.first_view) > promise.last_view or promise.first_view > view + PROMISE_VIEWS:
            raise PromiseRefusedError("the leader has promised it for views that are over, or far off")
        is_known = promiser in context.stake_table
        key = context.stake_table.get_validator(promiser).public_key if is_known else b""
        if not is_known or not is_promise_genuine(promise, key, context.scheme, context.network_id):
            raise PromiseRefusedError("the leader's promise is not signed by it")
        # It is signed in some view and comes in a later one: what was decided in between counts as well.
        if any(self._check(promise, leaf) for leaf in self._recent):
            raise PromiseRefusedError("the leader had broken its promise before it came")
        if self._storage.find_transaction(hash_) is not None:
            self._metrics.promises["kept"].inc()
            return
        known = self._held.get(promiser, {}).get(hash_)
        if known is not None and known != promise and not _is_over(known, self._seen):
            raise PromiseRefusedError("the leader has promised it in other words before, and those bind it still")
        if known is None and not self._has_room():
            raise PromiseRefusedError("this node cannot watch any more promises now")
        self._held.setdefault(promiser, {})[hash_] = promise

    def on_durable(self, blocks: Sequence[Block]) -> list[BrokenPromise]:
        """These blocks are decided and durable. The claims that may be made now, about them or earlier ones."""
        for block in blocks:
            self._seen = block.leaf
            self._recent.append(block.leaf)
            if self._held:
                self._settle(block.leaf, self._payloads.open(block).hash_set)
        highest = self._storage.latest_height
        due = [claim for claim in self._claims.values() if claim.height + CLAIM_HEIGHTS <= highest]
        for claim in due:
            del self._claims[claim.offender]
        return due

    def confirms(self, claim: BrokenPromise) -> bool:
        """R3b, J4: by this node's own blocks the claim is true. What is not decided here yet is not confirmed."""
        block = self._storage.read_decided_at(claim.height)
        if block is None or not _is_bound(claim.promise, block.leaf):
            return False
        return self._is_missing(claim.promise.transaction, claim.height)

    def _settle(self, leaf: Leaf, hashes: frozenset[Hash]) -> None:
        """Sets are compared in C, and only the promises of the leaf's own proposer are looked at one by one."""
        for promises in self._held.values():
            for hash_ in promises.keys() & hashes:
                if not _is_over(promises.pop(hash_), leaf):
                    self._metrics.promises["kept"].inc()
        own = self._held.get(leaf.proposer, {})
        for hash_, promise in list(own.items()):
            if (leaf.epoch, leaf.view) >= (promise.epoch, promise.first_view):
                del own[hash_]  # broken by this leaf, or not bound by it any more
                self._check(promise, leaf)
        self._held = {promiser: promises for promiser, promises in self._held.items() if promises}

    def _check(self, promise: Promise, leaf: Leaf) -> bool:
        """Whether this decided leaf breaks the promise; a claim is made of it then."""
        if not _is_bound(promise, leaf) or not self._is_missing(promise.transaction, leaf.height):
            return False
        self._metrics.promises["broken"].inc()
        self._claims.setdefault(promise.promiser, BrokenPromise(promise, leaf.height))
        return True

    def _is_missing(self, transaction: Hash, height: Height) -> bool:
        """From every decided block up to this height."""
        location = self._storage.find_transaction(transaction)
        return location is None or location.height > height

    def _has_room(self) -> bool:
        """Promises of those that never lead again are looked through only when there is no room else."""
        if sum(map(len, self._held.values())) < WATCHED_MAX:
            return True
        for promises in self._held.values():
            for hash_ in [known for known, promise in promises.items() if _is_over(promise, self._seen)]:
                del promises[hash_]
        return sum(map(len, self._held.values())) < WATCHED_MAX


def _is_bound(promise: Promise, leaf: Leaf) -> bool:
    """Whether it is one of the leaves that the promise is about."""
    is_own = (leaf.proposer, leaf.epoch) == (promise.promiser, promise.epoch)
    return is_own and promise.first_view <= leaf.view <= promise.last_view


def _is_over(promise: Promise, leaf: Leaf) -> bool:
    """Whether this decided leaf, and so every one after it, lies beyond the bound."""
    return (leaf.epoch, leaf.view) > (promise.epoch, promise.last_view)
