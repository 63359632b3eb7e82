"""The fixed facts of one epoch that every rule may look at (T1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from consensus.certificates import QuorumCertificate, make_genesis_certificate
from consensus.epochs import EpochStart, compute_last_height
from consensus.leaf import Block, make_genesis
from consensus.ledger import Account, Ledger, LedgerParameters, Profile, make_genesis_ledger
from consensus.parameters import ConsensusParameters
from consensus.signatures import SignatureScheme
from consensus.stake_table import StakeTable
from consensus.types import Epoch, Height, NetworkId, ValidatorId

FIRST_EPOCH = Epoch(0)


@dataclass(frozen=True)
class EpochContext:
    """One epoch: network, stake table, scheme, the block that it begins with, and parameters. Never changes."""

    network_id: NetworkId
    epoch: Epoch
    stake_table: StakeTable
    scheme: SignatureScheme
    genesis: Block
    """The last block of the epoch before, or the network's genesis block; decided by definition."""
    genesis_ledger: Ledger
    """What the ledger holds before the epoch's first leaf."""
    parameters: ConsensusParameters
    ledger_parameters: LedgerParameters
    start: EpochStart | None = None
    """Why this epoch may begin; None in the first one."""

    @classmethod
    def start_network(
        cls,
        network_id: NetworkId,
        stake_table: StakeTable,
        scheme: SignatureScheme,
        *,
        genesis_time_ms: int,
        parameters: ConsensusParameters,
        ledger_parameters: LedgerParameters,
        profiles: Mapping[ValidatorId, Profile] | None = None,
        owners: Mapping[ValidatorId, bytes] | None = None,
        accounts: Iterable[Account] = (),
    ) -> Self:
        """The first epoch of a network, with the genesis block that all its nodes compute."""
        ledger = make_genesis_ledger(
            stake_table,
            ledger_parameters.leadership,
            network_id,
            profiles=profiles,
            owners=owners,
            accounts=accounts,
        )
        genesis = make_genesis(FIRST_EPOCH, genesis_time_ms, ledger.commitment)
        return cls(network_id, FIRST_EPOCH, stake_table, scheme, genesis, ledger, parameters, ledger_parameters)

    def follow(self, start: EpochStart) -> "EpochContext":
        """The epoch that begins like this, of the same network."""
        return replace(
            self,
            epoch=start.ledger.epoch,
            stake_table=start.ledger.table,
            genesis=start.block,
            genesis_ledger=start.ledger,
            start=start,
        )

    @cached_property
    def genesis_qc(self) -> QuorumCertificate:
        """Certifies the genesis block by definition; the `justify_qc` of the first leaf."""
        return make_genesis_certificate(self.epoch, self.genesis.leaf.view, self.genesis.commitment)

    @cached_property
    def last_height(self) -> Height:
        """T2: the last height that is decided in this epoch; leaves above it only close the epoch."""
        return compute_last_height(self.epoch, self.ledger_parameters)

    def is_closing(self, height: Height) -> bool:
        """T2: leaves above the last height carry nothing, are never decided and only prove the last one final."""
        return height > self.last_height

    def is_first(self, height: Height) -> bool:
        """Whether a leaf at this height begins an epoch that follows another one: it carries the proof."""
        return self.start is not None and height == self.genesis.leaf.height + 1
