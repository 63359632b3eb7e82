"""What is reported of a peer, whatever order its connections come and go in."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from consensus.types import ValidatorId
from sequencer.transport import Found, Lost
from sequencer.transport.counters import DropLog, NoMetrics
from sequencer.transport.link import RETRY_MAX_SECONDS, PeerLink, compute_retry_delay
from tests.node.mesh import fail_instead_of_hanging

watchdog = pytest.fixture(autouse=True)(fail_instead_of_hanging)

PEER = ValidatorId(1)


async def make_link() -> PeerLink:
    return PeerLink(PEER, DropLog(NoMetrics()))


@given(attempt=st.integers(0, 10**9), fraction=st.floats(0, 1, exclude_max=True))
def test_retry_delays_are_short_at_first_and_capped(attempt: int, fraction: float) -> None:
    delay = compute_retry_delay(attempt, fraction)
    assert 0.02 <= delay <= RETRY_MAX_SECONDS
    assert compute_retry_delay(0, fraction) <= 0.05
    if attempt > 6:
        assert delay >= 0.8


@given(fraction=st.floats(0, 0.99))
def test_retry_delays_grow(fraction: float) -> None:
    delays = [compute_retry_delay(attempt, fraction) for attempt in range(12)]
    assert delays == sorted(delays)
    assert delays[0] < delays[3] < delays[5]


@given(st.lists(st.sampled_from(["dialled", "dialled_lost", "accepted", "accepted_lost"]), max_size=40))
def test_found_and_lost_alternate_and_found_needs_a_way_out(steps: list[str]) -> None:
    async def run() -> None:
        link = await make_link()
        reports: list[Found | Lost] = []
        dialled, accepted = False, trio.CancelScope()
        report: Found | Lost | None
        for step in steps:
            match step:
                case "dialled":
                    dialled, report = True, link.on_dialled()
                case "dialled_lost":
                    dialled, report = False, link.on_dialled_lost()
                case "accepted":
                    accepted = trio.CancelScope()
                    report = link.on_accepted(accepted)
                case _:
                    report = link.on_accepted_lost(accepted)
            reports += [report] if report else []
            if isinstance(report, Found):
                assert dialled
            assert link.is_found == (bool(reports) and isinstance(reports[-1], Found))
        assert [type(report) for report in reports] == [Found, Lost] * (len(reports) // 2) + [Found] * (
            len(reports) % 2
        )

    trio.run(run)


@pytest.mark.parametrize("first", ["dialled", "accepted"])
async def test_either_broken_connection_means_lost_and_only_once(first: str) -> None:
    link, accepted = await make_link(), trio.CancelScope()
    assert link.on_accepted(accepted) is None
    assert link.on_dialled() == Found(PEER)
    if first == "dialled":
        assert [link.on_dialled_lost(), link.on_accepted_lost(accepted)] == [Lost(PEER), None]
    else:
        assert [link.on_accepted_lost(accepted), link.on_dialled_lost()] == [Lost(PEER), None]


async def test_a_second_accepted_connection_ends_the_older_one_without_a_loss() -> None:
    link, older, newer = await make_link(), trio.CancelScope(), trio.CancelScope()
    link.on_dialled()
    link.on_accepted(older)
    link.on_accepted(newer)
    assert older.cancel_called
    assert link.on_accepted_lost(older) is None
    assert link.is_found
    assert link.on_accepted_lost(newer) == Lost(PEER)


async def test_a_peer_that_dials_ends_the_wait_for_the_next_attempt(mock_clock: trio.testing.MockClock) -> None:
    # Time stands still here: the wait could not end by itself.
    link = await make_link()
    link.start_attempt()
    link.on_accepted(trio.CancelScope())
    assert await link.wait_retry(1000)
    assert mock_clock.current_time() == 0


async def test_an_attempt_that_is_given_up_leaves_no_scope_open_and_no_wait(
    mock_clock: trio.testing.MockClock,
) -> None:
    link = await make_link()
    link.start_attempt()
    first = link.open_scope()
    link.redial()
    assert first.cancel_called
    assert link.open_scope().cancel_called, "what belongs to the same attempt"
    assert await link.wait_retry(1000)
    link.start_attempt()
    assert not link.open_scope().cancel_called, "the next attempt is another one"


async def test_a_link_that_has_ended_starts_nothing_any_more() -> None:
    link, accepted = await make_link(), trio.CancelScope()
    link.on_dialled()
    link.on_accepted(accepted)
    outgoing = link.open_scope()
    link.end()
    assert outgoing.cancel_called
    assert accepted.cancel_called
    link.start_attempt()
    assert link.open_scope().cancel_called
    assert [link.on_dialled_lost(), link.on_accepted_lost(accepted)] == [Lost(PEER), None]
