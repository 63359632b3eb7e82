"""Section 7, J1 to J4: what it costs not to lead, and what it costs to break a safety rule."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.ledger import LeadershipParameters, LedgerParameters, SlashingParameters, Status
from consensus.ledger.changes import Compensated, Jailed, Released, Slashed, Tombstoned
from consensus.ledger.draft import Draft
from consensus.ledger.liveness import (
    Charge,
    compute_jail_term,
    compute_liveness_slash,
    count_slot,
    find_charge,
    is_jailable,
)
from consensus.ledger.parameters import PPM
from consensus.ledger.slashing import take_stake
from consensus.ledger.state import LeaderRecord, Unbonding, compute_supply
from consensus.types import Epoch, ValidatorId
from tests.bookkeeping import BALANCE, PATIENT, Books, make_signer

QUICK = SlashingParameters(jail_after=3, outage_window=1)
"""Jail after three own slots in a row, and no outage is suspected behind two misses in different gaps."""
DEFAULT = SlashingParameters()
SMALL = SlashingParameters(leader_window=32, jail_after=12)
"""Easier to count on one's fingers."""


def fill_window(pattern: str, parameters: SlashingParameters = SMALL) -> LeaderRecord:
    """A record after these own slots: "x" missed, "." led."""
    record = LeaderRecord()
    for slot in pattern:
        record = count_slot(record, missed=slot == "x", parameters=parameters)
    return record


# J1


def test_j1_so_many_own_slots_in_a_row_jail() -> None:
    assert not is_jailable(fill_window("x" * 11), SMALL)
    assert find_charge(fill_window("x" * 12).window, SMALL) == Charge("in a row", 12, 12)
    assert not is_jailable(fill_window("x" * 11 + "." + "x"), SMALL)


def test_j1_more_than_two_thirds_of_the_window_jail() -> None:
    enough = "x" * 11 + "....." + "x" * 5 + "....." + "x" * 5
    assert (len(enough), enough.count("x")) == (31, 21)
    assert not is_jailable(fill_window(enough + "."), SMALL), "21 of 32 is not more than two thirds"
    assert find_charge(fill_window(enough + "x").window, SMALL) == Charge("of the window", 22, 32)


def test_j1_two_thirds_exactly_are_forgiven_for_ever() -> None:
    parameters = SlashingParameters(leader_window=30)
    record = LeaderRecord()
    for slot in "xx." * 100:
        record = count_slot(record, missed=slot == "x", parameters=parameters)
        assert not is_jailable(record, parameters)
    assert record.missed_slots == 20


def test_j1_what_is_older_than_the_window_is_forgotten() -> None:
    assert fill_window("x" * 8 + "." * 32) == LeaderRecord()


@given(st.lists(st.booleans(), max_size=100), st.integers(3, 62), st.integers(1, 62))
def test_j1_the_bitmap_agrees_with_a_list_of_slots(slots: list[bool], window: int, jail_after: int) -> None:
    parameters = SlashingParameters(leader_window=window, jail_after=jail_after)
    record, recent = LeaderRecord(), [False] * window
    for missed in slots:
        record = count_slot(record, missed, parameters)
        recent = [*recent[1:], missed]
        run = next((length for length, slot in enumerate(reversed(recent)) if not slot), window)
        assert is_jailable(record, parameters) == (run >= jail_after or 3 * sum(recent) > 2 * window)


def test_j1_the_first_offence_costs_a_ten_thousandth_and_one_epoch() -> None:
    books = Books(slashing=QUICK)
    supply = compute_supply(books.state)
    books.lead_until_jailed(3)
    member = books.validator(3)
    assert (member.stake, member.status, member.jailed_until, member.offences) == (999_900, Status.JAILED, 2, 1)
    assert member.leader == LeaderRecord()
    assert (books.state.pool, books.state.burned) == (45, 55)
    assert compute_supply(books.state) == supply
    assert books.told == [
        Jailed(ValidatorId(3), "in a row", 100, until_epoch=Epoch(2), missed=3, slots=3, offences=1),
        Slashed(ValidatorId(3), "J1", 100, to_reporter=0, to_pool=45, burned=55, reporter=None),
    ]


