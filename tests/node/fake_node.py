"""What the API needs of a node, without a node: the ledger stands where a test wants it."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import httpx
import msgspec
import trio

from consensus.certificates import FinalityCertificate
from consensus.docket import Docket
from consensus.evidence import Evidence
from consensus.leaf import Block, EpochProof
from consensus.ledger import Ledger, LedgerSchedule
from consensus.ledger.admission import Admission as LedgerAdmission
from consensus.ledger.state import LedgerState, ValidatorState
from consensus.member import Credentials, Member
from consensus.operations import Operation, compute_operation_id
from consensus.promises import Promise
from consensus.safety import SafetyRecord
from consensus.types import Commitment, Epoch, Height, Microseconds, ValidatorId, View
from sequencer.api.app import make_app
from sequencer.api.node_view import BlockReader, NodeStatus, PayloadOpener
from sequencer.directory import Directory
from sequencer.fault_log import FaultLog
from sequencer.keys import generate_key
from sequencer.ledger_log import ChangeEntry
from sequencer.mempool import Admission
from sequencer.metrics import NodeMetrics
from sequencer.network_config import (
    AccountConfig,
    EpochsSection,
    LeadershipSection,
    NetworkConfig,
    ValidatorConfig,
)
from sequencer.operation_codec import OperationPlace
from sequencer.payload import PayloadCache
from sequencer.promises import PromiseRefusedError
from sequencer.schedule_view import Outlook
from sequencer.storage import Recovered
from sequencer.view_history import ViewHistory


class FewBlocks:
    """Of `BlockReader` what the routes about the ledger ask for."""

    def __init__(self, blocks: Mapping[Height, Block]) -> None:
        self._blocks = blocks

    def read_decided_at(self, height: Height) -> Block | None:
        return self._blocks.get(height)


class FakeNode:
    """Implements `NodeView`. n0, n1, … have the stakes given and are their own owners; "staker" has 1,000 to bond."""

    def __init__(
        self,
        stakes: Sequence[int] = (100, 100, 100, 100),
        *,
        epoch_blocks: int = 64,
        network: NetworkConfig | None = None,
    ) -> None:
        self.signers = [generate_key() for _ in stakes]
        self.staker = generate_key()
        self.validator_id = ValidatorId(0)
        self.version = "1.2.3"
        self.height = Height(0)
        self.refusal: str | None = None
        self.places: dict[Commitment, OperationPlace] = {}
        self.evidence: list[Evidence] = []
        self.changes: list[ChangeEntry] = []
        self.blocks: dict[Height, Block] = {}
        """Decided ones that it keeps."""
        self.is_blind = False
        """The block that the next proposal extends is missing."""
        self.network = network or NetworkConfig(
            name="test",
            genesis_time_ms=0,
            leadership=LeadershipSection(primary_size=len(stakes)),
            epochs=EpochsSection(epoch_blocks=epoch_blocks),
            accounts=(AccountConfig(name="staker", public_key=self.staker.public_key.hex(), balance=1000),),
            validators=tuple(
                ValidatorConfig(id=ValidatorId(i), name=f"n{i}", public_key=signer.public_key.hex(), stake=stake)
                for i, (signer, stake) in enumerate(zip(self.signers, stakes, strict=True))
            ),
        )
        self.context = self.network.context()
        self.ledger: Ledger = self.context.genesis_ledger
        self.metrics = NodeMetrics(self.version, "test", "n0")
        self.now = Microseconds(1_700_000_000_000_000)
        """Of the node's clock, as far as views are concerned."""
        self.views = make_history(self)
        self.payloads: PayloadOpener = PayloadCache(1)

    @property
    def storage(self) -> BlockReader:
        return cast("BlockReader", FewBlocks(self.blocks))

    def find_epoch_proof(self, epoch: Epoch) -> EpochProof | None:
        """Of every epoch that is over, about a made-up leaf."""
        qc = self.context.genesis_qc
        fc = FinalityCertificate(epoch, qc.view, b"", b"", Commitment(bytes([epoch]) * 32), qc)
        return EpochProof(fc, ()) if epoch < self.ledger.epoch else None

    def change(self, **fields: Any) -> None:
        """Fields of the ledger's state."""
        self.ledger = Ledger(msgspec.structs.replace(self.ledger.state, **fields))

    def change_validator(self, number: int, **fields: Any) -> None:
        self.change(validators=replace_validator(self.ledger.state, number, **fields))

    def submit(self, transactions: Sequence[bytes], hashes: Sequence[bytes]) -> list[Admission]:
        return [Admission.FULL] * len(transactions)

    async def promise(self, transaction: bytes, hash_: bytes, beneficiary: bytes) -> Promise:
        raise PromiseRefusedError("nobody leads here")

    async def wait_finalized(self, hashes: Sequence[bytes]) -> bool:
        return False

    async def wait_decide(self) -> None:
        await trio.sleep_forever()

    async def wait_view(self) -> None:
        await trio.sleep_forever()

    def find_pending(self, transaction_hash: bytes) -> bytes | None:
        return None

    def status(self) -> NodeStatus:
        return NodeStatus(
            epoch=self.ledger.epoch,
            view=View(self.height + 1),
            leader=None,
            decided_height=self.height,
            decided_view=View(self.height),
            high_qc_view=View(self.height),
            ledger=self.ledger,
            is_behind=False,
            peers=frozenset(),
            mempool_transactions=0,
            mempool_bytes=0,
            uptime_seconds=1.0,
        )

    def is_ready(self) -> str | None:
        return None

    def outlook(self) -> Outlook | None:
        genesis = self.context.genesis.leaf
        parent = msgspec.structs.replace(genesis, height=self.height, view=View(self.height))
        return None if self.is_blind else Outlook(View(self.height + 1), parent, self.ledger)

    def submit_operation(self, operation: Operation) -> str | None:
        if self.refusal is None:
            self.places.setdefault(compute_operation_id(operation), OperationPlace(operation, None))
        return self.refusal

    def find_operation(self, operation_id: Commitment) -> OperationPlace | None:
        return self.places.get(operation_id)

    def pending_operations(self) -> Sequence[Operation]:
        return [place.operation for place in self.places.values() if place.height is None]

    def pending_evidence(self) -> Sequence[Evidence]:
        return self.evidence

    def recent_changes(self) -> Sequence[ChangeEntry]:
        return self.changes


def make_history(node: FakeNode) -> ViewHistory:
    """Of a node that has just been made, and entered no view yet."""
    context = node.context
    recovered = Recovered(SafetyRecord.initial(context.genesis_qc), context.genesis, None, (), None, None)
    parameters = context.ledger_parameters
    member = Member(
        context,
        Credentials(node.validator_id, (node.signers[0],)),
        LedgerSchedule(parameters.leadership),
        Docket(LedgerAdmission(context.network_id, context.scheme, parameters)),
        recovered,
    )
    return ViewHistory(lambda: node.now, member, parameters, Directory(node.network))


def replace_validator(state: LedgerState, number: int, **fields: Any) -> tuple[ValidatorState, ...]:
    return tuple(
        msgspec.structs.replace(validator, **fields) if validator.id == number else validator
        for validator in state.validators
    )


def make_client(
    node: FakeNode, closing: trio.Event | None = None, *, fault_log: FaultLog | None = None
) -> httpx.AsyncClient:
    """The API over this node; the application is called directly."""
    app = make_app(node, trio.Event() if closing is None else closing, fault_log)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://node")
