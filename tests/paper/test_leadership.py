"""Section 6, S1 to S7: who leads, as a pure function of the certified chain."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.effects import Drop, LedgerAdvanced
from consensus.events import PeerLost
from consensus.leaf import Block
from consensus.ledger import LeadershipParameters, Ledger, LedgerState, apply_leaf, describe_changes
from consensus.ledger.changes import Benched, Cleared, FallbackActivated, FallbackEnded
from consensus.ledger.committees import draw_committees
from consensus.ledger.state import LeaderRecord
from consensus.ledger.transition import compute_handback_term, find_missed
from consensus.messages import QuorumProposal, QuorumVote, StatusResponse
from consensus.stake_table import StakeTable, Validator
from consensus.types import ValidatorId, View
from tests.lab import Lab, get_messages, select

EVERYONE = LeadershipParameters(primary_size=7, fallback_size=2)
APART = LeadershipParameters(primary_size=3, fallback_size=2, handback_after=4, handback_doublings_max=2)


class Story:
    """A chain told by who is dead: views whose leader is dead are skipped."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.tip = lab.genesis
        self.proposers: list[int] = []
        self.skipped: list[int] = []
        """Views skipped before each leaf."""

    @property
    def ledger(self) -> Ledger:
        return self.lab.get_ledger(self.tip)

    @property
    def state(self) -> LedgerState:
        return self.ledger.state

    def record(self, number: int) -> LeaderRecord:
        return self.ledger.records[ValidatorId(number)]

    def lead(self, leaves: int, dead: Iterable[int] = ()) -> None:
        dead = set(dead)
        for _ in range(leaves):
            view = self.tip.leaf.view + 1
            while self.lab.get_leader(view, self.tip) in dead:
                view += 1
            self.skipped.append(view - self.tip.leaf.view - 1)
            tc = self.lab.tc(view - 1, self.lab.genesis_qc) if self.skipped[-1] else None
            self.tip = self.lab.block(self.tip, view, justify=self.lab.genesis_qc, tc=tc)
            self.proposers.append(self.tip.leaf.proposer)


@pytest.fixture
def seven() -> Story:
    return Story(Lab((1,) * 7, leadership=EVERYONE))


@pytest.fixture
def apart() -> Story:
    """Seven validators, of which three are primary and two others the fallback."""
    return Story(Lab((1,) * 7, leadership=APART))


# S1


def test_s1_every_leaf_commits_to_the_ledger_after_its_parent_and_voters_check_it(lab: Lab) -> None:
    first = lab.block(lab.genesis, 2, tc=lab.tc(1, lab.genesis_qc))
    assert lab.get_ledger(first).commitment != lab.context.genesis_ledger.commitment, "validator 1 has missed its slot"
    bench = lab.bench(0)
    bench.start()
    bench.propose(first)
    stale = lab.block(first, 3, bend={"ledger": lab.context.genesis_ledger.commitment})
    effects = bench.propose(stale)
    assert not get_messages(effects, QuorumVote)
    assert [drop.detail for drop in select(effects, Drop)] == ["another ledger than the parent leads to"]
    assert get_messages(bench.propose(lab.block(first, 3)), QuorumVote)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), max_size=60),
    st.lists(st.integers(1, 50), min_size=7, max_size=7),
)
@settings(max_examples=60)
def test_s1_the_same_leaves_give_the_same_ledger_and_stake_is_conserved(
    leaves: list[tuple[int, int]], stakes: list[int]
) -> None:
    lab = Lab(stakes, leadership=APART)
    ledgers = []
    for _ in range(2):
        ledger, parent = lab.context.genesis_ledger, lab.genesis
        for gap, proposer in leaves:
            block = lab.block(parent, parent.leaf.view + 1 + gap, justify=lab.genesis_qc, bend={"proposer": proposer})
            ledger, parent = apply_leaf(ledger, parent.leaf, block.leaf, lab.context.ledger_parameters), block
            assert ledger.total_stake == sum(stakes)
            assert all(record.bench_turns <= 2**APART.bench_doublings_max for record in ledger.records.values())
            lab._ledgers[block.commitment] = ledger
        ledgers.append(ledger)
    assert ledgers[0].commitment == ledgers[1].commitment


# S2


def test_s2_the_primary_committee_leads_in_turn(apart: Story) -> None:
    apart.lead(30)
    assert set(apart.proposers) == set(apart.state.primary)
    assert [apart.proposers.count(member) for member in apart.state.primary] == [10, 10, 10]
    assert apart.ledger is apart.lab.context.genesis_ledger, "healthy leaves change nothing"


