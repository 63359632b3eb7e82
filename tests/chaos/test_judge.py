"""What a run on processes is judged by: each check passes what is right, and fails what it is there for."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from netsim.scenario.outcome import Verdict
from sequencer.chaos import judge
from sequencer.chaos.judge import Block, Process

MIB = 2**20
SENT = ("0x01", "0x02", "0x03")


def make_chain(*payloads: Sequence[str]) -> list[Block]:
    return [
        Block(height, height, f"hash {height}", f"hash {height - 1}" if height > 1 else "genesis", tuple(payload))
        for height, payload in enumerate(payloads, 1)
    ]


CHAIN = make_chain(SENT[:1], (), SENT[1:])


def test_equal_chains_agree_up_to_the_shortest() -> None:
    line = judge.judge_agreement({"n0": CHAIN, "n1": CHAIN[:2]})
    assert line.verdict is Verdict.PASS
    assert "up to height 2" in line.detail


@pytest.mark.parametrize(
    "wrong",
    [
        [*CHAIN[:2], replace(CHAIN[2], hash="another")],
        [*CHAIN[:2], replace(CHAIN[2], parent="another")],
        [*CHAIN[:2], replace(CHAIN[2], transactions=())],
        [CHAIN[0], CHAIN[2]],
    ],
    ids=["fork", "broken link", "other payload", "gap"],
)
def test_chains_that_differ_fail(wrong: list[Block]) -> None:
    for chains in ({"n0": CHAIN, "n1": wrong}, {"n0": wrong, "n1": CHAIN}):
        assert judge.judge_agreement(chains).verdict is Verdict.FAIL


def test_a_node_without_a_chain_shows_nothing() -> None:
    assert judge.judge_agreement({"n0": CHAIN, "n1": []}).verdict is Verdict.INCONCLUSIVE
    assert judge.judge_agreement({}).verdict is Verdict.INCONCLUSIVE


def test_acknowledged_transactions_stand_in_the_chain_once() -> None:
    assert judge.judge_transactions(CHAIN, SENT, SENT).verdict is Verdict.PASS
    assert judge.judge_transactions(CHAIN, SENT, SENT[:1]).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        (make_chain(SENT[:1], SENT[1:2]), "1 of 3 are not in the chain: 0x03"),
        (make_chain(SENT, SENT[:1]), "several times: 0x01"),
        (make_chain(SENT, ("0xff",)), "sent by nobody: 0xff"),
    ],
    ids=["lost", "twice", "strange"],
)
def test_what_is_not_exactly_once_fails(chain: list[Block], words: str) -> None:
    line = judge.judge_transactions(chain, SENT, SENT)
    assert line.verdict is Verdict.FAIL
    assert words in line.detail


def test_a_corrupt_link_may_make_other_transactions_and_no_more_than_it_altered() -> None:
    chain = make_chain(SENT, ("0xfe", "0xff"))
    line = judge.judge_transactions(chain, SENT, SENT, altered_max=2)
    assert line.verdict is Verdict.PASS
    assert "2 others were altered" in line.detail
    assert judge.judge_transactions(chain, SENT, SENT, altered_max=1).verdict is Verdict.FAIL


def test_ledgers_are_compared_at_each_height() -> None:
    nodes = ("n0", "n1")
    same = {7: {"n0": "a"}, 8: {"n0": "b", "n1": "b"}}
    assert judge.judge_ledgers(same, nodes, {100}).verdict is Verdict.PASS
    assert judge.judge_ledgers({**same, 9: {"n0": "a", "n1": "b"}}, nodes, {100}).verdict is Verdict.FAIL
    assert judge.judge_ledgers(same, nodes, {100, 99}).verdict is Verdict.FAIL
    assert judge.judge_ledgers({7: {"n0": "a"}}, nodes, {100}).verdict is Verdict.INCONCLUSIVE


def test_a_node_that_forgets_or_ends_fails() -> None:
    assert judge.judge_memory_of_decides([]).verdict is Verdict.PASS
    assert judge.judge_memory_of_decides(["n1 had decided 9 and is at 8"]).verdict is Verdict.FAIL
    assert judge.judge_ends([], []).verdict is Verdict.PASS
    assert judge.judge_ends(["n1 ended by itself"], []).verdict is Verdict.FAIL
    assert judge.judge_ends([], ["n1: Traceback"]).verdict is Verdict.FAIL


def test_a_client_without_an_answer_fails() -> None:
    assert judge.judge_pending(10, 10).verdict is Verdict.PASS
    assert judge.judge_pending(10, 9).verdict is Verdict.FAIL


def test_memory_may_grow_a_little_and_no_more() -> None:
    flat, leaking = Process("n0", 30, 60 * MIB, 70 * MIB), Process("n1", 30, 60 * MIB, 200 * MIB)
    assert judge.judge_memory([flat]).verdict is Verdict.PASS
    assert judge.judge_memory([flat, leaking]).verdict is Verdict.FAIL
    assert judge.judge_memory([]).verdict is Verdict.INCONCLUSIVE


def test_descriptors_must_be_back_at_their_level() -> None:
    before = {"n0": 30, "n1": 31}
    assert judge.judge_descriptors(before, {"n0": 31, "n1": 28}).verdict is Verdict.PASS
    assert judge.judge_descriptors(before, {"n0": 31, "n1": 60}).verdict is Verdict.FAIL
    assert judge.judge_descriptors({}, {}).verdict is Verdict.INCONCLUSIVE
