"""Figures of the live line."""

import pytest

from sequencer.local_cluster.watch import RunningTotal, compute_median


def test_median_counts_only_what_came_since_the_last_look() -> None:
    before = [(0.001, 100.0), (0.002, 100.0), (float("inf"), 100.0)]
    after = [(0.001, 100.0), (0.002, 110.0), (float("inf"), 110.0)]
    assert compute_median(before, after) == pytest.approx(0.0015)


def test_median_lies_within_its_bucket() -> None:
    assert compute_median((), [(0.001, 3.0), (0.002, 4.0), (float("inf"), 4.0)]) == pytest.approx(0.002 / 3)


def test_no_median_of_nothing_and_of_what_is_off_the_scale() -> None:
    assert compute_median((), []) is None
    assert compute_median([(1.0, 5.0)], [(1.0, 5.0)]) is None
    assert compute_median((), [(1.0, 0.0), (float("inf"), 4.0)]) is None


def test_timeouts_on_the_live_line_never_fall() -> None:
    """The node that was asked is killed, another one answers, then the first one again, counting from 0."""
    timeouts = RunningTotal()
    shown = []
    for name, count in (("n0", 4.0), ("n1", 5.0), ("n0", 0.0), ("n0", 2.0), ("n1", 7.0), ("n1", 8.0)):
        timeouts.note(name, count)
        shown.append(timeouts.total)
    assert shown == [4, 5, 5, 7, 7, 8]
