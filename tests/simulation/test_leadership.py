"""Leaders that fail, on a simulated network: benched, replaced by the fallback committee, and back again (S3 to S5)."""

import pytest

from consensus.ledger import LeadershipParameters
from netsim.cluster import Cluster

APART = LeadershipParameters(primary_size=2, fallback_size=2, handback_after=8)


def count_views_lost(cluster: Cluster, first: int, last: int) -> int:
    """Views between two heights that made no block."""
    chain = cluster.alive()[0].disk.decided
    return chain[last].leaf.view - chain[first].leaf.view - (last - first)


@pytest.mark.parametrize("seed", range(2))
def test_a_leader_that_is_dead_for_ever_costs_next_to_nothing(seed: int) -> None:
    """Skewed stakes, no suspicion: without the bench every turn of the dead leader would cost a timer."""
    cluster = Cluster(7, seed, stakes=(5, 4, 3, 3, 3, 2, 2), lost_connections_seen=False)
    cluster.run_until(height=10)
    victim = cluster.leader()
    victim.crash()
    cluster.run_until(height=40, timeout_seconds=60)
    settled = cluster.height
    cluster.run_until(height=settled + 200, timeout_seconds=100)
    lost = count_views_lost(cluster, settled, settled + 200)
    cluster.expect(lost <= 10, f"at least 95 % of the views decide, {lost} of 200 were lost")
    cluster.expect(victim.id not in {b.leaf.proposer for b in cluster.alive()[0].disk.decided[settled:]}, "it is dead")


@pytest.mark.parametrize("seed", range(3))
def test_a_benched_leader_that_comes_back_leads_again(seed: int) -> None:
    cluster = Cluster(4, seed)
    cluster.run_until(height=5)
    victim = cluster.leader()
    victim.crash()
    cluster.run_until(height=60, timeout_seconds=60)
    victim.restart()
    start = cluster.height
    cluster.run_until(height=start + 200, timeout_seconds=120)
    proposers = [block.leaf.proposer for block in victim.disk.decided[start + 130 :]]
    cluster.expect(proposers.count(victim.id) > 10, "it has its share of the turns again")


@pytest.mark.parametrize("seed", range(4))
def test_the_fallback_takes_the_lead_from_a_dead_primary_committee_and_gives_it_back(seed: int) -> None:
    cluster = Cluster(7, seed, leadership=APART)
    primary = cluster.context.genesis_ledger.state.primary
    fallback = cluster.context.genesis_ledger.state.fallback
    assert not set(primary) & set(fallback)
    cluster.run_until(height=10)
    for member in primary:
        cluster.node(member).crash()
    witness = cluster.alive()[0]
    cluster.run_until(lambda: witness.replica.chain.ledger.state.mode.is_fallback, timeout_seconds=30)
    start = witness.height
    cluster.run_until(height=start + 4, timeout_seconds=30)
    led = {block.leaf.proposer for block in witness.disk.decided[start : start + 4]}
    cluster.expect(led <= set(fallback), f"only {fallback} lead, {led} did")
    for member in primary:
        cluster.node(member).restart()
    cluster.run_until(lambda: not witness.replica.chain.ledger.state.mode.is_fallback, timeout_seconds=30)
    start = witness.height
    cluster.run_until(height=start + 12, timeout_seconds=30)
    led = {block.leaf.proposer for block in witness.disk.decided[start + 2 :]}
    cluster.expect(led <= set(primary), f"{primary} lead again, {led} did")


@pytest.mark.parametrize("seed", range(8))
def test_the_switch_never_forks_whatever_the_network_does(seed: int) -> None:
    """S6: committees decide who proposes, never what is final; the oracles watch every event."""
    cluster = Cluster(7, seed, leadership=APART)
    primary = [int(member) for member in cluster.context.genesis_ledger.state.primary]
    others = [number for number in range(7) if number not in primary]
    cluster.run_until(height=5)
    cluster.partition(primary, others)
    cluster.run_for(0.3 + seed / 20)
    cluster.heal()
    cluster.run_for(0.05)
    cluster.partition([*primary, *others[:3]], others[3:])
    cluster.run_for(0.3)
    cluster.heal()
    cluster.run_until(height=cluster.highest + 20, timeout_seconds=60)
    ledgers = {
        process.replica.chain.ledger.commitment for process in cluster.processes if process.height == cluster.height
    }
    assert len(ledgers) == 1


def test_an_outage_of_more_than_a_third_benches_nobody() -> None:
    cluster = Cluster(4, seed=3)
    cluster.run_until(height=5)
    for number in (0, 1):
        cluster.node(number).crash()
    cluster.run_for(20)
    for number in (0, 1):
        cluster.node(number).restart()
    height = cluster.highest
    cluster.run_until(height=height + 1, timeout_seconds=30)
    ledger = cluster.node(2).replica.chain.ledger
    cluster.expect(not ledger.benched, f"nobody is benched, {ledger.benched} are")
