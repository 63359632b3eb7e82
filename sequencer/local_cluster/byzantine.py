"""A node that breaks the protocol on purpose, with its own key: for tests and devnets that want to see it punished.

The node itself is the production one. What it says passes an actor of `netsim.byzantine` on its way to the transport,
and the actor listens in on what comes. `run_node` is told by `child` alone; `sequencer start` has no way here.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog
import trio

from consensus.errors import InvalidMessage
from consensus.messages import decode, encode
from consensus.types import ValidatorId
from netsim.byzantine.actor import Actor, Means
from netsim.byzantine.behaviours import check_behaviours, make_actor
from sequencer.config import LoadedNode
from sequencer.keys import read_key
from sequencer.ports import Address
from sequencer.transport import Delivery, Inbox, Item
from sequencer.transport.tcp import TcpTransport

log = structlog.get_logger("byzantine")


class ByzantineTransport(TcpTransport):
    """Sends what the actor makes of the node's words; arguments after the first are those of `TcpTransport`."""

    def __init__(self, actor: Actor, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._actor = actor
        self._nursery: trio.Nursery | None = None

    async def run(self, inbox: Inbox, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED) -> None:
        send, receive = trio.open_memory_channel[Item](0)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._listen, receive, inbox)
            task_status.started(await nursery.start(super().run, send))

    def send(self, to: ValidatorId, frame: bytes) -> None:
        for message in self._actor.send(decode(frame), to):
            delay = self._actor.compute_delay(message)
            if delay and self._nursery is not None:
                self._nursery.start_soon(self._send_late, to, encode(message), delay / 1e6)
            else:
                super().send(to, encode(message))

    def broadcast(self, frame: bytes) -> None:
        for peer in tuple(self._links):
            self.send(peer, frame)

    async def _send_late(self, to: ValidatorId, frame: bytes, seconds: float) -> None:
        await trio.sleep(seconds)
        super().send(to, frame)

    async def _listen(self, receive: "trio.MemoryReceiveChannel[Item]", inbox: Inbox) -> None:
        async for item in receive:
            if isinstance(item, Delivery):
                self._hear(item.frames)
            await inbox.send(item)

    def _hear(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            try:
                self._actor.hear(decode(frame))
            except InvalidMessage:
                continue  # the node behind it says what is wrong with it


def prepare_transport(loaded: LoadedNode, behaviour: str) -> Callable[..., TcpTransport]:
    """What makes the transport of a node that behaves like this. Raises `ValueError` for an unknown behaviour."""
    network = loaded.network
    signer = read_key(loaded.key_path)
    context = network.context()
    means = Means(network.network_id, loaded.validator_id, signer, context.parameters, random.Random())  # noqa: S311
    log.warning("byzantine", behaviour=behaviour, reason="asked for when this node was started")
    return partial(ByzantineTransport, make_actor(behaviour, means))


def parse_byzantine(options: Sequence[str], names: Sequence[str]) -> Mapping[str, str]:
    """`["n3=equivocate"]` -> by node name. Raises `ValueError` for what names no node or no behaviour."""
    byzantine: dict[str, str] = {}
    for option in options:
        name, separator, behaviour = option.partition("=")
        if not separator:
            raise ValueError(f'"{option}" is not of the form NODE=BEHAVIOUR')
        if name not in names:
            raise ValueError(f'there is no node "{name}"; there are {", ".join(names)}')
        if name in byzantine:
            raise ValueError(f"{name} has a behaviour already: {byzantine[name]}")
        check_behaviours([behaviour])
        byzantine[name] = behaviour
    return byzantine
