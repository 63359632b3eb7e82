"""Queries that several panels share. Everything is about the network and the instances that are chosen above."""

from collections.abc import Iterator, Mapping
from typing import Final

from sequencer.dashboards.panels import Query

NETWORK: Final = 'network="$network"'
CHOSEN: Final = 'network="$network", instance=~"$instance"'


def rate(metric: str, **labels: str) -> str:
    """Per second, of the chosen instances."""
    return f"rate({select(metric, **labels)}[$__rate_interval])"


def increase(metric: str, **labels: str) -> str:
    """Within the time that is shown."""
    return f"increase({select(metric, **labels)}[$__range])"


def select(metric: str, **labels: str) -> str:
    """Of the chosen instances, with these labels."""
    return f"{metric}{{{', '.join((CHOSEN, *_match(labels)))}}}"


def of_network(metric: str, **labels: str) -> str:
    """A recording rule of the network, or a metric of all its instances."""
    return f"{metric}{{{', '.join((NETWORK, *_match(labels)))}}}"


def _match(labels: Mapping[str, str]) -> Iterator[str]:
    return (f'{label}="{value}"' for label, value in labels.items())


def quantile(part: float, histogram: str, *, by: str = "") -> str:
    """NaN when nothing was observed."""
    groups = f"le, {by}" if by else "le"
    return f"histogram_quantile({part:g}, sum by ({groups}) ({rate(f'{histogram}_bucket')}))"


def quantiles(histogram: str) -> tuple[Query, Query, Query]:
    """Median, and what one in ten and one in a hundred exceeds."""
    return (
        Query(quantile(0.5, histogram), "p50"),
        Query(quantile(0.9, histogram), "p90"),
        Query(quantile(0.99, histogram), "p99"),
    )
