"""The loop, the links, the disk and the workload by themselves."""

from random import Random
from statistics import mean, median

import pytest
from msgspec.structs import replace

from consensus.effects import Batch, Decide
from consensus.leaf import Block
from consensus.payload_tree import compute_payload_commitment
from consensus.safety import SafetyRecord
from consensus.types import Height, Microseconds, View
from netsim.cluster import Cluster
from netsim.disk import Disk, DiskModel
from netsim.network import Constant, Exponential, Latency, Link, LinkCounters, LinkModel, LogNormal, Network, Uniform
from netsim.simulation import Simulation, make_tag
from netsim.workload import Pool, Workload


def make_simulation(seed: int = 0) -> Simulation:
    return Simulation(seed, Microseconds(1_000))


def make_link(model: LinkModel) -> Link:
    return Link(model, Random(5), LinkCounters())


class TestLoop:
    def test_events_happen_in_order_of_time(self) -> None:
        simulation = make_simulation()
        seen: list[tuple[int, object]] = []
        for at in (5_000, 2_000, 9_000, 3_000):
            simulation.schedule(at, lambda argument: seen.append((simulation.now, argument)), at, make_tag(1, 0))
        assert simulation.run(6_000) is False
        assert seen == [(2_000, 2_000), (3_000, 3_000), (5_000, 5_000)]
        assert simulation.now == 6_000
        simulation.run(9_000)
        assert seen[-1] == (9_000, 9_000)

    def test_the_past_is_now(self) -> None:
        simulation = make_simulation()
        seen: list[int] = []
        simulation.schedule(10, lambda _: seen.append(simulation.now), None, 0)
        simulation.run(2_000)
        assert seen == [1_000]

    def test_simultaneous_events_are_ordered_by_the_seed(self) -> None:
        def order(seed: int) -> tuple[object, ...]:
            simulation = make_simulation(seed)
            seen: list[object] = []
            for number in range(8):
                simulation.schedule(2_000, seen.append, number, number)
            simulation.run(2_000)
            return tuple(seen)

        assert order(1) == order(1)
        assert len({order(seed) for seed in range(10)}) > 5

    def test_a_condition_stops_the_run_at_its_event(self) -> None:
        simulation = make_simulation()
        seen: list[object] = []

        def note(argument: object) -> None:
            seen.append(argument)
            simulation.changed = True

        for at in (2_000, 3_000, 4_000):
            simulation.schedule(at, note, at, 0)
        assert simulation.run(9_000, lambda: len(seen) == 2)
        assert simulation.now == 3_000

    def test_the_hash_covers_time_tag_and_notes(self) -> None:
        def run(at: int, tag: int, note: bytes) -> str:
            simulation = make_simulation()
            simulation.schedule(at, lambda _: simulation.note(note), None, tag)
            simulation.run(9_000)
            return simulation.audit_hash

        hashes = {run(2_000, 1, b"a"), run(2_001, 1, b"a"), run(2_000, 2, b"a"), run(2_000, 1, b"b")}
        assert len(hashes) == 4


