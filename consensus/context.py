"""The fixed facts of one epoch that every rule may look at (T1)."""

from dataclasses import dataclass

from consensus.certificates import QuorumCertificate, make_genesis_certificate
from consensus.leaf import Block
from consensus.parameters import ConsensusParameters
from consensus.signatures import SignatureScheme
from consensus.stake_table import StakeTable
from consensus.types import Epoch, NetworkId


@dataclass(frozen=True)
class EpochContext:
    """One epoch: network, stake table, scheme, genesis block and parameters. Never changes while the epoch runs."""

    network_id: NetworkId
    epoch: Epoch
    stake_table: StakeTable
    scheme: SignatureScheme
    genesis: Block
    parameters: ConsensusParameters

    @property
    def genesis_qc(self) -> QuorumCertificate:
        """Certifies the genesis block by definition; the `justify_qc` of the first leaf."""
        return make_genesis_certificate(self.epoch, self.genesis.leaf.view, self.genesis.commitment)
