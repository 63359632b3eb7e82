"""Facts -> findings. Pure: the same facts give the same findings."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from sequencer.health.facts import NodeFacts


class State(IntEnum):
    """In the numbers of monitoring plugins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Limits(NamedTuple):
    """From which value on something is a warning, and critical."""

    warning: float
    critical: float

    def judge(self, value: float) -> State:
        return State.CRITICAL if value >= self.critical else State.WARNING if value >= self.warning else State.OK


DECIDE_SECONDS: Final = Limits(3, 10)
"""Since the last decide. An idle chain decides twice a second; the alert NoDecide goes by the same."""
BEHIND_BLOCKS: Final = Limits(64, 1024)
"""Below the highest node that was asked."""
CLOCK_SECONDS: Final = Limits(1, 5)
"""The default of clock_skew_max_ms is 5 s: beyond it proposals are refused."""
DISK_USED_RATIO: Final = Limits(0.9, 0.98)
DISK_FREE_BYTES: Final = 10e9
"""With more than that free, a disk is never nearly full."""
PEERS_MISSING_RATIO: Final = Limits(1e-9, 0.5)
"""One missing peer is a warning, half of them are critical: the node may be cut off."""

_SEVERITY: Final = {State.OK: 0, State.UNKNOWN: 1, State.WARNING: 2, State.CRITICAL: 3}


@dataclass(frozen=True)
class Finding:
    """One check's result. `value` is what was judged, in the unit that `metric` ends in; None when nothing was told."""

    check: str
    state: State
    text: str
    metric: str
    value: float | None = None


def find_worst(states: Iterable[State]) -> State:
    """OK when there are none. What is unknown is worse than OK and better than what is known to be bad."""
    return max(states, key=_SEVERITY.__getitem__, default=State.OK)


def check_node(facts: NodeFacts) -> list[Finding]:
    """Of one node, as it sees the world."""
    if facts.error is not None:
        return [Finding("reachable", State.CRITICAL, f"{facts.url} does not answer: {facts.error}", "reachable", 0)]
    return [
        Finding("reachable", State.OK, f"{facts.name} answers, version {facts.version}", "reachable", 1),
        _check_deciding([facts]),
        _check_quorum([facts]),
        _check_catching_up(facts),
        _check_standing(facts),
        _check_peers([facts]),
        _check_clock([facts]),
        _check_disk([facts]),
        _check_evidence([facts]),
        _check_fallback([facts]),
    ]


def check_cluster(nodes: Sequence[NodeFacts]) -> list[Finding]:
    """Of a network. Where nodes differ, the best informed one counts for the chain, and the worst off for machines."""
    answering = [facts for facts in nodes if facts.error is None]
    reachable = _check_reachable(nodes, answering)
    if not answering:
        return [reachable]
    return [
        reachable,
        _check_deciding(answering),
        _check_quorum(answering),
        _check_behind(answering),
        _check_history(answering),
        _check_peers(answering),
        _check_clock(answering),
        _check_disk(answering),
        _check_evidence(answering),
        _check_fallback(answering),
    ]


def _check_reachable(nodes: Sequence[NodeFacts], answering: Sequence[NodeFacts]) -> Finding:
    missing = [facts for facts in nodes if facts.error is not None]
    text = f"{len(answering)} of {len(nodes)} nodes answer"
    if missing:
        text += "; not " + ", ".join(f"{facts.name} ({facts.error})" for facts in missing)
    state = State.OK if not missing else State.WARNING if answering else State.CRITICAL
    return Finding("reachable", state, text, "nodes_reachable", len(answering))


def _check_deciding(nodes: Sequence[NodeFacts]) -> Finding:
    ages = [facts.decide_age_seconds for facts in nodes if facts.decide_age_seconds is not None]
    if not ages:
        return _unknown("deciding", "decide_age_seconds")
    age, height = min(ages), max(facts.height for facts in nodes)
    return Finding(
        "deciding",
        DECIDE_SECONDS.judge(age),
        f"the last decide was {age:.1f} s ago, at height {height:,}",
        "decide_age_seconds",
        age,
    )


def _check_quorum(nodes: Sequence[NodeFacts]) -> Finding:
    told = [(facts.tolerated_losses, facts.participating_ratio) for facts in nodes]
    known = [(losses, ratio) for losses, ratio in told if losses is not None and ratio is not None]
    if not known:
        return _unknown("quorum", "tolerated_losses")
    losses, ratio = max(known)
    share = f"{ratio:.0%} of the stake votes"
    if losses < 0:
        text = f"{share}: too little, the chain has halted"
        return Finding("quorum", State.CRITICAL, text, "tolerated_losses", losses)
    more = f"{share}, {losses} more loss{'es' * (losses != 1)} can be borne"
    if losses == 0:
        more = f"{share}: the next loss halts the chain"
    # With nobody missing it is how this network was made, and nothing to be woken up for.
    return Finding("quorum", State.WARNING if losses == 0 and ratio < 1 else State.OK, more, "tolerated_losses", losses)


