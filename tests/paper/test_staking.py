"""J5, T3, T4 and S5 in the ledger: stake operations, and what the roll-over makes of them."""

from collections.abc import Callable

import pytest

from consensus.beacon import skip_beacon
from consensus.ledger import Account, EpochParameters, LeadershipParameters, SlashingParameters, Status
from consensus.ledger.changes import (
    Bonded,
    CommitteesDrawn,
    EpochBegan,
    FallbackEnded,
    KeyRotated,
    Paid,
    Unbonded,
    Unjailed,
    ValidatorActive,
    ValidatorExited,
    ValidatorPending,
)
from consensus.ledger.committees import draw_committees
from consensus.ledger.staking import VALIDATORS_MAX
from consensus.ledger.state import LeaderRecord, Profile, Unbonding, ValidatorState, compute_supply
from consensus.operations import Operation
from consensus.types import Commitment, Epoch, ValidatorId
from tests.bookkeeping import BALANCE, PATIENT, Books, make_signer

QUICK = SlashingParameters(jail_after=3, outage_window=1)
SEVEN = ValidatorId(7)
"""The first newcomer of seven."""


def is_in_table(books: Books, number: int, epoch: int) -> bool:
    return ValidatorId(number) in books.ledger.get_table(Epoch(epoch))


# J5: bond


def test_j5_a_newcomer_votes_from_the_first_table_that_is_drawn_up_after_its_bond() -> None:
    books = Books()
    supply = compute_supply(books.state)
    books.include(books.bond("owner-0", "newcomer", 300_000))
    assert books.account("owner-0") == Account(make_signer("owner-0").public_key, BALANCE - 300_000, 1)
    member = books.validator(7)
    assert member == ValidatorState(
        id=SEVEN,
        public_key=make_signer("newcomer").public_key,
        owner=make_signer("owner-0").public_key,
        stake=300_000,
        status=Status.PENDING,
        leader=LeaderRecord(grace=8),
        profile=Profile("newcomer", "127.0.0.1:1"),
    )
    assert books.told == [
        ValidatorPending(SEVEN, "newcomer", Epoch(2)),
        Bonded(SEVEN, member.owner, 300_000, 300_000),
    ]
    books.roll_over()
    assert (is_in_table(books, 7, 1), is_in_table(books, 7, 2)) == (False, True), "known an epoch ahead"
    assert books.validator(7).status is Status.PENDING
    books.roll_over()
    assert books.validator(7).status is Status.ACTIVE
    assert ValidatorActive(SEVEN, 300_000) in books.told
    assert compute_supply(books.state) == supply


def test_j5_a_bond_to_a_known_key_tops_up_its_stake_and_nothing_else() -> None:
    books = Books()
    before = books.validator(3)
    books.include(books.bond("owner-3", "validator-3", 250_000, name="other"))
    after = books.validator(3)
    assert after.stake == before.stake + 250_000
    assert (after.profile, after.owner, after.status) == (before.profile, before.owner, before.status)
    assert books.ledger.table.get_stake(ValidatorId(3)) == before.stake, "the running table stands"


def test_j5_ids_are_never_given_twice() -> None:
    books = Books()
    books.include(books.bond("owner-0", "brief", 10))
    books.include(books.unbond("owner-0", 7, 10))
    books.roll_over(8)
    assert SEVEN not in books.ledger.validators, "it never voted, and was paid"
    books.include(books.bond("owner-0", "brief", 10))
    assert [member.id for member in books.state.validators][-1] == 8


# J5: unbond


