"""What the API needs of a node, and all that it may touch.

The node matches these protocols by shape and knows nothing of HTTP. Plain calls return at once and are made from the
API's tasks within the node's Trio run, between two turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from consensus.certificates import FinalityCertificate
from consensus.evidence import Evidence
from consensus.leaf import Block, EpochProof, Leaf
from consensus.ledger import Ledger
from consensus.messages import Snapshot
from consensus.operations import Operation
from consensus.promises import Promise
from consensus.types import Commitment, Epoch, Height, ValidatorId, View
from sequencer.ledger_log import ChangeEntry
from sequencer.mempool import Admission
from sequencer.metrics import NodeMetrics
from sequencer.network_config import NetworkConfig
from sequencer.operation_codec import OperationPlace
from sequencer.payload import Payload
from sequencer.schedule_view import Outlook
from sequencer.storage import TransactionLocation
from sequencer.view_history import ViewHistory


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """Where one node stands at one moment."""

    epoch: Epoch
    view: View
    leader: ValidatorId | None
    """Of `view`; None while the block that the next proposal extends has not arrived."""
    decided_height: Height
    decided_view: View
    """View of the last decided leaf."""
    high_qc_view: View
    ledger: Ledger
    """After the last decided leaf, or at the beginning of the epoch that follows it: stake, accounts, who has the lead,
    and who is benched.
    """
    is_behind: bool
    """It knows of certified blocks that it has not got."""
    peers: frozenset[ValidatorId]
    """Connected ones, without itself."""
    mempool_transactions: int
    mempool_bytes: int
    uptime_seconds: float


class BlockReader(Protocol):
    """The reading side of storage."""

    @property
    def latest_height(self) -> Height:
        """Height of the last decided block; 0 is genesis."""
        ...

    @property
    def first_height(self) -> Height:
        """Of the first decided block that is here, genesis apart: 1, unless the chain began with a snapshot (T5)."""
        ...

    def read_block(self, commitment: Commitment) -> Block | None:
        """A block that this node has voted for or decided."""
        ...

    def read_decided_at(self, height: Height) -> Block | None: ...

    def read_decided(self, from_height: Height, *, blocks_max: int, bytes_max: int) -> list[Block]:
        """In order from this height on; stops before `bytes_max` of payload, but never before one block."""
        ...

    def read_leaf_at(self, height: Height) -> Leaf | None:
        """Of the decided block at this height, without its payload."""
        ...

    def find_decided(self, commitment: Commitment) -> Height | None:
        """At which height this leaf is decided."""
        ...

    def read_finality(self, height: Height) -> FinalityCertificate | None:
        """The FC of the block at this height, if it has one of its own."""
        ...

    def read_finality_proof(
        self, height: Height, *, leaves_max: int
    ) -> tuple[tuple[Leaf, ...], FinalityCertificate] | None:
        """The leaves above `height` up to the nearest one with an FC, and that FC; see `consensus.catchup`."""
        ...

    def read_ledger(self, epoch: Epoch) -> Ledger | None:
        """The state that this epoch began with; None for the network's first one, and for one that has not begun."""
        ...

    def read_snapshot(self, epoch: Epoch) -> Snapshot | None:
        """T5: what the ledger held at the end of this epoch; None when it is not over, or not known here."""
        ...

    def find_transaction(self, transaction_hash: bytes) -> TransactionLocation | None:
        """Where a decided transaction stands."""
        ...


class PayloadOpener(Protocol):
    """Payload bytes -> transactions and their hashes, remembered for recent blocks."""

    def open(self, block: Block) -> Payload: ...


class NodeView(Protocol):
    """A running node, seen from its API."""

    @property
    def network(self) -> NetworkConfig: ...
    @property
    def validator_id(self) -> ValidatorId: ...
    @property
    def version(self) -> str: ...
    @property
    def storage(self) -> BlockReader: ...
    @property
    def payloads(self) -> PayloadOpener: ...
    @property
    def metrics(self) -> NodeMetrics: ...
    @property
    def views(self) -> ViewHistory: ...

    def submit(self, transactions: Sequence[bytes], hashes: Sequence[bytes]) -> list[Admission]:
        """One answer per transaction, in order. `hashes[i]` is the SHA-256 of `transactions[i]`."""
        ...

    async def promise(self, transaction: bytes, hash_: bytes, beneficiary: bytes) -> Promise:
        """The next leader's signed word that this pending transaction will be in its next leaf. Raises
        `PromiseRefusedError`.
        """
        ...

    async def wait_finalized(self, hashes: Sequence[bytes]) -> bool:
        """True once all of these transactions are decided, False as soon as one has expired. May be cancelled."""
        ...

    async def wait_decide(self) -> None:
        """Return with the next decided block. It is not missed by whoever calls without a checkpoint after a look."""
        ...

    async def wait_view(self) -> None:
        """Return when a view has begun, or a block is decided; not missed either."""
        ...

    def find_pending(self, transaction_hash: bytes) -> bytes | None:
        """A transaction that this node has accepted and that is not final yet."""
        ...

    def status(self) -> NodeStatus: ...

    def find_epoch_proof(self, epoch: Epoch) -> EpochProof | None:
        """T2: the proof that this epoch is over, as far as it is known here."""
        ...

    def is_ready(self) -> str | None:
        """None when this node has decided and is not behind, else the reason, without a full stop."""
        ...

    def outlook(self) -> Outlook | None:
        """From where the next leaders can be told; None while the block that the next proposal extends is missing.

        The parent is the candidate of the current view, once that is here, else the block of the highest QC.
        """
        ...

    def submit_operation(self, operation: Operation) -> str | None:
        """J5: take an operation and pass it on to the leaders. None when it waits now (or did before), else the reason
        why it cannot, without a full stop.
        """
        ...

    def find_operation(self, operation_id: Commitment) -> OperationPlace | None:
        """One that waits here, or stands in one of the blocks that were decided since this node started."""
        ...

    def pending_operations(self) -> Sequence[Operation]:
        """In the order in which they came."""
        ...

    def pending_evidence(self) -> Sequence[Evidence]:
        """J4: offences that this node knows of and no decided leaf has punished."""
        ...

    def recent_changes(self) -> Sequence[ChangeEntry]:
        """The last changes of the ledger since this node started, oldest first; see `CHANGES_KEPT_MAX`."""
        ...