def test_s2_a_benched_members_turn_goes_to_the_next_one(seven: Story) -> None:
    seven.lead(2 * 7, dead={3})
    assert seven.record(3).is_benched
    view = next(view for view in range(seven.tip.leaf.view + 1, 10**6) if view % 7 == 3)
    while view - seven.tip.leaf.view - 1:
        seven.lead(1, dead={3})
    assert seven.lab.get_leader(view, seven.tip) == 4


# S3


def test_s3_after_bench_after_misses_it_sits_out_and_costs_one_view_per_term(seven: Story) -> None:
    seven.lead(7 * 300, dead={3})
    misses = sum(seven.skipped)
    # Two misses, then one after each bench of 2, 4, 8, 16, 32, 64, 64, … of its turns.
    turns, expected, term = 0, 2, 2
    while turns + term < 300:
        turns, expected, term = turns + term + 1, expected + 1, min(64, 2 * term)
    assert abs(misses - expected) <= 1
    assert misses < 300 / 20, "a dead leader costs next to nothing"


def test_s3_one_led_leaf_clears_it(seven: Story) -> None:
    seven.lead(3 * 7, dead={3})
    assert seven.record(3).benchings == 1
    seven.lead(4 * 7)
    record = seven.record(3)
    assert (record.missed, record.benchings, record.bench_turns) == (0, 0, 0)
    assert record.missed_slots == 2, "the window of J1 has a longer memory"


def test_s3_a_single_miss_is_forgiven(seven: Story) -> None:
    seven.lead(7, dead={3})
    assert (seven.record(3).missed, seven.record(3).is_benched) == (1, False)
    seven.lead(7)
    assert (seven.record(3).missed, seven.record(3).is_benched) == (0, False)


# S4


def test_s4_the_fallback_committee_is_disjoint_where_the_table_allows() -> None:
    for size in range(1, 12):
        table = Lab((1,) * size).table
        primary, fallback = draw_committees(table, LeadershipParameters(), seed=b"seed")
        assert primary
        assert fallback
        if size > 1:
            assert not set(primary) & set(fallback)
            assert set(primary) | set(fallback) == set(table.ids)


def test_s4_after_fallback_after_skipped_views_the_fallback_committee_leads(apart: Story) -> None:
    primary, fallback = apart.state.primary, apart.state.fallback
    assert not set(primary) & set(fallback)
    apart.lead(4, dead=primary)
    assert apart.skipped[0] == APART.fallback_after
    assert apart.state.mode.is_fallback
    assert set(apart.proposers) <= set(fallback)
    assert apart.skipped[1:] == [0, 0, 0], "from then on no view is lost"


def test_s4_beyond_the_fallback_committee_everyone_gets_a_turn(apart: Story) -> None:
    state = apart.state
    dead = {*state.primary, *state.fallback}
    apart.lead(1, dead=dead)
    assert apart.proposers[0] not in dead
    assert apart.skipped[0] >= APART.fallback_after + len(state.fallback)
    leaders = {apart.lab.get_leader(view, apart.lab.genesis) for view in range(1, 20)}
    assert leaders == set(apart.lab.table.ids)


def test_s4_benched_validators_come_last_but_are_never_left_out(seven: Story) -> None:
    seven.lead(14, dead={3})
    view = seven.tip.leaf.view + 1 + EVERYONE.fallback_after + len(seven.state.fallback)
    order = [seven.lab.get_leader(view + step, seven.tip) for step in range(7)]
    assert sorted(order) == list(range(7))
    assert order[-1] == 3


# S5


def test_s5_the_lead_goes_back_after_enough_leaves_without_a_skipped_view(apart: Story) -> None:
    primary = apart.state.primary
    apart.lead(1, dead=primary)
    apart.lead(APART.handback_after - 1)
    assert apart.state.mode.is_fallback
    apart.lead(1)
    assert not apart.state.mode.is_fallback
    apart.lead(6)
    assert set(apart.proposers[-6:]) == set(primary)


