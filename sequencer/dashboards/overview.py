"""Is the network well, how fast is it, and who is missing?"""

from typing import Final

from sequencer.dashboards.board import Board, Section
from sequencer.dashboards.panels import (
    GREEN,
    ORANGE,
    PER_SECOND,
    PLAIN,
    RATIO,
    RED,
    SECONDS,
    YELLOW,
    Query,
    bars,
    graph,
    stat,
    table,
)
from sequencer.dashboards.queries import NETWORK, of_network, quantiles, rate, select

_HEALTH: Final = Section(
    "Is it well?",
    (
        stat(
            "Last decide",
            "How long ago any node decided a block. An idle chain decides twice a second; red is alert NoDecide.",
            Query(of_network("network:sequencer_decide_age_seconds:min"), "ago"),
            unit=SECONDS,
            decimals=1,
            thresholds=((None, GREEN), (3, YELLOW), (10, RED)),
        ),
        stat(
            "Losses before a halt",
            "How many more validators, the heaviest first, may fail before nothing is decided any more.",
            Query(of_network("network:sequencer_tolerated_losses:max"), "more"),
            unit=PLAIN,
            thresholds=((None, RED), (0, ORANGE), (1, GREEN)),
            words={"-1": ("halted", RED), "0": ("next one halts", ORANGE)},
        ),
        stat(
            "Stake that votes",
            "Share of the stake whose votes the best connected node hears. Two thirds or less halt the chain.",
            Query(of_network("network:sequencer_participating_stake:ratio"), "votes"),
            unit=RATIO,
            thresholds=((None, RED), (0.6667, ORANGE), (0.999, GREEN)),
        ),
        stat(
            "Who has the lead",
            "The primary committee, or the fallback committee after too many views were skipped in a row (S4).",
            Query(f"max({of_network('sequencer_fallback_active')})", "fallback"),
            unit=PLAIN,
            words={"0": ("primary", GREEN), "1": ("fallback", ORANGE)},
        ),
        stat(
            "Leader at the last scrape",
            "Leaders take turns with every view, so this is one sample of many.",
            Query(f"topk(1, {of_network('sequencer_is_leader')})", "{{instance}}"),
            is_text=True,
            unit=PLAIN,
        ),
        stat(
            "Alerts",
            "Alerts that fire now; the table below names them. Each has a section in docs/operations.md.",
            Query(f'count(ALERTS{{alertstate="firing", {NETWORK}}}) or vector(0)', "firing"),
            unit=PLAIN,
            thresholds=((None, GREEN), (1, RED)),
        ),
        stat(
            "Height",
            "Of the last block that any node has decided: everything up to it is final.",
            Query(of_network("network:sequencer_decided_height:max"), "height"),
            unit=PLAIN,
        ),
        stat(
            "Blocks a second",
            "Decided, by the fastest node, over a minute.",
            Query(of_network("network:sequencer_decided_blocks:rate1m"), "blocks"),
            decimals=1,
        ),
        stat(
            "Transactions a second",
            "Decided, by the fastest node, over a minute.",
            Query(of_network("network:sequencer_decided_transactions:rate1m"), "transactions"),
            decimals=1,
        ),
        stat(
            "Proposal to decide, median",
            "From the moment a node sees a proposal to its decide, over a minute.",
            Query(of_network("network:sequencer_proposal_to_decide_seconds:p50_rate1m"), "p50"),
            unit=SECONDS,
        ),
        stat(
            "Proposal to decide, p99",
            "One in a hundred blocks takes longer, over a minute.",
            Query(of_network("network:sequencer_proposal_to_decide_seconds:p99_rate1m"), "p99"),
            unit=SECONDS,
        ),
        stat(
            "Views that fail",
            "Share of views that ended by timeout certificates, over a minute: their leader was down, slow or cut off.",
            Query(of_network("network:sequencer_views_timed_out:ratio_rate1m"), "timed out"),
            unit=RATIO,
            thresholds=((None, GREEN), (0.05, YELLOW), (0.34, RED)),
        ),
    ),
)
_SPEED: Final = Section(
    "How fast is it?",
    (
        graph(
            "Decided",
            "Blocks and transactions a second, as each node decides them. Lines that part: a node is catching up.",
            Query(rate("sequencer_decided_blocks_total"), "{{instance}} blocks"),
            Query(rate("sequencer_decided_transactions_total"), "{{instance}} transactions"),
            unit=PER_SECOND,
        ),
        graph(
            "Proposal to decide",
            "What a client waits for at least, from the leader's proposal on.",
            *quantiles("sequencer_proposal_to_decide_seconds"),
            unit=SECONDS,
        ),
        graph(
            "Height of each node",
            "Of the last decided block at each node. A flat line has stopped or is cut off.",
            Query(select("sequencer_decided_height"), "{{instance}}"),
            unit=PLAIN,
            least=None,
        ),
        graph(
            "Mempool",
            "Transactions that wait, at each node. They grow when more comes in than is decided.",
            Query(select("sequencer_mempool_transactions"), "{{instance}}"),
        ),
    ),
)
_MISSING: Final = Section(
    "Who is missing?",
    (
        bars(
            "Silence of validators",
            "Seconds since any node heard a vote of each validator; red is alert ValidatorNotVoting.",
            Query(of_network("validator:sequencer_vote_silence_seconds:min"), "{{validator}}"),
            unit=SECONDS,
            most=30,
            thresholds=((None, GREEN), (5, YELLOW), (15, RED)),
        ),
        table(
            "Nodes",
            "What each node says of itself.",
            Query(f"max by (instance, version) ({of_network('sequencer_build_info')})", "version"),
            Query(f"max by (instance) ({of_network('sequencer_decided_height')})", "height"),
            Query(f"max by (instance) ({of_network('instance:sequencer_blocks_behind')})", "behind"),
            Query(f"max by (instance) ({of_network('sequencer_peers_connected')})", "peers"),
            columns={
                "instance": "node",
                "version": "version",
                "Value #B": "height",
                "Value #C": "blocks behind",
                "Value #D": "peers",
            },
            width=12,
            unit=PLAIN,
        ),
        table(
            "Alerts that fire",
            "What to look at now; docs/operations.md has a section for each.",
            Query(
                f'ALERTS{{alertstate="firing", {NETWORK}}} '
                'or on () label_replace(vector(0), "alertname", "none", "", "")',
                "alert",
            ),
            columns={
                "alertname": "alert",
                "severity": "severity",
                "validator": "validator",
                "instance": "node",
                "rule": "rule",
            },
            height=6,
        ),
    ),
)

OVERVIEW: Final = Board(
    "sequencer-overview",
    "Sequencer / Overview",
    "Is it well, how fast is it, who is missing?",
    (_HEALTH, _SPEED, _MISSING),
)