def test_j1_each_repeat_costs_four_times_more_up_to_the_caps() -> None:
    draft = Draft(Books().ledger)
    amounts = []
    for offences in range(6):
        member = draft.change_validator(ValidatorId(0), offences=offences)
        amounts.append(compute_liveness_slash(member, DEFAULT))
    assert amounts == [100, 400, 1_600, 6_400, 10_000, 10_000]
    # 1 % twice in one epoch leaves 2 % - 1.99 % of what it began with.
    member = draft.change_validator(ValidatorId(0), offences=9, stake=980_100, slashed_in_epoch=19_900)
    assert compute_liveness_slash(member, DEFAULT) == 100
    assert [compute_jail_term(offences, DEFAULT) for offences in (0, 1, 2, 6, 100)] == [1, 2, 4, 64, 64]


def test_j1_jail_takes_the_turn_at_once_and_leaves_the_vote() -> None:
    books = Books(slashing=QUICK)
    books.lead_until_jailed(3)
    assert books.ledger.barred == {3}
    leaders = {books.get_leader(view) for view in range(books.leaf.view + 1, books.leaf.view + 50)}
    assert leaders == {0, 1, 2, 4, 5, 6}
    assert ValidatorId(3) in books.ledger.table
    books.roll_over()
    assert 3 not in books.state.primary + books.state.fallback
    books.roll_over()
    assert ValidatorId(3) in books.ledger.get_table(Epoch(3)), "jailed validators keep their vote"
    assert books.validator(3).status is Status.JAILED, "only an operation brings it back"


def test_j1_back_from_jail_a_single_miss_benches_until_probation_is_led() -> None:
    leadership = LeadershipParameters(primary_size=7, fallback_size=1, bench_after=2, fallback_after=1000)
    slashing = SlashingParameters(jail_after=3, outage_window=1, probation_leaves=2)
    books = Books(leadership=leadership, slashing=slashing)
    books.lead_until_jailed(3)
    books.roll_over(2)
    books.include(books.unjail("owner-3", 3))
    books.roll_over()
    assert books.validator(3).leader == LeaderRecord(probation=2)
    while not books.validator(3).leader.missed:
        books.lead(dead={3})
    assert books.validator(3).leader.is_benched
    while books.validator(3).leader.probation:
        books.lead()
    while not books.validator(3).leader.missed:
        books.lead(dead={3})
    assert not books.validator(3).leader.is_benched


def test_j1_a_newcomers_first_slots_are_not_held_against_it() -> None:
    record = LeaderRecord(grace=3)
    for missed, grace in ((True, 2), (False, 1), (True, 0)):
        record = count_slot(record, missed, DEFAULT)
        assert (record.grace, record.window) == (grace, 0)
    assert count_slot(record, missed=True, parameters=DEFAULT).missed_slots == 1


def test_j1_whoever_has_lost_everything_keeps_its_vote_until_the_next_table() -> None:
    slashing = SlashingParameters(
        jail_after=3,
        outage_window=1,
        liveness_fraction_ppm=PPM,
        liveness_event_max_ppm=PPM,
        liveness_epoch_max_ppm=PPM,
    )
    books = Books(slashing=slashing)
    books.lead_until_jailed(3)
    assert books.validator(3).holdings == 0
    books.roll_over()
    assert ValidatorId(3) in books.ledger.table
    assert books.ledger.barred == {3}
    books.roll_over(3)
    assert ValidatorId(3) not in books.ledger.validators


def test_j1_whoever_always_leads_is_never_charged() -> None:
    books = Books(slashing=QUICK)
    books.lead(200, dead={1, 2})
    assert books.validator(0).leader == LeaderRecord()
    assert books.validator(0).stake == 1_000_000


# J2


def test_j2_misses_of_more_than_a_third_within_the_window_charge_nobody() -> None:
    books = Books(slashing=SlashingParameters(jail_after=2, outage_window=64))
    books.lead(1, dead={1})
    books.lead(1, dead={3})
    assert [books.validator(number).leader.missed_slots for number in (1, 3)] == [1, 1]
    books.lead(100, dead={1, 3, 5})
    assert [books.validator(number).leader.missed_slots for number in (1, 3, 5)] == [1, 1, 0], (
        "the third one was enough"
    )
    assert not books.told


def test_j2_an_outage_that_is_over_charges_again() -> None:
    books = Books(slashing=SlashingParameters(jail_after=2, outage_window=20))
    books.lead(10, dead={1, 3, 5})
    books.lead(40)
    books.lead_until_jailed(3)
    assert books.validator(3).status is Status.JAILED


