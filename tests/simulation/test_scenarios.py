"""A story a test: what befalls a cluster, and that it decides on. The oracles watch every event."""

import pytest

from consensus.parameters import ConsensusParameters
from consensus.types import Microseconds
from netsim.cluster import Cluster
from netsim.disk import DiskModel
from netsim.network import Exponential, LinkModel, Uniform
from netsim.workload import Workload

SEEDS = range(6)
JITTERY = LinkModel(Exponential(2_000, floor_microseconds=200))
SLOW_DISK = DiskModel(Exponential(500))


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5, 7, 10])
def test_a_healthy_cluster_of_any_size_never_times_out(nodes: int) -> None:
    cluster = Cluster(nodes, seed=nodes, links=JITTERY, disk=SLOW_DISK)
    cluster.run_until(height=30)
    cluster.expect(all(process.view <= 40 for process in cluster.processes), "hardly a view is lost")
    assert cluster.count_transactions() > 0


@pytest.mark.parametrize("stakes", [[10, 1, 1, 1], [5, 5, 5, 1], [7, 1, 3, 9, 2]])
def test_quorums_are_counted_in_stake(stakes: list[int]) -> None:
    """The smallest validator's absence is never missed; more than a third of the stake always is."""
    cluster = Cluster(len(stakes), seed=1, stakes=stakes)
    smallest = stakes.index(min(stakes))
    cluster.node(smallest).crash()
    cluster.run_until(height=10)
    cluster.node(stakes.index(max(stakes))).crash()
    height = cluster.highest
    cluster.run_for(20)
    cluster.expect(cluster.highest <= height + 2, "nothing new is decided without a quorum of stake")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crashed_leader_costs_about_a_round_trip_when_its_connections_break(seed: int) -> None:
    """L2: suspicion instead of a timer."""
    cluster = Cluster(4, seed, links=JITTERY)
    cluster.run_until(height=10)
    cluster.leader().crash()
    before = cluster.simulation.elapsed_seconds
    cluster.run_until(height=cluster.highest + 3, timeout_seconds=5)
    assert cluster.simulation.elapsed_seconds - before < 0.15


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crashed_leader_is_outlived_by_timers_alone(seed: int) -> None:
    cluster = Cluster(4, seed, links=JITTERY, lost_connections_seen=False)
    cluster.run_until(height=10)
    cluster.leader().crash()
    cluster.run_until(height=cluster.highest + 3, timeout_seconds=10)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_frozen_leader_is_outlived_and_thaws(seed: int) -> None:
    """SIGSTOP: connections stay up, so only the timer tells."""
    cluster = Cluster(4, seed, links=JITTERY, disk=SLOW_DISK)
    cluster.run_until(height=10)
    frozen = cluster.leader()
    frozen.pause()
    height = frozen.height
    cluster.run_until(lambda: all(other.height > height + 10 for other in cluster.processes if other is not frozen))
    cluster.expect(frozen.height == height, "a frozen node decides nothing")
    frozen.resume()
    cluster.run_until(height=cluster.highest, timeout_seconds=5)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_node_restarts_again_and_again(seed: int) -> None:
    cluster = Cluster(4, seed, links=JITTERY, disk=SLOW_DISK)
    for turn in range(8):
        cluster.run_for(0.02 + 0.001 * turn)
        victim = cluster.node((seed + turn) % 4)
        victim.crash()
        cluster.run_for(0.03)
        victim.restart()
    cluster.run_until(height=cluster.highest + 5, timeout_seconds=10)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_of_four_is_dispensable_two_are_not_and_one_back_is_enough(seed: int) -> None:
    cluster = Cluster(4, seed, links=JITTERY, disk=SLOW_DISK)
    cluster.run_until(height=5)
    cluster.node(0).crash()
    cluster.run_until(height=cluster.highest + 10)
    cluster.node(1).crash()
    cluster.run_for(1)
    height = cluster.highest
    cluster.run_for(30)
    cluster.expect(cluster.highest == height, "two of four decide nothing")
    cluster.node(seed % 2).restart()
    cluster.run_until(height=height + 10)


