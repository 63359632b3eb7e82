"""The demo as a newcomer runs it, and proof that its verdict can be no."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "demo.py"


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look themselves up there.
    sys.modules["demo"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.cluster
def test_demo_holds() -> None:
    """1,027 real transactions, the leader killed on the way, four equal chains at the end."""
    result = subprocess.run(
        [sys.executable, str(DEMO)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "It held" in result.stdout
    assert "1,027 submitted, 1,027 final" in result.stdout
    assert "kill -9" in result.stdout


def make_chain(*transactions: bytes) -> list[dict[str, Any]]:
    """A chain as the API reports it: genesis, then one block per transaction."""
    chain = [{"height": 0, "hash": "0x0", "parent": "", "transactions": list[str]()}]
    for height, transaction in enumerate(transactions, start=1):
        texts = ["0x" + transaction.hex()]
        chain.append({"height": height, "hash": f"0x{height}", "parent": f"0x{height - 1}", "transactions": texts})
    return chain


SENT = [b"first", b"second", b"third"]


def test_verdict_accepts_equal_whole_chains(demo: ModuleType) -> None:
    assert demo.find_faults({"n0": make_chain(*SENT), "n1": make_chain(*SENT)}, SENT) == []


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        (make_chain(b"first", b"second"), "0 times"),
        (make_chain(b"first", b"second", b"second", b"third"), "2 times"),
        (make_chain(b"first", b"second", b"thirD"), "nobody sent"),
    ],
    ids=["lost", "doubled", "changed"],
)
def test_verdict_refuses_what_is_not_exactly_once(demo: ModuleType, chain: list[dict[str, Any]], words: str) -> None:
    faults = demo.find_faults({"n0": make_chain(*SENT), "n1": chain}, SENT)
    assert any(words in fault for fault in faults)


@pytest.mark.parametrize("member", ["hash", "parent", "height"])
def test_verdict_refuses_chains_that_differ(demo: ModuleType, member: str) -> None:
    chain = make_chain(*SENT)
    chain[2][member] = "0xbad"
    assert demo.find_faults({"n0": make_chain(*SENT), "n1": chain}, SENT)
