"""What a stream tells of views: each as it is, again when it changes, also when its number is used twice."""

from typing import Any, cast

import pytest
import trio

from consensus.types import Epoch, Microseconds, View
from sequencer.api.streaming.view_feed import CHANGING_VIEWS, ViewFeed
from sequencer.api.views import Views
from sequencer.directory import Directory
from sequencer.view_record import ViewRecord
from tests.node.fake_node import FakeNode


class Remembered:
    """A history that a test writes."""

    def __init__(self) -> None:
        self.records: dict[View, ViewRecord] = {}

    def read(self, from_view: View | None, limit: int) -> list[ViewRecord]:
        return list(self.records.values())[-limit:]

    def find(self, view: View) -> ViewRecord | None:
        return self.records.get(view)

    def enter(self, number: int, epoch: int = 0) -> None:
        former = list(self.records.values())[-1:]
        for record in former:
            record.ended_at = Microseconds(number)
        table = FakeNode().ledger.table
        self.records[View(number)] = ViewRecord(View(number), Epoch(epoch), table, Microseconds(1))


class World:
    def __init__(self) -> None:
        self.node, self.history = FakeNode(), Remembered()
        self.node.views = cast("Any", self.history)
        directory = Directory(self.node.network)
        self.feed = ViewFeed(self.node, directory, Views(self.node, directory))

    def tell(self, start: int) -> list[int]:
        """Ids that a reader gets that begins with this number, and reads all."""
        feed, ids = self.feed, []
        number = feed.seek(start)
        while number <= feed.latest:
            ids.append(feed.get_id(number))
            assert b'"view":%d,' % ids[-1] in feed.render(number, None)
            number = feed.seek(number + 1)
        return ids


@pytest.fixture
def world() -> World:
    return World()


def test_of_what_has_changed_several_times_the_last_is_told(world: World) -> None:
    world.history.enter(1)
    assert world.tell(world.feed.find(0)) == [1]
    seen = world.feed.latest
    world.history.enter(2)
    world.feed.find(0)
    world.history.enter(3)
    world.history.records[View(1)].is_decided = True
    assert world.tell(world.feed.find(0)) == [1, 2, 3]
    assert world.tell(seen + 1) == [1, 2, 3]
    assert world.tell(world.feed.find(3)) == [3]
    assert world.feed.find(4) == world.feed.latest + 1


def test_nothing_is_told_twice_without_a_change(world: World) -> None:
    world.history.enter(1)
    start = world.feed.find(5)
    assert world.feed.find(5) == start


def test_a_number_that_the_next_epoch_uses_again_is_told_again(world: World) -> None:
    """The last views of an epoch only close it. Their numbers come again, and a reader that had them goes on."""
    for number in (8, 9, 10):
        world.history.enter(number)
    start = world.feed.find(11)
    del world.history.records[View(9)], world.history.records[View(10)]
    world.feed.find(0)
    assert world.tell(1) == [8]
    world.history.enter(9, epoch=1)
    world.history.enter(10, epoch=1)
    world.feed.find(0)
    assert world.tell(start) == [9, 10]


def test_what_the_history_forgets_is_forgotten_here(world: World) -> None:
    for number in range(1, 200):
        world.history.enter(number)
        world.history.records.pop(View(number - 40), None)
        world.feed.find(0)
    assert 1 < world.feed.first <= world.feed.latest
    assert world.feed.get_id(world.feed.seek(1)) == 160
    assert world.tell(1) == list(range(160, 200))
    assert world.feed.latest - world.feed.first < 3 * 40 + CHANGING_VIEWS


async def test_news_is_a_change_and_nothing_else(world: World) -> None:
    """Votes come all the time; a reader is woken when there is something to tell."""
    wakes = [lambda: None, lambda: world.history.enter(2)]

    async def wait_view() -> None:
        await trio.lowlevel.checkpoint()
        wakes.pop(0)()

    world.history.enter(1)
    world.node.wait_view = wait_view  # type: ignore[method-assign]
    world.feed.find(0)
    await world.feed.wait_news()
    assert len(wakes) == 2
    await world.feed.wait_news()
    assert not wakes
