"""What a network fixes for its ledger. Every field stands in the network file.

Fractions are in parts per million (ppm) and every division rounds down, so all nodes compute the same integers.
"""

from dataclasses import dataclass, field
from typing import Final

PPM: Final = 1_000_000
LEADER_WINDOW_MAX: Final = 62
"""A window is a bitmap in an integer that fits into 63 bits."""


@dataclass(frozen=True, slots=True)
class LeadershipParameters:
    """Raises `ValueError` for a set that cannot work."""

    primary_size: int = 0
    """Validators that lead in normal mode; 0 is all that are not in the fallback committee."""
    fallback_size: int = 0
    """Validators that take over when the primary committee fails; 0 is a third of all, at least one."""
    bench_after: int = 2
    """Own slots missed in a row that cost a validator its next turns (S3)."""
    bench_doublings_max: int = 6
    """The bench lasts 2^j turns, j counting benchings in a row up to this: a dead validator is tried every 64 turns."""
    fallback_after: int = 3
    """Views skipped in a row after which the fallback committee leads (S4): one more than a single dead leader
    costs.
    """
    handback_after: int = 16
    """Leaves without a skipped view after which the primary committee leads again (S5)."""
    handback_doublings_max: int = 6
    """Each relapse doubles that term, up to this many times (hold-down)."""

    def __post_init__(self) -> None:
        if min(self.primary_size, self.fallback_size) < 0:
            raise ValueError("committee sizes must not be negative; 0 lets the network choose")
        if min(self.bench_after, self.fallback_after, self.handback_after) < 1:
            raise ValueError("bench_after, fallback_after and handback_after must be at least 1")
        if not (0 <= self.bench_doublings_max <= 16 and 0 <= self.handback_doublings_max <= 16):
            raise ValueError("doublings must be between 0 and 16")


@dataclass(frozen=True, slots=True)
class SlashingParameters:
    """J1 to J4. Raises `ValueError` for a set that cannot work."""

    leader_window: int = 48
    """Own slots that are looked back upon: a leader that missed more than two thirds of them is jailed. With 32 an
    honest leader, of which a third of all slots is suppressed for ever, would be jailed once in 2,600 windows; with 48
    and the next parameter it is once in tens of thousands (`python -m benchmarks framing`).
    """
    jail_after: int = 14
    """Own slots missed in a row that jail as well, so that one which is simply gone need not wait for a full window."""
    liveness_fraction_ppm: int = 100
    """Stake that the first liveness offence costs: 0.01 %, because absence cannot be proven, only counted (J2)."""
    liveness_growth: int = 4
    """Each repeat costs this many times more, up to the next two caps."""
    liveness_event_max_ppm: int = 10_000
    """Most that one liveness offence may cost."""
    liveness_epoch_max_ppm: int = 20_000
    """Most that the liveness offences of one epoch may cost one validator."""
    jail_epochs: int = 1
    """Term of the first jailing; it doubles per offence."""
    jail_doublings_max: int = 6
    """Up to this many times."""
    grace_slots: int = 8
    """Own slots of a newcomer that are not held against it; the members of the first epoch have no grace."""
    probation_leaves: int = 8
    """Leaves that somebody back from jail must lead before a single miss no longer benches it at once."""
    outage_window: int = 64
    """Views: when leaders of more than a third of the stake missed within so many, nobody is charged (J2)."""
    safety_fraction_ppm: int = 50_000
    """Stake that a safety offence costs at least: 5 %, with everyone else honest."""
    correlation_multiple: int = 3
    """A safety offence costs this multiple of the share of stake that offended in the same window, at the most all:
    a third of the stake acting together loses everything.
    """
    correlation_epochs: int = 2
    """How many epochs back an offence counts into that share."""
    reporter_fraction_ppm: int = 50_000
    """Of what a safety offence costs, the share of the proposer that included the evidence (J4)."""
    pool_fraction_ppm: int = 450_000
    """Of every slash, the share of the insurance pool; the rest is burned."""
    promise_compensation: int = 100
    """What the submitter of a transaction gets from the pool when its leader broke a promise, in stake units."""

    def __post_init__(self) -> None:
        if not 3 <= self.leader_window <= LEADER_WINDOW_MAX:
            raise ValueError(f"leader_window must be between 3 and {LEADER_WINDOW_MAX}")
        if min(self.jail_after, self.jail_epochs, self.liveness_growth, self.correlation_multiple) < 1:
            raise ValueError("jail_after, jail_epochs, liveness_growth and correlation_multiple must be at least 1")
        if not 0 <= self.jail_doublings_max <= 16:
            raise ValueError("jail_doublings_max must be between 0 and 16")
        counts = (self.grace_slots, self.probation_leaves, self.correlation_epochs, self.promise_compensation)
        if min(counts) < 0 or self.outage_window < 1:
            raise ValueError("counts must not be negative, and outage_window must be at least 1")
        fractions = (
            self.liveness_fraction_ppm,
            self.liveness_event_max_ppm,
            self.liveness_epoch_max_ppm,
            self.safety_fraction_ppm,
            self.reporter_fraction_ppm,
            self.pool_fraction_ppm,
        )
        if min(fractions) < 0 or max(fractions) > PPM:
            raise ValueError(f"fractions are between 0 and {PPM} ppm")
        if self.reporter_fraction_ppm + self.pool_fraction_ppm > PPM:
            raise ValueError("reporter_fraction_ppm and pool_fraction_ppm exceed the whole together")


@dataclass(frozen=True, slots=True)
class EpochParameters:
    """T2 to T4. Raises `ValueError` for a set that cannot work."""

    epoch_blocks: int = 1024
    """Heights of an epoch: its last one is a multiple of this."""
    unbonding_epochs: int = 2
    """Epochs between the last one in which unbonded stake could vote and its payment; it is slashable until then, and
    evidence expires after as many.
    """
    min_stake: int = 1
    """Whoever has less is in no stake table."""
    beacon_difficulty: int = 100_000
    """Steps of the hash chain (T4): 0.05 s of one core. To be drawn out far beyond an epoch's end by whoever wants to
    try more than one outcome, and well inside an epoch for everyone else.
    """
    beacon_checkpoints: int = 16
    """Points of the chain that stand in the leaf; parts between them are verified independently."""

    def __post_init__(self) -> None:
        if self.epoch_blocks < 4:
            raise ValueError("epoch_blocks must be at least 4: the beacon's result needs a leaf to stand in")
        if self.unbonding_epochs < 1 or self.min_stake < 1:
            raise ValueError("unbonding_epochs and min_stake must be at least 1")
        if not 1 <= self.beacon_checkpoints <= 256:
            raise ValueError("beacon_checkpoints must be between 1 and 256")
        if self.beacon_difficulty < self.beacon_checkpoints or self.beacon_difficulty % self.beacon_checkpoints:
            raise ValueError("beacon_difficulty must be a positive multiple of beacon_checkpoints")


@dataclass(frozen=True, slots=True)
class LedgerParameters:
    """All that the ledger's rules depend on besides the leaves."""

    leadership: LeadershipParameters = field(default_factory=LeadershipParameters)
    slashing: SlashingParameters = field(default_factory=SlashingParameters)
    epochs: EpochParameters = field(default_factory=EpochParameters)
