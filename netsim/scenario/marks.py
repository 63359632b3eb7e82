"""Marks: what a run may have reached, counted; floors demand them, so that a run that has shown nothing says so."""

from collections.abc import Iterable
from typing import Final

MARKS: Final[dict[str, str]] = {
    "decides": "heights that some node has decided, warm-up included",
    "timeouts": "times a node gave up on a view",
    "skipped_views": "views that ended by a timeout certificate",
    "restarts": "processes that were started again",
    "restarts_with_journal": "of those, which had written something that was not synced when they died (simulator)",
    "epochs": "epochs that some node has begun, besides the first",
    "fallbacks": "times the fallback committee took the lead",
    "handbacks": "times the primary committee got the lead back",
    "benchings": "times a leader was benched",
    "jailings": "times a validator was jailed",
    "slashings": "times stake was slashed, for an absence or an offence",
    "evidence": "validators that were accused of an offence",
    "messages_lost": "messages that a link lost",
    "messages_cut": "messages that were sent into a cut (processes: connections and chunks that met one)",
    "messages_duplicated": "messages that arrived twice",
    "messages_reordered": "messages that were delayed out of order",
    "messages_clogged": "messages that were held back by a clog",
    "messages_corrupted": "messages of which bytes were altered on the way",
    "connections_reset": "connections that broke between two living processes",
    "pauses": "processes that were frozen",
    "writes_lost": "turns that were written, not synced, and gone after a crash (simulator)",
    "disk_errors": "writes and syncs that failed (simulator)",
    "blocks_rotted": "blocks that could not be read any more (simulator)",
    "snapshots_put_back": "disks that went back to an earlier moment (simulator)",
    "operations": "stake operations that took effect",
}
"""Name -> what one of it is. Floors may name no others."""


def check_marks(names: Iterable[str]) -> None:
    """Raises `ValueError`, with all there are, for the first name that is no mark."""
    for name in names:
        if name not in MARKS:
            raise ValueError(f'there is no mark "{name}"; there are {", ".join(MARKS)}')
