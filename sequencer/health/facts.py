"""What one node tells about itself, at one moment, and how it was reached."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sequencer.client import ApiProblem, Client, Unreachable

ASK_SECONDS: Final = 3.0
"""A node that takes longer for one answer counts as unreachable, as with most monitoring systems."""


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """A figure that is None was not told. Seconds, bytes and heights; `checkpoints` are height -> digest."""

    name: str
    url: str
    error: str | None = None
    """Why it could not be asked; then everything else is empty."""
    version: str = ""
    network: str = ""
    height: int = 0
    is_behind: bool = False
    is_fallback: bool = False
    mode_reason: str = ""
    peers: int = 0
    validators: int = 1
    standing: str = "active"
    """Of this node's own validator: active, benched, jailed, tombstoned."""
    decide_age_seconds: float | None = None
    clock_offset_seconds: float | None = None
    """Its clock minus ours, corrected for half of the way there and back."""
    tolerated_losses: int | None = None
    participating_ratio: float | None = None
    evidence_pending: int | None = None
    disk_free_bytes: float | None = None
    disk_size_bytes: float | None = None
    checkpoints: Mapping[int, int] = field(default_factory=dict)


def read_facts(name: str, url: str) -> NodeFacts:
    """Never raises for what a node does or does not answer."""
    try:
        with Client(url, timeout_seconds=ASK_SECONDS) as client:
            status = client.status()
            asked_at = time.time()
            page = client.metrics()
            middle = (asked_at + time.time()) / 2
    except (Unreachable, ApiProblem) as error:
        return NodeFacts(name=name, url=url, error=error.reason if isinstance(error, Unreachable) else error.code)
    figures = parse_page(page)

    def get(metric: str) -> float | None:
        return figures.get(metric, {}).get("")

    clock, decided_at = get("sequencer_clock_seconds"), get("sequencer_last_decide_timestamp_seconds")
    me = status.validator
    standings = {"tombstoned": status.tombstoned, "jailed": status.jailed, "benched": status.benched}
    standing = next((word for word, names in standings.items() if me in names), "active")
    losses, pending = get("sequencer_tolerated_losses"), get("sequencer_evidence_pending")
    heights, digests = figures.get("sequencer_checkpoint_height", {}), figures.get("sequencer_checkpoint_digest", {})
    return NodeFacts(
        name=me,
        url=client.url,
        version=status.version,
        network=status.network,
        height=status.height,
        is_behind=status.behind,
        is_fallback=status.mode == "fallback",
        mode_reason=status.mode_reason,
        peers=len(status.peers),
        validators=status.validators,
        standing=standing,
        decide_age_seconds=None if clock is None or decided_at is None else max(0.0, clock - decided_at),
        clock_offset_seconds=None if clock is None else clock - middle,
        tolerated_losses=None if losses is None else int(losses),
        participating_ratio=get("sequencer_participating_stake_ratio"),
        evidence_pending=None if pending is None else int(pending),
        disk_free_bytes=get("sequencer_disk_free_bytes"),
        disk_size_bytes=get("sequencer_disk_size_bytes"),
        checkpoints={int(height): int(digests[slot]) for slot, height in heights.items() if slot in digests},
    )


def parse_page(page: str) -> dict[str, dict[str, float]]:
    """Metric -> value of its only label, or "" without labels -> figure. Series with several labels are left out."""
    from prometheus_client.parser import text_string_to_metric_families

    figures: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if len(sample.labels) <= 1:
                label = next(iter(sample.labels.values()), "")
                figures.setdefault(sample.name, {})[label] = sample.value
    return figures