def test_s5_a_fallback_committee_that_is_dead_gives_the_lead_back_too(apart: Story) -> None:
    """S3: others take the turns of the benched. Else every leaf would cost a few views until the epoch is over."""
    primary, fallback = apart.state.primary, apart.state.fallback
    apart.lead(1, dead=[*primary, *fallback])
    assert apart.state.mode.is_fallback
    apart.lead(60, dead=fallback)
    assert not apart.state.mode.is_fallback
    assert sum(apart.skipped[-20:]) == 0
    assert set(apart.proposers[-20:]) == set(primary)


def test_s3_a_single_benched_member_of_the_fallback_leaves_its_turns_to_everyone() -> None:
    """The usual case with four validators: the fallback committee is one, and that one is dead."""
    story = Story(Lab((1,) * 4, leadership=LeadershipParameters(primary_size=3, fallback_size=1)))
    (alone,) = story.state.fallback
    story.lead(1, dead=story.state.primary)
    assert story.state.mode.is_fallback
    story.lead(60, dead=[alone])
    assert not story.state.mode.is_fallback
    assert sum(story.skipped[1:]) < 30, "it is tried after 2, 4, 8 and 16 turns"
    assert {story.proposers.count(member) >= 10 for member in story.state.primary} == {True}


def test_s5_a_skipped_view_starts_the_count_anew(apart: Story) -> None:
    apart.lead(1, dead=apart.state.primary)
    apart.lead(APART.handback_after - 1)
    apart.lead(1, dead={apart.lab.get_leader(apart.tip.leaf.view + 1, apart.tip)})
    assert apart.skipped[-1] == 1
    assert (apart.state.mode.is_fallback, apart.state.mode.clean_leaves) == (True, 0)


def test_s5_each_relapse_doubles_the_term_up_to_a_cap(apart: Story) -> None:
    primary = apart.state.primary
    terms = []
    for _ in range(5):
        apart.lead(1, dead=primary)
        assert apart.state.mode.is_fallback
        terms.append(compute_handback_term(apart.state.mode, APART))
        apart.lead(terms[-1])
        assert not apart.state.mode.is_fallback
    assert terms == [4, 8, 16, 16, 16]


# S6


def test_s6_the_quorum_is_the_whole_stake_table_whoever_leads(apart: Story) -> None:
    block = apart.lab.block(apart.lab.genesis, 1)
    bench = apart.lab.bench(6)
    bench.start()
    bench.propose(block)
    for number in range(3):
        bench.receive(number, apart.lab.vote(number, block))
    assert bench.replica.high_qc.view == 0, "a committee and one more are no quorum"
    bench.receive(3, apart.lab.vote(3, block))
    assert bench.replica.high_qc.view == 1


# S7


def test_s7_a_gap_charges_each_missed_leader_once(seven: Story) -> None:
    parent = seven.lab.genesis
    leaf = seven.lab.block(parent, 3, tc=seven.lab.tc(2, seven.lab.genesis_qc)).leaf
    assert find_missed(seven.ledger, parent.leaf, leaf, EVERYONE) == {1, 2}


def test_s7_when_leaders_of_more_than_a_third_missed_it_was_the_network(seven: Story) -> None:
    parent = seven.lab.genesis
    for view in range(5, 40):
        leaf = seven.lab.block(parent, view, tc=seven.lab.tc(view - 1, seven.lab.genesis_qc)).leaf
        assert find_missed(seven.ledger, parent.leaf, leaf, EVERYONE) == set()


def test_s7_the_proposer_is_not_charged_for_the_leaf_that_it_led(seven: Story) -> None:
    seven.lead(1, dead={1})
    assert seven.record(seven.proposers[0]) == LeaderRecord()
    assert seven.record(1).missed == 1


# What people are told, and what a replica does with it


def test_changes_are_told_with_their_numbers(apart: Story) -> None:
    told = []
    for dead in ((), apart.state.primary, (), (), (), (), ()):
        before = apart.ledger
        apart.lead(1, dead=dead)
        told += describe_changes(before, apart.ledger, apart.skipped[-1])
    assert [type(change) for change in told] == [FallbackActivated, FallbackEnded]
    assert told[0] == FallbackActivated(skipped_views=APART.fallback_after)


def test_bench_and_clearance_are_told_once(seven: Story) -> None:
    told = []
    for _ in range(14):
        before = seven.ledger
        seven.lead(1, dead={3})
        told += describe_changes(before, seven.ledger, seven.skipped[-1])
    for _ in range(28):
        before = seven.ledger
        seven.lead(1)
        told += describe_changes(before, seven.ledger, seven.skipped[-1])
    assert told == [Benched(ValidatorId(3), missed=2, turns=2), Cleared(ValidatorId(3))]


