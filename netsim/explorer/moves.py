"""Which steps an honest validator is offered, given the certificates that exist.

The adversary owns the network: it shows any certificate that exists to whom it likes, whenever it likes. A step is
"take in certificates, then sign once". That is all there need be: what is taken in without a signature can be seen by
nobody, the certificates do not go away, and so whoever takes them in may as well do it right before it signs next, or
before it restarts, should restarts lose anything.
Of several QCs taken in one after the other only the highest, and of certificates that open a view only the last, leave
a trace in a record.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from netsim.explorer.material import Content, Material
from netsim.explorer.model import GENESIS, NO_TC, Kind, LeafId, Learned, LocalId, Step, TcId
from netsim.explorer.voters import Voters


@dataclass(slots=True)
class Environment:
    """What the steps depend on besides the one who takes them."""

    qcs: int
    """Leaves that have a QC."""
    tcs: tuple[TcId, ...]
    """By view, from 1: the TC with the lowest highest view, or `NO_TC`."""
    leaves: int
    """Leaves that somebody has voted for or proposed, and their ancestors."""
    proposals: int
    """Leaves that an honest leader has proposed."""
    moves: dict[LocalId, dict[LocalId, Step]] = field(default_factory=dict)
    """What was found: where it leads, and one step that leads there."""
    offers: list[LeafId] | None = None
    """Leaves that there are to vote for; None when not computed yet."""


class Moves:
    """Asks `Voters` for every step there is; steps that lead to the same local state are one."""

    def __init__(self, material: Material, voters: Voters) -> None:
        self._material = material
        self._voters = voters
        self._views = material.model.views

    def compute(self, local: LocalId, environment: Environment) -> dict[LocalId, Step]:
        """Local state that can be reached by one step -> such a step."""
        known = environment.moves.get(local)
        if known is None:
            known = environment.moves[local] = {}
            for step in self._iterate(local, environment):
                after = self._voters.apply(local, step)
                if after is not None:
                    known.setdefault(after, step)
        return known

    def _iterate(self, local: LocalId, environment: Environment) -> Iterator[Step]:
        if environment.offers is None:
            environment.offers = list(self._iterate_offers(environment))
        for leaf in iterate_bits(environment.qcs):
            yield Step(Kind.FINALIZE, leaf)
        entry_view = self._voters.records[local].entry.view
        for leaf in environment.offers:
            if self._material.contents[leaf].view > entry_view:
                yield from self._iterate_votes(entry_view, leaf, environment)
        yield Step(Kind.RESTART)
        for view, learned in self._iterate_entries(local, environment):
            if learned:
                yield Step(Kind.RESTART, learned=learned)
            yield Step(Kind.TIME_OUT, view=view, learned=learned)
            if self._material.model.get_leader(view) == self._voters.roles[local]:
                yield from self._iterate_proposals(local, view, learned, environment)

    def _iterate_votes(self, entry_view: int, leaf: LeafId, environment: Environment) -> Iterator[Step]:
        """A proposal brings whoever gets it into its view, or else some other certificate must have."""
        content = self._material.contents[leaf]
        opens = self._material.contents[content.parent].view == content.view - 1
        opens |= content.tc != NO_TC and self._material.tcs[content.tc].view == content.view - 1
        if opens or entry_view == content.view - 1:
            yield Step(Kind.VOTE, leaf)
        else:
            for learned in self._iterate_openers(content.view, environment):
                yield Step(Kind.VOTE, leaf, learned=(learned,))

    def _iterate_openers(self, view: int, environment: Environment) -> Iterator[Learned]:
        """Certificates of the view before."""
        for leaf in iterate_bits(environment.qcs):
            if self._material.contents[leaf].view == view - 1:
                yield Learned(leaf, NO_TC)
        if view > 1 and environment.tcs[view - 2] != NO_TC:
            yield Learned(GENESIS, environment.tcs[view - 2])

    def _iterate_entries(self, local: LocalId, environment: Environment) -> Iterator[tuple[int, tuple[Learned, ...]]]:
        """Views that the validator may be in before it signs, and what it takes in to be there."""
        record = self._voters.records[local]
        contents = self._material.contents
        higher = [leaf for leaf in iterate_bits(environment.qcs) if contents[leaf].view > record.high_qc.view]
        for view in range(record.entry.view + 1, self._views + 1):
            openers = (
                [()] if view == record.entry.view + 1 else [(it,) for it in self._iterate_openers(view, environment)]
            )
            for opener in openers:
                yield view, opener
                limit = view if not opener else view - 1  # a QC of the view before is an opener itself
                for leaf in higher:
                    if contents[leaf].view < limit and not (opener and opener[0].tc == NO_TC):
                        yield view, (Learned(leaf, NO_TC), *opener)

    def _iterate_proposals(
        self, local: LocalId, view: int, learned: tuple[Learned, ...], environment: Environment
    ) -> Iterator[Step]:
        """R2, as `Proposals.make_block` does it: on `high_qc`, with the TC by which the view was entered."""
        rules = self._voters.make_rules(local)
        self._voters.take_in(rules, learned)
        tc = NO_TC if rules.entry_tc is None else self._material.find_tc(rules.entry_tc)
        parent = self._material.find_leaf(rules.record.high_qc.leaf)
        leaf = self._find_room(Content(view, parent, tc, 0), environment)
        if leaf is not None:
            yield Step(Kind.PROPOSE, leaf, learned=learned)

    def _iterate_offers(self, environment: Environment) -> Iterator[LeafId]:
        """What leaders propose: honest ones what they have signed, Byzantine ones everything that can be."""
        model, contents = self._material.model, self._material.contents
        for leaf in iterate_bits(environment.leaves & ~1):
            is_proposed = environment.proposals >> leaf & 1
            if is_proposed or contents[leaf].view not in model.honest_views:
                yield leaf
        for view in range(1, self._views + 1):
            if view not in model.honest_views:
                yield from self._iterate_new_leaves(view, environment)

    def _iterate_new_leaves(self, view: int, environment: Environment) -> Iterator[LeafId]:
        """Also such as honest validators must refuse: without a TC, or with the TC of an earlier view."""
        tcs = [tc for tc in environment.tcs[: view - 1] if tc != NO_TC]
        for parent in (GENESIS, *iterate_bits(environment.qcs)):
            parent_view = self._material.contents[parent].view
            if parent_view >= view:
                continue
            for tc in (NO_TC,) if parent_view == view - 1 else (NO_TC, *tcs):
                leaf = self._find_room(Content(view, parent, tc, 0), environment)
                if leaf is not None and self._material.is_votable(leaf):
                    yield leaf

    def _find_room(self, content: Content, environment: Environment) -> LeafId | None:
        """A leaf of this content that is new, as long as the model allows one more in its view."""
        contents = self._material.contents
        others = [contents[leaf] for leaf in iterate_bits(environment.leaves) if contents[leaf].view == content.view]
        if len(others) >= self._material.model.leaves:
            return None
        copy = sum(other[:3] == content[:3] for other in others)
        return self._material.get_leaf(content._replace(copy=copy))


def iterate_bits(mask: int) -> Iterator[int]:
    """Positions of the ones, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
