"""J1 against framing: an honest leader whose slots an adversary suppresses is hardly ever jailed for it."""

from itertools import repeat
from math import comb, sqrt
from random import Random

import pytest

from benchmarks.framing import (
    BOUND,
    compute_rates,
    compute_window_limit,
    count_endless_rate,
    count_rates,
    draw_bits,
    draw_windows,
    find_jailing_streak,
)
from consensus.ledger import SlashingParameters

DEFAULT = SlashingParameters()
SMALL = SlashingParameters(leader_window=32, jail_after=12)
"""Easier to count on one's fingers."""
WINDOWS = 20_000


def test_j1_framing_a_third_of_all_slots_jails_less_than_once_in_ten_thousand_windows() -> None:
    assert 0 < compute_rates(1 / 3, DEFAULT).total < BOUND
    assert compute_rates(0.1, DEFAULT).total < 1e-9


@pytest.mark.parametrize("probability", [0.33, 0.6])
def test_j1_the_exact_rate_of_either_half_is_the_textbook_one(probability: float) -> None:
    """Each half alone, the other out of reach: a binomial tail, and a recurrence for runs."""
    size, limit = SMALL.leader_window, compute_window_limit(SMALL)
    assert (size, limit, SMALL.jail_after) == (32, 22, 12)
    tail = sum(comb(size, k) * probability**k * (1 - probability) ** (size - k) for k in range(limit, size + 1))
    only_window = SlashingParameters(leader_window=size, jail_after=size + 1)
    assert compute_rates(probability, only_window).total == pytest.approx(tail, rel=1e-9)

    # Chance of a run of r within n slots: f(n) = f(n-1) + (1 - f(n-r-1)) (1-p) p^r.
    run_of = SMALL.jail_after
    chances = [0.0] * run_of + [probability**run_of]
    for slots in range(run_of + 1, size + 1):
        chances.append(chances[-1] + (1 - chances[slots - run_of - 1]) * (1 - probability) * probability**run_of)
    both = compute_rates(probability, SMALL)
    assert max(tail, chances[-1]) < both.total < tail + chances[-1]


def test_j1_the_counted_rate_agrees_with_the_exact_one() -> None:
    """At a p where a fifth of all windows jails: both halves within five standard deviations."""
    counted = count_rates(draw_windows(WINDOWS, 0.6, SMALL, Random(1)), WINDOWS, SMALL)
    exact = compute_rates(0.6, SMALL)
    for measured, expected in ((counted.window, exact.window), (counted.run, exact.run)):
        assert abs(measured - expected) < 5 * sqrt(expected * (1 - expected) / WINDOWS)
        assert measured > 0


def test_j1_a_window_jails_at_the_slot_that_is_too_much() -> None:
    every_third_led = int("011" * 11, 2) & (1 << 32) - 1
    assert every_third_led.bit_count() == 22
    assert find_jailing_streak(every_third_led, SMALL) == 2
    assert find_jailing_streak(every_third_led & ~1, SMALL) is None
    assert find_jailing_streak((1 << 12) - 1, SMALL) == 12
    assert find_jailing_streak((1 << 11) - 1, SMALL) is None


def test_j1_framing_without_end_is_counted_on_one_record() -> None:
    """Twelve missed, then twenty led, again and again: one jailing a window; the same misses spread out: none."""
    assert count_endless_rate(repeat((1 << 12) - 1, 50), 50, SMALL) == 1
    spread = sum(1 << place for place in range(0, 32, 3))
    assert count_endless_rate(repeat(spread, 50), 50, SMALL) == 0


def test_drawn_bits_have_the_probability_that_was_asked_for() -> None:
    bits = draw_bits(100_000, 0.25, Random(1))
    assert abs(bits.bit_count() / 100_000 - 0.25) < 0.01
    assert draw_bits(100, 0.0, Random(1)) == 0
    windows = list(draw_windows(2_500, 0.5, SMALL, Random(1)))
    assert len(windows) == 2_500
    assert max(windows) < 1 << 32