def test_a_replica_stores_the_ledger_with_the_decide_that_changed_it(lab: Lab) -> None:
    bench = lab.bench(0)
    bench.start()
    skipping = lab.block(lab.genesis, 2, tc=lab.tc(1, lab.genesis_qc))
    healthy = lab.block(skipping, 3)
    bench.propose(skipping)
    effects = bench.receive(0, StatusResponse(lab.qc(skipping), lab.fc(skipping), None))
    (advanced,) = select(effects, LedgerAdvanced)
    assert advanced.ledger.commitment == lab.get_ledger(skipping).commitment
    again = lab.bench(0, bench.record, tip=skipping, tip_fc=lab.fc(skipping), ledger=advanced.ledger)
    again.start()
    assert get_messages(again.propose(healthy), QuorumVote)


def test_a_benched_leader_is_not_waited_for(seven: Story) -> None:
    """L2 and S3 together: the dead leader's turn is somebody else's, so no view is lost to it."""
    lab = seven.lab
    seven.lead(14, dead={3})
    while (seven.tip.leaf.view + 1) % 7 != 3:
        seven.lead(1, dead={3})
    tip: Block = seven.tip
    bench = lab.bench(0, tip=tip, tip_fc=lab.fc(tip), ledger=seven.ledger)
    bench.start()
    bench.handle(PeerLost(ValidatorId(3)))
    bench.receive(1, StatusResponse(lab.qc(tip), lab.fc(tip), None))
    assert bench.replica.view == tip.leaf.view + 1
    assert bench.replica.leader == 4
    assert not bench.safety.record.timed_out_view


# The draw


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=12), st.binary(max_size=40))
def test_a_draw_is_an_order_of_all_and_depends_on_the_seed_alone(stakes: list[int], seed: bytes) -> None:
    table = StakeTable.of(Validator(ValidatorId(n), bytes([n]), stake) for n, stake in enumerate(stakes))
    parameters = LeadershipParameters(primary_size=len(stakes))
    primary, _ = draw_committees(table, parameters, seed=seed)
    assert sorted(primary) == list(table.ids)
    assert draw_committees(table, parameters, seed=seed)[0] == primary


def test_a_draw_follows_the_stake() -> None:
    table = StakeTable.of(Validator(ValidatorId(n), bytes([n]), stake) for n, stake in enumerate((1, 2, 7)))
    first = [draw_committees(table, LeadershipParameters(), seed=b"%d" % n)[0][0] for n in range(3000)]
    shares = [first.count(ValidatorId(n)) / 3000 for n in range(3)]
    assert shares == pytest.approx([0.1, 0.2, 0.7], abs=0.03)


def test_view_numbers_of_any_size_are_answered_at_once(seven: Story) -> None:
    far = View(2**62)
    assert seven.lab.get_leader(far, seven.lab.genesis) in seven.lab.table
    block = seven.lab.block(seven.lab.genesis, far, justify=seven.lab.genesis_qc)
    assert find_missed(seven.ledger, seven.lab.genesis.leaf, block.leaf, EVERYONE) == set()


def test_s2_leaders_are_read_off_the_parent_not_off_the_last_decided_leaf(lab: Lab) -> None:
    """Nothing is decided here: gaps and benches of undecided leaves count all the same."""
    bench = lab.bench(3)
    bench.start()
    parent = lab.genesis
    for view in (1, 2, 3, 5, 6, 7, 9, 10, 11):  # validator 0 misses its turns in views 4 and 8
        high_qc = lab.genesis_qc if parent is lab.genesis else lab.qc(parent)
        tc = lab.tc(view - 1, high_qc) if view in (5, 9) else None
        block = lab.block(parent, view, tc=tc)
        if block.leaf.proposer != 3:
            assert get_messages(bench.propose(block), QuorumVote), f"not voted for in view {view}"
        else:
            bench.receive(0, StatusResponse(high_qc, None, tc))
            (proposal,) = [each for each in get_messages(bench.effects, QuorumProposal) if each.leaf.view == view]
            block = Block(proposal.leaf, proposal.payload)
            lab.adopt(block, parent)
        parent = block
    bench.receive(0, StatusResponse(lab.qc(parent), None, None))
    assert bench.replica.tip is lab.genesis
    assert bench.replica.leader == lab.get_leader(12, parent) != 0, "validator 0 is benched when its turn comes again"
