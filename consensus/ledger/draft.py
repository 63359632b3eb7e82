"""The working copy in which one leaf or one roll-over changes the ledger."""

from typing import Any

import msgspec

from consensus.ledger.changes import LedgerEvent
from consensus.ledger.state import Account, Ledger, ValidatorState
from consensus.types import ValidatorId


class Draft:
    """Validators, accounts and sums that are being changed, and what people are to be told about it.

    The rules read and write it in the order in which a leaf takes effect. `before` is what they began with.
    """

    __slots__ = ("accounts", "before", "burned", "events", "next_id", "pool", "validators")

    def __init__(self, ledger: Ledger) -> None:
        state = ledger.state
        self.before = ledger
        self.validators = dict(ledger.validators)
        self.accounts = dict(ledger.accounts)
        self.pool = state.pool
        self.burned = state.burned
        self.next_id = state.next_id
        self.events: list[LedgerEvent] = []

    def change_validator(self, validator: ValidatorId, **fields: Any) -> ValidatorState:
        """Returns what it is now."""
        changed = msgspec.structs.replace(self.validators[validator], **fields)
        self.validators[validator] = changed
        return changed

    def credit(self, public_key: bytes, amount: int) -> None:
        """Add to a balance; an account that nobody has yet begins with it."""
        account = self.accounts.get(public_key) or Account(public_key)
        self.accounts[public_key] = msgspec.structs.replace(account, balance=account.balance + amount)

    def finish(self, **fields: Any) -> Ledger:
        """The ledger with all that was changed, and with these fields of its state; the same object if nothing was."""
        before = self.before.state
        state = msgspec.structs.replace(
            before,
            validators=tuple(self.validators[key] for key in sorted(self.validators)),
            accounts=tuple(self.accounts[key] for key in sorted(self.accounts)),
            pool=self.pool,
            burned=self.burned,
            next_id=self.next_id,
            **fields,
        )
        return self.before if state == before else Ledger(state, tuple(self.events))
