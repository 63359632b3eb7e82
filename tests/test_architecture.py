"""The import directions, and the purity of the core: sequencer -> consensus <- netsim."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("consensus", "netsim", "sequencer")

MAY_IMPORT = {"consensus": {"consensus"}, "netsim": {"netsim", "consensus"}, "sequencer": {"sequencer", "consensus"}}
"""Which of our packages each may import."""
MEETING_POINTS = {
    "sequencer/cli/simulate.py",
    "sequencer/cli/explore.py",
    "sequencer/cli/check.py",
    "sequencer/cli/fuzz.py",
    "sequencer/cli/outcomes.py",
    "sequencer/cli/twins.py",
    "sequencer/cli/chaos.py",
    "sequencer/local_cluster/byzantine.py",
    *(f"sequencer/chaos/{name}.py" for name in ("conclusion", "injector", "judge", "links", "observer", "plan")),
    *(f"sequencer/chaos/{name}.py" for name in ("runner", "stage", "stock")),
}
"""Where the two sides meet: commands that run the simulator or its oracles, a devnet's node that lies, and what does a
scenario, which is written for both, to real processes.
"""

PURE_MODULES = {"abc", "bisect", "collections", "dataclasses", "enum", "functools", "hashlib", "itertools", "math"}
PURE_MODULES |= {"struct", "typing", "msgspec", "nacl.bindings", "nacl.exceptions"}
"""All that the core may use: no clock, socket, file, randomness, thread, event loop or logging."""
IMPURE_BUILTINS = {"open", "print", "input", "hash", "id", "eval", "exec", "compile"}
"""`hash` and `id` differ from process to process."""
SIGNERS = {"consensus/safety.py", "consensus/signatures/scheme.py", "consensus/signatures/simulated.py"}
SIGNERS |= {"consensus/operations.py", "consensus/promises.py", "netsim/byzantine/actor.py"}
"""The one holder of a validator's key, what a signer is made of, the stakers' own keys (another domain), and liars."""

TRIO_IN_NETSIM = {"netsim/transport.py"}
READS_THE_CLOCK = {"netsim/report.py"}
"""To say how long a run took."""
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
        if name_of(path) in MEETING_POINTS:
            continue
        foreign = get_tops(path) & set(PACKAGES) - MAY_IMPORT[package]
        assert not foreign, f"{name_of(path)} imports {foreign}"


def compute_closure(module: str) -> set[str]:
    """All of our modules that are imported when this one is, also inside functions."""
    closure: set[str] = set()
    pending = {module}
    while pending:
        name = pending.pop()
        path = ROOT / f"{name.replace('.', '/')}.py"
        path = path if path.is_file() else path.with_suffix("") / "__init__.py"
        if name in closure or name.split(".")[0] not in PACKAGES or not path.is_file():
            continue
        closure.add(name)
        # `from a import b` may name a module, and importing a.b runs a.
        names = {f"{node.module}.{alias.name}" for node in walk_import_from(path) for alias in node.names}
        pending |= get_imports(path) | names | {name.rpartition(".")[0]}
    return closure


def walk_import_from(path: Path) -> Iterator[ast.ImportFrom]:
    yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom))


@pytest.mark.parametrize("module", ["sequencer.process", "sequencer.cli.start", "sequencer.node"])
def test_a_production_node_cannot_reach_the_simulator_and_its_liars(module: str) -> None:
    closure = compute_closure(module)
    assert len(closure) > 30, f"{len(closure)} modules are too few to be all of them"
    assert not {name for name in closure if name.split(".")[0] == "netsim" or "local_cluster" in name}


def test_a_node_of_a_local_cluster_can_reach_the_liars() -> None:
    """So that the test above is about something."""
    assert "netsim.byzantine.equivocate" in compute_closure("sequencer.local_cluster.child")


def is_pure(module: str) -> bool:
    return module.split(".")[0] == "consensus" or module in PURE_MODULES or module == "collections.abc"


def is_awaiting(node: ast.AST) -> bool:
    is_async = isinstance(node, ast.comprehension) and bool(node.is_async)
    return is_async or isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith)


def test_the_core_is_pure() -> None:
    for path in walk_files("consensus"):
        impure = {module for module in get_imports(path) if not is_pure(module)}
        assert not impure, f"{name_of(path)} imports {impure}"
        nodes = list(ast.walk(ast.parse(path.read_text())))
        assert not any(map(is_awaiting, nodes)), f"{name_of(path)} awaits"
        names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        assert not names & IMPURE_BUILTINS, f"{name_of(path)} uses {names & IMPURE_BUILTINS}"


@pytest.mark.parametrize("package", PACKAGES)
def test_only_safety_signs(package: str) -> None:
    """The signing key has one holder: nobody else touches a signer's `sign`, not even to pass it on."""
    for path in walk_files(package):
        touches = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        assert "sign" not in touches or name_of(path) in SIGNERS, f"{name_of(path)} signs"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_can_be_seen(package: str) -> None:
    """What is imported by a name made at run time would escape the tests above."""
    for path in walk_files(package):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        assert "importlib" not in get_tops(path), f"{name_of(path)} imports importlib"
        assert "__import__" not in names, f"{name_of(path)} calls __import__"


def test_the_simulator_runs_without_an_event_loop() -> None:
    for path in walk_files("netsim"):
        if name_of(path) not in TRIO_IN_NETSIM:
            loops = get_tops(path) & {"trio", "asyncio", "threading", "socket"}
            assert not loops, f"{name_of(path)} imports {loops}"


def test_the_simulator_draws_everything_from_its_seed() -> None:
    for path in walk_files("netsim"):
        foreign = get_tops(path) & {"secrets", "uuid", "os", "datetime", "time"}
        assert not foreign or name_of(path) in READS_THE_CLOCK, f"{name_of(path)} imports {foreign}"


def test_safety_rules_fit_in_two_hundred_lines() -> None:
    assert len((ROOT / "consensus" / "safety.py").read_text().splitlines()) <= 200


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_a_dumping_ground(package: str) -> None:
    for path in walk_files(package):
        lines = len(path.read_text().splitlines())
        assert lines <= LINES_MAX, f"{name_of(path)} has {lines} lines"
        assert path.name not in ("helpers.py", "utils.py", "common.py", "misc.py")
