"""How often an honest leader is jailed although only others are to blame (J1): counted, and computed exactly.

An adversary suppresses each own slot of the leader with probability p, whatever it takes to do so; a third is more
than any adversary below a third of the stake can hope for. Each trial is one window of `leader_window` own slots, on
a clean record, judged after every missed slot by the rule that nodes run. The exact figure follows every combination
of misses and misses in a row. The last column does not start afresh: it is the rate per window when the framing never
ends, where each slot ends another window. Bench and outage guard (S3, J2) would spare the leader more; neither is
counted.

python -m benchmarks.framing [--windows N]
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from benchmarks.measuring import print_table
from consensus.ledger import SlashingParameters
from consensus.ledger.liveness import count_slot, is_jailable
from consensus.ledger.state import LeaderRecord

PROBABILITIES: Final = (0.10, 0.20, 0.25, 0.33, 1 / 3)
WINDOWS: Final = 1_000_000
BOUND: Final = 1e-4
"""What the rate at 33 % must stay below."""
_PRECISION_BITS: Final = 48
"""Of a probability: 4e-15, far finer than a million windows can tell."""
_CHUNK_WINDOWS: Final = 1000
"""Drawn at once: long enough to spread the cost of a draw, short enough to be cut up quickly."""


@dataclass(frozen=True, slots=True)
class JailRates:
    """Chance per window to be jailed by either half of the rule, whichever comes first."""

    window: float
    """More than two thirds of the window missed."""
    run: float
    """`jail_after` missed in a row."""

    @property
    def total(self) -> float:
        return self.window + self.run


def compute_rates(probability: float, parameters: SlashingParameters) -> JailRates:
    """Exactly, slot by slot over all (misses, misses in a row) that a leader may have without being jailed."""
    chances = {(0, 0): 1.0}
    window = run = 0.0
    for _ in range(parameters.leader_window):
        after: dict[tuple[int, int], float] = {}
        for (missed, streak), chance in chances.items():
            after[missed, 0] = after.get((missed, 0), 0.0) + chance * (1 - probability)
            suppressed = chance * probability
            if streak + 1 >= parameters.jail_after:
                run += suppressed
            elif missed + 1 >= compute_window_limit(parameters):
                window += suppressed
            else:
                after[missed + 1, streak + 1] = after.get((missed + 1, streak + 1), 0.0) + suppressed
        chances = after
    return JailRates(window, run)


def compute_window_limit(parameters: SlashingParameters) -> int:
    """The least number of misses that is more than two thirds of the window."""
    return 2 * parameters.leader_window // 3 + 1


def draw_bits(count: int, probability: float, random: Random) -> int:
    """An integer of `count` independent bits, each 1 with this probability.

    From the last binary digit of the probability to the first: a 1 joins random bits by "or", a 0 by "and".
    """
    digits = round(probability * 2**_PRECISION_BITS)
    bits = 0
    for place in range(_PRECISION_BITS):
        drawn = random.getrandbits(count)
        bits = bits | drawn if digits >> place & 1 else bits & drawn
    return bits


def draw_windows(windows: int, probability: float, parameters: SlashingParameters, random: Random) -> Iterator[int]:
    """Each an integer of `leader_window` bits, 1 is suppressed, bit 0 is the first slot."""
    size = parameters.leader_window
    mask = (1 << size) - 1
    for start in range(0, windows, _CHUNK_WINDOWS):
        drawn = min(_CHUNK_WINDOWS, windows - start)
        bits = draw_bits(drawn * size, probability, random)
        for number in range(drawn):
            yield bits >> (number * size) & mask


def count_rates(windows: Iterator[int], count: int, parameters: SlashingParameters) -> JailRates:
    """By the rule that nodes run, on a clean record for each of the `count` windows."""
    fewest = compute_fewest_misses(parameters)
    by_window = by_run = 0
    for slots in windows:
        # Nearly all windows have too few misses for either half of the rule.
        if slots.bit_count() >= fewest:
            streak = find_jailing_streak(slots, parameters)
            by_run += streak is not None and streak >= parameters.jail_after
            by_window += streak is not None and streak < parameters.jail_after
    return JailRates(by_window / count, by_run / count)


def find_jailing_streak(slots: int, parameters: SlashingParameters) -> int | None:
    """Misses in a row at the slot that jails the leader; None when none of the window's slots does."""
    record, streak = LeaderRecord(), 0
    for place in range(parameters.leader_window):
        missed = bool(slots >> place & 1)
        record = count_slot(record, missed, parameters)
        streak = streak + 1 if missed else 0
        if missed and is_jailable(record, parameters):
            return streak
    return None


def compute_fewest_misses(parameters: SlashingParameters) -> int:
    """Whoever missed fewer of a window's slots than this is not jailed."""
    return min(parameters.jail_after, compute_window_limit(parameters))


def count_endless_rate(windows: Iterator[int], count: int, parameters: SlashingParameters) -> float:
    """Jailings per window when one window follows the other on the same record, which jailing clears."""
    size, fewest = parameters.leader_window, compute_fewest_misses(parameters)
    mask = (1 << size) - 1
    record = jailings = 0
    for slots in windows:
        for place in range(size):
            missed = slots >> place & 1
            # As `count_slot` does it, without an object for each of 32 million slots.
            record = (record << 1 | missed) & mask
            if missed and record.bit_count() >= fewest and is_jailable(LeaderRecord(window=record), parameters):
                jailings += 1
                record = 0
    return jailings / count


def main() -> None:
    arguments = sys.argv[1:]
    windows = int(arguments[arguments.index("--windows") + 1]) if "--windows" in arguments else WINDOWS
    parameters = SlashingParameters()
    rows = []
    for number, probability in enumerate(PROBABILITIES):
        exact = compute_rates(probability, parameters)
        drawn = draw_windows(windows, probability, parameters, Random(number))  # noqa: S311
        counted = count_rates(drawn, windows, parameters)
        again = draw_windows(windows, probability, parameters, Random(number))  # noqa: S311
        endless = count_endless_rate(again, windows, parameters)
        shown = (counted.window, counted.run, counted.total, exact.window, exact.run, exact.total, endless)
        rows.append((f"{probability:.1%}", *(f"{rate:.2e}" for rate in shown)))
    title = f"false jailing per window of {parameters.leader_window} slots, {windows:,} windows each"
    columns = ("p", "window rule", "run rule", "both", "exact window", "exact run", "exact both", "endless")
    print_table(title, columns, rows)
    worst = compute_rates(0.33, parameters).total
    print(f"at 33 %: {worst:.2e} exactly, which is {'below' if worst < BOUND else 'NOT BELOW'} {BOUND:g}")


if __name__ == "__main__":
    main()
