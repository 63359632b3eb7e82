"""How frames reach other validators: one of the five pluggable protocols, and what it reports.

A transport moves opaque frames between validators whose identity is proven. It knows nothing of votes and leaves; it
promises neither delivery nor order across reconnects, and the protocol needs neither. `tcp` is what networks run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import trio

from consensus.types import ValidatorId
from sequencer.ports import Address

__all__ = ["Delivery", "Found", "Inbox", "Item", "Lost", "Transport"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """Every frame that one read completed, in order: one wake-up of the reader for all of them."""

    sender: ValidatorId
    frames: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """A connection with `peer` broke, either direction: as far as this node can tell the peer is gone (L2).

    At most one for each `Found`.
    """

    peer: ValidatorId


@dataclass(frozen=True, slots=True)
class Found:
    """Frames for `peer` have a way again: its identity is proven and it has accepted ours."""

    peer: ValidatorId


Item: TypeAlias = Delivery | Lost | Found
Inbox: TypeAlias = trio.MemorySendChannel[Item]


class Transport(Protocol):
    """Frames in, frames out. Nothing here blocks the caller; a slow peer loses its oldest frames."""

    async def run(self, inbox: Inbox, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect to everyone and fill `inbox` until cancelled. A full inbox slows the senders down, nothing is
        lost."""
        ...

    def set_peers(self, peers: Mapping[ValidatorId, Address]) -> None:
        """Everyone else on the network from now on, and where they listen. May be called while `run` runs.

        Newcomers are dialled; connections with those who are no peers any more end, and one to an address that has
        changed is made anew. Raises `ValueError` when this validator is among them.
        """
        ...

    def set_keys(self, keys: Mapping[ValidatorId, frozenset[bytes]]) -> None:
        """By which public keys validators may prove who they are: two while a key is being rotated.

        Counts for connections from now on; those that stand have been proven.
        """
        ...

    def send(self, to: ValidatorId, frame: bytes) -> None:
        """Queue a frame. One for a validator that is no peer, or none any more, is dropped."""
        ...

    def broadcast(self, frame: bytes) -> None:
        """Queue a frame for every peer."""
        ...

    @property
    def connected(self) -> frozenset[ValidatorId]:
        """Peers that are `Found` and not `Lost`."""
        ...
