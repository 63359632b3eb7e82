"""Every figure of one node, on one page."""

from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import disable_created_metrics

from consensus.ledger import Ledger
from sequencer.directory import Directory
from sequencer.metrics import clients, host, ledger, progress, traffic, voting
from sequencer.metrics.clients import Clients
from sequencer.metrics.entries import Section
from sequencer.metrics.host import Host
from sequencer.metrics.ledger import LedgerMetrics
from sequencer.metrics.progress import Progress
from sequencer.metrics.roster import Roster
from sequencer.metrics.traffic import Traffic
from sequencer.metrics.voting import Voting

SECTIONS: Final[tuple[Section, ...]] = (
    progress.SECTION,
    voting.SECTION,
    ledger.SECTION,
    traffic.SECTION,
    clients.SECTION,
    host.SECTION,
)
"""All that a page may show, besides `process_…` of the client library."""

# A `_created` series beside each counter doubles the page and tells what nobody asks.
disable_created_metrics()  # type: ignore[no-untyped-call]


class NodeMetrics:
    """The parts by subject, and their verbs, which the node calls a few times per turn at most."""

    def __init__(self, version: str, network: str, validator: str) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        self._roster = Roster()
        self.host = Host(self.registry, version, network, validator)
        self.progress = Progress(self.registry, self._roster)
        self.voting = Voting(self.registry, self._roster)
        self.ledger = LedgerMetrics(self.registry, self._roster)
        self.traffic = Traffic(self.registry, self._roster)
        self.clients = Clients(self.registry)
        # Bound once: the hot path goes through no second call.
        self.on_entered_view = self.progress.on_entered_view
        self.on_proposal = self.progress.on_proposal
        self.on_certified = self.progress.on_certified
        self.on_decide = self.progress.on_decide
        self.timeouts = self.progress.timeouts
        self.count_message = self.voting.count_message
        self.on_offence = self.voting.on_offence
        self.on_ledger_change = self.ledger.on_change
        self.count_operation = self.ledger.count_operation
        self.on_drop = self.traffic.on_drop
        self.submitted = self.traffic.submitted
        self.promises = self.traffic.promises
        self.dropped_frames = self.traffic.dropped_frames
        self.watch_mempool = self.traffic.watch_mempool
        self.watch_peers = self.traffic.watch_peers
        self.fsync_seconds = self.host.fsync_seconds

    def on_ledger(self, ledger: Ledger, directory: Directory) -> None:
        """The ledger stands so, and is durable. It is looked at when somebody scrapes."""
        self._roster.show(ledger, directory)
        self.ledger.on_ledger(ledger)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Page and content type that suit the `Accept` header of a scraper: Prometheus text or OpenMetrics."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type
