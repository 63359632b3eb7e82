"""docs/metrics.md, made of the entries that make the metrics."""

from collections.abc import Iterator
from typing import Final

from sequencer.metrics.entries import LABEL_VALUES_MAX, VALIDATORS_SHOWN_MAX, Entry
from sequencer.metrics.node_metrics import SECTIONS

COMMAND: Final = "python -m sequencer.metrics"
_HEAD: Final = f"""# Metrics

What every node tells at `GET /metrics`, in Prometheus' text format or as OpenMetrics. This page is made by
`{COMMAND}` of the same entries that make the metrics; a test fails when it is stale.

Times are seconds, sizes bytes, moments Unix time. Counters end in `_total`; histograms have `_bucket`, `_sum` and
`_count`. Labels are bounded: `validator` and `peer` are names, at most {VALIDATORS_SHOWN_MAX} of them, those
with the most stake; words from elsewhere are at most {LABEL_VALUES_MAX}, and further ones are `other`. A node knows
its own figures only, so a figure of the cluster is a query over its nodes: the rules in deploy/prometheus have those
that matter. The client library adds `process_…` (CPU, memory, descriptors) of the process.
"""


def render_document() -> str:
    return "\n".join(_render_lines())


def _render_lines() -> Iterator[str]:
    yield _HEAD
    for section in SECTIONS:
        yield f"## {section.title}\n"
        yield "| metric | type | labels | what it means | what to look at |"
        yield "|---|---|---|---|---|"
        yield from map(_render_row, section.entries)
        yield ""


def _render_row(entry: Entry) -> str:
    labels = ", ".join(f"`{label}`" for label in entry.labels)
    cells = (f"`{entry.shown_name}`", entry.kind, labels, entry.help, entry.look)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
