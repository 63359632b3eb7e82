"""The example rollup as a newcomer runs it, and proof that its verdict can be no."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from examples.rollup.__main__ import find_faults
from examples.rollup.ledger import Ledger, Outcome, make_transfer
from examples.rollup.node import RollupNode
from sequencer.schema.blocks import BlockJson

ROOT = Path(__file__).parents[2]
KEY = SigningKey(bytes([1]) * 32)
ACCOUNT = bytes(KEY.verify_key)
NAMESPACE = 7


@pytest.mark.cluster
def test_the_rollup_agrees_through_the_death_of_a_leader() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "examples.rollup"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "kill -9" in result.stdout
    assert "all the same" in result.stdout
    assert "proven with the network file alone" in result.stdout


def make_block(height: int, *transactions: bytes) -> BlockJson:
    texts = ["0x" + transaction.hex() for transaction in transactions]
    return BlockJson(height, height, 0, f"0x{height}", f"0x{height - 1}", "n0", height, "0x", 0, texts)


def make_node(name: str) -> RollupNode:
    return RollupNode(name, ["http://127.0.0.1:1"], Ledger(NAMESPACE, {ACCOUNT: 10}))


def pay(nonce: int, amount: int) -> bytes:
    return make_transfer(KEY, nonce, bytes(32), amount, NAMESPACE)


def test_equal_nodes_have_no_faults() -> None:
    nodes = [make_node(name) for name in ("r0", "r1")]
    for node in nodes:
        node.execute(make_block(1, pay(0, 1)))
        node.execute(make_block(2))
        node.execute(make_block(3, pay(1, 2)))
        assert node.height == 3
        assert set(node.roots) == {1, 3}
    assert find_faults(nodes, coins=10, transfers=2) == []


@pytest.mark.parametrize(
    ("transactions", "words"),
    [
        ((pay(0, 1), pay(1, 3)), "disagree after block 1"),
        ((pay(0, 1),), "has not applied 2 transfers"),
        ((pay(0, 1), pay(0, 1)), "has not applied 2 transfers"),
    ],
    ids=["other", "fewer", "repeated"],
)
def test_nodes_that_differ_are_told(transactions: tuple[bytes, ...], words: str) -> None:
    good, bad = make_node("r0"), make_node("r1")
    good.execute(make_block(1, pay(0, 1), pay(1, 2)))
    bad.execute(make_block(1, *transactions))
    assert any(words in fault for fault in find_faults([good, bad], coins=10, transfers=2))


def test_a_coin_that_was_made_is_told() -> None:
    node = make_node("r0")
    node.ledger.accounts[ACCOUNT].balance += 1
    assert any("counts 11 coins" in fault for fault in find_faults([node], coins=10, transfers=0))


def test_a_block_that_is_left_out_is_refused() -> None:
    node = make_node("r0")
    with pytest.raises(ValueError, match="has executed height 0 and is given 2"):
        node.execute(make_block(2))
    assert node.outcomes == Counter[Outcome]()
