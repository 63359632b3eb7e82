"""Epochs end and begin under everything that can happen to them (T1 to T5): no stall, no mixed certificate.

The oracles are always on: every node ends an epoch with the same leaf and begins the next with the same ledger, heights
belong to their epoch, and every certificate is counted with the stake table of its own epoch.
"""

from random import Random

import pytest

from consensus.context import FIRST_EPOCH
from consensus.ledger import EpochParameters, LeadershipParameters, LedgerParameters, Status
from consensus.types import ValidatorId
from netsim.cluster import Cluster
from netsim.disk import DiskModel
from netsim.network import LinkModel, Uniform
from netsim.process import Process

SHORT = EpochParameters(epoch_blocks=6, unbonding_epochs=1, beacon_difficulty=32, beacon_checkpoints=4)
PARAMETERS = LedgerParameters(epochs=SHORT)
WAN = LinkModel(Uniform(1_000, 30_000))
SLOW_DISK = DiskModel(Uniform(200, 4_000))


def test_t2_epochs_follow_one_another_on_every_node() -> None:
    cluster = Cluster(4, 1, ledger=PARAMETERS, links=WAN, disk=SLOW_DISK)
    cluster.run_until(height=6 * 20 + 1)
    assert all(process.epoch >= 20 for process in cluster.processes)
    seeds = {process.member.ledger.state.seed for process in cluster.processes if process.epoch == 20}
    assert len(seeds) <= 1


@pytest.mark.parametrize("nodes", [1, 4, 5, 7])
def test_t2_nodes_restarted_all_at_once_in_every_phase_of_the_boundary(nodes: int) -> None:
    """Each run stops the world a little later around the end of the first epoch, and once more after it."""
    for step in range(20):
        cluster = Cluster(nodes, step, ledger=PARAMETERS, links=WAN, disk=SLOW_DISK)
        cluster.run_until(lambda cluster=cluster: cluster.highest >= 5)  # type: ignore[misc]
        for pause in (0.006 * step, 0.013):
            cluster.run_for(pause)
            for process in cluster.alive():
                process.crash()
            for process in cluster.processes:
                process.restart()
        cluster.run_until(height=20)


@pytest.mark.parametrize("seed", range(10))
def test_t2_the_boundary_leaf_times_out_and_a_closing_leaf_ends_the_epoch(seed: int) -> None:
    """The leaf at the last height is certified, and no FC of it forms: its finalize votes reach nobody."""
    cluster = Cluster(4, seed, ledger=PARAMETERS, lost_connections_seen=False)
    cluster.run_until(lambda: any(_is_certified(process, 6) for process in cluster.processes), timeout_seconds=20)
    cluster.partition([0], [1], [2], [3])
    cluster.run_for(2)
    ended_early = [process for process in cluster.processes if process.epoch > 0]
    assert not ended_early
    cluster.heal()
    cluster.run_until(height=20)
    proofs = [process.disk.read_epoch_proof(FIRST_EPOCH) for process in cluster.processes]
    assert all(proof is not None for proof in proofs)
    closing = {len(proof.path) for proof in proofs if proof is not None}
    assert closing != {0}, "an FC of the boundary leaf itself must not have formed"


def _is_certified(process: Process, height: int) -> bool:
    block = process.replica.high_block
    return block is not None and block.leaf.height >= height


def replace_everyone(cluster: Cluster, old: int, amounts: list[int]) -> None:
    """The joiners bond, the founders unbond all that they have."""
    for process, amount in zip(cluster.processes[old:], amounts, strict=True):
        cluster.stakers.bond(process, amount)
    for process in cluster.processes[:old]:
        cluster.stakers.unbond(process, process.member.ledger.validators[process.id].stake)


def run_to_epoch(cluster: Cluster, epoch: int, *, timeout_seconds: float = 60) -> None:
    cluster.run_until(
        lambda: all(process.epoch >= epoch for process in cluster.alive()), timeout_seconds=timeout_seconds
    )


@pytest.mark.parametrize("seed", range(6))
def test_t3_disjoint_tables_of_unequal_stake_next_to_each_other(seed: int) -> None:
    cluster = Cluster(
        4, seed, stakes=[40, 30, 20, 10], joiners=4, treasury=10_000, ledger=PARAMETERS, links=WAN, disk=SLOW_DISK
    )
    cluster.run_until(height=2)
    replace_everyone(cluster, 4, [700, 500, 200, 100])
    run_to_epoch(cluster, 2)
    ledger = cluster.processes[0].member.ledger
    assert set(ledger.table.ids) == {4, 5, 6, 7}
    assert [ledger.table.get_stake(ValidatorId(number)) for number in range(4, 8)] == [700, 500, 200, 100]
    assert {4, 5, 6, 7} >= set(ledger.committee)
    for process in cluster.processes[:4]:
        process.crash()
    height = cluster.highest
    cluster.run_until(height=height + 12)
    # Whoever left gets its stake back when the unbonding time is over.
    run_to_epoch(cluster, 4)
    ledger = cluster.processes[5].member.ledger
    paid = [ledger.accounts[process.signers[0].public_key].balance for process in cluster.processes[:4]]
    assert paid == [40, 30, 20, 10]


