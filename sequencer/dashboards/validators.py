"""Stake, who may lead, offences and their price, committees and epochs."""

from typing import Final

from sequencer.dashboards.board import Board, Section
from sequencer.dashboards.panels import (
    GREEN,
    GREY,
    ORANGE,
    PLAIN,
    RED,
    SECONDS,
    YELLOW,
    Query,
    bars,
    graph,
    stat,
    table,
    timeline,
)
from sequencer.dashboards.queries import increase, of_network, select

_STAKE: Final = Section(
    "Stake",
    (
        graph(
            "Stake that votes, and the quorum",
            "What the best connected node hears of. Below the quorum nothing is decided; the distance is what may be "
            "lost.",
            Query(f"max({of_network('sequencer_total_stake')})", "all stake"),
            Query(f"max({of_network('sequencer_participating_stake')})", "votes"),
            Query(f"max({of_network('sequencer_quorum_stake')})", "quorum"),
            is_stepped=True,
            colors={"votes": GREEN, "quorum": RED, "all stake": GREY},
        ),
        graph(
            "Losses before a halt",
            "How many more validators, the heaviest first, may fail. 0: the next one halts the chain. -1: it has "
            "halted.",
            Query(of_network("network:sequencer_tolerated_losses:max"), "best connected"),
            Query(of_network("sequencer_tolerated_losses"), "{{instance}}"),
            unit=PLAIN,
            is_stepped=True,
            least=-1,
            thresholds=((None, RED), (1, GREEN)),
        ),
        bars(
            "Bonded stake",
            "Of each validator, in the smallest unit. It falls when it is slashed or taken out.",
            Query(f"max by (validator) ({of_network('sequencer_validator_stake')})", "{{validator}}"),
        ),
        bars(
            "Silence",
            "Seconds since any node heard a vote of each validator.",
            Query(of_network("validator:sequencer_vote_silence_seconds:min"), "{{validator}}"),
            unit=SECONDS,
            most=30,
            thresholds=((None, GREEN), (5, YELLOW), (15, RED)),
        ),
    ),
)
_STANDING: Final = Section(
    "Standing",
    (
        table(
            "Validators",
            "How each stands now, and own slots missed of the last that the ledger remembers. Benched and jailed ones "
            "vote "
            "and do not lead.",
            Query(f"max by (validator, status) ({of_network('sequencer_validator_status')})", "standing"),
            Query(f"max by (validator) ({of_network('sequencer_validator_stake')})", "stake"),
            Query(f"max by (validator) ({of_network('sequencer_validator_missed_slots')})", "missed"),
            columns={"validator": "validator", "status": "standing", "Value #B": "stake", "Value #C": "missed slots"},
            width=12,
            unit=PLAIN,
        ),
        graph(
            "Validators by standing",
            "As the best informed node has it. Whoever is not active does not lead.",
            Query(f"max by (status) ({of_network('sequencer_validators')})", "{{status}}"),
            unit=PLAIN,
            is_stacked=True,
            is_stepped=True,
            colors={"active": GREEN, "benched": YELLOW, "jailed": ORANGE, "tombstoned": RED, "exiting": GREY},
        ),
        graph(
            "Missed slots",
            "Own slots that each validator has missed, of the last that the ledger remembers: the way to jail (J1).",
            Query(f"max by (validator) ({of_network('sequencer_validator_missed_slots')})", "{{validator}}"),
            unit=PLAIN,
            is_stepped=True,
        ),
        timeline(
            "Who has the lead",
            "The fallback committee takes over after too many skipped views (S4) and hands back when it is quiet (S5).",
            Query(f"max({of_network('sequencer_fallback_active')})", "committee"),
            {"0": ("primary", GREEN), "1": ("fallback", ORANGE)},
            width=12,
        ),
        graph(
            "Changes of the lead",
            "How often in the time shown: skipped_views gave it to the fallback committee, clean_leaves back.",
            Query(f"max by (reason) ({increase('sequencer_fallback_transitions_total')})", "{{reason}}"),
            unit=PLAIN,
        ),
        graph(
            "Epoch",
            "That each node is in. Stake that is bonded in one counts two later.",
            Query(select("sequencer_epoch"), "{{instance}}"),
            unit=PLAIN,
            is_stepped=True,
            least=None,
        ),
    ),
)
_OFFENCES: Final = Section(
    "Offences",
    (
        stat(
            "Seen by nodes",
            "Offences that a node found by itself in the time shown: two signatures of one key that contradict each "
            "other.",
            Query(f"sum(max by (rule) ({increase('sequencer_offences_seen_total')}))", "seen"),
            unit=PLAIN,
            decimals=0,
            width=6,
            thresholds=((None, GREEN), (0.5, RED)),
        ),
        stat(
            "Proofs that wait",
            "Known and not yet in a decided leaf. It goes back to 0 within some views.",
            Query(f"max({of_network('sequencer_evidence_pending')})", "pending"),
            unit=PLAIN,
            width=6,
            thresholds=((None, GREEN), (1, ORANGE)),
        ),
        stat(
            "Tombstoned",
            "Validators that broke a safety rule and never return.",
            Query(f"max({of_network('sequencer_validators', status='tombstoned')})", "tombstoned"),
            unit=PLAIN,
            width=6,
            thresholds=((None, GREEN), (1, RED)),
        ),
        stat(
            "In jail",
            "Validators that missed too many own slots (J1). Their owners may ask to have them back.",
            Query(f"max({of_network('sequencer_validators', status='jailed')})", "jailed"),
            unit=PLAIN,
            width=6,
            thresholds=((None, GREEN), (1, ORANGE)),
        ),
        graph(
            "Slashes, by rule",
            "In the time shown: J1 is for missed slots, the others are for lies.",
            Query(f"max by (rule) ({increase('sequencer_slashings_total')})", "{{rule}}"),
            unit=PLAIN,
        ),
        graph(
            "Proofs in decided leaves, by rule",
            "In the time shown. Each tombstones a validator.",
            Query(f"max by (rule) ({increase('sequencer_evidence_total')})", "{{rule}}"),
            unit=PLAIN,
        ),
        graph(
            "Where slashed stake went",
            "Slashed since the start of the process, burned for ever, and kept in the insurance pool.",
            Query(f"max({of_network('sequencer_slashed_stake_total')})", "slashed"),
            Query(f"max({of_network('sequencer_burned')})", "burned"),
            Query(f"max({of_network('sequencer_insurance_pool')})", "insurance pool"),
            is_stepped=True,
        ),
        graph(
            "Changes of the ledger, by kind",
            "In the time shown. GET /v1/changes has the words.",
            Query(f"max by (kind) ({increase('sequencer_ledger_changes_total')})", "{{kind}}"),
            unit=PLAIN,
        ),
        graph(
            "Stake operations included",
            "In the time shown, by kind.",
            Query(f"max by (kind) ({increase('sequencer_operations_total', outcome='included')})", "{{kind}}"),
            unit=PLAIN,
        ),
    ),
)

VALIDATORS: Final = Board(
    "sequencer-validators",
    "Sequencer / Validators and slashing",
    "Stake, who may lead, offences and their price.",
    (_STAKE, _STANDING, _OFFENCES),
)
