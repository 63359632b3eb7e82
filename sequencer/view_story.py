"""One view as several nodes saw it, told as one story: what happened, what it means, what came next.

Pure: the nodes have been asked already. Where they saw different things, it says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sequencer.schema.records import ChangeJson
from sequencer.schema.views import ViewJson

SILENT_SECONDS: Final = 3.0
"""Whoever has not been heard for so long is told of: votes come several times a second."""

OUTCOMES: Final = {
    "decided": "went well",
    "certified": "is certified, and not final yet",
    "timed_out": "failed",
    "open": "is under way",
}


def compute_patience(view_age_s: float) -> float:
    """After how many seconds without a word somebody is silent. In a view that lasts, timeout votes are repeated, more
    and more seldom, but each validator that lives has sent one since the view began.
    """
    return max(SILENT_SECONDS, view_age_s - 1)


@dataclass(frozen=True, slots=True)
class Sight:
    """What one node says about the view."""

    name: str
    url: str
    error: str | None = None
    """Why it does not answer."""
    view: ViewJson | None = None
    absent: str | None = None
    """Why it answers and has no record of the view."""
    heard_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds since it last heard each validator; who is missing was not heard since the node started."""
    view_age_s: float = 0.0
    """For how long it has been in the view that it is in now."""
    peers: Sequence[str] | None = None
    """To whom it is connected now."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the running epoch: what everybody weighs, and what it takes to decide."""

    stakes: Mapping[str, int]
    quorum: int

    @property
    def total(self) -> int:
        return sum(self.stakes.values())

    def percent(self, names: Sequence[str]) -> str:
        return f"{100 * sum(self.stakes.get(name, 0) for name in names) // max(1, self.total)} %"


@dataclass(frozen=True, slots=True)
class Story:
    """`meaning` is what to make of it, the most important first."""

    view: int
    outcome: str
    headline: str
    facts: list[tuple[str, str]]
    meaning: list[str]
    differences: list[str]
    following: list[str]


def tell(
    view: int,
    sights: Sequence[Sight],
    weights: Weights,
    following: Sequence[ViewJson] = (),
    changes: Sequence[ChangeJson] = (),
) -> Story:
    """At least one of `sights` has the view. `following`: the next ones, `changes`: what the ledger did after it."""
    return _Teller(view, sights, weights).tell(following, changes)


