"""Which scenarios real processes can run, and the home that one of them needs."""

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from netsim.scenario.faults import (
    Clock,
    Degrade,
    DiskFault,
    DropKinds,
    Fault,
    Kill,
    Slow,
    SlowDisk,
    Stake,
    get_kind,
)
from netsim.scenario.model import Scenario, Settings
from sequencer.failures import CommandError, ExitCode
from sequencer.home import DEFAULT_STAKE, HomePlan
from sequencer.local_cluster.home import DEVNET_NAME
from sequencer.network_config import ConsensusSection, EpochsSection, LeadershipSection, SlashingSection

_SIMULATOR_ONLY = (DropKinds, Slow, DiskFault, SlowDisk, Clock, Stake)

SectionT = TypeVar("SectionT", bound=msgspec.Struct)


def check_supported(scenario: Scenario) -> None:
    """Raises `CommandError` (usage) that names everything in it that only the simulator knows."""
    unknown = list(_find_unsupported(scenario))
    if unknown:
        raise CommandError(
            f"{scenario.name} cannot run on processes: {'; '.join(unknown)}. Only the simulator knows that: "
            "add --runtime simulator",
            ExitCode.USAGE,
        )


def _find_unsupported(scenario: Scenario) -> Iterator[str]:
    if scenario.cluster.joiners:
        yield "cluster.joiners"
    for number, fault in enumerate(scenario.fault, 1):
        reason = _say_why_not(fault)
        if reason:
            yield f"fault {number} ({get_kind(fault)}) {reason}"


def _say_why_not(fault: Fault) -> str:
    match fault:
        case Kill(when="pending_write"):
            return 'has when = "pending_write"'
        case Kill(again=again) if again:
            return f"has again = {again}"
        case Degrade(duplication=duplication) if duplication:
            return "doubles messages, which TCP does not"
        case Degrade(reordering=reordering) if reordering:
            return "reorders messages, which TCP does not"
        case Degrade(queue_bytes_max=limit) if limit is not None:
            return "has queue_bytes_max: TCP slows the sender instead"
        case _ if isinstance(fault, _SIMULATOR_ONLY):
            return "is about what happens inside of a process"
        case _:
            return ""


def make_home_plan(scenario: Scenario, base_port: int) -> HomePlan:
    """Stakes in units of the default stake, so that the smallest slash is not rounded down to nothing.

    Raises `CommandError` (usage) for settings that contradict each other.
    """
    shape = scenario.cluster
    stakes = tuple(stake * DEFAULT_STAKE for stake in shape.stakes or (1,) * shape.nodes)
    try:
        return HomePlan(
            stakes=stakes,
            name=DEVNET_NAME,
            base_port=base_port,
            consensus=_make_section(ConsensusSection, shape.settings),
            leadership=_make_section(LeadershipSection, shape.settings),
            slashing=_make_section(SlashingSection, shape.settings),
            epochs=_make_section(EpochsSection, shape.settings),
        )
    except ValueError as error:
        raise CommandError(f"{scenario.name} has no cluster that can work: {error}", ExitCode.USAGE) from error


def _make_section(section: type[SectionT], settings: Settings) -> SectionT:
    given: dict[str, Any] = {
        name: value for name in section.__struct_fields__ if (value := getattr(settings, name, None)) is not None
    }
    return section(**given)
