"""Validators that lie with their own key and real messages; the others agree, go on, and can say who it was.

The oracles watch every event of every test here and hold nothing against the liars.
"""

from dataclasses import dataclass, field

import pytest

from consensus.effects import LedgerChanges
from consensus.evidence import DoubleFinalize, DoubleProposal, DoubleVote, Evidence, find_evidence_flaw
from consensus.leaf import compute_leaf_commitment
from consensus.ledger import LeadershipParameters, Ledger
from consensus.ledger.changes import Tombstoned
from consensus.messages import Message, QuorumProposal, QuorumVote, StatusResponse
from consensus.types import Commitment, Height, Microseconds, ValidatorId
from netsim.byzantine.actor import Means
from netsim.byzantine.behaviours import BEHAVIOURS, Behaviour
from netsim.byzantine.flood_timeouts import FloodTimeouts
from netsim.cluster import Cluster
from netsim.network import Exponential, LinkModel
from netsim.observer import Observer

SEEDS = range(5)
LIAR = ValidatorId(0)
STAKE = 1_000_000
LINKS = LinkModel(Exponential(2_000, floor_microseconds=200))


@dataclass
class Record(Observer):
    """What the honest sent and whom they accused."""

    liars: frozenset[ValidatorId]
    reports: list[Evidence] = field(default_factory=list)
    votes: list[QuorumVote] = field(default_factory=list)
    proposals: dict[Commitment, QuorumProposal] = field(default_factory=dict)
    tombstones: dict[ValidatorId, list[tuple[Height, Tombstoned]]] = field(default_factory=dict)
    """By node, at which height it has seen whom tombstoned."""

    def on_report(self, now: Microseconds, node: ValidatorId, evidence: Evidence) -> None:
        if node not in self.liars:
            self.reports.append(evidence)

    def on_ledger(self, now: Microseconds, node: ValidatorId, ledger: Ledger, changes: LedgerChanges) -> None:
        for height, described in changes:
            found = [(height, change) for change in described if isinstance(change, Tombstoned)]
            self.tombstones.setdefault(node, []).extend(found)

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        if isinstance(message, QuorumProposal):
            self.proposals[compute_leaf_commitment(message.leaf)] = message
        elif node not in self.liars and isinstance(message, QuorumVote):
            self.votes.append(message)


def make_cluster(seed: int, behaviour: Behaviour, *, nodes: int = 4, liars: int = 1) -> tuple[Cluster, Record]:
    byzantine = {ValidatorId(LIAR + number): behaviour for number in range(liars)}
    record = Record(frozenset(byzantine))
    # The liar leads too, and goes on to: whoever proposes in vain would be benched.
    everyone = LeadershipParameters(primary_size=nodes, bench_after=1000)
    cluster = Cluster(
        nodes,
        seed,
        stakes=[STAKE] * nodes,
        links=LINKS,
        leadership=everyone,
        byzantine=byzantine,
        observers=(record,),
    )
    return cluster, record


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("behaviour", "rules"),
    [
        ("equivocate", {"E1", "E2", "E3"}),
        ("double_vote", {"E2", "E3"}),
        ("forget", {"E4"}),
        ("vote_unjustified", {"E5"}),
    ],
)
def test_every_safety_offence_ends_in_a_tombstone_at_one_height(behaviour: str, rules: set[str], seed: int) -> None:
    """J3, J4: noticed by some, included by a leader, checked by every voter; and nobody else is touched."""
    cluster, record = make_cluster(seed, behaviour)
    cluster.run_until(lambda: all(map(record.tombstones.get, cluster.context.stake_table.ids)), timeout_seconds=120)
    first = record.tombstones[LIAR][0]
    assert set(map(len, record.tombstones.values())) == {1}
    assert all(found == [first] for found in record.tombstones.values())
    assert first[1].validator == LIAR
    assert first[1].rule in rules
    slashed = {one.id: STAKE - one.stake for one in cluster.node(1).replica.chain.ledger.state.validators}
    assert slashed.pop(LIAR) == STAKE * 3 // 4, "a quarter of the stake, tripled"
    assert set(slashed.values()) == {0}
    start = cluster.height
    cluster.run_until(height=start + 20)
    assert LIAR not in {block.leaf.proposer for block in cluster.node(1).disk.decided[start + 2 :]}


def count_led(cluster: Cluster, leader: ValidatorId) -> int:
    chain = cluster.node(int(leader) + 1).disk.decided
    return sum(block.leaf.proposer == leader for block in chain[1:])


