"""What a fault does to the messages of a link, to a clock, to a disk: each by itself, without a protocol around it."""

from random import Random

import msgspec
import pytest

from consensus.effects import Batch
from consensus.events import PeerLost, Received, Timer
from consensus.messages import StatusRequest
from consensus.types import Epoch, ValidatorId, View
from netsim.clock import Timers
from netsim.cluster import START, Cluster
from netsim.disk import Disk, DiskFailure, DiskModel, Loss
from netsim.network import Constant, Hindrance, LinkModel
from netsim.simulation import Simulation
from netsim.wire import Arrival, Refused

ONE, OTHER = ValidatorId(0), ValidatorId(1)


class Post:
    """Two nodes, of which the second writes down what arrives: (milliseconds, view or other arrival)."""

    def __init__(self) -> None:
        self.cluster = Cluster(2, start=False)
        self.link = self.cluster.network.links[ONE][OTHER]
        self.got: list[tuple[float, object]] = []
        self.lost_at_one: list[object] = []
        self.cluster.wire.attach([self.lost_at_one.append, self._note])

    def send(self, *views: int) -> None:
        for view in views:
            self.cluster.wire.send(ONE, OTHER, StatusRequest(Epoch(0), View(view)))

    def wait(self, milliseconds: float) -> None:
        self.cluster.run_for(milliseconds / 1000)

    def _note(self, arrival: Arrival) -> None:
        now = (self.cluster.simulation.now - START) / 1000
        match arrival:
            case Received(_, item):
                message = item.message  # type: ignore[union-attr]
                self.got.append((now, int(message.view) if message.epoch == 0 else message))  # type: ignore[union-attr]
            case Refused():
                self.got.append((now, "refused"))
            case _:
                self.got.append((now, arrival))

    @property
    def views(self) -> list[object]:
        return [what for _, what in self.got]


def test_a_clog_holds_everything_and_lets_it_go_in_order() -> None:
    post, clog = Post(), Hindrance(clogs=True)
    post.send(1)
    post.link.hinder(clog)
    post.send(2, 3)
    post.cluster.wire.break_connections(ONE)
    post.wait(50)
    assert post.views == [1]
    post.link.lift(clog)
    post.cluster.wire.unclog(ONE, OTHER)
    post.send(4)
    post.wait(50)
    assert post.views == [1, 2, 3, PeerLost(ONE), 4]
    assert 51 <= post.got[1][0] < 52
    assert clog.bites == 2


def test_a_reset_loses_what_is_on_its_way_and_both_sides_notice() -> None:
    post = Post()
    post.send(1)
    post.wait(0.5)
    post.send(2)
    assert post.cluster.wire.reset([(ONE, OTHER)]) == 2
    post.send(3)
    post.wait(50)
    assert post.views == [PeerLost(ONE), 3]
    assert post.lost_at_one == [PeerLost(OTHER)]
    assert post.cluster.network.counters.resets == 1


def test_what_is_altered_meets_the_decoder() -> None:
    """Every message differs in one byte: nothing arrives as it was sent."""
    post = Post()
    post.link.hinder(Hindrance(corruption=1.0))
    post.send(*range(1, 51))
    post.wait(50)
    assert len(post.got) == 50
    assert "refused" in post.views
    assert all(view != number for number, view in enumerate(post.views, 1))


def test_kinds_are_dropped_and_others_pass() -> None:
    post = Post()
    drop = Hindrance(kinds=frozenset({"QuorumVote"}), kinds_probability=1.0)
    post.link.hinder(drop)
    post.send(1)
    post.link.hinder(Hindrance(kinds=frozenset({"StatusRequest"}), kinds_probability=1.0))
    post.send(2)
    post.wait(50)
    assert post.views == [1]
    assert drop.bites == 0


def test_hindrances_add_up_and_each_is_lifted_for_itself() -> None:
    post, first, second = Post(), Hindrance(cuts=True), Hindrance(cuts=True)
    slow = Hindrance(model=LinkModel(Constant(20_000)))
    for hindrance in (first, slow, second):
        post.link.hinder(hindrance)
    post.link.lift(first)
    post.send(1)
    post.link.lift(second)
    post.send(2)
    post.link.lift(slow)
    post.wait(50)
    post.send(3)
    post.wait(50)
    assert post.got == [(20.0, 2), (51.0, 3)]
    assert (first.bites, second.bites, slow.bites) == (0, 1, 2)
    assert post.link.fixed_delay == 1_000


def test_a_queue_that_is_full_loses_what_comes_next() -> None:
    """A kilobyte a second and room for two messages of four bytes."""
    post = Post()
    post.link.set_model(LinkModel(bandwidth_bytes_per_second=1_000, queue_bytes_max=8))
    post.send(1, 2, 3, 4)
    post.wait(200)
    post.send(5)
    post.wait(200)
    assert 1 < len(post.views) < 5
    assert post.views[-1] == 5
    assert post.cluster.network.counters.lost == 5 - len(post.views)


