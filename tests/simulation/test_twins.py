"""Twins: one key, two honest nodes, every leader and every split of the network; then it heals and decides again.

The counts are recounted here by brute force, and the campaigns are shown to find what they are there to find.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import permutations, product
from random import Random

import msgspec
import pytest

from consensus.certificates import QuorumCertificate
from consensus.errors import Unsafe
from consensus.leaf import Block
from consensus.messages import FinalizeVote, QuorumVote
from consensus.pacemaker import Pacemaker
from consensus.proposals import Proposals
from consensus.safety import SafetyRules
from consensus.stake_table import StakeTable
from consensus.types import Microseconds, View
from netsim.checkers.certificates import Certificates
from netsim.twins.campaign import Summary, draw_sample, make_chunks, run_chunk
from netsim.twins.space import Partition, Phase, Space, count_partitions, describe
from netsim.twins.symmetry import SymmetryClass, make_classes
from netsim.twins.trial import Trial, Verdict

PAPER = Space()
WHOLE = (0, 0, 0, 0, 0)


def draw(space: Space, scenarios: int, seed: int = 0) -> list[SymmetryClass]:
    return list(draw_sample(space, seed, scenarios))


def find_violation(space: Space, scenarios: int = 100) -> Verdict:
    """The first in a sample."""
    for drawn in draw(space, scenarios):
        verdict = Trial(space, drawn.number).run()
        if verdict.violation is not None:
            return verdict
    pytest.fail(f"none of {scenarios} scenarios shows it")


def find_number(space: Space, leaders: str, *partitions: Partition) -> int:
    """Of the scenario with these leaders, by name, and by view and phase these partitions."""
    positions = [space.partitions.index(partition) for partition in partitions]
    phases = len(positions) // space.views
    views = [positions[at : at + phases] for at in range(0, len(positions), phases)]
    return space.compute_number([(ord(name) - ord("A"), view) for name, view in zip(leaders, views, strict=True)])


# How many there are, and which are the same


def test_three_views_of_four_validators_and_a_twin_make_216000_scenarios() -> None:
    """Five nodes fall into two sets in 2^5 / 2 - 1 ways; each of four leaders with each of them, three times over."""
    assert len(PAPER.partitions) == 2**5 // 2 - 1 == 15
    assert PAPER.settings == 4 * 15
    assert PAPER.total == 60**3 == 216_000
    assert Space(may_be_whole=True).total == (4 * 16) ** 3 == 262_144
    assert Space(by_phase=True).total == (4 * 15**4) ** 3


@pytest.mark.parametrize("nodes", range(2, 7))
def test_partitions_are_all_there_is_and_none_twice(nodes: int) -> None:
    """Against every way to hand out numbers."""
    for sets in range(2, nodes + 1):
        ways = {
            frozenset(frozenset(node for node in range(nodes) if numbers[node] == one) for one in set(numbers))
            for numbers in product(range(sets), repeat=nodes)
        }
        found = Space(validators=nodes, twins=0, sets_max=sets, may_be_whole=True).partitions
        assert len(set(found)) == len(found) == len(ways)
        assert len(ways) == sum(count_partitions(nodes, exactly) for exactly in range(1, sets + 1))


def test_a_number_is_a_scenario() -> None:
    assert len({PAPER.make_setting(digit) for digit in range(PAPER.settings)}) == PAPER.settings
    random = Random(1)
    for space in (PAPER, Space(7, 2, 4, sets_max=3, may_be_whole=True, by_phase=True)):
        for _ in range(100):
            number = space.draw(random)
            scenario = space.make_scenario(number)
            views = [(setting.leader, list(map(space.partitions.index, setting.partitions))) for setting in scenario]
            kept = len(Phase) if space.by_phase else 1
            assert space.compute_number([(leader, positions[:kept]) for leader, positions in views]) == number
    first, last = PAPER.make_scenario(0), PAPER.make_scenario(PAPER.total - 1)
    assert describe(PAPER, first)[0] == "view 1: A leads; A B C D | A'"
    assert describe(PAPER, last)[2] == "view 3: D leads; A | B C D A'"


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="numbered from 0 to 215999"):
        PAPER.make_scenario(216_000)
    with pytest.raises(ValueError, match="5 twins among 4"):
        Space(twins=5)
    with pytest.raises(ValueError, match="ask for fewer sets"):
        Space(validators=28, twins=9)
    with pytest.raises(ValueError, match="draw a sample"):
        list(make_classes(Space(by_phase=True)))


@pytest.mark.parametrize("space", [Space(views=2), Space(4, 2, 1), Space(4, 0, 2, sets_max=3)], ids=repr)
def test_one_scenario_stands_for_all_that_are_the_same(space: Space) -> None:
    """Renamed one by one in every way: the lowest number of each class, and how many share it."""
    renamings = list(rename_all(space))
    lowest = Counter(min(renaming(number) for renaming in renamings) for number in range(space.total))
    assert {one.number: one.members for one in make_classes(space)} == lowest


def rename_all(space: Space) -> list[Callable[[int], int]]:
    """Every permutation of nodes that keeps twins together and the twinned apart from the others."""
    owners = space.owners
    partners = {frozenset(where for where, owner in enumerate(owners) if owner == one) for one in set(owners)}
    return [
        partial(rename, space, nodes)
        for nodes in permutations(range(space.nodes))
        if {frozenset(nodes[node] for node in pair) for pair in partners} == partners
    ]


def rename(space: Space, nodes: tuple[int, ...], number: int) -> int:
    """What the scenario becomes when each node is called `nodes[node]`."""
    views = []
    for setting in space.make_scenario(number):
        moved = [setting.partitions[0][nodes.index(node)] for node in range(space.nodes)]
        order = list(dict.fromkeys(moved))
        partition = tuple(map(order.index, moved))
        views.append((space.owners[nodes[setting.leader]], [space.partitions.index(partition)]))
    return space.compute_number(views)


def test_the_classes_add_up_to_all_scenarios() -> None:
    classes = list(make_classes(PAPER))
    assert sum(one.members for one in classes) == 216_000
    assert len(classes) == 20_574
    assert [one.number for one in classes] == sorted({one.number for one in classes})
    assert {12 % one.members for one in classes} == {0}, "two twins and three honest ones: 2! * 3! renamings"


# What a scenario does


def test_a_view_without_a_quorum_is_lost_and_the_next_ones_still_come() -> None:
    """A A' B against C D: three nodes, but no three validators, neither for a vote nor for a timeout."""
    split = (0, 0, 1, 1, 0)
    trial = Trial(PAPER, find_number(PAPER, "BCD", split, split, split))
    verdict = trial.run()
    assert verdict.violation is None
    assert verdict.timeouts == 3 * 3
    assert verdict.timeouts_healed == 0
    assert all(block.leaf.view > 3 for process in trial.processes for block in process.disk.decided[1:])


