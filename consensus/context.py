"""The fixed facts of one epoch that every rule may look at (T1)."""

from dataclasses import dataclass
from functools import cached_property

from consensus.certificates import QuorumCertificate, make_genesis_certificate
from consensus.leaf import Block, make_genesis
from consensus.ledger import LeadershipParameters, Ledger, make_genesis_ledger
from consensus.parameters import ConsensusParameters
from consensus.signatures import SignatureScheme
from consensus.stake_table import StakeTable
from consensus.types import Epoch, NetworkId

FIRST_EPOCH = Epoch(0)


@dataclass(frozen=True)
class EpochContext:
    """One epoch: network, stake table, scheme, genesis block and parameters. Never changes while the epoch runs."""

    network_id: NetworkId
    epoch: Epoch
    stake_table: StakeTable
    scheme: SignatureScheme
    genesis: Block
    parameters: ConsensusParameters
    leadership: LeadershipParameters

    @classmethod
    def start_network(
        cls,
        network_id: NetworkId,
        stake_table: StakeTable,
        scheme: SignatureScheme,
        *,
        genesis_time_ms: int,
        parameters: ConsensusParameters,
        leadership: LeadershipParameters,
    ) -> "EpochContext":
        """The first epoch of a network, with the genesis block that all its nodes compute."""
        ledger = make_genesis_ledger(stake_table, leadership, network_id)
        genesis = make_genesis(FIRST_EPOCH, genesis_time_ms, ledger.commitment)
        return cls(network_id, FIRST_EPOCH, stake_table, scheme, genesis, parameters, leadership)

    @cached_property
    def genesis_ledger(self) -> Ledger:
        """What the ledger holds before the first leaf."""
        return make_genesis_ledger(self.stake_table, self.leadership, self.network_id)

    @property
    def genesis_qc(self) -> QuorumCertificate:
        """Certifies the genesis block by definition; the `justify_qc` of the first leaf."""
        return make_genesis_certificate(self.epoch, self.genesis.leaf.view, self.genesis.commitment)