class _Teller:
    def __init__(self, number: int, sights: Sequence[Sight], weights: Weights) -> None:
        self._number = number
        self._sights = sights
        self._weights = weights
        epoch = max(sight.view.epoch for sight in sights if sight.view is not None)
        self._seen = {
            sight.name: sight.view for sight in sights if sight.view is not None and sight.view.epoch == epoch
        }
        views = list(self._seen.values())
        self._leader = next((view.leader for view in views if view.leader is not None), None)
        outcomes = {view.outcome for view in views}
        self._outcome = next(word for word in ("decided", "certified", "timed_out", "open") if word in outcomes)
        self._proposals = {name: view.proposal for name, view in self._seen.items() if view.proposal is not None}
        self._quorum = self._unite("quorum_voters")
        self._finalize = self._unite("finalize_voters")
        self._timeout = self._unite("timeout_voters")

    def tell(self, following: Sequence[ViewJson], changes: Sequence[ChangeJson]) -> Story:
        return Story(
            view=self._number,
            outcome=self._outcome,
            headline=f"view {self._number} {OUTCOMES[self._outcome]}: {self._sum_up()}",
            facts=list(self._tell_facts()),
            meaning=list(dict.fromkeys(self._tell_meaning())),
            differences=list(self._tell_differences()),
            following=list(self._tell_following(following, changes)),
        )

    # In one line

    def _sum_up(self) -> str:
        leader = self._leader or "an unknown leader"
        finals = [view.fc_after_ms for view in self._seen.values() if view.fc_after_ms is not None]
        heights = {proposal.height for proposal in self._proposals.values()}
        if self._outcome == "decided":
            when = f"final after {_milliseconds(min(finals))}" if finals else "final through a later view"
            return f"{leader} led it, {f'block {max(heights)} was ' if heights else 'its block was '}{when}"
        if self._outcome == "certified":
            return f"{leader} led it, and finalize votes came from {_list(self._finalize)}"
        if not self._proposals:
            stopped = [view for view in self._seen.values() if view.timeout_after_ms is not None]
            if stopped and all(view.timeout_cause == "leader_lost" for view in stopped):
                return f"{leader} led it, and its connections were gone, so nobody waited for its proposal"
            waited = max((view.timeout_after_ms or 0 for view in stopped), default=0)
            within = f" within {_milliseconds(waited)}" if waited else " yet"
            return f"{leader} led it, and no proposal came{within}"
        share = self._weights.percent(self._quorum)
        return f"{leader} proposed, and its block got quorum votes from {_list(self._quorum)} ({share})"

    # What happened

    def _tell_facts(self) -> Iterator[tuple[str, str]]:
        views = self._seen
        reasons = list(dict.fromkeys(view.leader_reason for view in views.values() if view.leader_reason))
        why = f": {'; or '.join(reasons)}" if reasons else ""
        committee = "fallback" if any(view.committee == "fallback" for view in views.values()) else "primary"
        yield "leader", f"{self._leader or 'unknown'} for the {committee} committee{why}"
        entries = {view.entered_by for view in views.values()}
        yield "entered by", ", ".join(_ENTRIES[entry] for entry in ("qc", "tc", "epoch", "start") if entry in entries)
        came = [f"{name} after {_milliseconds(proposal.after_ms)}" for name, proposal in self._proposals.items()]
        without = [name for name in views if name not in self._proposals]
        missing = f"; not at {_list(without)}" if without else ""
        what = next(iter(self._proposals.values()), None)
        if what is None:
            yield "proposal", f"none came to {_list(list(views))}"
        else:
            size = "" if what.transactions is None else f", {what.transactions} transactions, {what.payload_bytes} B"
            yield "proposal", f"height {what.height}{size}; at {', '.join(came)}{missing}"
        for what_votes, voters in (("quorum votes", self._quorum), ("finalize votes", self._finalize)):
            yield what_votes, self._tell_votes(voters)
        if self._timeout:
            yield "timeout votes", self._tell_votes(self._timeout)
            stopped = [
                f"{name} after {_milliseconds(view.timeout_after_ms)} ({_CAUSES.get(view.timeout_cause or '', '?')})"
                for name, view in views.items()
                if view.timeout_after_ms is not None
            ]
            if stopped:
                yield "stopped voting", ", ".join(stopped)

    def _tell_votes(self, voters: Sequence[str]) -> str:
        if not voters:
            return "none seen"
        missing = [name for name in self._weights.stakes if name not in voters]
        without = f"; not {_list(missing)}" if missing else ""
        return f"{_list(voters)} ({self._weights.percent(voters)}){without}"

    # What it means

    def _tell_meaning(self) -> Iterator[str]:
        for view in self._seen.values():
            yield from (reason for reason in view.reasons if "(E" in reason or "refused" in reason)
        if self._outcome in ("timed_out", "open", "certified"):
            yield from self._explain_leader()
            yield from self._explain_votes()
        if self._outcome == "decided" and self._timeout:
            yield f"{_list(self._timeout)} had given the view up already: its certificate came late"
        yield from self._explain_quorum()

    def _explain_leader(self) -> Iterator[str]:
        leader = self._leader
        if leader is None:
            yield "none of them knew who leads: the block to extend had not arrived"
            return
        own = self._seen.get(leader)
        if not self._proposals:
            silence = self._tell_silence(leader)
            if silence is None and self._outcome != "open":
                yield self._explain_absence(leader, own)
        elif own is not None and list(self._proposals) == [leader]:
            yield f"{leader} proposed, and it reached nobody else: its connections to the others are cut or slow"
        else:
            late = [
                name
                for name, proposal in self._proposals.items()
                if (after := self._seen[name].timeout_after_ms) is not None and proposal.after_ms > after
            ]
            if late:
                yield f"the proposal of {leader} came to {_list(late)} after the timer only: it, or the way, is slow"
            without = [name for name in self._seen if name not in self._proposals]
            if without:
                yield f"the proposal of {leader} did not reach {_list(without)}"

    def _explain_absence(self, leader: str, own: ViewJson | None) -> str:
        """Why a leader that is heard again proposed nothing."""
        if own is None:
            return f"{leader} is heard again, and has no record of the view: it was down, cut off or behind"
        ends = [view.ended_ms for name, view in self._seen.items() if name != leader and view.ended_ms is not None]
        if ends and own.started_ms > min(ends):
            late = _milliseconds(own.started_ms - min(ends))
            return f"{leader} came to the view {late} after others had left it: it was down, frozen, cut off or behind"
        return (
            f"{leader} was in the view in time and proposed nothing: {'; '.join(own.reasons) or 'it gives no reason'}"
        )

    def _explain_votes(self) -> Iterator[str]:
        silent = {name: self._tell_silence(name) for name in self._weights.stakes}
        yield from (words for words in silent.values() if words is not None)
        if self._proposals and self._outcome == "timed_out":
            idle = [name for name, words in silent.items() if words is None and name not in self._quorum]
            if idle:
                yield f"{_list(idle)} did not vote for the block"

    def _tell_silence(self, name: str) -> str | None:
        """None for one that is heard."""
        ages, is_heard = [], False
        for listener in self._sights:
            age = listener.heard_s.get(name)
            if listener.name != name and age is not None:
                ages.append(age)
                is_heard = is_heard or age < compute_patience(listener.view_age_s)
        listeners = [sight.name for sight in self._sights if sight.error is None and sight.name != name]
        if not listeners or is_heard:
            return None
        is_alone = len(listeners) == 1
        since = f"for {min(ages):.0f} s" if ages else f"since {'it' if is_alone else 'they'} started"
        heard = f"{listeners[0]} has not heard from it {since}" if is_alone else f"nobody has heard from it {since}"
        sight = next((sight for sight in self._sights if sight.name == name), None)
        if sight is None:
            return f"{name} is down or cut off: {heard}"
        if sight.error is not None:
            state = "is frozen or overloaded" if sight.error == "no answer in time" else "is down"
            return f"{name} {state}: its API does not answer ({sight.error}), and {heard}"
        peers = "" if sight.peers is None else f"; it is connected to {_list(list(sight.peers))}"
        return f"{name} runs, but is cut off: {heard}{peers}"

    def _explain_quorum(self) -> Iterator[str]:
        silent = [name for name in self._weights.stakes if self._tell_silence(name) is not None]
        left = self._weights.total - sum(self._weights.stakes[name] for name in silent)
        if silent and left < self._weights.quorum:
            needed = -(-100 * self._weights.quorum // max(1, self._weights.total))
            yield (
                f"nothing can be decided: {_list(silent)} ({self._weights.percent(silent)}) are silent, and it takes "
                f"{needed} % of the stake"
            )

    # Where they differ

    def _tell_differences(self) -> Iterator[str]:
        groups: dict[str, list[str]] = {}
        for name, view in self._seen.items():
            groups.setdefault(view.outcome, []).append(name)
        if len(groups) > 1:
            yield "; ".join(f"for {_list(names)} the view {_SEEN_AS[word]}" for word, names in groups.items())
        hashes: dict[str, list[str]] = {}
        for name, proposal in self._proposals.items():
            hashes.setdefault(proposal.hash, []).append(name)
        if len(hashes) > 1:
            told = "; ".join(f"{_list(names)} got {hash_[:10]}…" for hash_, names in hashes.items())
            yield f"they got different proposals: {told}"
        leaders = {view.leader for view in self._seen.values() if view.leader is not None}
        if len(leaders) > 1:
            yield f"they expected different leaders: {', '.join(sorted(leaders))}"
        for sight in self._sights:
            if sight.error is None and sight.absent is not None:
                yield f"{sight.name}: {sight.absent}"

    # What came next

    def _tell_following(self, following: Sequence[ViewJson], changes: Sequence[ChangeJson]) -> Iterator[str]:
        for view in following:
            words = f"view {view.view}, entered by {_ENTRIES[view.entered_by]}: {view.leader or 'unknown'} led it"
            if view.outcome == "decided" and view.proposal is not None:
                when = "" if view.fc_after_ms is None else f" after {_milliseconds(view.fc_after_ms)}"
                yield f"{words}, block {view.proposal.height} was final{when}"
            else:
                yield f"{words}, it {_SEEN_AS[view.outcome]}"
        for change in changes:
            who = change.fields.get("validator")
            subject = f"{who} {change.kind}" if who else change.kind
            yield f"height {change.height}: {subject.replace('_', ' ')}: {change.reason}"

    def _unite(self, votes: str) -> list[str]:
        found: dict[str, None] = {}
        for view in self._seen.values():
            found |= dict.fromkeys(getattr(view, votes))
        return sorted(found, key=lambda name: (len(name), name))


_ENTRIES: Final = {
    "qc": "a quorum certificate",
    "tc": "a timeout certificate",
    "epoch": "the end of the epoch before",
    "start": "the start of the node",
}
_CAUSES: Final = {
    "timer": "its timer",
    "others": "others had",
    "leader_lost": "connection to the leader gone",
    "restarted": "before it was restarted",
}
_SEEN_AS: Final = {
    "decided": "ended with a final block",
    "certified": "ended with a quorum certificate",
    "timed_out": "ended without a certificate",
    "open": "is under way",
}


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "nobody"


def _milliseconds(value: float) -> str:
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.3g} ms"
