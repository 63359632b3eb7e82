"""The smallest scenario that still fails: fewer faults, shorter ones, fewer nodes, a calmer cluster.

Delta debugging (Zeller and Hildebrandt, 2002) over the list of faults, then one simplification after the other for as
long as any of them helps. Each candidate runs the whole scenario, and a candidate that fails in another way is none.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import msgspec

from netsim.scenario.faults import Fault
from netsim.scenario.model import Heal, Load, Scenario, Settings, Shape
from netsim.scenario.targets import parse_name

RUNS_MAX: Final = 400
"""Candidates tried; each costs a fraction of a second."""
SECONDS_LEAST: Final = 0.001

IsFailing: TypeAlias = Callable[[Scenario], bool]


class _Budget:
    def __init__(self, is_failing: IsFailing, runs_max: int, on_step: Callable[[int, Scenario], None]) -> None:
        self._is_failing = is_failing
        self._left = runs_max
        self._on_step = on_step
        self.runs = 0

    @property
    def is_spent(self) -> bool:
        return self.runs >= self._left

    def accepts(self, candidate: Scenario) -> bool:
        if self.is_spent:
            return False
        self.runs += 1
        held = self._is_failing(candidate)
        if held:
            self._on_step(self.runs, candidate)
        return held


def shrink(
    scenario: Scenario,
    is_failing: IsFailing,
    *,
    runs_max: int = RUNS_MAX,
    on_step: Callable[[int, Scenario], None] = lambda runs, scenario: None,
) -> Scenario:
    """`scenario` must be failing. `on_step(runs, smaller)` is told of every success."""
    budget = _Budget(is_failing, runs_max, on_step)
    smallest = scenario
    while not budget.is_spent:
        before = smallest
        smallest = _drop_faults(smallest, budget)
        smallest = _simplify(smallest, budget)
        if smallest == before:
            break
    return smallest


def _drop_faults(scenario: Scenario, budget: _Budget) -> Scenario:
    """ddmin: ever smaller parts of the list are left out."""
    size = len(scenario.fault)
    while size >= 1:
        start = 0
        while start < len(scenario.fault):
            kept = scenario.fault[:start] + scenario.fault[start + size :]
            candidate = _with(scenario, fault=kept)
            if candidate is not None and budget.accepts(candidate):
                scenario = candidate
            else:
                start += size
        size //= 2
    return scenario


def _simplify(scenario: Scenario, budget: _Budget) -> Scenario:
    is_changed = True
    while is_changed and not budget.is_spent:
        is_changed = False
        for candidate in _find_simpler(scenario):
            if candidate != scenario and budget.accepts(candidate):
                scenario, is_changed = candidate, True
                break
    return scenario


def _find_simpler(scenario: Scenario) -> Iterator[Scenario]:
    """One step simpler, the boldest steps first. What cannot be a scenario is left out."""
    candidates = [
        *_fewer_nodes(scenario),
        *_calmer(scenario),
        *_shorter(scenario),
    ]
    yield from (candidate for candidate in candidates if candidate is not None)


def _fewer_nodes(scenario: Scenario) -> Iterator[Scenario | None]:
    shape = scenario.cluster
    for nodes in (4, shape.nodes - 1):
        if 4 <= nodes < shape.nodes:
            byzantine = {
                name: behaviour for name, behaviour in shape.byzantine.items() if parse_name(name, nodes) is not None
            }
            yield _with_shape(scenario, nodes=nodes, stakes=shape.stakes[:nodes], byzantine=byzantine)
    yield _with_shape(scenario, stakes=())
    yield _with_shape(scenario, joiners=0)
    for name in shape.byzantine:
        yield _with_shape(scenario, byzantine={other: kind for other, kind in shape.byzantine.items() if other != name})


def _calmer(scenario: Scenario) -> Iterator[Scenario | None]:
    plain = Shape()
    for key in ("settings", "jitter_ms", "loss", "duplication", "reordering", "sync_ms", "lost_connections_seen"):
        yield _with_shape(scenario, **{key: getattr(plain, key)})
    settings = scenario.cluster.settings
    for key in settings.__struct_fields__:
        if getattr(settings, key) is not None:
            yield _with_shape(scenario, settings=_replace_setting(settings, key))
    yield _with(scenario, load=Load(transactions_per_second=0))
    yield _with(scenario, heal=Heal())


def _shorter(scenario: Scenario) -> Iterator[Scenario | None]:
    if scenario.chaos_seconds > 0.1:
        yield _with(scenario, chaos_seconds=round(scenario.chaos_seconds / 2, 3))
    for number, fault in enumerate(scenario.fault):
        for simpler in _shorten(fault):
            yield _with(scenario, fault=(*scenario.fault[:number], simpler, *scenario.fault[number + 1 :]))


def _shorten(fault: Fault) -> Iterator[Fault]:
    if fault.repeat > 1:
        yield msgspec.structs.replace(fault, repeat=1)
    if fault.for_seconds is not None and fault.for_seconds > SECONDS_LEAST:
        yield msgspec.structs.replace(fault, for_seconds=round(fault.for_seconds / 2, 3))
    if fault.at.after_seconds:
        yield msgspec.structs.replace(fault, at=msgspec.structs.replace(fault.at, after_seconds=0.0))


def _replace_setting(settings: Settings, key: str) -> Settings:
    return msgspec.structs.replace(settings, **{key: None})


def _with_shape(scenario: Scenario, **changes: object) -> Scenario | None:
    """None also when only that gives liars a third of the stake: then everything may fail, and by right."""
    candidate = _with(scenario, cluster=msgspec.structs.replace(scenario.cluster, **changes))
    if candidate is None or (_has_too_many_liars(candidate.cluster) and not _has_too_many_liars(scenario.cluster)):
        return None
    return candidate


def _has_too_many_liars(shape: Shape) -> bool:
    stakes = shape.stakes or (1,) * shape.nodes
    liars = (parse_name(name, shape.nodes) for name in shape.byzantine)
    return 3 * sum(stakes[liar] for liar in liars if liar is not None) >= sum(stakes)


def _with(scenario: Scenario, **changes: object) -> Scenario | None:
    """None when that contradicts itself."""
    try:
        return msgspec.structs.replace(scenario, **changes)
    except ValueError:
        return None
