"""Stake arithmetic: what the safety proof needs of the two thresholds holds for every stake table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.certificates import decode_signers, encode_signers
from consensus.errors import InvalidMessage
from consensus.rotation import CYCLE_SLOTS_MAX, compute_rotation
from consensus.stake_table import MAX_TOTAL_STAKE, StakeTable, Validator
from consensus.types import ValidatorId

stakes = st.lists(st.one_of(st.integers(1, 20), st.integers(1, 10**15)), min_size=1, max_size=12)


def make_table(amounts: list[int]) -> StakeTable:
    return StakeTable.of(
        Validator(ValidatorId(7 * number), bytes([number]) * 32, amount) for number, amount in enumerate(amounts)
    )


@given(stakes)
def test_two_quorums_share_more_than_a_third(amounts: list[int]) -> None:
    table = make_table(amounts)
    least_overlap = 2 * table.success_threshold - table.total
    assert 3 * least_overlap > table.total
    assert least_overlap >= table.one_honest_threshold - 1
    assert 2 * table.success_threshold > table.total + (table.total - 1) // 3


@given(stakes)
def test_honest_stake_alone_reaches_a_quorum(amounts: list[int]) -> None:
    table = make_table(amounts)
    byzantine_most = (table.total - 1) // 3
    assert table.total - byzantine_most >= table.success_threshold
    assert byzantine_most < table.one_honest_threshold


@given(stakes, st.data())
def test_stake_of_a_set_counts_each_validator_once(amounts: list[int], data: st.DataObject) -> None:
    table = make_table(amounts)
    chosen = data.draw(st.lists(st.sampled_from(table.ids)))
    expected = sum(amount for number, amount in enumerate(amounts) if 7 * number in set(chosen))
    assert table.compute_stake(chosen) == expected


@given(stakes, st.data())
def test_a_bitmap_names_exactly_its_signers(amounts: list[int], data: st.DataObject) -> None:
    table = make_table(amounts)
    signers = data.draw(st.sets(st.sampled_from(table.ids)))
    bitmap = encode_signers(table, signers)
    assert decode_signers(table, bitmap) == tuple(sorted(signers))


@given(stakes, st.binary(max_size=3))
def test_a_bitmap_has_one_form(amounts: list[int], bitmap: bytes) -> None:
    table = make_table(amounts)
    try:
        signers = decode_signers(table, bitmap)
    except InvalidMessage:
        return
    assert encode_signers(table, signers) == bitmap


@given(stakes)
def test_rotation_gives_everyone_its_share(amounts: list[int]) -> None:
    table = make_table(amounts)
    cycle = compute_rotation(table)
    assert set(cycle) == set(table.ids)
    assert len(cycle) <= CYCLE_SLOTS_MAX + len(table)
    for validator in table:
        share = validator.stake * len(cycle) / table.total
        assert abs(cycle.count(validator.id) - share) <= 1 + len(table)


@pytest.mark.parametrize(
    ("validators", "complaint"),
    [
        ([], "at least one"),
        ([(0, 1, 1), (0, 2, 1)], "unique"),
        ([(0, 1, 1), (1, 1, 1)], "share a public key"),
        ([(0, 1, 0)], "not positive"),
        ([(0, 1, -5)], "not positive"),
        ([(0, 1, MAX_TOTAL_STAKE), (1, 2, 1)], "above"),
    ],
)
def test_an_impossible_table_is_refused(validators: list[tuple[int, int, int]], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        StakeTable.of(Validator(ValidatorId(number), bytes([key]), stake) for number, key, stake in validators)
