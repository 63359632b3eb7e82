"""A network that is split by view and phase instead of by time, so that a scenario means the same in every run.

A message obeys the partition of the view that it is about; one that is about no view goes by the view of its sender,
with the timeouts. Views behind the last one of the scenario are whole: that is how the network heals.

What the partition of a view keeps apart is lost for good, with one exception. Where no side has a quorum not even a
view can end, and the later views of the scenario would never come. So only the first TimeoutVote of a node for a view
obeys the partition and its repetitions pass (R7), as if the network were too slow for all but what is repeated.
"""

from collections.abc import Sequence

from consensus.context import EpochContext
from consensus.messages import FinalizeVote, Message, ProposalEcho, QuorumProposal, QuorumVote, TimeoutVote
from consensus.types import ValidatorId, View
from netsim.network import Network
from netsim.observer import Observer
from netsim.process import Process
from netsim.simulation import Simulation
from netsim.twins.space import Phase, Scenario, Space
from netsim.wire import Wire


class ScenarioWire(Wire):
    """The wire of one node, which stands at `position`; the links of the network are by position too.

    It reaches both nodes of every other validator. Its twin it never reaches: nobody keeps a connection to itself.
    """

    def __init__(
        self,
        simulation: Simulation,
        network: Network,
        context: EpochContext,
        observers: Sequence[Observer],
        space: Space,
        scenario: Scenario,
        position: int,
    ) -> None:
        super().__init__(simulation, network, context, observers)
        self._scenario = scenario
        self._position = position
        validators = range(space.validators)
        self._others = [tuple(other for other in validators if other != validator) for validator in validators]
        self._nodes_of = [
            tuple(node for node, owner in enumerate(space.owners) if owner == validator) for validator in validators
        ]
        self._given_up: set[View] = set()
        self._process: Process | None = None
        self.kept_apart = 0
        """Deliveries that did not happen."""

    def serve(self, process: Process, validates_with: "ScenarioWire") -> None:
        """Before the first message: the node at this end, and the wire whose memory of valid certificates it shares."""
        self._process = process
        self._validators = validates_with._validators

    def _carry(self, source: ValidatorId, destinations: Sequence[int], message: Message) -> None:
        """`destinations` are validators here; what goes on are nodes."""
        view, phase = self._classify(message)
        nodes = [node for destination in destinations for node in self._nodes_of[destination]]
        if 0 < view <= len(self._scenario) and not self._is_repetition(message):
            partition = self._scenario[view - 1].partitions[phase]
            side = partition[self._position]
            reached = [node for node in nodes if partition[node] == side]
            self.kept_apart += len(nodes) - len(reached)
            nodes = reached
        super()._carry(source, nodes, message)

    def _classify(self, message: Message) -> tuple[int, Phase]:
        match message:
            case QuorumProposal(leaf=leaf):
                return leaf.view, Phase.PROPOSAL
            case ProposalEcho(view=view):
                return view, Phase.PROPOSAL
            case QuorumVote(view=view):
                return view, Phase.QUORUM_VOTE
            case FinalizeVote(view=view):
                return view, Phase.FINALIZE_VOTE
            case TimeoutVote(view=view):
                return view, Phase.TIMEOUT
            case _:
                return 0 if self._process is None else self._process.view, Phase.TIMEOUT

    def _is_repetition(self, message: Message) -> bool:
        if not isinstance(message, TimeoutVote):
            return False
        is_known = message.view in self._given_up
        self._given_up.add(message.view)
        return is_known