def test_j2_a_gap_of_many_leaders_charges_nobody() -> None:
    books = Books(slashing=QUICK)
    for _ in range(10):
        books.append(books.make_leaf(books.leaf.view + 6))
    assert all(record == LeaderRecord() for record in books.ledger.records.values())


def test_j2_eligible_stake_stays_at_two_thirds_and_the_least_offender_is_released() -> None:
    books = Books(slashing=QUICK)
    for number in (2, 4):
        books.lead_until_jailed(number)
    books.lead_until_jailed(5)
    assert books.ledger.barred == {2, 4}, "5 of 7 may lead; 4 of 7 would be too few"
    assert books.told[-1] == Released(ValidatorId(5), was_jailed=False)
    member = books.validator(5)
    assert (member.stake, member.offences, member.status) == (1_000_000, 0, Status.ACTIVE)
    assert member.leader.probation == QUICK.probation_leaves


def test_j2_two_thirds_exactly_are_enough() -> None:
    books = Books((1_000_000,) * 6, slashing=QUICK)
    for number in (2, 4):
        books.lead_until_jailed(number)
    assert books.ledger.barred == {2, 4}


def test_j2_a_worse_offender_takes_the_place_of_a_lesser_one() -> None:
    books = Books(slashing=QUICK)
    for number in (2, 4):
        books.lead_until_jailed(number)
    books.lead_until_jailed(1)  # of equals the lower id is worse
    assert books.ledger.barred == {1, 2}
    assert Released(ValidatorId(4), was_jailed=True) in books.told
    member = books.validator(4)
    assert (member.status, member.jailed_until, member.stake) == (Status.ACTIVE, 0, 999_900)


def test_j2_whoever_holds_more_than_a_third_is_never_jailed_and_others_still_are() -> None:
    books = Books((5, 1, 1, 1, 1, 1, 1, 1), slashing=SlashingParameters(jail_after=3, outage_window=1))
    books.lead_until_jailed(4)
    books.lead(200, dead={0})
    assert books.ledger.barred == {4}


def test_j2_tombstones_count_and_release_the_jailed() -> None:
    books = Books(slashing=QUICK)
    for number in (2, 4):
        books.lead_until_jailed(number)
    books.include(books.double_vote(6))
    assert books.ledger.barred == {2, 6}
    assert books.told[-1] == Released(ValidatorId(4), was_jailed=True)


# J3


def test_j3_a_lone_offender_loses_three_times_its_share_of_the_stake() -> None:
    books = Books((1_000_000,) * 10)
    supply = compute_supply(books.state)
    books.include(books.double_vote(3), proposer=5)
    member = books.validator(3)
    assert (member.status, member.stake) == (Status.TOMBSTONED, 700_000), "10 % offended: 3 x 10 %"
    # Of 300,000: 5 % to the reporter, 45 % to the pool, the rest burned.
    assert books.account("owner-5").balance == BALANCE + 15_000
    assert (books.state.pool, books.state.burned) == (135_000, 150_000)
    assert compute_supply(books.state) == supply
    assert books.told == [
        Tombstoned(ValidatorId(3), "E2", Epoch(0)),
        Slashed(ValidatorId(3), "E2", 300_000, 15_000, 135_000, 150_000, make_signer("owner-5").public_key),
    ]


def test_j3_a_small_offender_loses_the_safety_fraction() -> None:
    books = Books((100_000_000, 1_000_000))
    books.include(books.double_vote(1))
    assert books.validator(1).stake == 950_000, "3 x 0.99 % is less than 5 %"


def test_j3_later_offenders_raise_what_earlier_ones_owe() -> None:
    books = Books((1_000_000,) * 10)
    stakes = []
    for number in range(4):
        books.include(books.double_vote(number), proposer=9)
        stakes.append([books.validator(n).stake for n in range(number + 1)])
    assert stakes == [[700_000], [400_000] * 2, [100_000] * 3, [0] * 4], "more than a third together loses everything"


def test_j3_the_order_of_the_reports_does_not_matter() -> None:
    results = set()
    for order in permutations(range(4)):
        books = Books((1_000_000, 700_001, 333_333, 5, 9_999_999))
        books.include(*(books.double_vote(number) for number in order), proposer=4)
        results.add(tuple(books.validator(number).stake for number in range(5)))
    assert len(results) == 1


