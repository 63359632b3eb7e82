"""Small quick scenarios: four nodes, a few milliseconds apart, whose timers are short enough to be met."""

from typing import Any

from netsim.scenario.faults import Fault, Trigger
from netsim.scenario.model import Expect, Load, Scenario, Settings, Shape, Steady

QUICK = Settings(timeout_floor_ms=80, timeout_ceiling_ms=1000, idle_interval_ms=20, fetch_interval_ms=30)
SOON = Trigger(seconds=0.05)


def make_play(
    *faults: Fault, seed: int = 1, chaos_seconds: float = 1.0, expect: Expect | None = None, **shape: Any
) -> Scenario:
    """`shape` are keys of the cluster that are not as usual here."""
    usual = {"nodes": 4, "delay_ms": 5.0, "sync_ms": 0.5, "settings": QUICK}
    return Scenario(
        name="play",
        seed=seed,
        chaos_seconds=chaos_seconds,
        cluster=Shape(**{**usual, **shape}),
        load=Load(transactions_per_second=100, transaction_bytes=32),
        steady=Steady(height=2),
        fault=faults,
        expect=expect or Expect(decide_within_seconds=20.0),
    )
