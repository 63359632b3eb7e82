"""Links between nodes, transactions that come in, and the machines."""

from typing import Final

from sequencer.dashboards.board import Board, Section
from sequencer.dashboards.panels import (
    BYTES,
    BYTES_PER_SECOND,
    GREEN,
    ORANGE,
    PER_SECOND,
    PLAIN,
    RATIO,
    RED,
    SECONDS,
    Query,
    graph,
    timeline,
)
from sequencer.dashboards.queries import quantile, rate, select

_LINKS: Final = Section(
    "Links",
    (
        timeline(
            "Links",
            "Each node's connection to each peer. Red at one node only: that link; red at all of them: the peer.",
            Query(select("sequencer_peer_connected"), "{{instance}} to {{peer}}"),
            {"0": ("gone", RED), "1": ("connected", GREEN)},
            height=10,
        ),
        graph(
            "Read from peers",
            "Bytes a second that each node reads. A follower reads each block once.",
            Query(f"sum by (instance) ({rate('sequencer_peer_bytes_total', direction='in')})", "{{instance}}"),
            unit=BYTES_PER_SECOND,
        ),
        graph(
            "Written to peers",
            "Bytes a second that each node writes. A leader writes each block to every peer: upload bounds the blocks.",
            Query(f"sum by (instance) ({rate('sequencer_peer_bytes_total', direction='out')})", "{{instance}}"),
            unit=BYTES_PER_SECOND,
        ),
        graph(
            "Frames between nodes",
            "Frames a second of the chosen nodes; dropped ones were not sent because the peer was slow.",
            Query(f"sum by (direction) ({rate('sequencer_peer_frames_total')})", "{{direction}}"),
            unit=PER_SECOND,
            colors={"dropped": RED},
        ),
        graph(
            "Frames that changed nothing",
            "A second, by reason. Late votes (stale) are usual, signatures that do not verify are not.",
            Query(f"sum by (reason) ({rate('sequencer_dropped_frames_total')}) or vector(0)", "{{reason}}"),
            unit=PER_SECOND,
        ),
        graph(
            "New connections",
            "A second, by peer. They rise with outages and restarts.",
            Query(f"sum by (peer) ({rate('sequencer_peer_connections_total')})", "{{peer}}"),
            unit=PER_SECOND,
        ),
        graph(
            "Peers",
            "That each node is connected with: one less than there are validators.",
            Query(select("sequencer_peers_connected"), "{{instance}}"),
            unit=PLAIN,
            is_stepped=True,
        ),
    ),
)
_TRANSACTIONS: Final = Section(
    "Transactions",
    (
        graph(
            "Mempool",
            "Transactions that wait for a block, at each node.",
            Query(select("sequencer_mempool_transactions"), "{{instance}}"),
        ),
        graph(
            "How full the mempool is",
            "Bytes that wait, of those that it holds at most. At 100 % submissions are refused (429).",
            Query(f"{select('sequencer_mempool_bytes')} / {select('sequencer_mempool_limit_bytes')}", "{{instance}}"),
            unit=RATIO,
            thresholds=((None, GREEN), (0.8, RED)),
        ),
        graph(
            "Submitted by clients, by result",
            "Transactions a second. Rejected ones were too large, or the mempool was full.",
            Query(f"sum by (result) ({rate('sequencer_transactions_submitted_total')})", "{{result}}"),
            unit=PER_SECOND,
            is_stacked=True,
            colors={"accepted": GREEN, "rejected": RED},
        ),
        graph(
            "Promises",
            "Soft confirmations a second. Broken ones are punished.",
            Query(f"sum by (outcome) ({rate('sequencer_promises_total')})", "{{outcome}}"),
            unit=PER_SECOND,
            colors={"broken": RED},
        ),
        graph(
            "Bytes of a block",
            "Payload of the blocks that are decided, on average. Near the limit the network takes no more.",
            Query(
                f"{rate('sequencer_decided_payload_bytes_total')} / ({rate('sequencer_decided_blocks_total')} > 0)",
                "{{instance}}",
            ),
            unit=BYTES,
        ),
    ),
)
_CLIENTS: Final = Section(
    "Clients",
    (
        graph(
            "Requests, by answer",
            "A second. 5xx are trouble of the nodes, 4xx that of clients; none means that the client had gone.",
            Query(f"sum by (code) ({rate('sequencer_http_requests_total')})", "{{code}}"),
            unit=PER_SECOND,
            is_stacked=True,
            colors={"2xx": GREEN, "5xx": RED},
        ),
        graph(
            "Time of requests, p99",
            "From the head to the end of the answer, by method, without streams and without waits for finality.",
            Query(quantile(0.99, "sequencer_http_request_seconds", by="method"), "{{method}}"),
            unit=SECONDS,
            thresholds=((None, GREEN), (0.05, ORANGE)),
        ),
        graph(
            "Readers of streams",
            "Connected to each node, over SSE and WebSocket. At streams_max further ones are refused.",
            Query(select("sequencer_stream_readers"), "{{instance}}"),
            unit=PLAIN,
            is_stepped=True,
        ),
    ),
)
_MACHINES: Final = Section(
    "Machines",
    (
        graph(
            "Memory",
            "Resident, of each node's process.",
            Query(select("process_resident_memory_bytes"), "{{instance}}"),
            unit=BYTES,
        ),
        graph(
            "Open files and connections",
            "Of each node's process. Each client and each stream holds one.",
            Query(select("process_open_fds"), "{{instance}}"),
            unit=PLAIN,
        ),
        graph(
            "Free disk",
            "Of the file system with the database. A node that cannot write ends.",
            Query(f"{select('sequencer_disk_free_bytes')} / {select('sequencer_disk_size_bytes')}", "{{instance}}"),
            unit=RATIO,
            most=1,
            thresholds=((None, RED), (0.1, GREEN)),
        ),
        graph(
            "Database",
            "Size with its log. Its slope says how long the disk lasts.",
            Query(select("sequencer_database_bytes"), "{{instance}}"),
            unit=BYTES,
        ),
        graph(
            "Clocks",
            "Each node's clock against that of Prometheus. Beyond clock_skew_max_ms others refuse its proposals.",
            Query(
                f"{select('sequencer_clock_seconds')} - timestamp({select('sequencer_clock_seconds')})", "{{instance}}"
            ),
            unit=SECONDS,
            least=None,
            thresholds=((None, GREEN), (1, ORANGE)),
        ),
        graph(
            "Clock drift",
            "How far the wall clock has left the node's own since it started: 0, unless it was stepped or the machine "
            "slept.",
            Query(select("sequencer_clock_drift_seconds"), "{{instance}}"),
            unit=SECONDS,
            least=None,
        ),
    ),
)

NETWORK_BOARD: Final = Board(
    "sequencer-network",
    "Sequencer / Network and mempool",
    "Links between nodes, transactions that come in, and the machines.",
    (_LINKS, _TRANSACTIONS, _CLIENTS, _MACHINES),
)
