"""Soft confirmations that this node gives.

An honest node never breaks a promise, whatever happens to it. A promise and its transaction are on disk before the
answer leaves, and are read back after a restart. Every payload that this node builds within the bound of a promise
begins with what was promised; where it cannot, the node stays silent: a missed turn is no safety offence.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from consensus.leaf import Block
from consensus.ledger import LedgerSchedule
from consensus.member import Member
from consensus.promises import Promise
from consensus.types import Commitment, Epoch, Height, ValidatorId, View
from sequencer.payload import Hash, PayloadCache, Transaction
from sequencer.payload_format import REGION_HEADER_BYTES
from sequencer.storage import PromiseRow, Storage

PROMISE_VIEWS: Final = 64
"""A promise binds for so many views: several turns of its leader on a small network."""
ASKED_LEADERS: Final = 3
"""Of the next leaders, the first that can be reached is asked."""
PROMISED_PARTS: Final = 4
"""Promises never fill more than this part of a payload, so that they always fit into one."""
PROMISES_MAX: Final = 4096
"""Given ones that still bind. What they are about is counted in bytes besides."""


class PromiseRefusedError(Exception):
    """No promise was given; the message says why, without a full stop. The transaction is none the worse for it."""


class Promises:
    """Plain calls of one Trio run, but for `write`, which waits for the disk."""

    def __init__(
        self,
        member: Member,
        validator_id: ValidatorId,
        storage: Storage,
        payloads: PayloadCache,
        payload_bytes_max: int,
    ) -> None:
        self._member = member
        self._validator_id = validator_id
        self._storage = storage
        self._payloads = payloads
        self._schedule = LedgerSchedule(member.context.ledger_parameters.leadership)
        self._bytes_max = payload_bytes_max // PROMISED_PARTS
        self._given: dict[Hash, PromiseRow] = {}
        self._given_bytes = 0
        self._looked_at: tuple[Epoch, View] | None = None
        self._unwritten: list[PromiseRow] = []
        self._is_any_stored = False
        self._has_first_block = False

    def restore(self) -> list[Transaction]:
        """What was promised before a restart and still binds: to be pending again."""
        stored = self._storage.read_promises()
        self._is_any_stored = bool(stored)
        rows = [row for row in stored if row.promise.epoch == self._member.epoch]
        decided = self._storage.select_decided([row.promise.transaction for row in rows])
        self._keep(row for row in rows if row.promise.transaction not in decided)
        return [row.transaction for row in self._given.values()]

    def bind(self, transaction: Transaction, hash_: Hash, beneficiary: bytes) -> Promise:
        """The promise about a transaction that is not decided; the same one again while it binds.

        It holds from here on: a payload may be built before it is written. Nobody may have it before the next `write`
        has returned. Raises `PromiseRefusedError`.
        """
        self._forget_expired()
        known = self._given.get(hash_)
        if known is not None:
            if known.promise.beneficiary != beneficiary:
                raise PromiseRefusedError("the leader has promised this transaction to another beneficiary")
            return known.promise
        size = self._given_bytes + _get_size(transaction)
        if len(self._given) >= PROMISES_MAX or size > self._bytes_max:
            raise PromiseRefusedError("the leader has promised as much as a block may hold; wait for some to be final")
        if not self._knows_history():
            raise PromiseRefusedError(
                "the node that was asked began with a snapshot: it does not know all that is final"
            )
        if not self._leads_soon():
            raise PromiseRefusedError(f"the node that was asked leads in none of {PROMISE_VIEWS} views of this epoch")
        promise = self._member.sign_promise(Commitment(hash_), beneficiary, PROMISE_VIEWS)
        if promise is None:
            raise PromiseRefusedError("the node that was asked has no stake in this epoch")
        row = PromiseRow(transaction, promise)
        self._given[hash_] = row
        self._given_bytes = size
        self._unwritten.append(row)
        return promise

    async def write(self) -> None:
        """Everything that was bound is durable on return. One call at a time: each ends after all before it have.

        Raises `StorageError` when the disk fails; the process must end then (R8).
        """
        rows, self._unwritten = self._unwritten, []
        if rows:
            self._is_any_stored = True
            await self._storage.append_promises(rows)

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
                self._given_bytes -= _get_size(self._given.pop(hash_).transaction)
        if blocks and self._is_any_stored:  # else there is nothing to delete with every turn
            self._storage.forget_promises(blocks[-1].leaf.epoch, blocks[-1].leaf.view)

    def _knows_history(self) -> bool:
        """What was decided before the chain began here, this node would promise again; nobody votes for it then, and it
        would be bound to propose it all the same (T5, ADR 7).
        """
        if not self._has_first_block and self._storage.latest_height:
            self._has_first_block = self._storage.read_decided_at(Height(1)) is not None
        return self._has_first_block or not self._storage.latest_height

    def _leads_soon(self) -> bool:
        """Without a turn within the bound, and before the epoch is over, a promise would be worth nothing."""
        me, replica, ledger = self._validator_id, self._member.replica, self._member.ledger
        parent = replica.candidate or replica.high_block or replica.tip
        views = max(0, min(PROMISE_VIEWS, self._member.context.last_height - parent.leaf.height))
        if me in replica.compute_next_leaders(min(views, ASKED_LEADERS)):
            return True
        first = replica.view if replica.candidate is None else View(replica.view + 1)
        turns = self._schedule.count_turns(first, View(first + views - 1), me, ledger)
        return turns > 0 and me not in ledger.barred and turns > ledger.records[me].bench_turns

    def _forget_expired(self) -> None:
        """Once in each view."""
        epoch, view = now = self._member.epoch, self._member.replica.view
        if now != self._looked_at:
            self._looked_at = now
            self._keep(
                row for row in self._given.values() if row.promise.epoch == epoch and row.promise.last_view >= view
            )

    def _keep(self, rows: Iterable[PromiseRow]) -> None:
        self._given = {row.promise.transaction: row for row in rows}
        self._given_bytes = sum(_get_size(row.transaction) for row in self._given.values())


def _get_size(transaction: Transaction) -> int:
    """What it takes of a payload at the most, in bytes: its namespace may be there for it alone."""
    return len(transaction) + REGION_HEADER_BYTES