def test_j5_unbonded_stake_is_paid_after_the_last_epoch_that_it_voted_in_and_two_more() -> None:
    books = Books()
    books.roll_over(3)
    books.include(books.unbond("owner-3", 3, 400_000))
    member = books.validator(3)
    # It votes in epochs 3 and 4; evidence of epoch 4 counts until the end of epoch 6.
    assert (member.stake, member.unbonding) == (600_000, (Unbonding(400_000, Epoch(7)),))
    assert books.told[-1] == Unbonded(ValidatorId(3), 400_000, Epoch(7), 600_000)
    for epoch in (4, 5, 6):
        books.roll_over()
        expected = 1_000_000 if epoch == 4 else 600_000
        assert books.ledger.table.get_stake(ValidatorId(3)) == expected
        assert books.account("owner-3").balance == BALANCE
    assert books.admission.check_evidence(books.ledger, books.double_vote(3, 4)) is None
    books.roll_over()
    assert books.account("owner-3").balance == BALANCE + 400_000
    assert Paid(ValidatorId(3), books.validator(3).owner, 400_000) in books.told
    assert "too long ago" in (books.admission.check_evidence(books.ledger, books.double_vote(3, 4)) or "")


def test_j5_stake_that_is_unbonded_in_parts_waits_in_one_entry_per_epoch() -> None:
    books = Books()
    for _ in range(5):
        books.include(books.unbond("owner-3", 3, 10))
    books.roll_over()
    books.include(books.unbond("owner-3", 3, 10))
    assert books.validator(3).unbonding == (Unbonding(50, Epoch(4)), Unbonding(10, Epoch(5)))


def test_j5_whoever_unbonds_everything_leaves_and_is_forgotten() -> None:
    books = Books()
    books.include(books.unbond("owner-3", 3, 1_000_000))
    assert books.validator(3).status is Status.EXITING
    books.roll_over()
    assert (is_in_table(books, 3, 1), is_in_table(books, 3, 2)) == (True, False)
    books.roll_over()
    assert ValidatorExited(ValidatorId(3)) in books.told
    books.roll_over(1)
    assert ValidatorId(3) in books.ledger.validators, "evidence of epoch 1 still counts"
    books.roll_over()
    assert ValidatorId(3) not in books.ledger.validators
    assert books.account("owner-3").balance == BALANCE + 1_000_000


def test_j5_whoever_is_leaving_comes_back_with_a_bond() -> None:
    books = Books()
    books.include(books.unbond("owner-3", 3, 1_000_000))
    books.include(books.bond("owner-3", "validator-3", 7))
    assert (books.validator(3).status, books.validator(3).stake) == (Status.ACTIVE, 7)


def test_j5_below_the_minimum_stake_a_validator_waits_outside() -> None:
    books = Books(epochs=EpochParameters(min_stake=500_000))
    books.include(books.unbond("owner-3", 3, 600_000))
    books.roll_over(2)
    assert books.validator(3).status is Status.PENDING
    books.include(books.bond("owner-3", "validator-3", 100_000))
    books.roll_over(2)
    assert (books.validator(3).status, books.ledger.table.get_stake(ValidatorId(3))) == (Status.ACTIVE, 500_000)


# J5: unjail, rotate key


def test_j5_unjail_after_the_term_and_by_its_owner_alone() -> None:
    books = Books(slashing=QUICK)
    books.lead_until_jailed(3)
    books.roll_over()
    early = books.unjail("owner-3", 3)
    assert books.admission.check_operation(books.ledger, early) == (
        "validator 3 is in jail until epoch 2; the running one is 1"
    )
    books.include(early)
    assert books.validator(3).status is Status.JAILED
    books.roll_over()
    books.include(books.unjail("owner-4", 3))
    assert books.validator(3).status is Status.JAILED
    books.include(books.unjail("owner-3", 3))
    member = books.validator(3)
    assert (member.status, member.jailed_until, member.leader) == (Status.ACTIVE, 0, LeaderRecord(probation=8))
    assert books.told[-1] == Unjailed(ValidatorId(3), 8)
    books.roll_over()
    assert 3 in books.state.primary + books.state.fallback


def test_j5_a_key_is_rotated_with_the_next_table_that_is_drawn_up() -> None:
    books = Books()
    old, new = make_signer("validator-3").public_key, make_signer("fresh").public_key
    books.include(books.rotate_key("owner-3", 3, "fresh"))
    assert books.told == [KeyRotated(ValidatorId(3), new, Epoch(2))]
    books.roll_over()
    keys = [books.ledger.get_table(Epoch(epoch)).get_validator(ValidatorId(3)).public_key for epoch in (0, 1, 2)]
    assert keys == [old, old, new]