class TestLinks:
    @pytest.mark.parametrize(
        ("latency", "expected", "tolerance"),
        [
            (Constant(700), 700, 0),
            (Uniform(100, 900), 500, 20),
            (Exponential(1_000, floor_microseconds=200), 1_000, 50),
        ],
    )
    def test_mean_latency(self, latency: Latency, expected: int, tolerance: int) -> None:
        random = Random(1)
        samples = [latency.sample(random) for _ in range(20_000)]
        assert abs(mean(samples) - expected) <= tolerance
        assert min(samples) >= (200 if isinstance(latency, Exponential) else 100)

    def test_lognormal_is_spread_around_its_median(self) -> None:
        random = Random(1)
        samples = [LogNormal(10_000, 0.5).sample(random) for _ in range(20_000)]
        assert abs(median(samples) - 10_000) < 200
        assert max(samples) > 30_000

    @pytest.mark.parametrize("latency", [Constant(500), Exponential(500)])
    def test_a_link_keeps_order(self, latency: Latency) -> None:
        link = make_link(LinkModel(latency, loss=0.1))
        arrivals = [at for now in range(0, 5_000, 10) for at in link.transmit(now, 100)]
        assert arrivals == sorted(set(arrivals))

    def test_reordering_lets_messages_overtake(self) -> None:
        link = make_link(LinkModel(Constant(500), reordering=0.3))
        arrivals = [at for now in range(0, 5_000, 10) for at in link.transmit(now, 100)]
        assert arrivals != sorted(arrivals)

    def test_loss_and_duplication_come_as_often_as_asked(self) -> None:
        link = make_link(LinkModel(loss=0.25, duplication=0.5))
        copies = [len(link.transmit(now, 1)) for now in range(10_000)]
        assert abs(copies.count(0) / 10_000 - 0.25) < 0.02
        assert abs(copies.count(2) / 7_500 - 0.5) < 0.03

    def test_bandwidth_makes_messages_queue(self) -> None:
        link = make_link(LinkModel(Constant(0), bandwidth_bytes_per_second=1_000_000))
        assert [link.transmit(0, 1_000), link.transmit(0, 1_000), link.transmit(10_000, 500)] == [
            (1_000,),
            (2_000,),
            (10_500,),
        ]

    def test_only_a_plain_link_has_a_fixed_delay(self) -> None:
        link = make_link(LinkModel(Constant(300)))
        assert link.fixed_delay == 300
        link.set_cut(True)
        assert link.fixed_delay is None
        link.set_cut(False)
        for model in (LinkModel(loss=0.1), LinkModel(Exponential(3)), LinkModel(bandwidth_bytes_per_second=1)):
            link.set_model(model)
            assert link.fixed_delay is None

    @pytest.mark.parametrize("field", ["loss", "duplication", "reordering"])
    @pytest.mark.parametrize("value", [-0.1, 1.1])
    def test_a_probability_is_one(self, field: str, value: float) -> None:
        with pytest.raises(ValueError, match=f"{field} is {value}"):
            LinkModel(**{field: value})  # type: ignore[arg-type]

    def test_partition_cut_isolate_and_heal(self) -> None:
        network = Network(4, LinkModel(), Random(1))

        def reach() -> set[tuple[int, int]]:
            return {(a, b) for a in range(4) for b in range(4) if a != b and not network.links[a][b].is_cut}

        everything = reach()
        network.cut(0, 1)
        assert everything - reach() == {(0, 1)}
        network.partition({0, 1}, {2})
        assert reach() == {(0, 1), (1, 0)}
        network.heal()
        assert reach() == everything
        network.isolate(3)
        assert {pair for pair in everything if 3 not in pair} == reach()