def test_a_side_with_a_quorum_goes_on() -> None:
    """A B C against D A': whoever is on the other side gives up, and gets it all when the network is whole."""
    split = (0, 0, 0, 1, 1)
    trial = Trial(PAPER, find_number(PAPER, "BCB", split, split, split))
    assert trial.run().violation is None
    leaves = [block.leaf for block in trial.processes[3].disk.decided[1:4]]
    assert [(int(leaf.view), int(leaf.proposer)) for leaf in leaves] == [(1, 1), (2, 2), (3, 1)]


def test_each_phase_meets_its_own_partition() -> None:
    """Finalize votes alone are kept apart: certified, not decided until a child is."""
    space = Space(views=1, may_be_whole=True, by_phase=True)
    lines: list[str] = []
    trial = Trial(space, find_number(space, "B", WHOLE, WHOLE, (0, 0, 1, 1, 0), WHOLE), tell=lines.append)
    verdict = trial.run()
    assert (verdict.violation, verdict.timeouts) == (None, 0)
    decides = [line for line in lines if "decides" in line]
    assert len(decides) >= 5
    assert all("height 1, " in line for line in decides[:5]), "the first decide of each node is of two blocks"


def test_twins_that_lead_contradict_each_other_and_are_caught() -> None:
    """E1 at the latest when the network is whole; nothing of it is decided twice."""
    space = Space(views=1)
    lines: list[str] = []
    verdict = Trial(space, find_number(space, "A", (0, 0, 0, 1, 1)), tell=lines.append).run()
    assert verdict.violation is None
    proposed = {line.split()[2]: line.split()[4] for line in lines if "in view 1, on top of view 0" in line}
    assert set(proposed) == {"A", "A'"}
    assert len(set(proposed.values())) == 2
    assert verdict.equivocations > 0
    assert verdict.evidence > 0