@settings(max_examples=40)
@given(st.lists(st.integers(1, 10**6), min_size=5, max_size=5), st.permutations(range(4)), st.data())
def test_j3_nor_does_it_matter_across_epochs(stakes: list[int], order: list[int], data: st.DataObject) -> None:
    epochs = data.draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
    results = []
    for numbers in (sorted(order), order):
        books = Books([*stakes[:4], stakes[4] + 10**7])
        books.roll_over(2)
        for number in numbers:
            books.include(books.double_vote(number, epochs[number]), proposer=4)
        results.append([books.validator(number).stake for number in range(4)])
    assert results[0] == results[1]


def test_j3_the_share_is_that_of_the_epoch_in_which_it_offended() -> None:
    books = Books((1_000_000,) * 10)
    books.include(books.bond("owner-0", "validator-0", 1_000_000))
    books.roll_over(2)
    assert books.ledger.total_stake == 11_000_000
    books.include(books.double_vote(3, 1))
    assert books.validator(3).stake == 700_000, "it had 10 % in epoch 1"
    books.include(books.double_vote(4, 2))
    # Of epoch 2 it is 2 of 11 million: 545,454 ppm after the multiple; of epoch 1, 2 of 10.
    assert [books.validator(number).stake for number in (3, 4)] == [400_000, 454_546]


def test_j3_offences_of_distant_epochs_do_not_add_up() -> None:
    slashing = SlashingParameters(correlation_epochs=1)
    books = Books((1_000_000,) * 10, slashing=slashing)
    books.roll_over(2)
    for number, epoch in ((0, 0), (1, 1), (2, 2)):
        books.include(books.double_vote(number, epoch), proposer=9)
    # 0 and 1 stand together, so do 1 and 2; 0 and 2 do not.
    assert [books.validator(number).stake for number in range(3)] == [400_000, 100_000, 400_000]


def test_j3_unbonding_stake_is_slashed_too() -> None:
    books = Books((1_000_000,) * 10)
    books.include(books.unbond("owner-3", 3, 900_000))
    books.include(books.double_vote(3))
    member = books.validator(3)
    assert (member.stake, member.unbonding) == (0, (Unbonding(700_000, Epoch(4)),))


def test_j3_stake_is_taken_from_what_is_bonded_then_from_what_is_paid_last() -> None:
    draft = Draft(Books().ledger)
    unbonding = (Unbonding(10, Epoch(3)), Unbonding(20, Epoch(4)))
    draft.change_validator(ValidatorId(0), stake=5, unbonding=unbonding)
    assert take_stake(draft, ValidatorId(0), 27) == 27
    member = draft.validators[ValidatorId(0)]
    assert (member.stake, member.unbonding) == (0, (Unbonding(8, Epoch(3)),))
    assert take_stake(draft, ValidatorId(0), 100) == 8
    assert draft.validators[ValidatorId(0)].holdings == 0


def test_j3_a_tombstone_is_for_ever() -> None:
    books = Books()
    books.include(books.double_vote(3))
    books.roll_over()
    assert 3 not in books.state.primary + books.state.fallback
    books.include(books.bond("owner-3", "validator-3", 10), books.unjail("owner-3", 3))
    assert books.account("owner-3").nonce == 0, "neither was accepted"
    books.include(books.unbond("owner-3", 3, books.validator(3).stake))
    books.roll_over(6)
    assert all(ValidatorId(3) not in books.ledger.get_table(table.epoch) for table in books.state.tables)
    assert books.validator(3).status is Status.TOMBSTONED
    books.include(books.bond("owner-0", "validator-3", 10, name="again"))
    assert books.account("owner-0").nonce == 0, "nobody returns with this key"


def test_j3_the_holder_of_a_broken_promise_is_compensated_from_the_pool() -> None:
    books = Books((1_000_000,) * 10)
    beneficiary = make_signer("stranger").public_key
    books.include(books.broken_promise(3, beneficiary))
    assert books.validator(3).status is Status.TOMBSTONED
    assert books.account("stranger").balance == 100
    assert books.state.pool == 135_000 - 100
    assert books.told[-1] == Compensated(beneficiary, 100, ValidatorId(3))


@pytest.mark.parametrize("beneficiary", [b"", b"too short", b"k" * 33])
def test_j3_nobody_is_compensated_who_could_not_spend_it(beneficiary: bytes) -> None:
    books = Books((1_000_000,) * 10)
    books.include(books.broken_promise(3, beneficiary))
    assert books.validator(3).status is Status.TOMBSTONED
    assert books.state.pool == 135_000
    assert len(books.state.accounts) == 10


