"""A failure that was found once, kept so that it is never lost: the smallest scenario, and what was wrong with it."""

from pathlib import Path

import msgspec

from netsim.scenario.model import Scenario
from netsim.scenario.outcome import Outcome
from netsim.swarm.campaign import describe_failures


class Fixture(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    scenario: Scenario
    failures: tuple[str, ...]
    """What was found, in the words of the day; the scenario passes since it was mended."""
    audit_hash: str
    """Of the run that failed."""


def make_fixture(outcome: Outcome) -> Fixture:
    return Fixture(scenario=outcome.scenario, failures=describe_failures(outcome), audit_hash=outcome.audit_hash)


def write_fixture(path: Path, fixture: Fixture) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(fixture), indent=2) + b"\n")


def read_fixture(path: Path) -> Fixture:
    """Raises `msgspec.DecodeError` for a file that is none."""
    return msgspec.json.decode(path.read_bytes(), type=Fixture)
