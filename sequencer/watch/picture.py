"""A reading -> what to show of it, in words and figures. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from sequencer.schema.records import ChangeJson
from sequencer.schema.validators import ValidatorJson
from sequencer.schema.views import ViewJson
from sequencer.view_story import compute_patience
from sequencer.watch.reading import NodeReading, Reading

Level: TypeAlias = Literal["ok", "risk", "halted", "lost"]

STALLED_SECONDS: Final = 5.0
"""Without a new final block: an idle network makes two a second."""
RATE_SECONDS: Final = 30.0
"""Figures per second, and times to finality, are those of so long, as far as the views that are shown reach."""
QUIET: Final = frozenset({"committees_drawn", "epoch_began", "validator_active"})
"""Changes that happen of themselves."""


@dataclass(frozen=True, slots=True)
class Row:
    """One validator. What its node has not told is None; `state` is one word, or two."""

    name: str
    is_leader: bool
    role: str
    share: float
    """Of the stake, in percent."""
    view: int | None
    height: int | None
    lag: int | None
    """Blocks below the highest node."""
    peers: int | None
    peers_expected: int
    pending: int | None
    state: str
    is_well: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """One view that was entered. `mark` is a name or number of the leader that is one character wide."""

    view: int
    kind: Literal["decided", "fallback", "certified", "timed_out", "open"]
    mark: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the last `RATE_SECONDS`; None where there is nothing to measure."""

    blocks_per_s: float | None
    transactions_per_s: float | None
    finality_p50_ms: float | None
    finality_p99_ms: float | None
    timeouts: int
    views: int


@dataclass(frozen=True, slots=True)
class Picture:
    level: Level
    sentence: str
    network: str
    height: int
    view: int
    leader: str | None
    epoch: str
    mode: str
    is_fallback: bool
    rows: Sequence[Row]
    cells: Sequence[Cell]
    figures: Figures
    events: Sequence[str]


def draw_picture(reading: Reading) -> Picture:
    return _Painter(reading).paint()