def test_j3_compensation_is_never_more_than_the_pool_holds() -> None:
    books = Books((1_000_000,) * 10, slashing=SlashingParameters(promise_compensation=10**9))
    books.include(books.broken_promise(3, make_signer("stranger").public_key))
    assert (books.account("stranger").balance, books.state.pool) == (135_000, 0)


# J4


def test_j4_an_offence_is_counted_once() -> None:
    books = Books((1_000_000,) * 10)
    evidence = books.double_vote(3)
    books.include(evidence, evidence)
    after = books.state
    books.include(evidence)
    books.include(books.broken_promise(3, b""))
    assert books.state is after


@pytest.mark.parametrize(
    ("number", "epoch", "reason"),
    [
        (3, 4, "epoch 4 has not begun; the running one is 3"),
        (3, 0, "epoch 0 is too long ago: evidence counts for 2 epochs"),
        (8, 3, "validator 8 had no stake in epoch 3"),
        (6, 3, "validator 6 is tombstoned already"),
    ],
)
def test_j4_evidence_expires_and_needs_an_offender_with_stake(number: int, epoch: int, reason: str) -> None:
    books = Books()
    books.roll_over(3)
    books.include(books.double_vote(6))
    before = books.ledger
    evidence = books.double_vote(number, epoch)
    assert books.admission.check_evidence(books.ledger, evidence) == reason
    books.include(evidence)
    assert books.ledger is before


def test_j4_whoever_has_left_answers_for_the_epochs_in_which_it_could_vote() -> None:
    """The table of the epoch of the offence counts, not the running one; what is still unbonding pays."""
    books = Books((1_000_000,) * 10)
    books.include(books.unbond("owner-3", 3, 1_000_000))
    books.roll_over(2)
    assert ValidatorId(3) not in books.ledger.table
    assert (
        books.admission.check_evidence(books.ledger, books.double_vote(3, 2)) == "validator 3 had no stake in epoch 2"
    )
    books.include(books.double_vote(3, 1))
    assert books.validator(3).status is Status.TOMBSTONED
    assert books.validator(3).holdings == 700_000


def test_j4_the_key_of_that_epoch_is_the_one_that_counts() -> None:
    books = Books()
    books.include(books.rotate_key("owner-3", 3, "fresh"))
    books.roll_over(2)
    assert books.ledger.table.get_validator(ValidatorId(3)).public_key == make_signer("fresh").public_key
    assert books.admission.check_evidence(books.ledger, books.double_vote(3, 1)) is None
    assert books.admission.check_evidence(books.ledger, books.double_vote(3, 2, key="fresh")) is None
    flaw = "a signature in it is not the offender's"
    assert books.admission.check_evidence(books.ledger, books.double_vote(3, 2)) == flaw
    assert books.admission.check_evidence(books.ledger, books.double_vote(3, 1, key="fresh")) == flaw


def test_j4_nobody_is_paid_for_reporting_a_validator_of_its_own() -> None:
    books = Books((1_000_000,) * 10)
    books.include(books.double_vote(3), proposer=3)
    assert books.account("owner-3").balance == BALANCE
    assert (books.state.pool, books.state.burned) == (135_000, 165_000)


@given(st.lists(st.integers(1, 10**9), min_size=4, max_size=8), st.integers(0, 3), st.integers(0, 10**6), st.data())
def test_j4_every_sum_is_split_to_the_last_unit(
    stakes: list[int], offender: int, reporter_ppm: int, data: st.DataObject
) -> None:
    pool_ppm = data.draw(st.integers(0, 10**6 - reporter_ppm))
    slashing = SlashingParameters(reporter_fraction_ppm=reporter_ppm, pool_fraction_ppm=pool_ppm)
    books = Books(stakes, slashing=slashing)
    supply = compute_supply(books.state)
    books.include(books.double_vote(offender))
    assert compute_supply(books.state) == supply
    for change in books.told:
        if isinstance(change, Slashed):
            assert change.amount == change.to_reporter + change.to_pool + change.burned


def test_parameters_of_other_rules_are_the_defaults_here() -> None:
    """The hand-calculated sums above stand on these."""
    slashing = LedgerParameters(PATIENT).slashing
    assert (slashing.liveness_fraction_ppm, slashing.safety_fraction_ppm, slashing.correlation_multiple) == (
        100,
        50_000,
        3,
    )
