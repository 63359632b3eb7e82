"""Soft confirmations: promises that this node gives, and those of others that it holds against them.

An honest node never breaks a promise, whatever happens to it. A promise and its transaction are on disk before the
answer leaves, and are read back after a restart. Every payload that this node builds within the bound of a promise
begins with what was promised; where it cannot, the node stays silent: a missed turn is no safety offence.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from consensus.evidence import BrokenPromise
from consensus.leaf import Block
from consensus.member import Member
from consensus.promises import Promise, is_promise_genuine
from consensus.types import Commitment, ValidatorId
from sequencer.payload import TRANSACTION_HEADER_BYTES, Hash, PayloadCache, Transaction
from sequencer.storage import PromiseRow, Storage

PROMISE_VIEWS: Final = 64
"""A promise binds for so many views: several turns of its leader on a small network."""
PROMISED_PARTS: Final = 4
"""Promises never fill more than this part of a payload, so that they always fit into one."""
PROMISES_MAX: Final = 4096
"""Given ones, and those of others that are watched, each. What they are about is counted in bytes besides."""


class PromiseRefusedError(Exception):
    """No promise was given; the message says why, without a full stop. The transaction is none the worse for it."""


class Promises:
    """Plain calls of one Trio run, but for `give`, which waits for the disk."""

    def __init__(self, member: Member, storage: Storage, payloads: PayloadCache, payload_bytes_max: int) -> None:
        self._member = member
        self._storage = storage
        self._payloads = payloads
        self._bytes_max = payload_bytes_max // PROMISED_PARTS
        self._given: dict[Hash, PromiseRow] = {}
        self._held: dict[Hash, Promise] = {}
        self._is_any_stored = False

    def restore(self) -> list[Transaction]:
        """What was promised before a restart and still binds: to be pending again."""
        stored = self._storage.read_promises()
        self._is_any_stored = bool(stored)
        rows = [row for row in stored if row.promise.epoch == self._member.epoch]
        decided = self._storage.select_decided([row.promise.transaction for row in rows])
        self._given = {row.promise.transaction: row for row in rows if row.promise.transaction not in decided}
        return [row.transaction for row in self._given.values()]

    # Given

    async def give(self, transaction: Transaction, hash_: Hash, beneficiary: bytes) -> Promise:
        """The promise, durable. The same one again while it binds. Raises `PromiseRefusedError`."""
        self._forget_expired()
        known = self._given.get(hash_)
        if known is not None:
            return known.promise
        size = sum(len(row.transaction) + TRANSACTION_HEADER_BYTES for row in self._given.values())
        if len(self._given) >= PROMISES_MAX or size + len(transaction) + TRANSACTION_HEADER_BYTES > self._bytes_max:
            raise PromiseRefusedError("the leader has promised as much as a block may hold; wait for some to be final")
        promise = self._member.sign_promise(Commitment(hash_), beneficiary, PROMISE_VIEWS)
        if promise is None:
            raise PromiseRefusedError("the node that was asked has no stake in this epoch")
        row = PromiseRow(transaction, promise)
        # Bound from here on, also while the disk writes: a payload may be built meanwhile.
        self._given[hash_] = row
        self._is_any_stored = True
        await self._storage.append_promises([row])
        return promise

    def select_due(self, ancestors: Iterable[Block]) -> list[Transaction]:
        """What a payload on top of these undecided blocks has to begin with, if it is built in the current view."""
        if not self._given:
            return []
        self._forget_expired()
        present = frozenset[Hash]().union(*(self._payloads.open(block).hash_set for block in ancestors))
        view = self._member.replica.view
        return [
            row.transaction
            for hash_, row in self._given.items()
            if row.promise.first_view <= view and hash_ not in present
        ]

    def on_decide(self, blocks: Sequence[Block]) -> None:
        """What stands in a decided block is kept; what has expired binds no more."""
        for block in blocks if self._given else ():
            for hash_ in self._payloads.open(block).hash_set & self._given.keys():
                del self._given[hash_]
        if blocks and self._is_any_stored:  # else there is nothing to delete with every turn
            self._storage.forget_promises(blocks[-1].leaf.epoch, blocks[-1].leaf.view)

    # Held

    def hold(self, promise: Promise, promiser: ValidatorId, hash_: Hash) -> None:
        """A promise that a peer has given, to be watched. Raises `PromiseRefusedError` unless it is worth something."""
        context = self._member.context
        if (promise.promiser, promise.transaction, promise.epoch) != (promiser, hash_, context.epoch):
            raise PromiseRefusedError("the leader has promised something else")
        is_known = promiser in context.stake_table
        key = context.stake_table.get_validator(promiser).public_key if is_known else b""
        if not is_known or not is_promise_genuine(promise, key, context.scheme, context.network_id):
            raise PromiseRefusedError("the leader's promise is not signed by it")
        if len(self._held) >= PROMISES_MAX:
            del self._held[next(iter(self._held))]
        self._held[hash_] = promise

    def find_broken(self, blocks: Iterable[Block]) -> list[BrokenPromise]:
        """These blocks are decided and durable: what they break. Nothing is watched beyond its bound."""
        broken: list[BrokenPromise] = []
        for block in blocks if self._held else ():
            leaf = block.leaf
            for hash_, promise in list(self._held.items()):
                if (leaf.epoch, leaf.view) > (promise.epoch, promise.last_view):
                    del self._held[hash_]
                    continue
                claim = BrokenPromise(promise, leaf.height)
                if self.confirms(claim):
                    broken.append(claim)
                    del self._held[hash_]
        return broken

    def confirms(self, claim: BrokenPromise) -> bool:
        """R3b, J4: by this node's own blocks the claim is true. What is not decided here yet is not confirmed."""
        promise, block = claim.promise, self._storage.read_decided_at(claim.height)
        if block is None:
            return False
        leaf = block.leaf
        if (leaf.proposer, leaf.epoch) != (promise.promiser, promise.epoch):
            return False
        if not promise.first_view <= leaf.view <= promise.last_view:
            return False
        location = self._storage.find_transaction(promise.transaction)
        return location is None or location.height > claim.height

    def _forget_expired(self) -> None:
        now = (self._member.epoch, self._member.replica.view)
        self._given = {
            hash_: row
            for hash_, row in self._given.items()
            if (row.promise.epoch, row.promise.last_view) >= now and row.promise.epoch == now[0]
        }
