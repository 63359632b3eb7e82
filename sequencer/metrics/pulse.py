"""What has to be looked at all the time, because nobody notices it otherwise."""

from typing import Final

import trio

from sequencer.metrics.node_metrics import NodeMetrics

PULSE_SECONDS: Final = 0.25
"""Often enough to see who votes and how late the loop is; a look costs some microseconds."""


async def run_pulse(metrics: NodeMetrics) -> None:
    """Until cancelled."""
    due = trio.current_time() + PULSE_SECONDS
    while True:
        await trio.sleep_until(due)
        now = trio.current_time()
        metrics.host.scheduler_lag_seconds.observe(now - due)
        metrics.voting.look()
        due = now + PULSE_SECONDS