# J5: what is refused, and leaves no trace


Craft = Callable[[Books], Operation]


@pytest.mark.parametrize(
    ("craft", "reason"),
    [
        (lambda books: books.bond("owner-0", "new", 10, nonce=1), "nonce 1, the account's next one is 0"),
        (lambda books: books.bond("stranger", "new", 10), "there is no such account"),
        (lambda books: books.bond("owner-0", "new", BALANCE + 1), "balance 1000000 is less than 1000001"),
        (lambda books: books.bond("owner-0", "new", 9), "amount 9 is below the minimum stake 10"),
        (lambda books: books.bond("owner-0", "new", 10, name="v3"), "the name 'v3' is taken"),
        (lambda books: books.bond("owner-0", "validator-3", 10), "validator 3 belongs to another account"),
        (lambda books: books.bond("owner-6", "validator-6", 10), "validator 6 is tombstoned and never returns"),
        (lambda books: books.bond("owner-0", "validator-5", 10), "the key stands in a stake table of a validator that"),
        (lambda books: books.unbond("owner-0", 99, 10), "there is no validator 99"),
        (lambda books: books.unbond("owner-0", 3, 10), "validator 3 belongs to another account"),
        (lambda books: books.unbond("owner-0", 0, 1_000_001), "amount 1000001 is more than its stake 1000000"),
        (lambda books: books.unjail("owner-0", 0), "validator 0 is not in jail but active"),
        (lambda books: books.rotate_key("owner-0", 3, "new"), "validator 3 belongs to another account"),
        (lambda books: books.rotate_key("owner-6", 6, "new"), "validator 6 is tombstoned and never returns"),
        (lambda books: books.rotate_key("owner-0", 0, "validator-3"), "the key is in use"),
        (lambda books: books.rotate_key("owner-0", 0, "validator-0"), "the key is in use"),
        (lambda books: books.rotate_key("owner-0", 0, "validator-5"), "the key is in use"),
    ],
)
def test_j5_what_cannot_be_done_is_refused_with_the_numbers_and_changes_nothing(craft: Craft, reason: str) -> None:
    books = Books(epochs=EpochParameters(min_stake=10))
    books.include(books.double_vote(6), books.rotate_key("owner-5", 5, "fresh-5"))
    operation = craft(books)
    before = books.ledger
    told = books.admission.check_operation(books.ledger, operation)
    assert told is not None
    assert told.startswith(reason)
    books.include(operation)
    assert books.ledger is before, "the nonce is not used up either"


def test_j5_the_last_validator_cannot_leave() -> None:
    books = Books((10, 10), epochs=EpochParameters(min_stake=10))
    books.include(books.unbond("owner-0", 0, 10))
    last = books.unbond("owner-1", 1, 1)
    assert books.admission.check_operation(books.ledger, last) == "nobody would be left in the next stake table"
    books.include(last)
    assert books.validator(1).stake == 10


def test_j5_an_operation_happens_once() -> None:
    books = Books()
    bond = books.bond("owner-0", "validator-0", 10)
    books.include(bond, bond)
    books.include(bond)
    assert books.validator(0).stake == 1_000_010


def test_j5_there_is_a_bound_on_validators() -> None:
    books = Books((1,) * VALIDATORS_MAX)
    assert books.admission.check_operation(books.ledger, books.bond("owner-0", "one-more", 10)) == (
        "there are 1024 validators already"
    )


# T3, T4


def test_t3_the_tables_of_the_running_and_the_next_epoch_are_always_there_and_old_ones_as_long_as_they_count() -> None:
    books = Books()
    for epoch in range(6):
        assert [table.epoch for table in books.state.tables] == list(range(max(0, epoch - 2), epoch + 2))
        assert books.state.epoch == epoch
        books.roll_over()


def test_t3_with_nobody_left_to_draw_up_a_table_from_the_members_stay() -> None:
    books = Books((10, 10))
    books.include(books.double_vote(0), books.double_vote(1))
    books.roll_over(3)
    assert books.ledger.table.ids == (0, 1)
    assert set(books.state.primary + books.state.fallback) == {0, 1}, "all of them are barred, so all of them may"


