"""docs/scenarios.md lists every key of a scenario file, with its default, and what processes know of it."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from netsim.scenario import faults as kinds
from netsim.scenario.faults import Fault, FaultBase, Trigger, get_kind
from netsim.scenario.files import parse_scenario
from netsim.scenario.marks import MARKS
from netsim.scenario.model import Expect, Heal, Load, Scenario, Settings, Shape, Steady
from netsim.scenario.targets import ROLES
from sequencer.chaos.plan import check_supported
from sequencer.failures import CommandError

PAGE = (Path(__file__).parent.parent.parent / "docs" / "scenarios.md").read_text()
SECTIONS = dict(re.findall(r"^##+ (.+?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
_FAULTS: tuple[type[FaultBase], ...] = get_args(Fault)
STRUCTS: dict[str, type[msgspec.Struct]] = {
    "Top level": Scenario,
    "`[cluster]`": Shape,
    "`[cluster.settings]`": Settings,
    "`[load]`": Load,
    "`[steady]`": Steady,
    "`[heal]`": Heal,
    "`[expect]`": Expect,
    "`[[fault]]`": FaultBase,
    "`at`": Trigger,
    **{f"`{kind.__struct_config__.tag}`": kind for kind in _FAULTS},
}
NEEDED: dict[str, Any] = {
    "kinds": ("QuorumVote",),
    "mode": "eio",
    "operation": "bond",
    "transactions": 1,
    "source": "n0",
    "target": "n0",
}
"""A value for each key that has no default."""
CHANGED: dict[str, Any] = {"when": "pending_write", "queue_bytes_max": 1000, "duplication": 0.1, "reordering": 0.1}
"""Another value than the default, where one more than it would not do."""


def read_rows(section: str) -> dict[str, tuple[str, str]]:
    """Key -> default, where."""
    cells = [line.strip("|").split("|") for line in SECTIONS[section].splitlines() if line.startswith("| `")]
    return {key.strip(" `"): (default.strip(" `"), where.strip()) for key, default, where, _ in cells}


def get_defaults(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Key -> default; None where it is none or is not known."""
    base = () if struct in (FaultBase, Trigger) or not issubclass(struct, FaultBase) else FaultBase.__struct_fields__
    fields = [field for field in msgspec.structs.fields(struct) if field.name not in base]
    return {
        field.name: field.default_factory()
        if field.default_factory is not msgspec.NODEFAULT
        else None
        if field.default is msgspec.NODEFAULT
        else field.default
        for field in fields
    }


@pytest.mark.parametrize("section", STRUCTS)
def test_every_key_has_a_row_and_every_row_a_key(section: str) -> None:
    rows, defaults = read_rows(section), get_defaults(STRUCTS[section])
    assert set(rows) - {"kind"} == set(defaults)
    for key, default in defaults.items():
        told = rows[key][0]
        if default is None or isinstance(default, msgspec.Struct):
            assert not told, f"{section} {key}"
        else:
            value = tomllib.loads(f"x = {told}")["x"]
            assert value == (list(default) if isinstance(default, tuple) else default), f"{section} {key}"


def test_every_fault_has_a_section_and_every_role_and_mark_is_named() -> None:
    assert all(f"`{role}`" in SECTIONS["Targets"] for role in ROLES)
    assert dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", SECTIONS["Marks"], re.MULTILINE)) == MARKS
    assert all(f"`{event}`" in SECTIONS["`at`"] for event in get_args(kinds.EventName))
    assert all(f"`{mode}`" in SECTIONS["`disk`"] for mode in get_args(kinds.DiskMode))
    assert all(f"`{shape}`" in SECTIONS["`partition`"] for shape in get_args(kinds.PartitionShape))


def is_for_processes(fault: Fault) -> bool:
    try:
        check_supported(Scenario(name="x", cluster=Shape(joiners=0), fault=(fault,)))
    except CommandError:
        return False
    return True


@pytest.mark.parametrize("kind", _FAULTS)
def test_what_processes_do_not_know_is_marked(kind: type[FaultBase]) -> None:
    """A fault of nothing but defaults, and then each of its keys by itself."""
    rows, defaults = read_rows(f"`{kind.__struct_config__.tag}`"), get_defaults(kind)
    plain: dict[str, Any] = {key: NEEDED[key] for key, default in defaults.items() if default is None and key in NEEDED}
    fault: Any = kind(at=Trigger(seconds=0.0), **plain)
    is_known = is_for_processes(fault)
    assert is_known == ("Simulator only" not in SECTIONS[f"`{get_kind(fault)}`"])
    for key, default in defaults.items():
        value = CHANGED.get(key, default + 1 if type(default) is int else plain.get(key, default))
        changed: Any = kind(at=Trigger(seconds=0.0), **{**plain, key: value})
        is_marked = rows[key][1] == "sim" or (key == "when" and "(sim)" in SECTIONS["`kill`"])
        assert is_for_processes(changed) == (not is_marked), key


def test_joiners_are_for_the_simulator() -> None:
    with pytest.raises(CommandError):
        check_supported(Scenario(name="x", cluster=Shape(joiners=1)))
    assert read_rows("`[cluster]`")["joiners"][1] == "sim"


def test_the_example_is_a_scenario() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(parse_scenario(text, "docs/scenarios.md").fault) == 2
