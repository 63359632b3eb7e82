"""L3, L5: a peer that answers those who are behind, and never with what they need."""

from collections.abc import Iterable, Sequence
from hashlib import sha256

from msgspec.structs import replace

from consensus.messages import LeafResponse, Message, QuorumProposal, RangeResponse, Snapshot, StatusResponse
from consensus.types import Commitment, Height, ValidatorId
from netsim.byzantine.actor import Actor, Means

ANSWERS_MAX = 16


class ServeLies(Actor):
    """Truncated, reordered, foreign and altered blocks, payloads of other blocks, certificates of long ago."""

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self._statuses: list[StatusResponse] = []
        """The first ones that were said: nobody's certificates are older."""
        self._fcs: list[RangeResponse] = []

    def hear(self, message: Message) -> None:
        super().hear(message)
        if isinstance(message, StatusResponse) and len(self._statuses) < ANSWERS_MAX:
            self._statuses.append(message)

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        match message:
            case LeafResponse():
                return (self._alter(message),)
            case RangeResponse():
                self._fcs = [*self._fcs, message][-ANSWERS_MAX:]
                return (self.random.choice(self._list_ranges(message)),)
            case Snapshot(ledger=ledger):
                return (replace(message, ledger=ledger[:-1]),)
            case StatusResponse() if self._statuses:
                return (self.random.choice(self._statuses),)
            case QuorumProposal():
                self.remember(message)
                return (message,)
            case _:
                return (message,)

    def _alter(self, block: LeafResponse) -> LeafResponse:
        """The right leaf with a wrong payload, another leaf, or another block altogether."""
        leaf = block.leaf
        others = [LeafResponse(each.leaf, each.payload) for each in self.proposals.values() if each.leaf != leaf]
        ways = [
            replace(block, payload=block.payload + b"\0"),
            replace(block, payload=b""),
            replace(block, leaf=replace(leaf, ledger=Commitment(sha256(leaf.ledger).digest()))),
            replace(block, leaf=replace(leaf, height=Height(leaf.height + 1))),
            replace(block, leaf=replace(leaf, timestamp_ms=leaf.timestamp_ms + 1)),
            *others[-2:],
        ]
        return self.random.choice([way for way in ways if way != block])

    def _list_ranges(self, answer: RangeResponse) -> Sequence[RangeResponse]:
        blocks, path = answer.blocks, answer.path
        middle = len(blocks) // 2
        ways = [
            replace(answer, blocks=blocks[:-1] or blocks, path=path[1:]),
            replace(answer, blocks=(*blocks[:middle], self._alter(blocks[middle]), *blocks[middle + 1 :])),
            replace(answer, blocks=(*blocks[:middle], self._alter(blocks[middle]))),
            replace(answer, path=(*path, blocks[0].leaf)),
            replace(answer, fc=replace(answer.fc, proof=answer.fc.proof[::-1])),
            *(replace(answer, fc=old.fc) for old in self._fcs[:1] if old.fc != answer.fc),
            *self._fcs[:1],
        ]
        if len(blocks) > 1:
            ways += [replace(answer, blocks=blocks[::-1]), replace(answer, blocks=blocks[1:] + blocks[:1])]
        return [way for way in ways if way != answer]
