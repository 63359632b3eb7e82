"""Who leads, as the replica sees it: one of the five pluggable protocols (section 6)."""

from typing import Protocol

from consensus.leaf import Leaf
from consensus.ledger.state import Ledger
from consensus.types import ValidatorId, View


class LeaderSchedule(Protocol):
    """`consensus.ledger.LedgerSchedule` is what networks run."""

    def leader(self, view: View, parent: Leaf, ledger: Ledger) -> ValidatorId:
        """Who may propose in `view` a leaf that extends `parent`, after which the ledger stands at `ledger`.

        Pure: every replica that has the parent agrees.
        """
        ...
