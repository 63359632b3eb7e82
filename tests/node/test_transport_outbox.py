"""An outbox is bounded, loses its oldest first and counts what it loses."""

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from sequencer.transport.framing import FRAME_BYTES_MAX
from sequencer.transport.outbox import OFFLINE_LIMIT, ONLINE_LIMIT, Outbox, OutboxLimit


class Losses:
    def __init__(self) -> None:
        self.by_reason: dict[str, int] = {}

    def __call__(self, reason: str, frames: int) -> None:
        self.by_reason[reason] = self.by_reason.get(reason, 0) + frames


@given(
    frames=st.lists(st.binary(min_size=1, max_size=40), max_size=60),
    frames_max=st.integers(1, 20),
    bytes_max=st.integers(1, 300),
)
def test_what_waits_is_the_newest_within_both_bounds(frames: list[bytes], frames_max: int, bytes_max: int) -> None:
    losses = Losses()
    outbox = Outbox(losses, OutboxLimit(frames_max, bytes_max, "full"))
    for frame in frames:
        outbox.put(frame)
        assert len(outbox) <= frames_max
        assert outbox.queued_bytes <= bytes_max
    kept = trio.run(outbox.take_all) if len(outbox) else []
    assert kept == frames[len(frames) - len(kept) :]
    assert losses.by_reason.get("full", 0) == len(frames) - len(kept)


async def test_everything_that_waits_is_taken_at_one_wake_up() -> None:
    outbox = Outbox(Losses())
    taken: list[list[bytes]] = []

    async def take() -> None:
        taken.append(await outbox.take_all())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(5):
            outbox.put(bytes([number + 1]))
    assert taken == [[b"\1", b"\2", b"\3", b"\4", b"\5"]]
    assert len(outbox) == outbox.queued_bytes == 0


def test_a_lower_limit_counts_at_once_and_under_its_own_reason() -> None:
    losses = Losses()
    outbox = Outbox(losses, ONLINE_LIMIT)
    for _ in range(OFFLINE_LIMIT.frames + 44):
        outbox.put(b"vote")
    assert losses.by_reason == {}
    outbox.set_limit(OFFLINE_LIMIT)
    assert len(outbox) == OFFLINE_LIMIT.frames
    assert losses.by_reason == {"outbox_offline": 44}


def test_the_largest_frame_fits_into_the_outbox_of_a_connected_peer() -> None:
    assert ONLINE_LIMIT.bytes >= 2 * FRAME_BYTES_MAX
