"""Views and their phases, leaders, votes, and what they wait for."""

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
    heatmap,
    timeline,
)
from sequencer.dashboards.queries import of_network, quantile, quantiles, rate, select

_VIEWS: Final = Section(
    "Views",
    (
        graph(
            "Views by outcome",
            "Views a second as the chosen nodes saw them end: certified by a QC, timed out by a TC, unseen while a "
            "node "
            "was elsewhere.",
            Query(f"sum by (outcome) ({rate('sequencer_views_total')})", "{{outcome}}"),
            unit=PER_SECOND,
            is_stacked=True,
            colors={"certified": GREEN, "timed_out": RED, "unseen": GREY},
        ),
        heatmap(
            "Time spent in views",
            "Every view of the chosen nodes. A second band near the view timer is that of failed leaders; an idle "
            "chain "
            "waits half a second for transactions.",
            Query(f"sum by (le) ({rate('sequencer_view_seconds_bucket')})", "{{le}}"),
        ),
        graph(
            "Phases of a view, median",
            "proposal: until the proposal is here. quorum: until the QC. finalize: from the QC to the FC. When one "
            "grows "
            "it tells what is slow: the leader, or the network, disks and CPUs of the voters.",
            Query(quantile(0.5, "sequencer_phase_seconds", by="phase"), "{{phase}}"),
            unit=SECONDS,
        ),
        graph(
            "Phases of a view, p99",
            "The same for the slowest one in a hundred.",
            Query(quantile(0.99, "sequencer_phase_seconds", by="phase"), "{{phase}}"),
            unit=SECONDS,
        ),
        graph(
            "Timeouts, and views that ended by one",
            "Nodes that stopped voting, by cause, and views that got a timeout certificate. Timeouts without views "
            "are one "
            "node's own trouble.",
            Query(f"sum by (cause) ({rate('sequencer_timeouts_total')})", "timeout: {{cause}}"),
            Query(f"sum({rate('sequencer_views_total', outcome='timed_out')})", "views timed out"),
            unit=PER_SECOND,
            colors={"views timed out": RED},
        ),
        graph(
            "View",
            "That each node is in. Nodes that are together overlap.",
            Query(select("sequencer_view"), "{{instance}}"),
            unit=PLAIN,
            least=None,
        ),
        graph(
            "Certified and not decided",
            "Blocks between the highest QC and the last decide: one or two. More means QCs without FCs.",
            Query(f"{select('sequencer_height')} - {select('sequencer_decided_height')}", "{{instance}}"),
            unit=PLAIN,
        ),
        graph(
            "Proposal to decide",
            "From the moment a node saw a proposal to its decide.",
            *quantiles("sequencer_proposal_to_decide_seconds"),
            unit=SECONDS,
        ),
    ),
)
_LEADERS: Final = Section(
    "Leaders",
    (
        timeline(
            "Who led, sampled",
            "Which node led its view when it was scraped. Views are shorter than that, so this is a sample.",
            Query(select("sequencer_is_leader"), "{{instance}}"),
            {"0": ("follows", GREY), "1": ("leads", BLUE)},
            height=6,
        ),
        graph(
            "Views that were certified, by leader",
            "Views a second that ended well, for each leader, as the best informed node counts them.",
            Query(f"max by (validator) ({rate('sequencer_leader_views_total', outcome='certified')})", "{{validator}}"),
            unit=PER_SECOND,
            is_stacked=True,
        ),
        graph(
            "Views that timed out, by leader",
            "Views a second that a leader failed. It is benched after some in a row, and tried again later (S3).",
            Query(f"max by (validator) ({rate('sequencer_leader_views_total', outcome='timed_out')})", "{{validator}}"),
            unit=PER_SECOND,
            is_stacked=True,
        ),
    ),
)
_WORK: Final = Section(
    "Votes, and what they wait for",
    (
        graph(
            "Votes",
            "Votes a second that the chosen nodes sent and received, by kind.",
            Query(f"sum by (kind, status) ({rate('sequencer_votes_total')})", "{{kind}} {{status}}"),
            unit=PER_SECOND,
        ),
        graph(
            "Writes to disk",
            "A vote leaves after its record is on disk. This is in every phase of every view.",
            *quantiles("sequencer_fsync_seconds"),
            unit=SECONDS,
        ),
        graph(
            "Lag of the scheduler, p99",
            "How late a task runs that is due. Above some 10 ms the machine has no CPU left, or something blocks the "
            "loop.",
            Query(quantile(0.99, "sequencer_scheduler_lag_seconds", by="instance"), "{{instance}}"),
            unit=SECONDS,
            thresholds=((None, GREEN), (0.05, ORANGE)),
        ),
        graph(
            "CPU",
            "Cores that each node's process uses. Python uses one for consensus, so 1 is the limit.",
            Query(f"max by (instance) ({rate('process_cpu_seconds_total')})", "{{instance}}"),
        ),
        graph(
            "Nodes that catch up",
            "1 while a node knows of certified blocks that it has not got.",
            Query(of_network("sequencer_behind"), "{{instance}}"),
            unit=PLAIN,
            is_stepped=True,
            most=1,
        ),
    ),
)

CONSENSUS: Final = Board(
    "sequencer-consensus",
    "Sequencer / Consensus",
    "Views and their phases, leaders, votes, and what they wait for.",
    (_VIEWS, _LEADERS, _WORK),
)
