"""From what was seen to verdicts, alike for the simulator and for real processes. All times count from the warm-up's
end.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from netsim.scenario.model import Progress
from netsim.scenario.outcome import FaultRecord, Line, Verdict

SETTLE_SECONDS: Final = 1.0
"""After the first of several faults: what is on its way may still decide something, and leaders must be replaced.
Stretches of faults that are shorter than twice this say nothing about progress.
"""

FAULTS_FELT: Final = "faults felt"
"""The line that says whether any fault has done something."""

Stretch = tuple[float, float]
"""A time in which at least one fault was on."""


def merge_stretches(faults: Iterable[FaultRecord]) -> list[Stretch]:
    """Times with at least one fault, in order; faults of a moment are none."""
    merged: list[Stretch] = []
    for start, end in sorted((fault.start_seconds, fault.end_seconds) for fault in faults):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif end > start:
            merged.append((start, end))
    return merged


def select_judged(stretches: Sequence[Stretch], chaos: Stretch) -> list[Stretch]:
    """Those that are long enough to say something, without the time to settle; else the whole chaos phase."""
    long = [(start + SETTLE_SECONDS, end) for start, end in stretches if end - start >= 2 * SETTLE_SECONDS]
    start, end = chaos
    if long:
        return long
    return [(start + SETTLE_SECONDS, end)] if end - start >= 2 * SETTLE_SECONDS else []


def has_grown(stretch: Stretch, decided_seconds: Iterable[float]) -> bool:
    """Whether a height was decided for the first time in it."""
    start, end = stretch
    return any(start < seconds <= end for seconds in decided_seconds)


def observe(judged: Sequence[Stretch], decided_seconds: Sequence[float]) -> Progress:
    """`stalls` when the height has stood still through any of them; `any` when there is nothing to judge."""
    if not judged:
        return "any"
    return "live" if all(has_grown(stretch, decided_seconds) for stretch in judged) else "stalls"


def foresee(judged: Sequence[Stretch], predictions: Sequence[tuple[float, str]]) -> Progress:
    """`stalls` when arithmetic says so all through one of the stretches that are judged.

    `predictions`: from when on what was predicted, in order; `any` when there is nothing to judge.
    """
    if not judged:
        return "any"
    for start, end in judged:
        before = [progress for seconds, progress in predictions if seconds <= start][-1:]
        within = [progress for seconds, progress in predictions if start < seconds < end]
        if "live" not in (*before, *within):
            return "stalls"
    return "live"


def judge_during(during: Progress, judged: Sequence[Stretch], decided_seconds: Sequence[float]) -> list[Line]:
    what = "progress under faults"
    if during == "any":
        return []
    if not judged:
        detail = f"no fault lasted {2 * SETTLE_SECONDS:g} s"
        return [Line(what=what, verdict=Verdict.INCONCLUSIVE, detail=detail)]
    wrong = [stretch for stretch in judged if has_grown(stretch, decided_seconds) != (during == "live")]
    if wrong:
        start, end = wrong[0]
        held = "did not grow" if during == "live" else "grew"
        return [
            Line(what=what, verdict=Verdict.FAIL, detail=f"the height {held} between {start:.3f} s and {end:.3f} s")
        ]
    detail = f"{during} in {len(judged)} stretch{'es' if len(judged) > 1 else ''} of faults"
    return [Line(what=what, verdict=Verdict.PASS, detail=detail)]


def judge_bound(what: str, seconds: Sequence[float | None], limit: float | None) -> list[Line]:
    """Nothing may take longer than `limit`; None in `seconds`: it did not come at all. No limit, no line."""
    if limit is None:
        return []
    if not seconds:
        return [Line(what=what, verdict=Verdict.INCONCLUSIVE, detail="it never came to it")]
    known = [value for value in seconds if value is not None]
    if len(known) < len(seconds):
        detail = f"{len(seconds) - len(known)} of {len(seconds)} times not at all"
        return [Line(what=what, verdict=Verdict.FAIL, detail=detail)]
    verdict = Verdict.PASS if max(known) <= limit else Verdict.FAIL
    return [Line(what=what, verdict=verdict, detail=f"{max(known):.3f} s at the most, {limit:g} s allowed")]


def judge_floors(floors: Mapping[str, int], marks: Mapping[str, int]) -> list[Line]:
    """A floor that was not reached: the run has not shown what it was to show."""
    if not floors:
        return []
    missed = [f"{marks.get(name, 0)} {name} of {floor}" for name, floor in floors.items() if marks.get(name, 0) < floor]
    verdict = Verdict.INCONCLUSIVE if missed else Verdict.PASS
    detail = f"not reached: {', '.join(missed)}" if missed else f"all {len(floors)} reached"
    return [Line(what="floors", verdict=verdict, detail=detail)]


def judge_bites(faults: Sequence[FaultRecord], planned: int) -> list[Line]:
    """Faults that nobody has felt are told; a run in which none was felt has shown nothing."""
    if not planned:
        return []
    unfelt = [fault.kind for fault in faults if not fault.bites]
    if len(unfelt) == len(faults):
        what = ", ".join(unfelt) if unfelt else "none has begun"
        return [Line(what=FAULTS_FELT, verdict=Verdict.INCONCLUSIVE, detail=f"not one: {what}")]
    detail = f"all {len(faults)}" if not unfelt else f"{len(faults) - len(unfelt)}, but not {', '.join(unfelt)}"
    return [Line(what=FAULTS_FELT, verdict=Verdict.PASS, detail=detail)]


def judge_evidence(accused: Collection[str], expected: Sequence[str] | None, byzantine: Collection[str]) -> Line:
    """`expected`: exactly these; None: nobody who is not Byzantine."""
    told = ", ".join(sorted(accused)) or "nobody"
    if expected is None:
        framed = sorted(set(accused) - set(byzantine))
        if framed:
            return Line(what="evidence", verdict=Verdict.FAIL, detail=f"accused though honest: {', '.join(framed)}")
        return Line(what="evidence", verdict=Verdict.PASS, detail=f"accused: {told}")
    verdict = Verdict.PASS if set(accused) == set(expected) else Verdict.FAIL
    wanted = ", ".join(expected) or "nobody"
    return Line(what="evidence", verdict=verdict, detail=f"accused: {told}; expected: {wanted}")
