"""Swarm sampling: from one seed a whole scenario, the rates of its faults included.

Every seed first draws which classes of faults it has at all, and only then the faults: a campaign then holds runs full
of crashes without any loss, runs of nothing but liars, and so on, which a mixture of everything in each run never
reaches (Groce et al., "Swarm testing", ISSTA 2012). The scenario is complete before it runs, so that what fails can be
made smaller.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

import msgspec

from netsim.byzantine.behaviours import BEHAVIOURS
from netsim.scenario.faults import Fault
from netsim.scenario.model import Expect, Heal, Load, Scenario, Settings, Shape, Steady
from netsim.scenario.targets import name_node
from netsim.simulation import make_stream
from netsim.swarm.draws import CLASSES, FaultDraws

SIZES: Final = (4, 5, 7, 10)
_SIZE_WEIGHTS: Final = (50, 25, 17, 8)
"""Cost grows with the square of the size, and most bugs show with few nodes."""
FAULTS_MAX: Final = 6
CLASS_PROBABILITY: Final = 0.4
CHAOS_SECONDS: Final = (1.5, 7.0)
DECIDE_SECONDS: Final = 120.0
"""After healing. A view takes two seconds at the most then (the ceiling of the timer, far above what any of the drawn
networks needs for a view), and at most as many leaders in a row are Byzantine, dead or newly met as there are nodes;
the rest is room for catching up, and for working off transactions that have waited in small payloads.
"""


def sample_scenario(seed: int, nodes: int | None = None) -> Scenario:
    """The scenario of this seed; `nodes` fixes the size. The same in every process and on every machine."""
    random = make_stream(seed, "parameters")
    size = random.choices(SIZES, _SIZE_WEIGHTS)[0]
    size = size if nodes is None else nodes
    stakes = _draw_stakes(size, random)
    byzantine = _draw_byzantine(stakes, random)
    joiners = 1 if random.random() < 0.15 else 0
    chaos_seconds = round(random.uniform(*CHAOS_SECONDS), 3)
    return Scenario(
        name=f"swarm-{seed}",
        seed=seed,
        chaos_seconds=chaos_seconds,
        cluster=_draw_shape(stakes, joiners, byzantine, random),
        load=Load(transactions_per_second=random.choice((0, 20, 200, 1000)), transaction_bytes=32),
        steady=Steady(height=random.choice((1, 2, 4)), within_seconds=DECIDE_SECONDS),
        fault=_draw_faults(FaultDraws(random, stakes, joiners, byzantine, chaos_seconds)),
        heal=Heal(core=random.choice(("all", "all", "quorum"))),
        expect=Expect(decide_within_seconds=DECIDE_SECONDS, blocks_after=3),
    )


def _draw_stakes(nodes: int, random: Random) -> tuple[int, ...]:
    """Equal, unequal, or with one validator that hardly any quorum can do without."""
    match random.choice(("equal", "equal", "drawn", "whale")):
        case "drawn":
            return tuple(random.randint(1, 9) for _ in range(nodes))
        case "whale":
            return (*(1 for _ in range(nodes - 1)), max(1, (nodes - 1) // 2))
        case _:
            return tuple(1 for _ in range(nodes))


def _draw_byzantine(stakes: Sequence[int], random: Random) -> list[int]:
    """Nobody, or some of those that together may be."""
    if random.random() < 0.5:
        return []
    most = (sum(stakes) - 1) // 3
    chosen: list[int] = []
    for node in random.sample(range(len(stakes)), len(stakes)):
        if sum(stakes[other] for other in chosen) + stakes[node] <= most:
            chosen.append(node)
    return sorted(chosen[: random.randint(1, max(1, len(chosen)))])


def _draw_shape(stakes: tuple[int, ...], joiners: int, byzantine: Sequence[int], random: Random) -> Shape:
    size = len(stakes)
    delay = random.choice((2.0, 5.0, 10.0)) if size <= 5 else random.choice((5.0, 10.0, 20.0))
    floor = random.choice((60, 120, 300))
    behaviours = sorted(BEHAVIOURS)
    return Shape(
        nodes=size,
        stakes=stakes if len(set(stakes)) > 1 else (),
        joiners=joiners,
        byzantine={name_node(node): random.choice(behaviours) for node in byzantine},
        settings=Settings(
            timeout_floor_ms=floor,
            timeout_ceiling_ms=random.choice((1000, 2000)),
            idle_interval_ms=random.choice((0, 20, 100)),
            fetch_interval_ms=random.choice((20, 50, 100)),
            view_window=random.choice((4, 16, 64)),
            payload_bytes_max=random.choice((5_000, 100_000)),
            epoch_blocks=random.choice((4, 8, 16, 64)),
            bench_after=random.choice((1, 2)),
            fallback_after=random.choice((1, 2, 3)),
            handback_after=random.choice((2, 4, 16)),
            leader_window=random.choice((6, 12, 48)),
            jail_after=random.choice((3, 6, 14)),
            unbonding_epochs=random.choice((1, 2)),
        ),
        delay_ms=delay,
        jitter_ms=random.choice((0.0, delay / 2, delay * 2)),
        loss=random.choice((0.0, 0.0, 0.0, 0.02, 0.1)),
        duplication=random.choice((0.0, 0.0, 0.0, 0.2)),
        reordering=random.choice((0.0, 0.0, 0.2)),
        sync_ms=random.choice((0.0, 0.5, 2.0, 10.0)),
        lost_connections_seen=random.random() < 0.8,
    )


def _draw_faults(draws: FaultDraws) -> tuple[Fault, ...]:
    """Each class is in or out for all of it. The first fault begins in any case, others if it comes to that."""
    random = draws.random
    classes = [draw for draw in CLASSES if random.random() < CLASS_PROBABILITY]
    if not classes:
        return ()
    first, *others = [random.choice(classes)(draws) for _ in range(random.randint(1, FAULTS_MAX))]
    return (msgspec.structs.replace(first, at=draws.draw_moment()), *others)
