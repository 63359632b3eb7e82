"""Which blocks a replica lacks, whom it asks next and when (L3, L5).

Only a certificate makes a leaf wanted, so every answer is checked against something that a quorum signed. One leaf is
asked for by its commitment, from the certificate's signers first; a long gap is closed by ranges of decided blocks.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass

from consensus.chain import Chain
from consensus.effects import Effect, Send, SetTimer
from consensus.events import Timer
from consensus.leaf import Block
from consensus.messages import LeafRequest, RangeRequest
from consensus.types import Commitment, Height, Microseconds, ValidatorId, View

WANTED_MAX = 128
"""Leaves wanted at a time. Each stands for a certificate; a node that lacks more than this catches up by ranges."""
ORPHANS_MAX = 32
"""Blocks kept while their parents are on the way: with 2 MiB payloads 64 MiB at the most."""
RANGE_GAP = 3
"""From this distance to the tip on, a range request is cheaper than asking leaf by leaf."""
RANGE_PATIENCE = 20
"""Fetch intervals until a range is asked for elsewhere: an answer is megabytes, a leaf is not."""


@dataclass(slots=True)
class _Want:
    view: View
    holders: tuple[ValidatorId, ...]
    due: Microseconds
    asked: int = 0


@dataclass(slots=True)
class _Range:
    target: Height
    due: Microseconds
    first: ValidatorId | None
    """Asked before the others: it has shown a block from up there, while any other may be as far behind."""
    asked: int = 0


class Fetcher:
    """Wanted leaves, orphans and the range under way; connects what arrives to the chain."""

    def __init__(self, chain: Chain, own_id: ValidatorId, peers: Sequence[ValidatorId], interval: Microseconds) -> None:
        self._chain = chain
        self._own_id = own_id
        self._peers = tuple(peer for peer in peers if peer != own_id)
        self._interval = interval
        self._wanted: dict[Commitment, _Want] = {}
        self._orphans: dict[Commitment, Block] = {}
        self._range: _Range | None = None
        self._deadline: Microseconds | None = None
        self.is_busy = False
        """Whether anything is wanted, so that `take_requests` may have something to say. Asked with every event."""

    @property
    def is_catching_up(self) -> bool:
        """Whether decided blocks are known to be missing."""
        return self._range is not None

    def is_wanted(self, commitment: Commitment) -> bool:
        return commitment in self._wanted

    def want(self, commitment: Commitment, view: View, holders: Sequence[ValidatorId], due: Microseconds) -> None:
        """Ask for this leaf, certified in `view`, from `due` on, unless it comes by itself; `holders` are asked
        first. Of an orphan it is the lowest missing ancestor that is asked for.
        """
        while (orphan := self._orphans.get(commitment)) is not None:
            commitment, view = orphan.leaf.parent, orphan.leaf.justify_qc.view
        if not self._peers or commitment in self._wanted or commitment in self._chain:
            return
        if len(self._wanted) >= WANTED_MAX:
            del self._wanted[next(iter(self._wanted))]
        others = tuple(peer for peer in self._peers if peer not in holders)
        first = tuple(holder for holder in holders if holder != self._own_id)
        # Every replica starts at another signer, so that not all of them ask the same one.
        turn = self._own_id % len(first) if first else 0
        self._wanted[commitment] = _Want(view, first[turn:] + first[:turn] + others, due)
        self.is_busy = True

    def want_range(self, target: Height, now: Microseconds, first: ValidatorId | None = None) -> None:
        """Decided blocks up to at least this height are missing; `first` has shown that it is ahead."""
        if self._range is None:
            self._range = _Range(target, now, first)
        else:
            self._range.target = max(self._range.target, target)
        self.is_busy = True

    def forget_range(self, target: Height) -> None:
        """That blocks up to this height are decided has turned out to be a lie; what else is missing is asked for by
        the next certificate.
        """
        if self._range is not None and self._range.target == target:
            self._range = None
            self._look_again()

    def accept(self, sender: ValidatorId, block: Block, now: Microseconds) -> list[Block]:
        """A certified block has arrived. Returns what is on the chain now and was not before, parents first.

        A block without its parent is kept, and the parent becomes wanted: it is certified by the block's `justify_qc`.
        """
        if self._wanted.pop(block.commitment, None) is not None:
            self._look_again()
        leaf, tip = block.leaf, self._chain.tip.leaf
        if leaf.height <= tip.height:
            return []
        if leaf.parent in self._chain:
            self._chain.add(block)
            return [block, *self._connect_children(block.commitment)]
        if len(self._orphans) >= ORPHANS_MAX:
            del self._orphans[next(iter(self._orphans))]
        self._orphans[block.commitment] = block
        if leaf.height - tip.height > RANGE_GAP:
            self.want_range(Height(leaf.height - 1), now, sender)
        self.want(leaf.parent, leaf.justify_qc.view, (sender,), now)
        return []

    def on_decide(self) -> list[Block]:
        """The tip has risen: what was certified up to its view is decided already or never will be.

        Returns the orphans that the tip connects.
        """
        height, view = self._chain.tip.leaf.height, self._chain.tip.leaf.view
        if self._wanted:
            self._wanted = {leaf: want for leaf, want in self._wanted.items() if want.view > view}
        if self._orphans:
            self._orphans = {leaf: block for leaf, block in self._orphans.items() if block.leaf.height > height}
        if self._range is not None and height >= self._range.target:
            self._range = None
        if self.is_busy:
            self._look_again()
        return self._connect_children(self._chain.tip.commitment)

    def on_range(self, proven: Height, now: Microseconds) -> None:
        """A range was decided, and its FC proves that blocks up to height `proven` are decided: go on to there at
        once.
        """
        if proven > self._chain.tip.leaf.height:
            self.want_range(proven, now)
        if self._range is not None:
            self._range.due = now

    def take_requests(self, now: Microseconds, lost: Container[ValidatorId]) -> list[Effect]:
        """Requests that are due, and the timer for the next ones.

        Whoever did not answer in time is followed by the next peer; lost peers are passed over.
        """
        effects: list[Effect] = []
        for commitment, want in self._wanted.items():
            if want.due <= now:
                effects.append(Send(_select(want.holders, want.asked, lost), LeafRequest(commitment)))
                want.asked += 1
                want.due = Microseconds(now + self._interval)
        pending = self._range
        if pending is not None and pending.due <= now:
            turn = self._own_id + pending.asked
            is_first = pending.asked == 0 and pending.first in self._peers and pending.first not in lost
            peer = pending.first if is_first and pending.first is not None else _select(self._peers, turn, lost)
            effects.append(Send(peer, RangeRequest(Height(self._chain.tip.leaf.height + 1))))
            pending.asked += 1
            pending.due = Microseconds(now + RANGE_PATIENCE * self._interval)
        dues = [want.due for want in self._wanted.values()] + ([] if pending is None else [pending.due])
        deadline = min(dues, default=None)
        if deadline is not None and deadline != self._deadline:
            effects.append(SetTimer(Timer.FETCH, deadline))
        self._deadline = deadline
        return effects

    def _look_again(self) -> None:
        self.is_busy = bool(self._wanted) or self._range is not None

    def _connect_children(self, parent: Commitment) -> list[Block]:
        connected: list[Block] = []
        if not self._orphans:
            return connected
        for child in [block for block in self._orphans.values() if block.leaf.parent == parent]:
            del self._orphans[child.commitment]
            self._chain.add(child)
            connected += [child, *self._connect_children(child.commitment)]
        return connected


def _select(peers: Sequence[ValidatorId], turn: int, lost: Container[ValidatorId]) -> ValidatorId:
    for step in range(len(peers)):
        peer = peers[(turn + step) % len(peers)]
        if peer not in lost:
            return peer
    return peers[turn % len(peers)]
