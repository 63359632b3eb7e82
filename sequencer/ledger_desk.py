"""What one node knows of the ledger for people and for its transport: names, addresses, keys and what has changed."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import structlog

from consensus.effects import LedgerChanges
from consensus.leaf import Block
from consensus.ledger import Ledger
from consensus.operations import Operation, compute_operation_id
from consensus.types import Commitment, Height, ValidatorId
from sequencer.directory import Directory
from sequencer.ledger_log import CHANGES_KEPT_MAX, ChangeEntry, describe_change
from sequencer.metrics import NodeMetrics
from sequencer.network_config import NetworkConfig
from sequencer.operation_codec import IncludedOperations, OperationPlace, get_kind
from sequencer.ports import Address

log = structlog.get_logger("ledger")


class LedgerDesk:
    """Told about every ledger that becomes durable; `peers` are the addresses that this node was given."""

    def __init__(
        self,
        network: NetworkConfig,
        validator_id: ValidatorId,
        ledger: Ledger,
        peers: Mapping[ValidatorId, Address],
        metrics: NodeMetrics,
    ) -> None:
        self.directory = Directory(network, ledger, addresses=peers)
        self._validator_id = validator_id
        self._metrics = metrics
        self._changes: deque[ChangeEntry] = deque(maxlen=CHANGES_KEPT_MAX)
        self._included = IncludedOperations()
        metrics.on_ledger(ledger, self.directory)

    @property
    def recent_changes(self) -> Sequence[ChangeEntry]:
        """Oldest first."""
        return tuple(self._changes)

    def on_ledger(self, ledger: Ledger, changes: LedgerChanges) -> None:
        """Every transition is a log line with its reason, a metric and an entry for the API."""
        self.directory.update(ledger)
        for height, described in changes:
            for change in described:
                entry = describe_change(change, height, self.directory)
                self._changes.append(entry)
                self._metrics.on_ledger_change(change)
                write = log.warning if entry.level == "warning" else log.info
                write(entry.kind, height=height, reason=entry.reason, **entry.fields)
        self._metrics.on_ledger(ledger, self.directory)

    def on_decide(self, blocks: Iterable[Block]) -> None:
        """Operations in these blocks wait no more; they have happened as soon as the blocks are durable."""
        for block in blocks:
            self._included.add(block.leaf)
            for operation in block.leaf.operations:
                self._metrics.count_operation(get_kind(operation), "included")

    def find_operation(
        self, operation_id: Commitment, pending: Iterable[Operation], height: Height
    ) -> OperationPlace | None:
        """One that waits, or that stands in a leaf decided since this node started.

        In a leaf above `height`, the last one that is told to anybody, it still waits.
        """
        for operation in pending:
            if compute_operation_id(operation) == operation_id:
                return OperationPlace(operation, None)
        place = self._included.find(operation_id)
        if place is not None and place.height is not None and place.height > height:
            return OperationPlace(place.operation, None)
        return place

    def compute_peers(self, ledger: Ledger) -> dict[ValidatorId, Address]:
        """Every other validator that the ledger knows and that has an address: newcomers before their stake is active,
        and leavers until they are paid.
        """
        others = (validator for validator in ledger.validators if validator != self._validator_id)
        found = {validator: self.directory.address_of(validator) for validator in others}
        return {validator: address for validator, address in found.items() if address is not None}

    def compute_keys(self, ledger: Ledger) -> dict[ValidatorId, frozenset[bytes]]:
        """By which keys each of them may prove itself: of the next stake table, and of every one that still counts."""
        keys = {validator.id: {validator.public_key} for validator in ledger.state.validators}
        for table in ledger.state.tables:
            for entry in table.entries:
                keys.setdefault(entry.id, set()).add(entry.public_key)
        return {validator: frozenset(known) for validator, known in keys.items()}