def _check_catching_up(facts: NodeFacts) -> Finding:
    text = "it knows of blocks that it has not got" if facts.is_behind else "it has all blocks that it knows of"
    return Finding("behind", State.WARNING if facts.is_behind else State.OK, text, "behind", facts.is_behind)


def _check_behind(nodes: Sequence[NodeFacts]) -> Finding:
    best = max(facts.height for facts in nodes)
    last = min(nodes, key=lambda facts: facts.height)
    blocks = best - last.height
    state = BEHIND_BLOCKS.judge(blocks)
    text = f"{last.name} is the last, {blocks:,} block{'s' * (blocks != 1)} below the first"
    if not blocks:
        text = f"all nodes that answer are at height {best:,}"
    return Finding("behind", state, text, "behind_blocks", blocks)


def _check_history(nodes: Sequence[NodeFacts]) -> Finding:
    """Where two nodes have a checkpoint in common, they must have the same."""
    digests: dict[int, dict[int, list[str]]] = {}
    for facts in nodes:
        for height, digest in facts.checkpoints.items():
            digests.setdefault(height, {}).setdefault(digest, []).append(facts.name)
    for height, sides in sorted(digests.items()):
        if len(sides) > 1:
            named = " and ".join("/".join(names) for names in sides.values())
            text = f"{named} have decided different blocks at or below height {height:,}: the worst that can happen"
            return Finding("history", State.CRITICAL, text, "histories", len(sides))
    shared = sum(len(names) > 1 for sides in digests.values() for names in sides.values())
    return Finding("history", State.OK, f"one history, compared at {shared} checkpoints", "histories", 1)


def _check_standing(facts: NodeFacts) -> Finding:
    state = {"active": State.OK, "tombstoned": State.CRITICAL}.get(facts.standing, State.WARNING)
    text = f"its validator is {facts.standing}"
    return Finding("standing", state, text, "standing", int(facts.standing == "active"))


def _check_peers(nodes: Sequence[NodeFacts]) -> Finding:
    def count_missing(facts: NodeFacts) -> int:
        return max(0, facts.validators - 1 - facts.peers)

    worst = max(nodes, key=count_missing)
    missing, expected = count_missing(worst), max(1, worst.validators - 1)
    text = f"{worst.name} is connected with {worst.peers} of {worst.validators - 1}"
    return Finding("peers", PEERS_MISSING_RATIO.judge(missing / expected), text, "peers_missing", missing)


def _check_clock(nodes: Sequence[NodeFacts]) -> Finding:
    found = _find_most(nodes, lambda facts: facts.clock_offset_seconds)
    if found is None:
        return _unknown("clock", "clock_offset_seconds")
    facts, offset = found
    text = f"the clock of {facts.name} is {abs(offset):.3f} s {'ahead of' if offset > 0 else 'behind'} this one"
    return Finding("clock", CLOCK_SECONDS.judge(abs(offset)), text, "clock_offset_seconds", offset)


def _check_disk(nodes: Sequence[NodeFacts]) -> Finding:
    def compute_used(facts: NodeFacts) -> float | None:
        if facts.disk_free_bytes is None or not facts.disk_size_bytes:
            return None
        return 1 - facts.disk_free_bytes / facts.disk_size_bytes

    found = _find_most(nodes, compute_used)
    if found is None:
        return _unknown("disk", "disk_free_bytes")
    facts, used = found
    free = facts.disk_free_bytes or 0.0
    state = DISK_USED_RATIO.judge(used) if free < DISK_FREE_BYTES else State.OK
    text = f"{facts.name} has {free / 1e9:.1f} GB free, {1 - used:.0%}"
    return Finding("disk", state, text, "disk_free_bytes", free)


def _check_evidence(nodes: Sequence[NodeFacts]) -> Finding:
    counts = [facts.evidence_pending for facts in nodes if facts.evidence_pending is not None]
    if not counts:
        return _unknown("evidence", "evidence_pending")
    pending = max(counts)
    text = f"{pending} proofs against validators wait for a leaf" if pending else "no proof against anybody waits"
    return Finding("evidence", State.WARNING if pending else State.OK, text, "evidence_pending", pending)


def _check_fallback(nodes: Sequence[NodeFacts]) -> Finding:
    best = max(nodes, key=lambda facts: facts.height)
    state = State.WARNING if best.is_fallback else State.OK
    return Finding("fallback", state, best.mode_reason, "fallback_active", int(best.is_fallback))


def _find_most(
    nodes: Sequence[NodeFacts], measure: Callable[[NodeFacts], float | None]
) -> tuple[NodeFacts, float] | None:
    measured = [(facts, value) for facts in nodes if (value := measure(facts)) is not None]
    return max(measured, key=lambda pair: abs(pair[1]), default=None)


def _unknown(check: str, metric: str) -> Finding:
    return Finding(check, State.UNKNOWN, "no node tells: is it an older version?", metric)
