"""Answering peers that lack blocks (L3, L5), without letting them slow down those that do not.

An answer costs milliseconds and megabytes, a request a few dozen bytes: whoever answers on the spot can be kept busy
for minutes by what fits into one read. So requests wait here, bounded per peer, and the node answers one in each turn,
the peers in rotation.
"""

from collections import deque

from consensus.catchup import BlockSource, answer
from consensus.fetch import WANTED_MAX
from consensus.messages import LeafResponse, RangeResponse, Snapshot, StorageRequest
from consensus.types import ValidatorId

REQUESTS_PER_PEER_MAX = WANTED_MAX + 1
"""An honest replica asks for so many leaves at a time, and one range."""


class BlockServer:
    """Requests for blocks that wait for their answer."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        self._waiting: deque[tuple[ValidatorId, deque[StorageRequest]]] = deque()
        """Peers with requests, the next one to be answered first."""

    @property
    def has_requests(self) -> bool:
        """Whether `answer_next` has something to do."""
        return bool(self._waiting)

    def add(self, sender: ValidatorId, request: StorageRequest) -> bool:
        """False when too many of this peer's requests wait already: this one is dropped."""
        for peer, requests in self._waiting:
            if peer == sender:
                if len(requests) >= REQUESTS_PER_PEER_MAX:
                    return False
                requests.append(request)
                return True
        self._waiting.append((sender, deque([request])))
        return True

    def answer_next(self) -> tuple[ValidatorId, LeafResponse | RangeResponse | Snapshot | None]:
        """Whose request it was, and the answer; None when this node has nothing to offer."""
        sender, requests = self._waiting.popleft()
        response = answer(requests.popleft(), self._source)
        if requests:
            self._waiting.append((sender, requests))
        return sender, response