def test_t3_the_roll_over_draws_committees_with_the_beacon_and_ends_the_fallback() -> None:
    leadership = LeadershipParameters(primary_size=3, fallback_size=2)
    books = Books(leadership=leadership)
    beacon = Commitment(b"\x07" * 32)
    books.append(books.make_leaf(beacon=beacon))
    books.append(books.make_leaf(beacon=Commitment(b"\x08" * 32)))
    assert books.state.beacon == beacon, "the first one counts"
    books.lead(dead=books.state.primary)
    assert books.state.mode.is_fallback
    relapses = books.state.mode.relapses
    books.told.clear()
    books.roll_over()
    assert books.state.seed == beacon
    assert books.state.beacon is None
    drawn = draw_committees(books.ledger.table, leadership, seed=beacon)
    assert (books.state.primary, books.state.fallback) == drawn
    assert (books.state.mode.is_fallback, books.state.mode.relapses) == (False, relapses)
    assert books.told == [
        EpochBegan(Epoch(1), beacon, was_beacon_missing=False, validators=7, total_stake=7_000_000),
        CommitteesDrawn(*drawn),
        FallbackEnded(),
    ]


def test_t4_a_late_beacon_is_replaced_by_the_hash_of_the_seed_before() -> None:
    books = Books()
    seed = books.state.seed
    books.roll_over()
    assert books.state.seed == skip_beacon(seed)
    assert isinstance(books.told[0], EpochBegan)
    assert books.told[0].was_beacon_missing


def test_t3_what_an_epoch_has_counted_begins_anew() -> None:
    books = Books(slashing=QUICK)
    books.lead_until_jailed(3)
    assert books.validator(3).slashed_in_epoch == 100
    books.roll_over()
    assert books.validator(3).slashed_in_epoch == 0


def test_t3_a_new_table_may_release_the_jailed() -> None:
    """J2 holds for each table: here the jailed grow to more than a third, because others leave."""
    books = Books(slashing=QUICK)
    books.lead_until_jailed(3)
    books.lead_until_jailed(4)
    books.include(books.unbond("owner-0", 0, 1_000_000), books.unbond("owner-1", 1, 1_000_000))
    books.roll_over()
    assert books.ledger.barred == {3, 4}
    books.roll_over()
    assert books.ledger.barred == {3}, "one of five"
    assert books.validator(4).status is Status.ACTIVE


# S5


def test_s5_barred_primaries_are_replaced_at_the_hand_back() -> None:
    leadership = LeadershipParameters(primary_size=2, fallback_size=2, handback_after=4, bench_after=1000)
    books = Books((1_000_000,) * 7, leadership=leadership)
    old, fallback = books.state.primary, books.state.fallback
    books.lead(dead=old)
    books.include(books.double_vote(old[0]), proposer=fallback[0])
    books.lead(2)
    assert books.state.primary == old, "not before the lead goes back"
    books.lead()
    primary = books.state.primary
    assert not books.state.mode.is_fallback
    assert primary[1] == old[1]
    assert primary[0] not in {*old, *fallback}
    assert CommitteesDrawn(primary, fallback) in books.told
    leaders = {books.get_leader(view) for view in range(books.leaf.view + 1, books.leaf.view + 3)}
    assert leaders == set(primary)


def test_s5_with_nobody_free_the_others_take_the_turns() -> None:
    leadership = LeadershipParameters(primary_size=2, fallback_size=2, handback_after=2)
    books = Books((1_000_000,) * 4, leadership=leadership)
    old = books.state.primary
    books.lead(dead=old)
    books.include(books.double_vote(old[0]), proposer=books.state.fallback[0])
    books.lead(2)
    assert (books.state.primary, books.state.mode.is_fallback) == (old, False)
    assert books.get_leader(books.leaf.view + 1) == books.get_leader(books.leaf.view + 2) == old[1]


def test_s1_healthy_leaves_keep_the_very_same_ledger() -> None:
    books = Books(leadership=PATIENT)
    before = books.ledger
    books.lead(100)
    assert books.ledger is before