@pytest.mark.parametrize("seed", SEEDS)
def test_an_equivocating_leader_splits_a_vote_and_nothing_else(seed: int) -> None:
    """R3a, R5, E1, E2: the chain goes on, everyone agrees, and the proof names the liar."""
    cluster, record = make_cluster(seed, "equivocate")
    cluster.run_until(height=40)
    assert {type(evidence) for evidence in record.reports} >= {DoubleProposal, DoubleVote}
    assert {evidence.offender for evidence in record.reports} == {LIAR}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_double_voter_gains_nothing_and_is_named_by_everyone(seed: int) -> None:
    """E2, E3: both kinds, each proof good for whoever was not there."""
    cluster, record = make_cluster(seed, "double_vote")
    cluster.run_until(height=20)
    assert {type(evidence) for evidence in record.reports} >= {DoubleVote, DoubleFinalize}
    assert all(process.view <= 25 for process in cluster.processes)
    context = cluster.context
    public_key = context.stake_table.get_validator(LIAR).public_key
    for evidence in record.reports:
        assert evidence.offender == LIAR
        assert find_evidence_flaw(evidence, public_key, context.scheme, context.network_id) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_votes_for_a_proposal_on_a_stale_qc(seed: int) -> None:
    """R3c; every turn of the liar costs its view and no more."""
    cluster, record = make_cluster(seed, "propose_stale")
    cluster.run_until(height=30)
    stale = [proposal for proposal in record.proposals.values() if not is_justified(proposal)]
    assert len(stale) >= 5
    assert {vote.leaf for vote in record.votes}.isdisjoint(compute_leaf_commitment(each.leaf) for each in stale)
    assert all(process.view <= 1.5 * cluster.height for process in cluster.processes)


def is_justified(proposal: QuorumProposal) -> bool:
    leaf, tc = proposal.leaf, proposal.leaf.timeout_certificate
    if tc is not None and tc.view == leaf.view - 1:
        return leaf.justify_qc.view >= max(tc.high_qc_views)
    return leaf.justify_qc.view == leaf.view - 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_withheld_vote_is_not_missed(seed: int) -> None:
    cluster, _ = make_cluster(seed, "withhold_votes")
    cluster.run_until(height=40)
    cluster.expect(all(process.view <= 45 for process in cluster.processes), "hardly a view is lost")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_leader_that_proposes_at_the_last_moment_keeps_its_slots(seed: int) -> None:
    """L1: that is within the rules; nobody gives up on it, so it cannot frame itself as a victim either."""
    cluster, record = make_cluster(seed, "stall")
    cluster.run_until(height=40)
    cluster.expect(all(process.view <= 42 for process in cluster.processes), "hardly a view is lost")
    assert count_led(cluster, LIAR) >= 9
    assert not record.reports


@pytest.mark.parametrize("seed", SEEDS)
def test_a_leader_that_never_proposes_costs_its_own_views(seed: int) -> None:
    cluster, _ = make_cluster(seed, "silent")
    cluster.run_until(height=40, timeout_seconds=120)
    assert count_led(cluster, LIAR) == 0
    cluster.expect(all(process.view <= 60 for process in cluster.processes), "one view in four is lost")


@pytest.mark.parametrize("seed", SEEDS)
def test_whom_the_liar_ignores_gets_everything_from_others(seed: int) -> None:
    """L3: nodes 1 and 3 hear the liar, node 2 does not; its votes are still counted where they arrive."""
    cluster, _ = make_cluster(seed, "silent_to_some")
    cluster.run_until(height=40, timeout_seconds=120)
    assert cluster.node(2).height >= 40


class CountingFlood(FloodTimeouts):
    """Counts what its flood is answered with."""

    answers = 0

    def hear(self, message: Message) -> None:
        super().hear(message)
        self.answers += isinstance(message, StatusResponse)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_flood_of_old_timeouts_costs_no_view_and_gets_few_answers(seed: int) -> None:
    """L3, L4: answers are limited in rate, whatever is asked."""
    floods: list[CountingFlood] = []

    class Flood(CountingFlood):
        def __init__(self, means: Means) -> None:
            super().__init__(means)
            floods.append(self)

    cluster, _ = make_cluster(seed, Flood)
    cluster.run_until(height=60)
    cluster.expect(all(process.view <= 65 for process in cluster.processes), "hardly a view is lost")
    intervals = cluster.simulation.elapsed_seconds * 1e6 / cluster.context.parameters.fetch_interval
    assert 0 < floods[0].answers <= 3 * (intervals + 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_timeout_that_denies_the_own_high_qc_undoes_nothing(seed: int) -> None:
    """Section 4: in every quorum of timeouts an honest signer remembers what was finalized."""
    cluster, _ = make_cluster(seed, "forget")
    for _ in range(10):
        cluster.run_until(height=cluster.height + 2)
        victim = cluster.leader()
        if victim.id != LIAR:
            victim.crash()
            victim.restart()
    cluster.run_until(height=cluster.highest + 5)


@pytest.mark.parametrize(("nodes", "liars"), [(4, 1), (7, 2), (10, 3)])
@pytest.mark.parametrize("seed", SEEDS)
def test_liars_below_a_third_with_any_mixture_of_lies(seed: int, nodes: int, liars: int) -> None:
    cluster, record = make_cluster(seed, "do_anything", nodes=nodes, liars=liars)
    cluster.run_until(height=15, timeout_seconds=120)
    honest = cluster.node(nodes - 1)
    for _ in range(5):
        honest.crash()
        cluster.run_for(0.05)
        honest.restart()
        cluster.run_until(height=cluster.height + 3, timeout_seconds=120)
    assert {evidence.offender for evidence in record.reports} <= set(range(liars))


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_the_same_seed_gives_the_same_lies(name: str) -> None:
    hashes = set()
    for _ in range(2):
        cluster, _ = make_cluster(7, name)
        cluster.run_until(height=12, timeout_seconds=120)
        hashes.add(cluster.audit_hash)
    assert len(hashes) == 1


def test_an_unknown_behaviour_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match='no behaviour "nice"; there are equivocate, double_vote'):
        Cluster(byzantine={LIAR: "nice"})
