"""The vote tally against a plain model of it, for every order of genuine, forged, repeated and contradicting votes."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from consensus.messages import QuorumVote, TimeoutVote
from consensus.stake_table import StakeTable, Validator
from consensus.tally import Conflict, Forged, Quorum, Repeated, TimeoutTally, VoteTally, select_high_qc
from consensus.types import Commitment, Epoch, ValidatorId, View
from tests.lab import Lab

LEAVES = [Commitment(bytes([name]) * 32) for name in range(3)]
GENUINE, FORGED = b"genuine", b"forged"


@dataclass(frozen=True)
class Ballot:
    voter: int
    leaf: int
    genuine: bool


ballots = st.lists(st.builds(Ballot, st.integers(0, 6), st.integers(0, 2), st.booleans()), max_size=40)
stakes = st.lists(st.integers(1, 9), min_size=7, max_size=7)


def make_tally(amounts: list[int]) -> tuple[StakeTable, VoteTally[QuorumVote]]:
    table = StakeTable.of(Validator(ValidatorId(n), bytes([n]), amount) for n, amount in enumerate(amounts))
    return table, VoteTally(table, lambda vote: vote.signature == GENUINE)


def make_vote(ballot: Ballot, view: int = 5) -> QuorumVote:
    signature = GENUINE if ballot.genuine else FORGED
    return QuorumVote(Epoch(0), View(view), LEAVES[ballot.leaf], ValidatorId(ballot.voter), signature)


@given(stakes, ballots)
def test_a_quorum_is_found_exactly_when_genuine_first_votes_carry_it(amounts: list[int], cast: list[Ballot]) -> None:
    table, tally = make_tally(amounts)
    quorums: list[Quorum] = []
    for ballot in cast:
        for outcome in tally.add(make_vote(ballot)):
            if isinstance(outcome, Quorum):
                quorums.append(outcome)
                signers = {b.voter for b in cast if b.genuine and LEAVES[b.leaf] == outcome.leaf}
                assert set(outcome.signatures) <= signers
                assert set(outcome.signatures.values()) == {GENUINE}
                assert table.compute_stake(outcome.signatures) >= table.success_threshold
    assert len(quorums) <= 1
    for leaf in range(3):
        loyal = {b.voter for b in cast} - {b.voter for b in cast if not b.genuine or b.leaf != leaf}
        if table.compute_stake(map(ValidatorId, loyal)) >= table.success_threshold:
            assert [quorum.leaf for quorum in quorums] == [LEAVES[leaf]]


@given(stakes, ballots)
def test_only_those_who_signed_twice_are_accused_and_once(amounts: list[int], cast: list[Ballot]) -> None:
    _, tally = make_tally(amounts)
    outcomes = [outcome for ballot in cast for outcome in tally.add(make_vote(ballot))]
    accused = [outcome.first.voter for outcome in outcomes if isinstance(outcome, Conflict)]
    signed = {voter: {b.leaf for b in cast if b.voter == voter and b.genuine} for voter in range(7)}
    assert len(accused) == len(set(accused))
    assert all(len(signed[voter]) > 1 for voter in accused)
    for outcome in outcomes:
        if isinstance(outcome, Conflict):
            assert outcome.first.leaf != outcome.second.leaf
            assert outcome.first.signature == outcome.second.signature == GENUINE


@given(stakes, ballots)
def test_a_genuine_contradiction_is_always_noticed(amounts: list[int], cast: list[Ballot]) -> None:
    _, tally = make_tally(amounts)
    genuine = [ballot for ballot in cast if ballot.genuine]
    outcomes = [outcome for ballot in genuine for outcome in tally.add(make_vote(ballot))]
    guilty = {b.voter for b in genuine if any(b.voter == o.voter and b.leaf != o.leaf for o in genuine)}
    assert {outcome.first.voter for outcome in outcomes if isinstance(outcome, Conflict)} == guilty


@given(stakes, ballots)
def test_a_voter_is_called_forged_only_for_a_forgery(amounts: list[int], cast: list[Ballot]) -> None:
    _, tally = make_tally(amounts)
    outcomes = [outcome for ballot in cast for outcome in tally.add(make_vote(ballot))]
    forgers = {ballot.voter for ballot in cast if not ballot.genuine}
    assert {outcome.voter for outcome in outcomes if isinstance(outcome, Forged)} <= forgers


def test_a_vote_that_comes_again_is_said_to_be_repeated_and_counts_once() -> None:
    _, tally = make_tally([1] * 7)
    vote = make_vote(Ballot(0, 0, genuine=True))
    assert tally.add(vote) == []
    assert tally.add(vote) == [Repeated(ValidatorId(0))]
    assert len(tally) == 1


@given(st.lists(st.tuples(st.integers(1, 50), st.builds(Ballot, st.integers(0, 6), st.integers(0, 2), st.booleans()))))
def test_one_vote_per_validator_and_view_is_kept(cast: list[tuple[int, Ballot]]) -> None:
    _, tally = make_tally([1] * 7)
    for view, ballot in cast:
        tally.add(make_vote(ballot, view))
    assert len(tally) <= len({(view, ballot.voter) for view, ballot in cast})
    tally.forget_below(View(40))
    assert len(tally) <= len({(view, ballot.voter) for view, ballot in cast if view >= 40})


def test_signatures_are_checked_only_when_a_quorum_is_in_reach() -> None:
    checked: list[ValidatorId] = []
    table, _ = make_tally([1] * 7)

    def is_genuine(vote: QuorumVote) -> bool:
        checked.append(vote.voter)
        return True

    tally: VoteTally[QuorumVote] = VoteTally(table, is_genuine)
    for voter in range(4):
        tally.add(make_vote(Ballot(voter, 0, genuine=True)))
    assert not checked
    tally.add(make_vote(Ballot(4, 0, genuine=True)))
    assert sorted(checked) == [0, 1, 2, 3, 4]
    for voter in (5, 6):
        tally.add(make_vote(Ballot(voter, 0, genuine=True)))
    assert len(checked) == 5, "late votes cost nothing"


def test_the_newest_timeout_of_each_validator_counts(lab: Lab) -> None:
    tally = TimeoutTally(lab.table)
    first, second = lab.chain(2)
    old: TimeoutVote = lab.timeout(0, 3, lab.qc(first), lab.tc(2, lab.qc(first)))
    new = lab.timeout(0, 4, lab.qc(second), lab.tc(3, lab.qc(second)))
    for vote in (new, old, lab.timeout(1, 4, lab.qc(first), lab.tc(3, lab.qc(first)))):
        tally.add(vote)
    assert (tally.compute_stake(View(3)), tally.compute_stake(View(4))) == (0, 2)
    assert select_high_qc(tally.get_votes(View(4))).view == 2
