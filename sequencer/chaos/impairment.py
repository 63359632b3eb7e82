"""What is wrong with one direction between two nodes, whichever TCP connections carry its bytes.

Every fault that lasts imposes one `Impairment`; several may lie on a direction at once, and what they do adds up. An
impairment counts its bites, so that a fault which nothing met can be told from one that hurt.
"""

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Final

import trio

STALL_SECONDS: Final = 0.2
"""What a lost segment costs: the least retransmission timer of common TCP stacks."""


@dataclass(eq=False)
class Impairment:
    """Seconds, bytes and probabilities per chunk of the stream. Mutable in `bites` alone."""

    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    """Mean of an exponential delay on top. Bytes of one connection never overtake each other."""
    stall_probability: float = 0.0
    """Loss as TCP shows it: what is lost comes later, and everything behind it waits."""
    bytes_per_second: float | None = None
    corruption: float = 0.0
    is_cut: bool = False
    """Bytes, and the ends of connections, are swallowed: both sides believe that the connection lives."""
    is_clogged: bool = False
    """Bytes are held, and arrive together when it is over."""
    bites: int = 0

    @property
    def is_delaying(self) -> bool:
        return bool(self.delay_seconds or self.jitter_seconds or self.bytes_per_second)


class Direction:
    """From one node to another. `counts` is shared by all directions and goes by the names of marks."""

    def __init__(self, random: Random, counts: Counter[str]) -> None:
        self._random = random
        self._counts = counts
        self._imposed: list[Impairment] = []
        self._changed = trio.Event()
        self._free_at = 0.0
        """When the bandwidth is free again."""
        self.is_clean = True
        self.is_cut = False
        self.is_clogged = False

    @property
    def imposed(self) -> tuple[Impairment, ...]:
        return tuple(self._imposed)

    def impose(self, impairment: Impairment) -> None:
        self._imposed.append(impairment)
        self._note_change()

    def lift(self, impairment: Impairment) -> None:
        """Does nothing when it does not lie here."""
        if impairment in self._imposed:
            self._imposed.remove(impairment)
            self._note_change()

    async def wait_change(self) -> None:
        await self._changed.wait()

    def swallow(self) -> bool:
        """Whether a chunk, an end or a connection that comes now is lost in a cut. Counts it."""
        if self.is_cut:
            self._count("messages_cut", [each for each in self._imposed if each.is_cut])
        return self.is_cut

    def schedule(self, length: int, now: float) -> float:
        """When a chunk of this length that comes now is due, by Trio's clock. Counts what held it up."""
        if self.is_clogged:
            self._count("messages_clogged", [each for each in self._imposed if each.is_clogged])
        due = now
        for each in self._imposed:
            due += each.delay_seconds
            if each.jitter_seconds:
                due += self._random.expovariate(1 / each.jitter_seconds)
            if each.stall_probability and self._random.random() < each.stall_probability:
                due += STALL_SECONDS
                self._count("messages_lost", [each])
            if each.is_delaying:
                each.bites += 1
        rates = [each.bytes_per_second for each in self._imposed if each.bytes_per_second]
        if rates:
            self._free_at = max(self._free_at, now) + length / min(rates)
            due += self._free_at - now
        return due

    def corrupt(self, chunk: bytes) -> bytes:
        """The chunk, or the same with one byte altered."""
        for each in self._imposed:
            if each.corruption and self._random.random() < each.corruption:
                self._count("messages_corrupted", [each])
                place = self._random.randrange(len(chunk))
                altered = bytearray(chunk)
                altered[place] ^= 1 << self._random.randrange(8)
                chunk = bytes(altered)
        return chunk

    def _count(self, mark: str, guilty: list[Impairment]) -> None:
        self._counts[mark] += 1
        for each in guilty:
            each.bites += 1

    def _note_change(self) -> None:
        self.is_clean = not self._imposed
        self.is_cut = any(each.is_cut for each in self._imposed)
        self.is_clogged = any(each.is_clogged for each in self._imposed)
        if not any(each.bytes_per_second for each in self._imposed):
            self._free_at = 0.0
        self._changed.set()
        self._changed = trio.Event()
