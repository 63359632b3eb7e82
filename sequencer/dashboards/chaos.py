"""What is done to the cluster, and what it does about it: one above the other, with faults marked."""

from typing import Final

from sequencer.dashboards.board import Board, Section
from sequencer.dashboards.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PER_SECOND,
    PLAIN,
    RED,
    SECONDS,
    Query,
    graph,
    stat,
    timeline,
)
from sequencer.dashboards.queries import NETWORK, increase, of_network, quantile, rate, select

_FAULTS: Final = Section(
    "What is done to it",
    (
        timeline(
            "Faults",
            "Faults that are on, by kind, from the cluster's fault log: orders of `sequencer chaos`, scenarios, and "
            "processes that ended by themselves. A row for each kind that has happened.",
            Query(
                f"clamp_max(max by (fault) ({of_network('sequencer_fault_active')}) > 0, 1) "
                'or on () label_replace(vector(0), "fault", "none", "", "")',
                "{{fault}}",
            ),
            {"0": ("no", GREY), "1": ("on", RED)},
            height=7,
        ),
        timeline(
            "Nodes that answer",
            "Whether Prometheus can scrape each node. A frozen one does not answer either.",
            Query(f'up{{job="sequencer", {NETWORK}}}', "{{instance}}"),
            {"0": ("gone", RED), "1": ("answers", GREEN)},
            height=6,
        ),
    ),
)
_PROGRESS: Final = Section(
    "What it does about it",
    (
        graph(
            "Decided blocks",
            "A second, at each node. A gap is the time without finality, and what follows it the recovery.",
            Query(rate("sequencer_decided_blocks_total"), "{{instance}}"),
            unit=PER_SECOND,
            width=24,
        ),
        graph(
            "Time since the last decide",
            "Of the network, and of each node: it rises while nothing is decided and falls to 0 with the first decide.",
            Query(of_network("network:sequencer_decide_age_seconds:min"), "network"),
            Query(f"time() - {select('sequencer_last_decide_timestamp_seconds')}", "{{instance}}"),
            unit=SECONDS,
            thresholds=((None, GREEN), (10, RED)),
        ),
        graph(
            "Losses before a halt",
            "As the best connected node sees it. 0: the next loss halts the chain. -1: it has halted.",
            Query(of_network("network:sequencer_tolerated_losses:max"), "more losses"),
            unit=PLAIN,
            is_stepped=True,
            least=-1,
            thresholds=((None, RED), (1, GREEN)),
        ),
        graph(
            "Views that timed out, by leader",
            "A second: who is being waited for. It stops when the leader is benched.",
            Query(f"max by (validator) ({rate('sequencer_leader_views_total', outcome='timed_out')})", "{{validator}}"),
            unit=PER_SECOND,
            is_stacked=True,
        ),
        graph(
            "Timeouts, by cause",
            "Nodes that stopped voting in a view, a second: by their timer, with others, or for a lost connection.",
            Query(f"sum by (cause) ({rate('sequencer_timeouts_total')}) or vector(0)", "{{cause}}"),
            unit=PER_SECOND,
            is_stacked=True,
        ),
        graph(
            "Proposal to decide",
            "Median and p99 under the fault.",
            Query(quantile(0.5, "sequencer_proposal_to_decide_seconds"), "p50"),
            Query(quantile(0.99, "sequencer_proposal_to_decide_seconds"), "p99"),
            unit=SECONDS,
        ),
        graph(
            "Links",
            "Connections of all nodes together.",
            Query(f"sum({of_network('sequencer_peers_connected')})", "connected"),
            unit=PLAIN,
            is_stepped=True,
        ),
        timeline(
            "Who led, sampled",
            "Which node led its view when it was scraped: whoever failed leads less and less.",
            Query(select("sequencer_is_leader"), "{{instance}}"),
            {"0": ("follows", GREY), "1": ("leads", BLUE)},
            height=6,
        ),
        timeline(
            "Who has the lead",
            "The fallback committee takes over after too many skipped views.",
            Query(f"max({of_network('sequencer_fallback_active')})", "committee"),
            {"0": ("primary", GREEN), "1": ("fallback", ORANGE)},
            height=4,
        ),
    ),
)
_SAFETY: Final = Section(
    "Is it still true?",
    (
        stat(
            "Histories",
            "How many different chains the nodes have decided, where they have a checkpoint in common. More than 1 is "
            "a "
            "fork: alert ConflictingFinality.",
            Query(f"{of_network('network:sequencer_histories:count')} or vector(1)", "histories"),
            unit=PLAIN,
            width=8,
            thresholds=((None, GREEN), (2, RED)),
        ),
        stat(
            "Offences seen",
            "Contradicting signatures that nodes found in the time shown.",
            Query(f"sum(max by (rule) ({increase('sequencer_offences_seen_total')}))", "offences"),
            unit=PLAIN,
            decimals=0,
            width=8,
            thresholds=((None, GREEN), (0.5, RED)),
        ),
        stat(
            "Slashes",
            "In the time shown, for whatever reason.",
            Query(f"sum(max by (rule) ({increase('sequencer_slashings_total')}))", "slashes"),
            unit=PLAIN,
            decimals=0,
            width=8,
            thresholds=((None, GREEN), (0.5, ORANGE)),
        ),
    ),
)

CHAOS: Final = Board(
    "sequencer-chaos",
    "Sequencer / Chaos",
    "What is done to the cluster, and what it does about it.",
    (_FAULTS, _PROGRESS, _SAFETY),
)