@pytest.mark.parametrize("seed", range(12))
def test_all_nodes_restart_at_different_views_and_lose_nothing(seed: int) -> None:
    """No decided leaf is lost (agreement watches), and the chain goes on."""
    cluster = Cluster(4, seed, links=JITTERY, disk=SLOW_DISK)
    cluster.run_for(0.05)
    cluster.isolate(seed % 4)
    cluster.run_for(0.2)
    cluster.cut((seed + 1) % 4, (seed + 2) % 4)
    cluster.run_for(0.7)
    decided = {process.id: process.height for process in cluster.processes}
    for process in cluster.processes:
        process.crash()
    durable = {process.id: process.height for process in cluster.processes}
    cluster.expect(max(durable.values()) >= max(decided.values()) - 1, "an FC stands on some disk or can be made again")
    cluster.heal()
    cluster.run_for(1)
    for process in reversed(cluster.processes):
        process.restart()
        cluster.run_for(0.003 * seed)
    cluster.run_until(height=max(decided.values()) + 5, timeout_seconds=20)


@pytest.mark.parametrize("loss", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_lost_messages_cost_views_and_never_the_chain(seed: int, loss: float) -> None:
    cluster = Cluster(4, seed, links=LinkModel(Uniform(200, 3_000), loss=loss))
    cluster.run_until(height=40, timeout_seconds=600)
    cluster.expect(cluster.network.counters.lost > 10, "messages were lost")


@pytest.mark.parametrize("seed", SEEDS)
def test_duplicated_and_reordered_messages_change_nothing(seed: int) -> None:
    model = LinkModel(Exponential(2_000), duplication=0.5, reordering=0.5)
    cluster = Cluster(4, seed, links=model, disk=SLOW_DISK)
    cluster.run_until(height=60)
    counters = cluster.network.counters
    cluster.expect(counters.duplicated > 100 and counters.reordered > 100, "the faults have bitten")
    cluster.expect(all(process.view < 70 for process in cluster.processes), "hardly a view is lost")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_partition_without_quorum_stops_and_goes_on_when_healed(seed: int) -> None:
    cluster = Cluster(4, seed, links=JITTERY)
    cluster.run_until(height=5)
    cluster.partition({0, 1}, {2, 3})
    cluster.run_for(1)
    height = cluster.highest
    cluster.run_for(30)
    cluster.expect(cluster.highest == height, "neither half decides")
    cluster.expect(cluster.network.counters.cut > 0, "messages ended at the cut")
    cluster.heal()
    cluster.run_until(height=height + 10, timeout_seconds=30)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_majority_of_a_partition_goes_on_and_the_minority_catches_up(seed: int) -> None:
    cluster = Cluster(7, seed, links=JITTERY)
    cluster.run_until(height=5)
    minority, majority = {seed, (seed + 1) % 7}, set(range(7)) - {seed, (seed + 1) % 7}
    cluster.partition(minority, majority)
    cluster.run_until(lambda: all(cluster.node(node).height >= 40 for node in majority))
    cluster.expect(all(cluster.node(node).height < 20 for node in minority), "the minority is behind")
    cluster.heal()
    cluster.run_until(height=cluster.highest, timeout_seconds=20)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_one_way_cut_leaves_a_node_that_hears_but_is_not_heard(seed: int) -> None:
    cluster = Cluster(4, seed, links=JITTERY)
    cluster.run_until(height=5)
    mute = cluster.leader()
    for other in cluster.processes:
        if other is not mute:
            cluster.cut(mute, other)
    cluster.run_until(height=cluster.highest + 10, timeout_seconds=30)
    cluster.heal()
    cluster.run_until(height=cluster.highest + 10, timeout_seconds=30)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_node_that_hears_nothing_is_dispensable_and_catches_up(seed: int) -> None:
    cluster = Cluster(4, seed, links=JITTERY)
    cluster.run_until(height=5)
    deaf = cluster.node(seed % 4)
    others = [process for process in cluster.processes if process is not deaf]
    for other in others:
        cluster.cut(other, deaf)
    cluster.run_until(lambda: all(other.height >= 20 for other in others), timeout_seconds=30)
    cluster.expect(deaf.height < 20, "who hears nothing decides nothing")
    cluster.heal()
    cluster.run_until(height=cluster.highest, timeout_seconds=30)


@pytest.mark.parametrize("seed", range(3))
def test_a_node_down_for_long_catches_up_by_ranges(seed: int) -> None:
    """L5: hundreds of blocks, more than one answer holds."""
    cluster = Cluster(4, seed, links=JITTERY)
    sleeper = cluster.backups()[seed]
    cluster.run_until(height=3)
    sleeper.crash()
    cluster.run_until(height=700)
    sleeper.restart()
    cluster.run_until(lambda: sleeper.height >= 700, timeout_seconds=30)
    cluster.run_until(height=cluster.highest + 20, timeout_seconds=10)
    cluster.expect(sleeper.replica.is_behind is False, "it is a full member again")


def test_a_lonely_restart_finds_nobody_and_waits() -> None:
    cluster = Cluster(4, seed=3)
    cluster.run_until(height=5)
    for process in cluster.processes:
        process.crash()
    height = cluster.highest
    cluster.node(2).restart()
    cluster.run_for(20)
    cluster.expect(cluster.node(2).height <= height, "one of four decides nothing")
    for node in (0, 1, 3):
        cluster.node(node).restart()
    cluster.run_until(height=height + 5, timeout_seconds=30)


@pytest.mark.parametrize("seed", range(10))
def test_unsynced_writes_are_lost_and_nobody_contradicts_itself(seed: int) -> None:
    """R8: crashes while syncs are under way, on a disk that is slower than the network."""
    cluster = Cluster(4, seed, links=LinkModel(Exponential(300)), disk=DiskModel(Exponential(5_000)))
    for turn in range(12):
        cluster.run_for(0.017)
        victim = cluster.node((seed + turn) % 4)
        victim.crash()
        victim.restart()
    cluster.run_until(height=cluster.highest + 5, timeout_seconds=20)
    cluster.expect(sum(process.disk.writes_lost for process in cluster.processes) > 0, "some writes were lost")


def test_an_idle_leader_proposes_at_the_deadline_and_at_once_when_something_arrives() -> None:
    """L6, in virtual time: blocks an idle interval apart, then one at once."""
    cluster = Cluster(4, seed=2, workload=Workload(transactions_per_second=0))
    interval = cluster.context.parameters.idle_interval / 1e6
    cluster.run_for(20 * interval)
    cluster.expect(15 <= cluster.height <= 22, "an idle chain decides once an interval")
    cluster.expect(cluster.count_transactions() == 0, "every block is empty")
    cluster.run_for(0.1)
    start = cluster.simulation.elapsed_seconds
    cluster.submit(10)
    cluster.run_until(lambda: cluster.count_transactions() == 10, timeout_seconds=interval)
    assert cluster.simulation.elapsed_seconds - start < 0.02


def test_a_validator_that_is_a_quorum_by_itself_makes_no_chain_in_no_time() -> None:
    """Nobody else's vote takes a while, nothing is idle, no disk is slow: all the same a second of time passes."""
    parameters = ConsensusParameters(idle_interval=Microseconds(0))
    cluster = Cluster(4, seed=3, stakes=(9, 1, 1, 1), parameters=parameters, workload=Workload(0))
    cluster.run_for(1)
    assert 500 <= cluster.height <= 1001


@pytest.mark.parametrize("rate", [0, 10])
def test_a_frozen_leader_gets_no_idle_time_when_others_hold_transactions(rate: int) -> None:
    """L6: whether they were submitted at once or arrive as they do, the timer alone is waited for."""
    cluster = Cluster(4, seed=3, workload=Workload(transactions_per_second=rate))
    cluster.run_for(1)
    cluster.submit(10)
    cluster.run_until(lambda: cluster.count_transactions() >= 10)
    cluster.run_for(0.02)
    cluster.leader().pause()
    cluster.submit(5 if rate == 0 else 0)
    wanted = cluster.count_transactions() + 1
    start = cluster.simulation.elapsed_seconds
    cluster.run_until(lambda: cluster.count_transactions() >= wanted, timeout_seconds=5)
    floor = cluster.context.parameters.timeout_floor / 1e6
    assert floor <= cluster.simulation.elapsed_seconds - start < floor + (0.02 if rate == 0 else 0.15)


def test_slow_links_are_learned_and_do_not_look_like_dead_leaders() -> None:
    """L1: the timer follows the view duration, here far above its floor."""
    cluster = Cluster(4, seed=5, links=LinkModel(Uniform(300_000, 400_000)))
    cluster.run_until(height=40, timeout_seconds=120)
    view = cluster.node(0).view
    height = cluster.height
    cluster.run_until(height=height + 40, timeout_seconds=120)
    cluster.expect(cluster.node(0).view - view <= 45, "hardly a view is lost")


def test_narrow_links_carry_large_payloads() -> None:
    cluster = Cluster(
        4,
        seed=6,
        links=LinkModel(bandwidth_bytes_per_second=10_000_000),
        workload=Workload(transactions_per_second=0, transaction_bytes=1_000),
    )
    cluster.submit(2_000)
    cluster.run_until(lambda: cluster.count_transactions() == 2_000, timeout_seconds=20)
    assert cluster.simulation.elapsed_seconds > 0.2
