"""The wire of a simulation with liars on it."""

from collections.abc import Container, Mapping, Sequence

from consensus.context import EpochContext
from consensus.messages import Message
from consensus.signatures import Signer
from consensus.types import ValidatorId
from netsim.byzantine.actor import Actor, Means
from netsim.byzantine.behaviours import make_actor
from netsim.network import Network
from netsim.observer import Observer
from netsim.simulation import Simulation, make_tag
from netsim.wire import Wire

KIND_LATE = 15


class ByzantineWire(Wire):
    """Carries what each liar's actor makes of its replica's words.

    An actor hears what is sent to its validator at once and whether or not it arrives: no liar is faster than that.
    """

    def __init__(
        self,
        simulation: Simulation,
        network: Network,
        context: EpochContext,
        observers: Sequence[Observer],
        actors: Mapping[ValidatorId, Actor],
    ) -> None:
        super().__init__(simulation, network, context, observers)
        self.actors = actors

    def _carry(self, source: ValidatorId, destinations: Sequence[int], message: Message) -> None:
        for destination in destinations:
            listener = self.actors.get(ValidatorId(destination))
            if listener is not None:
                listener.hear(message)
        actor = self.actors.get(source)
        if actor is None:
            super()._carry(source, destinations, message)
            return
        for destination in destinations:
            for instead in actor.send(message, ValidatorId(destination)):
                delay = actor.compute_delay(instead)
                if not delay:
                    super()._carry(source, (destination,), instead)
                    continue
                at = self._simulation.now + delay
                late = (source, destination, instead)
                self._simulation.schedule(at, self._carry_late, late, make_tag(KIND_LATE, source))

    def _carry_late(self, late: tuple[ValidatorId, int, Message]) -> None:
        source, destination, message = late
        super()._carry(source, (destination,), message)


def make_wire(
    simulation: Simulation,
    network: Network,
    context: EpochContext,
    signers: Sequence[Signer],
    byzantine: Container[ValidatorId],
    observers: Sequence[Observer],
) -> Wire:
    """A plain wire, unless `byzantine` maps validators to their behaviours. Raises `ValueError` for unknown ones."""
    if not isinstance(byzantine, Mapping) or not byzantine:
        return Wire(simulation, network, context, observers)
    random = simulation.streams["byzantine"]
    actors = {
        liar: make_actor(behaviour, Means(context.network_id, liar, signers[liar], context.parameters, random))
        for liar, behaviour in byzantine.items()
    }
    return ByzantineWire(simulation, network, context, observers, actors)
