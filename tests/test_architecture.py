"""The import directions, and the purity of the core: sequencer -> consensus <- netsim."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("consensus", "netsim", "sequencer")

MAY_IMPORT = {"consensus": {"consensus"}, "netsim": {"netsim", "consensus"}, "sequencer": {"sequencer", "consensus"}}
"""Which of our packages each may import. `sequencer.cli.simulate` is the one place where the two sides meet."""
MEETING_POINT = "sequencer/cli/simulate.py"

PURE_MODULES = {"abc", "bisect", "collections", "dataclasses", "enum", "functools", "hashlib", "itertools", "math"}
PURE_MODULES |= {"struct", "typing", "msgspec", "nacl"}
"""All that the core may use: no clock, socket, file, randomness, thread, event loop or logging."""

TRIO_IN_NETSIM = {"netsim/transport.py"}
LINES_MAX = 500


def walk_files(package: str) -> Iterator[Path]:
    yield from sorted((ROOT / package).rglob("*.py"))


def get_imports(path: Path) -> set[str]:
    """Dotted names of every module imported anywhere in the file, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; say the whole name"
            names.add(node.module or "")
    return names


def get_tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in get_imports(path)}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_downwards(package: str) -> None:
    files = list(walk_files(package))
    assert len(files) > 5
    for path in files:
        if name_of(path) == MEETING_POINT:
            continue
        foreign = get_tops(path) & set(PACKAGES) - MAY_IMPORT[package]
        assert not foreign, f"{name_of(path)} imports {foreign}"


def test_the_core_is_pure() -> None:
    for path in walk_files("consensus"):
        impure = get_tops(path) - PURE_MODULES - {"consensus"}
        assert not impure, f"{name_of(path)} imports {impure}"
        tree = ast.parse(path.read_text())
        awaits = [node for node in ast.walk(tree) if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor)]
        assert not awaits, f"{name_of(path)} awaits"
        calls = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"open", "print", "input", "hash", "id"}, f"{name_of(path)} calls {calls & {'open', 'hash'}}"


def test_only_safety_signs() -> None:
    """The signing key has one holder: nobody else in the core calls `sign` on a signer."""
    for path in walk_files("consensus"):
        if path.name in ("safety.py", "scheme.py", "ed25519.py", "simulated.py"):
            continue
        calls = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sign"
        ]
        assert not calls, f"{name_of(path)} signs"


def test_the_simulator_runs_without_an_event_loop() -> None:
    for path in walk_files("netsim"):
        if name_of(path) not in TRIO_IN_NETSIM:
            loops = get_tops(path) & {"trio", "asyncio", "threading", "socket"}
            assert not loops, f"{name_of(path)} imports {loops}"


def test_safety_rules_fit_in_two_hundred_lines() -> None:
    assert len((ROOT / "consensus" / "safety.py").read_text().splitlines()) <= 200


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_a_dumping_ground(package: str) -> None:
    for path in walk_files(package):
        lines = len(path.read_text().splitlines())
        assert lines <= LINES_MAX, f"{name_of(path)} has {lines} lines"
        assert path.name not in ("helpers.py", "utils.py", "common.py", "misc.py")
