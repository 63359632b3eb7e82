"""One key, two whole nodes, each honest by itself: what a restored backup that runs beside the original does.

No lie is invented here. Each twin follows the protocol from its own disk, and hears and reaches its own side of the
network only, so between them they sign whatever two honest nodes in two different worlds would sign.
"""

from collections.abc import Collection, Sequence

from consensus.context import EpochContext
from consensus.events import PeerLost
from consensus.ledger import LedgerSchedule
from consensus.messages import Message
from consensus.safety import SafetyRecord
from consensus.types import ValidatorId
from consensus.validation import MessageValidator
from netsim.cluster import Cluster
from netsim.disk import Disk, DiskModel
from netsim.network import Network
from netsim.observer import Observer
from netsim.process import Process, World
from netsim.simulation import Simulation
from netsim.wire import Arrival, Wire


class TwinWire(Wire):
    """One twin's access to the common network: it reaches `side`, by position, and nobody else."""

    def __init__(
        self, simulation: Simulation, network: Network, context: EpochContext, observers: Sequence[Observer]
    ) -> None:
        super().__init__(simulation, network, context, observers)
        self.side: Collection[int] = range(network.nodes)

    def _carry(self, source: ValidatorId, destinations: Sequence[int], message: Message) -> None:
        super()._carry(source, [destination for destination in destinations if destination in self.side], message)


class Twins:
    """Takes the place of one validator in a cluster that has not started; the oracles must know it as Byzantine.

    `first` stands in the cluster's list of processes, `second` does not: start both like any process.
    """

    def __init__(self, cluster: Cluster, validator_id: ValidatorId) -> None:
        self._wires = [
            TwinWire(cluster.simulation, cluster.network, cluster.context, cluster.observers) for _ in range(2)
        ]
        self.first, self.second = self._processes = [_make_twin(cluster, validator_id, wire) for wire in self._wires]
        cluster.processes[validator_id] = self.first
        receivers = [process.receive for process in cluster.processes]
        receivers[validator_id] = self.receive
        for wire in (cluster.wire, *self._wires):
            wire.attach(receivers)

    def split(self, first: Collection[int], second: Collection[int]) -> None:
        """Whom each twin reaches and hears from now on; nodes on both sides hear both twins."""
        for wire, side in zip(self._wires, (first, second), strict=True):
            wire.side = side

    def receive(self, arrival: Arrival) -> None:
        """From the wire."""
        sender = arrival.validator if isinstance(arrival, PeerLost) else arrival.sender
        for wire, process in zip(self._wires, self._processes, strict=True):
            if sender in wire.side:
                process.receive(arrival)


def _make_twin(cluster: Cluster, validator_id: ValidatorId, wire: Wire) -> Process:
    context, simulation = cluster.context, cluster.simulation
    schedule = LedgerSchedule(context.ledger_parameters.leadership)
    world = World(simulation, context, schedule, wire, cluster.workload, cluster.observers, lost_connections_seen=True)
    disk = Disk(DiskModel(), simulation.streams["disk"], context.genesis, SafetyRecord.initial(context.genesis_qc))
    return Process(world, validator_id, cluster.node(validator_id).signers[0], MessageValidator, disk)