def test_a_scenario_is_the_same_run_every_time() -> None:
    hashes = []
    for seed in (0, 0, 1):
        trial = Trial(PAPER, 123_456, seed)
        trial.run()
        hashes.append(trial.simulation.audit_hash)
    assert hashes[0] == hashes[1] != hashes[2]


# Campaigns


def run(space: Space, scenarios: list[SymmetryClass], seed: int = 0) -> Summary:
    summary = run_chunk(space, seed, scenarios)
    assert summary.violations == []
    assert summary.find_unreached(space) == []
    assert summary.decides >= 3 * summary.scenarios
    return summary


def test_classes_from_the_whole_range_hold_every_promise() -> None:
    """Every oracle, honest nodes not accused, and decides after the heal within a bounded number of timeouts."""
    summary = run(PAPER, list(make_classes(PAPER))[::70])
    assert summary.scenarios == 294


@pytest.mark.parametrize(
    ("space", "scenarios"),
    [
        (Space(by_phase=True), 120),
        (Space(views=5, sets_max=3, may_be_whole=True, by_phase=True), 100),
        (Space(validators=7, twins=2, sets_max=3, may_be_whole=True), 60),
    ],
    ids=repr,
)
def test_samples_beyond_hold_every_promise(space: Space, scenarios: int) -> None:
    """Split by phase, more views, more sets, more twins."""
    run(space, draw(space, scenarios, seed=3))


def test_a_campaign_that_tries_nothing_says_so() -> None:
    summary = Summary(scenarios=100, members=100, decides=300)
    assert summary.find_unreached(PAPER) == ["timeouts", "kept_apart", "equivocations", "evidence"]


def test_chunks_lose_nothing() -> None:
    drawn = draw(PAPER, 120)
    assert [one for chunk in make_chunks(drawn) for one in chunk] == drawn


# What must be found


def test_one_twin_too_many_forks() -> None:
    """Two of four run twice: more than f, and the sampler finds it; the number alone shows it again."""
    space = Space(validators=4, twins=2)
    found = find_violation(space)
    assert found.violation is not None
    assert found.violation.startswith("agreement")
    assert Trial(space, found.number).run() == found


def test_a_replica_that_votes_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """R3a left out, at both places that hold it: two proposals of a twin that leads earn two votes."""
    vote, consider = SafetyRules.sign_vote, Proposals.consider

    def vote_again(self: SafetyRules, block: Block) -> QuorumVote | Unsafe:
        self.record = msgspec.structs.replace(self.record, voted_view=View(0))
        return vote(self, block)

    def consider_again(self: Proposals, sender: int, block: Block, now: Microseconds) -> object:
        self.candidate = None
        return consider(self, sender, block, now)  # type: ignore[arg-type]

    monkeypatch.setattr(SafetyRules, "sign_vote", vote_again)
    monkeypatch.setattr(Proposals, "consider", consider_again)
    assert str(find_violation(Space(may_be_whole=True)).violation).startswith("one vote")


def test_a_quorum_of_half_the_stake_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """P2: by whoever counts the signers again, and without that oracle in two decided blocks."""
    monkeypatch.setattr(StakeTable, "success_threshold", property(lambda table: table.total // 2))
    assert str(find_violation(PAPER).violation).startswith("P2")
    monkeypatch.setattr(Certificates, "check", lambda *_: None)
    assert str(find_violation(PAPER).violation).startswith("agreement")


def test_a_replica_that_finalizes_after_its_timeout_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """R5."""
    finalize = SafetyRules.sign_finalize

    def finalize_late(self: SafetyRules, qc: QuorumCertificate) -> FinalizeVote | Unsafe:
        timed_out = self.record.timed_out_view
        self.record = msgspec.structs.replace(self.record, timed_out_view=View(0))
        signed = finalize(self, qc)
        self.record = msgspec.structs.replace(self.record, timed_out_view=timed_out)
        return signed

    monkeypatch.setattr(SafetyRules, "sign_finalize", finalize_late)
    assert str(find_violation(PAPER).violation).startswith("R5")


def test_a_replica_that_times_out_only_once_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """R7: what is lost is not said again, and the healed network stands still."""
    monkeypatch.setattr(Pacemaker, "start_repeat_timer", lambda _self, now: Microseconds(now + 10**12))
    assert str(find_violation(PAPER).violation).startswith("liveness")
