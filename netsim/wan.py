"""Round-trip times between regions, and nodes spread over them.

A matrix file is CSV: the first row names the regions, each further row a region and its round-trip times in
milliseconds to all of them. The diagonal is the round trip within a region. One-way delay is half of the round trip.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from netsim.network import Constant, LinkModel, LogNormal


class RegionError(ValueError):
    """A region matrix that cannot be used. Names the file, the line and what to write instead."""


@dataclass(frozen=True, slots=True)
class RegionMatrix:
    """`rtt_ms[i][j]`: from region i to region j and back."""

    regions: tuple[str, ...]
    rtt_ms: tuple[tuple[float, ...], ...]

    def region_of(self, node: int) -> str:
        """Nodes are spread evenly: node i lives in region i modulo the number of regions."""
        return self.regions[node % len(self.regions)]

    def one_way_microseconds(self, source: int, destination: int) -> int:
        """Between two nodes."""
        count = len(self.regions)
        return round(self.rtt_ms[source % count][destination % count] * 500)

    def make_links(self, *, jitter: float = 0.0, loss: float = 0.0) -> Callable[[int, int], LinkModel]:
        """Link models for any number of nodes. `jitter` is the sigma of a lognormal delay around the matrix's value."""

        def make(source: int, destination: int) -> LinkModel:
            delay = self.one_way_microseconds(source, destination)
            return LinkModel(LogNormal(delay, jitter) if jitter else Constant(delay), loss=loss)

        return make


def read_regions(path: Path) -> RegionMatrix:
    """Raises `RegionError`."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RegionError(
            f"cannot read the region matrix {path}: {reason}. Name a CSV file of round-trip times"
        ) from error
    if not rows or len(rows[0]) < 2:
        raise RegionError(f"{path} holds no regions. Its first row must be 'region,<name>,<name>,…'")
    regions = tuple(name.strip() for name in rows[0][1:])
    if len(set(regions)) != len(regions):
        raise RegionError(f"{path} names a region twice in its first row. Give each region a name of its own")
    if tuple(row[0].strip() for row in rows[1:]) != regions:
        raise RegionError(f"{path} must have one row for each region of its first row, in the same order")
    times = tuple(_parse_row(path, number, row, len(regions)) for number, row in enumerate(rows[1:], start=2))
    return RegionMatrix(regions, times)


def _parse_row(path: Path, number: int, row: list[str], count: int) -> tuple[float, ...]:
    if len(row) != count + 1:
        raise RegionError(
            f"{path}, row {number} has {len(row) - 1} times for {count} regions. Write one for each region"
        )
    times: list[float] = []
    for text in row[1:]:
        try:
            time = float(text)
        except ValueError:
            time = -1.0
        if not isfinite(time) or time < 0:
            raise RegionError(f"{path}, row {number} holds {text!r}, which is no time. Write milliseconds, such as 64")
        times.append(time)
    return tuple(times)
