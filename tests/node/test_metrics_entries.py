"""Every metric is described, and the description is the metric: page, entries and docs/metrics.md say the same."""

import re
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric

from consensus.types import ValidatorId
from sequencer.directory import Directory
from sequencer.fault_log import FaultLog
from sequencer.metrics import SECTIONS, NodeMetrics
from sequencer.metrics.document import COMMAND, render_document
from sequencer.metrics.entries import Entry
from sequencer.metrics.progress import CHECKPOINT_BLOCKS
from sequencer.transport.counters import PeerCounters
from tests.node.fake_node import FakeNode
from tests.node.test_metrics_progress import decide

ROOT = Path(__file__).parents[2]
ENTRIES = [entry for section in SECTIONS for entry in section.entries]
UNITS = ("seconds", "bytes", "ratio")


class Links:
    connected = frozenset({ValidatorId(1)})
    counters = {ValidatorId(1): PeerCounters(bytes_in=5), ValidatorId(2): PeerCounters(frames_dropped=2)}  # noqa: RUF012


@pytest.fixture
def page(tmp_path: Path) -> dict[str, Metric]:
    """Everything that a node may show, by name."""
    node = FakeNode()
    metrics = NodeMetrics("1.2.3", "testnet", "n0")
    metrics.on_ledger(node.ledger, Directory(node.network))
    metrics.voting.watch(ValidatorId(0), lambda: Links.connected)
    metrics.traffic.watch_links(Links())
    metrics.progress.watch(lambda: False, lambda: True)
    metrics.host.watch_disk(tmp_path / "node.db")
    metrics.host.watch_clock(lambda: 0.5)
    metrics.host.watch_faults(FaultLog(tmp_path / "faults.jsonl"))
    metrics.timeouts.inc("timer")
    decide(metrics, CHECKPOINT_BLOCKS, 1)
    metrics.dropped_frames.inc("stale")
    metrics.ledger.changes.inc("benched")
    return {family.name: family for family in metrics.registry.collect()}


def test_the_page_shows_what_the_entries_say(page: dict[str, Metric]) -> None:
    """Names, types, help and labels; nothing more, and nothing less."""
    own = {name: family for name, family in page.items() if not name.startswith("process_")}
    assert own.keys() == {entry.name for entry in ENTRIES}
    for entry in ENTRIES:
        family = own[entry.name]
        assert family.type == entry.kind
        assert family.documentation == entry.help
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert labels == set(entry.labels), entry.name


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_names_follow_the_conventions_and_texts_are_sentences(entry: Entry) -> None:
    assert re.fullmatch(r"sequencer(_[a-z]+)+", entry.name)
    assert not entry.name.endswith(("_total", "_info", "_milliseconds", "_count"))
    if entry.kind == "histogram":
        assert entry.name.endswith(UNITS)
    for text in (entry.help, entry.look):
        assert text.endswith(".")
        assert len(text.split()) >= 2


def test_the_document_is_not_stale() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == render_document(), f"run `{COMMAND} > docs/metrics.md`"


def test_links_are_told_by_peer_and_direction(page: dict[str, Metric]) -> None:
    def read(name: str, **labels: str) -> float:
        return next(sample.value for sample in page[name].samples if sample.labels == labels)

    assert read("sequencer_peer_connected", peer="n1") == 1
    assert read("sequencer_peer_connected", peer="n2") == 0
    assert read("sequencer_peer_bytes", peer="n1", direction="in") == 5
    assert read("sequencer_peer_frames", peer="n2", direction="dropped") == 2