@pytest.mark.parametrize("seed", range(6))
def test_t2_the_old_committee_is_gone_right_after_the_boundary(seed: int) -> None:
    """Each founder dies at the moment at which it has begun the epoch that it has no part in."""
    cluster = Cluster(4, seed, joiners=4, treasury=10_000, ledger=PARAMETERS, links=WAN)
    cluster.run_until(height=2)
    replace_everyone(cluster, 4, [1, 2, 2, 2])
    run_to_epoch(cluster, 1)
    for process in cluster.processes[:4]:
        cluster.run_until(lambda process=process: process.epoch >= 2)  # type: ignore[misc]
        process.crash()
    height = cluster.highest
    cluster.run_until(height=height + 12)


def test_t2_a_node_that_slept_through_epochs_is_told_and_catches_up() -> None:
    cluster = Cluster(4, 3, ledger=PARAMETERS, links=WAN)
    cluster.run_until(height=4)
    sleeper = cluster.processes[3]
    sleeper.crash()
    cluster.run_until(lambda: cluster.processes[0].epoch >= 8, timeout_seconds=120)
    sleeper.restart()
    cluster.run_until(lambda: sleeper.epoch >= 8, timeout_seconds=60)


def test_t5_a_joiner_follows_without_a_vote_and_leads_once_its_stake_is_active() -> None:
    parameters = LedgerParameters(LeadershipParameters(primary_size=5, fallback_size=1), epochs=SHORT)
    cluster = Cluster(4, 5, joiners=1, treasury=1_000, ledger=parameters, links=WAN)
    cluster.run_until(height=2)
    joiner = cluster.processes[4]
    assert not joiner.member.context.stake_table.ids[4:]
    cluster.stakers.bond(joiner, 1)
    cluster.run_until(lambda: 4 in cluster.processes[0].member.ledger.validators)
    assert cluster.processes[0].member.ledger.validators[ValidatorId(4)].status is Status.PENDING
    run_to_epoch(cluster, 2)
    assert joiner.member.ledger.validators[ValidatorId(4)].status is Status.ACTIVE
    height = cluster.highest
    cluster.run_until(height=height + 12)
    chain = joiner.disk.decided
    assert any(block.leaf.proposer == 4 for block in chain[height:])


def test_j5_a_rotated_key_signs_from_its_table_on_and_the_old_one_no_more() -> None:
    cluster = Cluster(4, 9, ledger=PARAMETERS, links=WAN)
    cluster.run_until(height=2)
    process = cluster.processes[1]
    cluster.stakers.rotate_key(process)
    process.crash()
    process.restart()
    run_to_epoch(cluster, 2)
    table = process.member.context.stake_table
    assert table.get_validator(process.id).public_key == process.signers[1].public_key
    for other in cluster.processes[2:3]:
        other.crash()
    height = cluster.highest
    cluster.run_until(height=height + 8)  # three of four: not without the rotated one


@pytest.mark.parametrize("seed", range(24))
def test_t2_chaos_over_many_short_epochs(seed: int) -> None:
    """Crashes of some or all, partitions and one-way cuts, with members that come and go; then it must go on."""
    random = Random(seed)
    cluster = Cluster(
        4,
        seed,
        joiners=2,
        treasury=1_000,
        ledger=PARAMETERS,
        links=LinkModel(Uniform(200, random.choice([3_000, 30_000, 100_000])), loss=random.choice([0, 0.02, 0.1])),
        disk=DiskModel(Uniform(100, random.choice([500, 5_000]))),
    )
    for _ in range(10):
        shake(cluster, random)
    cluster.heal()
    height = cluster.highest
    cluster.run_until(height=height + 13, timeout_seconds=200)


def shake(cluster: Cluster, random: Random) -> None:
    act = random.random()
    if act < 0.4:
        for process in random.sample(cluster.processes, random.choice([1, 2, len(cluster.processes)])):
            process.crash()
        cluster.run_for(random.random() * 0.3)
        for process in cluster.processes:
            if not process.is_alive:
                process.restart()
    elif act < 0.6:
        cluster.isolate(random.choice(cluster.processes))
        cluster.run_for(random.random() * 2)
        cluster.heal()
    elif act < 0.8:
        source, destination = random.sample(cluster.processes, 2)
        cluster.cut(source, destination)
        cluster.run_for(random.random())
        cluster.heal()
    else:
        change_stake(cluster, random)
    cluster.run_for(random.random() * 0.5)


def change_stake(cluster: Cluster, random: Random) -> None:
    ledger = cluster.processes[0].member.ledger
    joiner = cluster.processes[max(4, int(ledger.state.next_id))] if ledger.state.next_id < 6 else None
    try:
        if joiner is not None:
            cluster.stakers.bond(joiner, 1)
        else:
            cluster.stakers.unbond(random.choice(cluster.processes[4:]), 1)
    except (ValueError, KeyError):
        return  # it has left already, or its last operation still waits
