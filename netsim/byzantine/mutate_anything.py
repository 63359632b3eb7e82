"""P4, P1: any field of any message, replaced by something that was seen elsewhere."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from consensus.errors import InvalidMessage
from consensus.messages import Message, decode, encode
from consensus.types import ValidatorId
from netsim.byzantine.actor import Actor, Means

MUTATED_PERCENT = 40
SEEN_MAX = 64
"""Values of one shape that are remembered."""
LISTEN_ONE_IN = 4
"""Messages that it takes apart: values repeat, and it has other things to do."""

_unpack = msgspec.msgpack.Decoder().decode
_pack = msgspec.msgpack.Encoder().encode


class MutateAnything(Actor):
    """Has no idea what its fields mean. Half of what is its own is signed again."""

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self._seen: dict[tuple[type, int], deque[Any]] = {}

    def hear(self, message: Message) -> None:
        if self.random.randrange(LISTEN_ONE_IN) == 0:
            for holder, key in _walk(_unpack(encode(message))):
                self._note(holder[key])

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        if self.random.randrange(100) >= MUTATED_PERCENT:
            return (message,)
        fields = _unpack(encode(message))
        holder, key = self.random.choice(list(_walk(fields)))
        seen = self._seen.get(_get_shape(holder[key]))
        if not seen:
            return (message,)
        holder[key] = self.random.choice(seen)
        try:
            mutant = decode(_pack(fields))
        except InvalidMessage:  # what no node could even read does not get past its own
            return (message,)
        return (self.sign_again(mutant) if self.random.random() < 0.5 else mutant,)

    def _note(self, value: Any) -> None:
        self._seen.setdefault(_get_shape(value), deque(maxlen=SEEN_MAX)).append(value)


def _get_shape(value: Any) -> tuple[type, int]:
    """Values of one shape fit into each other's places, mostly: a digest for a digest, a certificate for another."""
    return type(value), len(value) if isinstance(value, bytes | list) else 0


def _walk(fields: list[Any]) -> Iterator[tuple[list[Any], int]]:
    """Every place in a message, but for the tag that says what it is."""
    for key, value in enumerate(fields):
        if isinstance(value, str) or (key == 0 and isinstance(value, int)):
            continue
        yield fields, key
        if isinstance(value, list):
            yield from _walk(value)
