"""What must hold of the certificates that exist together, and what must be reached for that to mean anything.

Own arithmetic over sets of leaves; whether finalized leaves are one chain is also asked of the real `Chain`, which has
to decide them in both orders.
"""

from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

from consensus.chain import Chain
from consensus.errors import InvariantViolation
from netsim.explorer.material import Material
from netsim.explorer.model import GENESIS, NO_TC, LeafId, TcId
from netsim.explorer.moves import iterate_bits

AGREEMENT = "agreement"
LEMMA = "lemma"
EXCLUSION = "exclusion"
FRAMED = "framed"
LIVENESS = "liveness"
RULES = (AGREEMENT, LEMMA, EXCLUSION, FRAMED, LIVENESS)
"""Finalized leaves are one chain; section 4's lemma; FC(v) and TC(v) never together; nobody honest can be accused; a
calm network with an honest leader decides something new.
"""

FIRST_VIEW = "FC in view 1"
ONE_SKIP = "FC after one skipped view"
TWO_SKIPS = "FC after two skipped views"
INDIRECT = "leaf decided by the FC of a descendant alone"
OLD_TC = "TC whose highest is older than the view before"
LATE_QC = "late QC beside the TC of its view"
ORPHAN = "orphaned QC"
FC_THEN_TC = "FC, then the TC of a later view"
WITNESSES = (FIRST_VIEW, ONE_SKIP, TWO_SKIPS, INDIRECT, OLD_TC, LATE_QC, ORPHAN, FC_THEN_TC)
_VIEWS_NEEDED = {TWO_SKIPS: 3}


def get_witnesses(views: int) -> tuple[str, ...]:
    """What an exploration of so many views must reach; most take two."""
    least = {FIRST_VIEW: 1}
    return tuple(name for name in WITNESSES if views >= _VIEWS_NEEDED.get(name, least.get(name, 2)))


class Breach(NamedTuple):
    """A rule of `RULES` that does not hold, and how."""

    rule: str
    detail: str


class Properties:
    """Looks at sets of certificates; who holds them does not matter."""

    def __init__(self, material: Material) -> None:
        self._material = material
        self._is_chain: dict[int, bool] = {}

    def find_breaches(self, qcs: int, fcs: int, tcs: tuple[TcId, ...]) -> list[Breach]:
        breaches = [self._find_fork(fcs), self._find_exclusion(fcs, tcs), self._find_stray(qcs, fcs)]
        return [breach for breach in breaches if breach is not None]

    def find_witnesses(self, qcs: int, fcs: int, tcs: tuple[TcId, ...]) -> set[str]:
        found: set[str] = set()
        contents, ancestors = self._material.contents, self._material.ancestors
        for leaf in iterate_bits(fcs):
            view, parent, _, _ = contents[leaf]
            skipped = view - contents[parent].view - 1
            reached = {
                FIRST_VIEW: view == 1,
                ONE_SKIP: skipped == 1,
                TWO_SKIPS: skipped == 2,
                INDIRECT: parent != GENESIS and not fcs >> parent & 1,
                FC_THEN_TC: any(tc != NO_TC for tc in tcs[view:]),
                ORPHAN: any(
                    contents[other].view < view and not ancestors[leaf] >> other & 1 for other in iterate_bits(qcs)
                ),
            }
            found |= {name for name, is_reached in reached.items() if is_reached}
        certified = {contents[leaf].view for leaf in iterate_bits(qcs)}
        for tc in tcs:
            if tc != NO_TC:
                view, highest, _ = self._material.tcs[tc]
                found |= {OLD_TC} if highest < view - 1 else set()
                found |= {LATE_QC} if view in certified else set()
        return found

    def compute_promise(self, qcs: int, fcs: int, tcs: tuple[TcId, ...]) -> int:
        """A guess for directed searches: a fork is made of QCs of conflicting leaves, and of TCs that know little."""
        ancestors = self._material.ancestors
        conflicts = sum(
            not (ancestors[one] >> other & 1 or ancestors[other] >> one & 1)
            for one, other in combinations(iterate_bits(qcs), 2)
        )
        age = sum(self._material.tcs[tc].view - self._material.tcs[tc].highest for tc in tcs if tc != NO_TC)
        return 4 * conflicts + 3 * fcs.bit_count() + 2 * qcs.bit_count() + age

    def _find_fork(self, fcs: int) -> Breach | None:
        leaves = list(iterate_bits(fcs))
        chain = 0
        for leaf in leaves:
            chain |= self._material.ancestors[leaf]
        highest = max(leaves, key=self._get_view, default=GENESIS)
        is_one = chain & ~self._material.ancestors[highest] == 0
        if is_one == self._can_decide(fcs):
            return None if is_one else Breach(AGREEMENT, f"FCs of {len(leaves)} leaves that are not one chain")
        return Breach(AGREEMENT, f"by own arithmetic one chain: {is_one}; the real chain decides otherwise")

    def _can_decide(self, fcs: int) -> bool:
        """R6, by the real chain: whether these leaves can be decided, whatever the order in which their FCs come."""
        if fcs not in self._is_chain:
            leaves = sorted(iterate_bits(fcs), key=self._get_view)
            self._is_chain[fcs] = self._can_decide_in(leaves) and self._can_decide_in(reversed(leaves))
        return self._is_chain[fcs]

    def _can_decide_in(self, leaves: Iterable[LeafId]) -> bool:
        context, blocks = self._material.context, self._material.blocks
        chain = Chain(context.genesis, context.genesis_ledger, context.ledger_parameters, blocks[1:])
        decided = {context.genesis.commitment}
        for leaf in leaves:
            commitment = blocks[leaf].commitment
            if commitment in decided:
                continue
            path = chain.compute_path(commitment)
            if path is None:
                return False
            try:
                chain.advance(path)
            except InvariantViolation:
                return False
            decided |= {block.commitment for block in path}
        return True

    def _find_exclusion(self, fcs: int, tcs: tuple[TcId, ...]) -> Breach | None:
        for leaf in iterate_bits(fcs):
            view = self._get_view(leaf)
            if tcs[view - 1] != NO_TC:
                return Breach(EXCLUSION, f"an FC and a TC of view {view}")
        return None

    def _find_stray(self, qcs: int, fcs: int) -> Breach | None:
        """Section 4: if FC(v, B) exists, every QC of a view w ≥ v certifies B or a descendant."""
        for final in iterate_bits(fcs):
            view = self._get_view(final)
            for certified in iterate_bits(qcs):
                if self._get_view(certified) >= view and not self._material.ancestors[certified] >> final & 1:
                    detail = f"a leaf of view {self._get_view(certified)} has a QC beside the FC of view {view}"
                    return Breach(LEMMA, detail)
        return None

    def _get_view(self, leaf: LeafId) -> int:
        return self._material.contents[leaf].view
