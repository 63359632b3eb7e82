"""States that differ only in names are one state.

Honest validators in the same role may be exchanged: a state is the ascending tuple of their local states. Leaves that
differ only in their copy number may be exchanged, together with all that descends from them. A renamed local state is
reached by the renamed steps, so that the real rules make it like any other.
"""

from itertools import permutations, product

from consensus.errors import InvariantViolation
from netsim.explorer.material import Content, Material, TcContent
from netsim.explorer.model import NO_TC, LeafId, Learned, LocalId, State, Step, TcId
from netsim.explorer.moves import iterate_bits
from netsim.explorer.voters import Voters

_Class = tuple[int, LeafId, TcId]
"""View, parent and TC: what copies have in common."""


class Renaming:
    """How copy numbers are exchanged among some classes of leaves; what descends from them follows."""

    def __init__(self, material: Material, voters: Voters, copies: dict[_Class, tuple[int, ...]]) -> None:
        self._material = material
        self._voters = voters
        self._copies = copies
        self._leaves: dict[LeafId, LeafId] = {0: 0}
        self._locals: dict[LocalId, LocalId] = {}

    def rename(self, local: LocalId) -> LocalId:
        known = self._locals.get(local)
        if known is None:
            known = self._locals[local] = self._rename_local(local)
        return known

    def _rename_local(self, local: LocalId) -> LocalId:
        origin = self._voters.get_origin(local)
        if origin is None:
            return local
        before, step = origin
        after = self._voters.apply(self.rename(before), self._rename_step(step))
        if after is None:
            raise InvariantViolation(f"the rules permit {step}, and not the same under other names")
        return after

    def _rename_step(self, step: Step) -> Step:
        learned = tuple(Learned(self._rename_leaf(it.leaf), self._rename_tc(it.tc)) for it in step.learned)
        return step._replace(leaf=self._rename_leaf(step.leaf), learned=learned)

    def _rename_leaf(self, leaf: LeafId) -> LeafId:
        known = self._leaves.get(leaf)
        if known is None:
            view, parent, tc, copy = self._material.contents[leaf]
            permutation = self._copies.get((view, parent, tc))
            if permutation is not None and copy < len(permutation):
                copy = permutation[copy]
            content = Content(view, self._rename_leaf(parent), self._rename_tc(tc), copy)
            known = self._leaves[leaf] = self._material.get_leaf(content)
        return known

    def _rename_tc(self, tc: TcId) -> TcId:
        if tc == NO_TC:
            return tc
        view, highest, leaf = self._material.tcs[tc]
        return self._material.get_tc_id(TcContent(view, highest, self._rename_leaf(leaf)))


class Symmetry:
    """Chooses one state of those that differ only in names."""

    def __init__(self, material: Material, voters: Voters) -> None:
        self._material = material
        self._voters = voters
        self._by_leaves: dict[int, tuple[Renaming, ...]] = {}
        self._known: dict[tuple[tuple[_Class, tuple[int, ...]], ...], Renaming] = {}

    def choose(self, state: State, leaves: int) -> State:
        """`state` is ascending; `leaves` are all that it has to do with."""
        renamings = self._by_leaves.get(leaves)
        if renamings is None:
            renamings = self._by_leaves[leaves] = tuple(self._make_renamings(leaves))
        if not renamings:
            return state
        return min(state, *(tuple(sorted(map(renaming.rename, state))) for renaming in renamings))

    def _make_renamings(self, leaves: int) -> list[Renaming]:
        copies: dict[_Class, int] = {}
        for leaf in iterate_bits(leaves):
            view, parent, tc, _ = self._material.contents[leaf]
            copies[view, parent, tc] = copies.get((view, parent, tc), 0) + 1
        classes = [(each, count) for each, count in copies.items() if count > 1]
        renamings: list[Renaming] = []
        for chosen in product(*(tuple(permutations(range(count))) for _, count in classes)):
            exchanged = tuple(
                (each, permutation)
                for (each, _), permutation in zip(classes, chosen, strict=True)
                if permutation != tuple(range(len(permutation)))
            )
            if exchanged:
                if exchanged not in self._known:
                    self._known[exchanged] = Renaming(self._material, self._voters, dict(exchanged))
                renamings.append(self._known[exchanged])
        return renamings
