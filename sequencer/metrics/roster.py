"""Who is who on a page: the ledger as it stands, and the names of validators."""

from collections.abc import Sequence

from consensus.ledger import Ledger
from consensus.ledger.state import ValidatorState
from consensus.types import ValidatorId
from sequencer.directory import Directory
from sequencer.metrics.entries import VALIDATORS_SHOWN_MAX


class Roster:
    """Shared by everything of one page that speaks of validators. Empty until a node tells where its ledger stands."""

    def __init__(self) -> None:
        self.ledger: Ledger | None = None
        self._directory: Directory | None = None

    def show(self, ledger: Ledger, directory: Directory) -> None:
        self.ledger, self._directory = ledger, directory

    def name_of(self, validator: ValidatorId) -> str:
        return f"v{validator}" if self._directory is None else self._directory.name_of(validator)

    def shown(self) -> Sequence[ValidatorState]:
        """At most `VALIDATORS_SHOWN_MAX`, those with the most stake."""
        if self.ledger is None:
            return ()
        validators = self.ledger.state.validators
        return sorted(validators, key=lambda validator: (-validator.stake, validator.id))[:VALIDATORS_SHOWN_MAX]