# Clocks


class Watch:
    def __init__(self) -> None:
        self.simulation = Simulation(1, START)
        self.fired: list[int] = []
        self.timers = Timers(self.simulation, 0, lambda timer: self.fired.append(self.simulation.now - START))

    def read(self) -> int:
        return self.timers.read_clock() - START

    def wait(self, microseconds: int) -> None:
        self.simulation.run(self.simulation.now + microseconds)


def test_a_clock_never_runs_backwards() -> None:
    """Set back by a second it waits for a second; set right again after having been ahead it waits too."""
    watch = Watch()
    watch.wait(5_000_000)
    watch.timers.set_clock(-1_000_000, 1.0)
    assert watch.read() == 5_000_000
    watch.wait(500_000)
    assert watch.read() == 5_000_000
    watch.wait(1_000_000)
    assert watch.read() == 5_500_000
    watch.timers.set_clock(2_000_000, 1.0)
    assert watch.read() == 8_500_000
    watch.timers.set_clock(0, 1.0)
    watch.wait(1_000_000)
    assert watch.read() == 8_500_000
    watch.wait(3_000_000)
    assert watch.read() == 10_500_000


@pytest.mark.parametrize(
    ("skew", "drift", "fires_at"), [(0, 1.0, 10), (4, 1.0, 6), (-4, 1.0, 14), (0, 2.0, 5), (0, 0.5, 20), (12, 1.0, 0)]
)
def test_timers_follow_the_clock(skew: int, drift: float, fires_at: int) -> None:
    """One that is set to ten seconds, whether before or after the clock goes wrong."""
    for is_set_first in (True, False):
        watch = Watch()
        if is_set_first:
            watch.timers.set(Timer.VIEW, START + 10_000_000)
        watch.timers.set_clock(skew * 1_000_000, drift)
        if not is_set_first:
            watch.read()
            watch.timers.set(Timer.VIEW, START + 10_000_000)
        watch.wait(30_000_000)
        assert watch.fired == pytest.approx([fires_at * 1_000_000], abs=2)


def test_a_clock_that_stands_still_fires_nothing_until_it_goes_on() -> None:
    watch = Watch()
    watch.timers.set_clock(0, 0.0)
    watch.timers.set(Timer.VIEW, START + 1_000_000)
    watch.wait(5_000_000)
    assert not watch.fired
    assert watch.read() == 0
    watch.timers.set_clock(0, 1.0)
    watch.wait(1)
    assert watch.fired == [5_000_000]


# Disks


def make_disk(cluster: Cluster, seed: int) -> Disk:
    found = cluster.node(0).disk.load()
    return Disk(DiskModel(), Random(seed), cluster.context.genesis, found.record)


@pytest.mark.parametrize("loss", Loss)
def test_what_a_crash_leaves_is_what_was_written_first(loss: Loss) -> None:
    """Three turns, of which the first is synced; the record's view tells how many are left."""
    cluster, left = Cluster(1, start=False), set[int]()
    for seed in range(40):
        disk = make_disk(cluster, seed)
        for view in range(1, 4):
            record = msgspec.structs.replace(disk.record, voted_view=View(view))
            disk.append(Batch(record, (), (), ()))
            if view == 1:
                disk.sync()
        disk.crash(loss)
        left.add(int(disk.record.voted_view))
        assert disk.has_lost_sync
    assert left == {Loss.ALL: {1}, Loss.TORN: {1, 2}, Loss.PREFIX: {1, 2, 3}, Loss.SUBSET: {1, 2, 3}}[loss]


def test_a_rotten_block_cannot_be_read_and_nobody_starts_from_it() -> None:
    cluster = Cluster(4, 1)
    cluster.run_until(height=10)
    disk = cluster.node(0).disk
    block, tip = disk.decided[5], disk.decided[-1]
    disk.rot([block.commitment])
    with pytest.raises(DiskFailure):
        disk.read_block(block.commitment)
    with pytest.raises(DiskFailure):
        disk.read_decided(block.leaf.height, blocks_max=3, bytes_max=10_000)
    assert disk.read_block(tip.commitment) == tip
    cluster.node(0).crash()
    cluster.node(0).start()
    assert cluster.node(0).is_alive, "it does not start from that block"
    cluster.node(0).crash()
    disk.rot([disk.decided[-1].commitment])
    cluster.node(0).start()
    assert not cluster.node(0).is_alive
    disk.rot(())
    cluster.node(0).start()
    cluster.run_until(height=20)


def test_a_disk_goes_back_to_where_it_was() -> None:
    cluster = Cluster(4, 1)
    cluster.run_until(height=5)
    process = cluster.node(0)
    image, height, record = process.disk.take_image(), process.height, process.disk.record
    cluster.run_until(height=10)
    process.crash()
    process.disk.put_image_back(image)
    assert process.height == height
    assert process.disk.record == record
    assert all(process.disk.read_block(block.commitment) == block for block in process.disk.decided[1:])
