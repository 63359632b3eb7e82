"""The undecided tree: what a decide keeps, and what it must never do."""

from collections.abc import Iterable

import pytest

from consensus.chain import Chain
from consensus.errors import InvariantViolation
from consensus.leaf import Block
from tests.lab import Lab


def make_chain(lab: Lab, undecided: Iterable[Block]) -> Chain:
    return Chain(lab.genesis, lab.context.genesis_ledger, lab.context.ledger_parameters, undecided)


def test_a_decide_keeps_only_descendants(lab: Lab) -> None:
    first, second, third = lab.chain(3)
    sibling = lab.block(lab.genesis, 4, tc=lab.tc(3, lab.genesis_qc))
    cousin = lab.block(sibling, 5)
    chain = make_chain(lab, (cousin, third, sibling, first, second))
    assert len(chain) == 5
    chain.advance((first, second))
    assert chain.tip is second
    assert third.commitment in chain
    assert sibling.commitment not in chain
    assert cousin.commitment not in chain


def test_a_path_runs_from_the_tip(lab: Lab) -> None:
    blocks = lab.chain(3)
    chain = make_chain(lab, blocks)
    assert chain.compute_path(blocks[2].commitment) == tuple(blocks)
    assert chain.compute_path(lab.genesis.commitment) == ()
    assert chain.compute_path(lab.block(blocks[2], 4).commitment) is None


def test_a_block_without_its_parent_stays_out(lab: Lab) -> None:
    first, second, third = lab.chain(3)
    chain = make_chain(lab, (first, third))
    assert third.commitment not in chain
    with pytest.raises(InvariantViolation):
        chain.add(third)
    chain.add(second)
    chain.add(third)
    assert len(chain) == 3


def test_heights_are_decided_without_gaps(lab: Lab) -> None:
    first, second = lab.chain(2)
    chain = make_chain(lab, (first, second))
    with pytest.raises(InvariantViolation):
        chain.advance((second,))
    assert chain.tip is lab.genesis


def test_a_block_that_is_added_twice_changes_nothing(lab: Lab) -> None:
    """Its children stand behind it still, and stay when it is decided."""
    first, second, third = lab.chain(3)
    chain = make_chain(lab, (first, second, third))
    for block in (first, second):
        chain.add(block)
    assert list(chain.blocks) == [first, second, third]
    chain.advance((first,))
    assert list(chain.blocks) == [second, third]
