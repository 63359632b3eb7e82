"""A real replica does nothing that the explorer does not think of.

The explorer gives certificates to `SafetyRules` by itself, in the order in which `Replica` does. Here a whole replica
gets random proposals, certificates and timeouts, late, twice and out of order; whatever it signs must be a step that
the explorer offers to a validator with the same past.
"""

from itertools import pairwise
from random import Random

import pytest

from consensus.certificates import TimeoutCertificate
from consensus.leaf import Leaf
from consensus.ledger import Ledger
from consensus.ledger.admission import Admission
from consensus.messages import FinalizeVote, QuorumProposal, QuorumVote, StatusResponse, TimeoutVote
from consensus.replica import Replica
from consensus.safety import SafetyRecord
from consensus.signatures import Domain
from consensus.types import ValidatorId, View
from netsim.explorer.material import Content, Material, TcContent
from netsim.explorer.model import GENESIS, NO_TC, Kind, LeafId, Model, Signed
from netsim.explorer.moves import Environment, Moves
from netsim.explorer.voters import Voters
from tests.lab import Bench, Lab, get_messages

MODEL = Model(views=4, leaves=8)
LEADER = MODEL.get_leader(1)


class ByzantineLeads:
    """Implements `LeaderSchedule`."""

    def leader(self, view: View, parent: Leaf, ledger: Ledger) -> ValidatorId:
        return ValidatorId(LEADER)


class Stage(Lab):
    """The lab, with the explorer's leaves and certificates in it."""

    def __init__(self, material: Material) -> None:
        self.context = material.context
        self.schedule = ByzantineLeads()  # type: ignore[assignment]
        self.validator = material.validator
        self.signers = material.signers
        self.genesis = self.context.genesis
        self.admission = Admission(self.context.network_id, self.context.scheme, self.context.ledger_parameters)


class Walk:
    """Random leaves of four views, each view with a QC, a TC or both, and a replica that hears of them in any order."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.material = Material(MODEL)
        self.voters = Voters(self.material)
        self.moves = Moves(self.material, self.voters)
        self.tcs = [NO_TC] * MODEL.views
        self.qcs: list[LeafId] = [GENESIS]
        self.leaves: list[LeafId] = []
        for view in range(1, MODEL.views + 1):
            self.invent(view)
        record = SafetyRecord.initial(self.material.context.genesis_qc)
        self.bench = Bench(Stage(self.material), 0, record)
        self.bench.start()

    def invent(self, view: int) -> None:
        """Leaves that may be voted for in this view, and how it ends."""
        contents = self.material.contents
        new = [
            Content(view, leaf, NO_TC, copy) for leaf in self.qcs if contents[leaf].view == view - 1 for copy in (0, 1)
        ]
        tc = self.tcs[view - 2] if view > 1 else NO_TC
        if tc != NO_TC:
            highest = self.material.tcs[tc].highest
            new += [Content(view, leaf, tc, 0) for leaf in self.qcs if highest <= contents[leaf].view < view - 1]
        leaves = [self.material.get_leaf(content) for content in new]
        assert all(map(self.material.is_votable, leaves))
        self.leaves += leaves
        ends = self.random.choice(("QC", "TC", "both"))
        if ends != "TC" and leaves:
            self.qcs.append(self.random.choice(leaves))
        if ends != "QC" or not leaves:
            high = self.random.choice([leaf for leaf in self.qcs if contents[leaf].view < view])
            self.tcs[view - 1] = self.material.get_tc_id(TcContent(view, contents[high].view, high))

    def deliver(self) -> None:
        """One input, drawn anew each time: so some come late and some twice."""
        kind = self.random.choice(("proposal", "proposal", "QC", "TC", "timer"))
        if kind == "proposal":
            block = self.material.blocks[self.random.choice(self.leaves)]
            signature = self.material.make_signature(
                ValidatorId(LEADER), Domain.PROPOSAL, block.leaf.view, block.commitment
            )
            self.bench.receive(LEADER, QuorumProposal(block.leaf, block.payload, signature))
        elif kind == "QC":
            self.bench.receive(LEADER, StatusResponse(self.material.get_qc(self.random.choice(self.qcs)), None, None))
        elif kind == "TC":
            tc = self.random.choice(self.tcs)
            if tc != NO_TC:
                self.bench.receive(
                    LEADER, StatusResponse(self.material.get_qc(GENESIS), None, self.material.get_tc(tc))
                )
        elif self.bench.record.entry.view < MODEL.views:
            self.bench.expire_view()

    def collect(self) -> list[Signed]:
        """All that the replica has signed, in order; repetitions left out."""
        said: list[Signed] = []
        for message in get_messages(self.bench.effects, object):
            if isinstance(message, QuorumVote | FinalizeVote | TimeoutVote):
                statement = self.voters.describe(message)
                if not any((old.kind, old.view) == (statement.kind, statement.view) for old in said):
                    said.append(statement)
        return said

    def make_environment(self) -> Environment:
        leaves = 1
        for leaf in self.leaves:
            leaves |= self.material.ancestors[leaf]
        return Environment(sum(1 << leaf for leaf in self.qcs[1:]), tuple(self.tcs), leaves, 0)


@pytest.mark.parametrize("first", [0, 50, 100])
def test_whatever_a_replica_signs_is_a_step_of_the_explorer(first: int) -> None:
    kinds = follow(range(first, first + 50))
    assert len(kinds) >= 7, f"too little happened: {kinds}"


def follow(seeds: range) -> set[tuple[Kind, Kind]]:
    """Look for the explorer's steps to all that replicas sign; returns which kinds followed upon which."""
    kinds: set[tuple[Kind, Kind]] = set()
    for seed in seeds:
        walk = Walk(seed)
        for _ in range(40):
            walk.deliver()
        said, environment = walk.collect(), walk.make_environment()
        candidates = {walk.voters.start(0)}
        for statement in said:
            candidates = {
                after
                for local in candidates
                for after in walk.moves.compute(local, environment)
                if walk.voters.signed[after] == walk.voters.signed[local] | {statement}
            }
            assert candidates, f"seed {seed}: the explorer offers no step to {statement} after {said}"
        assert any(is_same(walk.voters.records[local], walk.bench.record) for local in candidates)
        kinds |= {(one.kind, other.kind) for one, other in pairwise(said)}
    return kinds


def is_same(explored: SafetyRecord, record: SafetyRecord) -> bool:
    """What was used up is the same; the replica may have taken in more certificates since it signed last."""
    views = [
        (each.voted_view, each.timed_out_view, each.finalized_view, each.last_vote, each.last_finalize)
        for each in (explored, record)
    ]
    is_older = explored.entry.view <= record.entry.view and explored.high_qc.view <= record.high_qc.view
    return views[0] == views[1] and is_older


def test_a_replica_that_ignores_the_qc_in_a_tc_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above can fail: such a replica times out with a high_qc that is too low."""

    def enter_only(self: Replica, tc: TimeoutCertificate | None) -> None:
        if tc is not None:
            self._enter(tc)

    monkeypatch.setattr(Replica, "_on_tc", enter_only)
    with pytest.raises(AssertionError, match="the explorer offers no step"):
        follow(range(50))