class _Painter:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._answers = {
            reply.answer.status.validator: reply.answer for reply in reading.nodes if reply.answer is not None
        }
        self._errors = {reply.place.name: reply.error or "no answer" for reply in reading.nodes if reply.answer is None}
        listed = reading.validators.validators if reading.validators is not None else []
        self._members: list[ValidatorJson] = [entry for entry in listed if entry.weight or entry.name in self._answers]
        self._total = sum(entry.weight for entry in self._members)
        self._silent = [entry for entry in self._members if entry.weight and self._is_silent(entry.name)]
        self._best = max(self._answers.values(), key=lambda answer: answer.status.height, default=None)

    def paint(self) -> Picture:
        level, sentence = self._judge()
        status = None if self._best is None else self._best.status
        ledger = self._reading.ledger
        return Picture(
            level=level,
            sentence=sentence,
            network="" if status is None else status.network,
            height=0 if status is None else status.height,
            view=max((answer.status.view for answer in self._answers.values()), default=0),
            leader=self._find_leader(),
            epoch=""
            if status is None
            else f"{status.epoch} ({max(0, status.height - status.epoch_first_height + 1)} of "
            f"{status.epoch_last_height - status.epoch_first_height + 1} blocks)",
            mode="" if ledger is None else ledger.mode.reason,
            is_fallback=ledger is not None and ledger.mode.name == "fallback",
            rows=self._list_rows(),
            cells=self._list_cells(),
            figures=measure(self._reading.views, self._reading.now_ms),
            events=[tell_event(change) for change in reversed(self._reading.events) if change.kind not in QUIET],
        )

    # Health

    def _is_silent(self, name: str) -> bool:
        """Nobody who was asked is connected to it, or has heard its votes for a while."""
        others = [answer for own, answer in self._answers.items() if own != name]
        if not others:
            return name in self._errors
        return not any(
            name in answer.status.peers and answer.heard_s.get(name, math.inf) < compute_patience(answer.view_age_s)
            for answer in others
        )

    def _judge(self) -> tuple[Level, str]:
        validators = self._reading.validators
        if validators is None or self._best is None:
            reasons = ", ".join(sorted(set(self._errors.values()))) or "no answer"
            return "lost", f"No node answers ({reasons}). This goes on asking."
        quorum, present = validators.success_threshold, [e for e in self._members if e not in self._silent and e.weight]
        names = join([entry.name for entry in self._silent])
        silence = f"{names} {'are' if len(self._silent) > 1 else 'is'} silent" if self._silent else ""
        answering = sum(entry.weight for entry in present)
        needed = -(-100 * quorum // max(1, self._total))
        if answering < quorum:
            share = 100 * answering // max(1, self._total)
            return "halted", f"{silence}: {share} % of the stake votes, it takes {needed} %."
        waited = self._compute_stall()
        if waited is not None and waited > STALLED_SECONDS:
            awaited = f"view {self._best.status.view} waits for {self._find_leader() or 'its leader'}"
            return "halted", f"Nothing was finalized for {waited:.0f} s: {awaited}."
        losses = count_losses([entry.weight for entry in present], quorum)
        who = silence or ("The only validator votes" if len(present) == 1 else f"All {len(present)} validators vote")
        critical = [entry.name for entry in present if answering - entry.weight < quorum]
        if len(present) == 1:
            margin = "losing it halts the network"
        elif losses > 0:
            more = "more" if self._silent else "of them"
            margin = f"any {'one' if losses == 1 else losses} {more} may fail without a halt"
        elif len(critical) == len(present):
            margin = "one more loss halts the network" if self._silent else "losing one halts the network"
        else:
            margin = f"losing {join(critical, 'or')} halts the network"
        return ("risk" if self._silent or losses <= 0 else "ok"), f"{who}; {margin}."

    def _compute_stall(self) -> float | None:
        """Seconds since the last final block of the views that are shown."""
        finals = [
            view.started_ms + view.fc_after_ms
            for view in self._reading.views
            if view.outcome == "decided" and view.fc_after_ms is not None
        ]
        views = self._reading.views
        if finals:
            return (self._reading.now_ms - max(finals)) / 1000
        return (self._reading.now_ms - views[0].started_ms) / 1000 if views else None

    # Rows and cells

    def _find_leader(self) -> str | None:
        if self._reading.views:
            return self._reading.views[-1].leader
        return None if self._best is None else self._best.status.leader

    def _list_rows(self) -> list[Row]:
        highest = max((answer.status.height for answer in self._answers.values()), default=0)
        leader = self._find_leader()
        rows = [self._make_row(entry, self._answers.get(entry.name), highest, leader) for entry in self._members]
        if not rows:  # nobody answers: at least who was asked
            rows = [
                Row(name, False, "", 0.0, None, None, None, None, 0, None, error, False)
                for name, error in self._errors.items()
            ]
        return rows

    def _make_row(self, entry: ValidatorJson, answer: NodeReading | None, highest: int, leader: str | None) -> Row:
        name, ledger = entry.name, self._reading.ledger
        role = ""
        if ledger is not None:
            role = "primary" if name in ledger.primary else "fallback" if name in ledger.fallback else ""
        state, is_well = self._tell_state(entry, answer)
        status = None if answer is None else answer.status
        return Row(
            name=name,
            is_leader=name == leader,
            role=role,
            share=100 * entry.weight / max(1, self._total),
            view=None if status is None else status.view,
            height=None if status is None else status.height,
            lag=None if status is None else highest - status.height,
            peers=None if status is None else len(status.peers),
            peers_expected=max(0, len(self._members) - 1),
            pending=None if status is None else status.mempool.transactions,
            state=state,
            is_well=is_well,
        )

    def _tell_state(self, entry: ValidatorJson, answer: NodeReading | None) -> tuple[str, bool]:
        is_silent = entry in self._silent
        if answer is None:
            if entry.name in self._errors:
                return ("down" if is_silent else "no API"), False
            state = "silent" if is_silent else "not asked"
        elif is_silent:
            state = "cut off"
        elif answer.status.behind:
            state = "behind"
        else:
            state = "ready" if answer.status.ready else "starting"
        is_well = state in ("ready", "not asked")
        if entry.status != "active":
            state = entry.status if is_well else f"{state}, {entry.status}"
        return state, is_well and entry.status in ("active", "pending", "exiting")

    def _list_cells(self) -> list[Cell]:
        marks = make_marks([entry.name for entry in self._members])
        return [
            Cell(
                view.view,
                "fallback" if view.outcome == "decided" and view.committee == "fallback" else view.outcome,
                " " if view.leader is None else marks.get(view.leader, "?"),
            )
            for view in self._reading.views
        ]


def count_losses(weights: Sequence[int], quorum: int) -> int:
    """How many of these may be lost, whichever they are, so that the others still are a quorum; negative: none left."""
    left, losses = sum(weights), -1
    for weight in sorted(weights, reverse=True):
        if left < quorum:
            return losses
        losses += 1
        left -= weight
    return losses


def measure(views: Sequence[ViewJson], now_ms: int) -> Figures:
    """What became final in these views, by the time of whoever saw them."""
    recent = [view for view in views if now_ms - view.started_ms <= RATE_SECONDS * 1000]
    decided = [view for view in recent if view.outcome == "decided" and view.proposal is not None]
    span = (now_ms - recent[0].started_ms) / 1000 if recent else 0.0
    ended = [view for view in views if view.ended_ms is not None]
    times = sorted(
        view.fc_after_ms - view.proposal.after_ms
        for view in decided
        if view.fc_after_ms is not None and view.proposal is not None
    )
    is_measured = span >= 1.0
    transactions = sum(view.proposal.transactions or 0 for view in decided if view.proposal is not None)
    return Figures(
        blocks_per_s=len(decided) / span if is_measured else None,
        transactions_per_s=transactions / span if is_measured else None,
        finality_p50_ms=times[len(times) // 2] if times else None,
        finality_p99_ms=times[min(len(times) - 1, len(times) * 99 // 100)] if times else None,
        timeouts=sum(view.outcome == "timed_out" for view in ended),
        views=len(ended),
    )


def make_marks(names: Sequence[str]) -> dict[str, str]:
    """One character for each name: its last one where these differ, else its place in the list."""
    lasts = [name[-1] for name in names]
    if len(set(lasts)) == len(lasts):
        return dict(zip(names, lasts, strict=True))
    digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return {name: digits[place] if place < len(digits) else "+" for place, name in enumerate(names)}


def tell_event(change: ChangeJson) -> str:
    who = change.fields.get("validator")
    kind = change.kind.replace("_", " ")
    return f"height {change.height:,}  {f'{who} {kind}' if who else kind}: {change.reason}"


def join(names: Sequence[str], word: str = "and") -> str:
    """n1, n2 and n3."""
    return " ".join((", ".join(names[:-1]), word, names[-1])) if len(names) > 1 else "".join(names)
