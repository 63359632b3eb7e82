"""What comes and goes: transactions of clients, promises, and frames of peers."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from consensus.types import ValidatorId
from sequencer.metrics.entries import OTHER, VALIDATORS_SHOWN_MAX, Entry, Section
from sequencer.metrics.roster import Roster
from sequencer.transport.counters import PeerCounters

SUBMISSION_RESULTS: Final = ("accepted", "duplicate", "finalized", "rejected")
PROMISE_OUTCOMES: Final = ("given", "refused", "kept", "broken")

MEMPOOL_TRANSACTIONS: Final = Entry(
    "sequencer_mempool_transactions",
    "gauge",
    "Transactions accepted and not yet decided.",
    "Grows while more comes in than is decided; falls back when the load ends.",
)
MEMPOOL_BYTES: Final = Entry(
    "sequencer_mempool_bytes", "gauge", "Bytes of those transactions.", "At the limit, submissions are refused (429)."
)
MEMPOOL_LIMIT: Final = Entry(
    "sequencer_mempool_limit_bytes",
    "gauge",
    "Bytes that the mempool holds at most (mempool_bytes_max).",
    "sequencer_mempool_bytes divided by this is how full it is.",
)
SUBMITTED: Final = Entry(
    "sequencer_transactions_submitted",
    "counter",
    "Transactions submitted here by clients, by result.",
    "rejected ones were too large, or the mempool was full.",
    ("result",),
)
PROMISES: Final = Entry(
    "sequencer_promises",
    "counter",
    "Soft confirmations: given and refused by this node, kept and broken by those that it has asked.",
    "broken ones are punished; refused ones cost a client its early answer and nothing else.",
    ("outcome",),
)
PEERS_CONNECTED: Final = Entry(
    "sequencer_peers_connected",
    "gauge",
    "Validators connected to.",
    "One less than there are validators. Less: the ones that are missing are down, or cut off from here.",
)
PEER_CONNECTED: Final = Entry(
    "sequencer_peer_connected",
    "gauge",
    "1 while a peer is connected, 0 while it is not.",
    "0 at one node only: the link between the two; 0 at all of them: the peer.",
    ("peer",),
)
PEER_CONNECTIONS: Final = Entry(
    "sequencer_peer_connections",
    "counter",
    "Times that a connection to a peer was established.",
    "Rises with every outage. All the time: an unstable network, or a process that is restarted again and again.",
    ("peer",),
)
PEER_BYTES: Final = Entry(
    "sequencer_peer_bytes",
    "counter",
    "Bytes read from a peer (in) and written to it (out), without handshakes.",
    "A leader writes each block to every peer: the upload of a node bounds its blocks.",
    ("peer", "direction"),
)
PEER_FRAMES: Final = Entry(
    "sequencer_peer_frames",
    "counter",
    "Frames read from a peer (in), written to it (out), and dropped unsent because it was slow (dropped).",
    "dropped: the peer does not take what it is sent, look at its machine and the link.",
    ("peer", "direction"),
)
DROPPED_FRAMES: Final = Entry(
    "sequencer_dropped_frames",
    "counter",
    "Frames of peers that changed nothing, by reason.",
    "stale ones are late votes, which is usual. Signatures that do not verify are not.",
    ("reason",),
)

SECTION: Final = Section(
    "Transactions and peers",
    (
        MEMPOOL_TRANSACTIONS,
        MEMPOOL_BYTES,
        MEMPOOL_LIMIT,
        SUBMITTED,
        PROMISES,
        PEERS_CONNECTED,
        PEER_CONNECTED,
        PEER_CONNECTIONS,
        PEER_BYTES,
        PEER_FRAMES,
        DROPPED_FRAMES,
    ),
)


class PeerLinks(Protocol):
    """What a transport tells of its links."""

    @property
    def connected(self) -> AbstractSet[ValidatorId]: ...
    @property
    def counters(self) -> Mapping[ValidatorId, PeerCounters]: ...


class Traffic:
    def __init__(self, registry: CollectorRegistry, roster: Roster) -> None:
        self._registry = registry
        self._roster = roster
        self.mempool_transactions = MEMPOOL_TRANSACTIONS.gauge(registry)
        self.mempool_bytes = MEMPOOL_BYTES.gauge(registry)
        self.mempool_limit = MEMPOOL_LIMIT.gauge(registry)
        submitted = SUBMITTED.counter(registry)
        self.submitted = {result: submitted.labels(result) for result in SUBMISSION_RESULTS}
        promises = PROMISES.counter(registry)
        self.promises = {outcome: promises.labels(outcome) for outcome in PROMISE_OUTCOMES}
        self.peers_connected = PEERS_CONNECTED.gauge(registry)
        self.dropped_frames = DROPPED_FRAMES.bounded(registry)

    def on_drop(self, reason: str, peer: ValidatorId | None = None, count: int = 1) -> None:
        """`count` frames were dropped. The log says whose they were: a label per peer and reason would be too many."""
        self.dropped_frames.inc(reason, count)

    def watch_mempool(self, transactions: Callable[[], int], bytes_: Callable[[], int]) -> None:
        """Both are called at each scrape."""
        self.mempool_transactions.set_function(transactions)
        self.mempool_bytes.set_function(bytes_)

    def watch_peers(self, connected: Callable[[], int]) -> None:
        """Called at each scrape."""
        self.peers_connected.set_function(connected)

    def watch_links(self, links: PeerLinks) -> None:
        """Read at each scrape."""
        self._registry.register(_Links(links, self._roster))


class _Links(Collector):
    """Counters that live in the transport and are read when somebody asks. Peers beyond the bound are one."""

    def __init__(self, links: PeerLinks, roster: Roster) -> None:
        self._links = links
        self._roster = roster

    def collect(self) -> Iterable[Metric]:
        connected, connections = PEER_CONNECTED.gauge_family(), PEER_CONNECTIONS.counter_family()
        bytes_, frames = PEER_BYTES.counter_family(), PEER_FRAMES.counter_family()
        counters = self._links.counters
        shown = sorted(counters)[:VALIDATORS_SHOWN_MAX]
        rest = PeerCounters()
        for peer in sorted(counters)[VALIDATORS_SHOWN_MAX:]:
            for field in PeerCounters.__slots__:
                setattr(rest, field, getattr(rest, field) + getattr(counters[peer], field))
        rows = [(self._roster.name_of(peer), counters[peer]) for peer in shown]
        for name, counts in [*rows, (OTHER, rest)] if len(counters) > len(shown) else rows:
            connections.add_metric([name], counts.connections)
            bytes_.add_metric([name, "in"], counts.bytes_in)
            bytes_.add_metric([name, "out"], counts.bytes_out)
            frames.add_metric([name, "in"], counts.frames_in)
            frames.add_metric([name, "out"], counts.frames_out)
            frames.add_metric([name, "dropped"], counts.frames_dropped)
        for peer in shown:
            connected.add_metric([self._roster.name_of(peer)], peer in self._links.connected)
        yield from (connected, connections, bytes_, frames)
