"""The demo as a newcomer runs it, and proof that its verdict can be no."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from sequencer.schema.blocks import BlockJson

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


def make_chain(*transactions: bytes) -> list[BlockJson]:
    """A chain as the API reports it: genesis, then one block per transaction."""
    return [make_block(height, transactions[max(height - 1, 0) : height]) for height in range(len(transactions) + 1)]


def make_block(height: int, transactions: Sequence[bytes]) -> BlockJson:
    return BlockJson(
        height=height,
        view=height,
        epoch=0,
        hash=f"0x{height}",
        parent=f"0x{height - 1}" if height else "",
        proposer="n0",
        timestamp_ms=height,
        payload_hash="0x",
        payload_bytes=1,
        transactions=["0x" + transaction.hex() for transaction in transactions],
    )


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
def test_verdict_refuses_what_is_not_exactly_once(demo: ModuleType, chain: list[BlockJson], words: str) -> None:
    faults = demo.find_faults({"n0": make_chain(*SENT), "n1": chain}, SENT)
    assert any(words in fault for fault in faults)


@pytest.mark.parametrize(("member", "value"), [("hash", "0xbad"), ("parent", "0xbad"), ("height", 9)])
def test_verdict_refuses_chains_that_differ(demo: ModuleType, member: str, value: object) -> None:
    chain = make_chain(*SENT)
    setattr(chain[2], member, value)
    assert demo.find_faults({"n0": make_chain(*SENT), "n1": chain}, SENT)