class TestDisk:
    def make_disk(self, cluster: Cluster, seed: int) -> Disk:
        record = SafetyRecord.initial(cluster.context.genesis_qc)
        return Disk(DiskModel(), Random(seed), cluster.context.genesis, record)

    def make_batches(self, cluster: Cluster) -> list[Batch]:
        """One block and one record a batch, as turns would write them."""
        record = SafetyRecord.initial(cluster.context.genesis_qc)
        blocks = cluster.node(0).disk.decided[1:6]
        return [
            Batch(replace(record, voted_view=View(view)), (block,), (), ())
            for view, block in enumerate(blocks, start=1)
        ]

    def test_a_crash_keeps_a_prefix_of_what_was_not_synced(self) -> None:
        cluster = Cluster(4, seed=1)
        cluster.run_until(height=6)
        kept = set()
        for seed in range(30):
            disk = self.make_disk(cluster, seed)
            batches = self.make_batches(cluster)
            disk.append(batches[0])
            disk.append(batches[1])
            disk.sync()
            for turn in batches[2:]:
                disk.append(turn)
            assert disk.load().record == batches[-1].record, "reads see what is not synced"
            disk.crash()
            found = disk.load()
            views = found.record.voted_view
            assert views >= 2, "what was synced survives"
            assert [block.leaf.height for block in found.undecided] == list(range(1, views + 1))
            assert disk.writes_lost == 5 - views
            kept.add(int(views))
        assert kept == {2, 3, 4, 5}

    def test_decided_blocks_and_their_proofs_come_back(self) -> None:
        cluster = Cluster(4, seed=1)
        cluster.run_until(height=20)
        disk = cluster.node(1).disk
        found = disk.load()
        assert found.tip.leaf.height == len(disk.decided) - 1 >= 20
        blocks = disk.read_decided(Height(5), blocks_max=4, bytes_max=10**6)
        assert [block.leaf.height for block in blocks] == [5, 6, 7, 8]
        assert len(disk.read_decided(Height(5), blocks_max=4, bytes_max=1)) == 1
        proof = disk.read_finality_proof(Height(8), leaves_max=10)
        assert proof is not None
        assert proof[1].view >= blocks[-1].leaf.view
        assert disk.read_finality_proof(Height(10_000), leaves_max=10) is None
        assert disk.read_block(blocks[0].commitment) is blocks[0]

    def test_a_gap_in_the_decided_chain_is_an_error(self) -> None:
        cluster = Cluster(4, seed=1)
        cluster.run_until(height=4)
        disk = self.make_disk(cluster, 1)
        source = cluster.node(0).disk
        proof = source.read_finality_proof(Height(3), leaves_max=5)
        assert proof is not None
        with pytest.raises(ValueError, match="after height 0"):
            disk.append(Batch(None, (), (Decide((source.decided[3],), proof[1]),), ()))


class TestWorkload:
    def make(self, rate: int = 1_000, size: int = 32) -> Workload:
        workload = Workload(rate, size)
        workload.begin(Random(1), Microseconds(0))
        return workload

    def make_block(self, cluster: Cluster, payload: bytes) -> Block:
        leaf = cluster.context.genesis.leaf
        return Block(replace(leaf, payload=compute_payload_commitment(payload), payload_bytes=len(payload)), payload)

    def test_a_payload_fits_and_excludes_what_stands_below_it(self) -> None:
        cluster = Cluster(1)
        workload = self.make()
        pool = Pool(workload, ())
        payload = pool.build((), 200, 100_000)
        assert 0 < len(payload) <= 200
        first = self.make_block(cluster, payload)
        second = self.make_block(cluster, pool.build((first,), 10_000, 100_000))
        one, two = workload.parse(first), workload.parse(second)
        assert one is not None
        assert two is not None
        assert one.isdisjoint(two)
        assert one | two == set(range(100))
        assert pool.accepts(second, (first,))
        assert not pool.accepts(first, (first,))
        pool.on_decide((first,))
        assert not pool.accepts(first, ())
        assert pool.build((second,), 10_000, 100_000) == b""

    def test_what_is_not_of_the_workload_is_refused(self) -> None:
        cluster = Cluster(1)
        workload = self.make()
        pool = Pool(workload, ())
        repeated = workload.encode([3, 3])
        for payload in (b"\xff", b"\x90", repeated, workload.encode([1]) + b"\0", self.make(size=33).encode([1])):
            assert not pool.accepts(self.make_block(cluster, payload), ())
        assert pool.accepts(self.make_block(cluster, b""), ())

    @pytest.mark.parametrize("rate", [1, 3, 7, 1_000, 999_983])
    def test_the_next_arrival_is_when_the_count_rises(self, rate: int) -> None:
        workload = self.make(rate)
        for now in (0, 1, 999, 123_456):
            at = workload.next_arrival(now)
            assert at is not None
            assert workload.count(at) > workload.count(now) == workload.count(at - 1)
        assert self.make(0).next_arrival(5) is None

    def test_bounds_are_checked(self) -> None:
        with pytest.raises(ValueError, match="at least 16 bytes"):
            Workload(1, 15)
