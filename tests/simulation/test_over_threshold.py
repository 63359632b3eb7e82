"""More than a third: what must then break does break, is caught by the oracle that is there for it, and leaves proof.

And when more than a third are merely gone, nothing is decided until they are back, and nothing is lost.
"""

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from consensus.forensics import compute_offending_stake
from consensus.messages import FinalizeVote, Message, QuorumVote
from consensus.types import ValidatorId
from consensus.validation import MessageValidator
from netsim.byzantine.actor import Actor
from netsim.byzantine.twins import Twins
from netsim.checkers import Violation
from netsim.cluster import Cluster, ExpectationFailed
from netsim.network import Exponential, LinkModel
from netsim.wire import SharedVotes
from netsim.workload import Workload
from tests.simulation.test_accountability import Witness, search

LINKS = LinkModel(Exponential(2_000, floor_microseconds=200))


def make_two_worlds(seed: int, stakes: list[int], witness: Witness) -> Cluster:
    """Validator 0 runs twice, and no honest one of an odd number reaches one of an even number."""
    cluster = Cluster(
        len(stakes), seed, stakes=stakes, links=LINKS, byzantine={ValidatorId(0)}, observers=(witness,), start=False
    )
    twins = Twins(cluster, ValidatorId(0))
    worlds = [set(range(first, len(stakes), 2)) for first in (1, 2)]
    twins.split(*worlds)
    for process in [*cluster.processes, twins.second]:
        process.start()
    for one in worlds[0]:
        for other in worlds[1]:
            cluster.cut(one, other)
            cluster.cut(other, one)
    return cluster


@pytest.mark.parametrize("seed", range(3))
def test_a_twin_of_less_than_a_third_forks_nothing(seed: int) -> None:
    """One of its worlds has a quorum, the other waits until the network is whole again."""
    witness = Witness()
    cluster = make_two_worlds(seed, [3, 3, 3, 3], witness)
    cluster.run_for(3)
    cluster.heal()
    cluster.run_until(lambda: min(cluster.node(number).height for number in (1, 2, 3)) >= 20)
    assert {proof.offender for proof in search(cluster, list(witness.messages))} <= {0}


@pytest.mark.parametrize("seed", range(3))
def test_a_twin_of_more_than_a_third_forks_the_chain_and_is_proven_to_be_the_one(seed: int) -> None:
    """Agreement says so at once. Out of what was said, one_honest_threshold of the stake is found, and nobody else."""
    with pytest.raises(Violation, match="agreement: two blocks at height"):
        make_two_worlds(seed, [4, 3, 3], Witness()).run_for(20)
    witness = Witness()
    cluster = make_two_worlds(seed, [4, 3, 3], witness)
    cluster.observers[:] = [witness]
    cluster.run_until(lambda: min(cluster.node(1).height, cluster.node(2).height) >= 5)
    table = cluster.context.stake_table
    found = search(cluster, list(witness.messages))
    assert {proof.offender for proof in found} == {0}
    assert compute_offending_stake(found, cluster.context.epoch, table) >= table.one_honest_threshold


@pytest.mark.parametrize(("nodes", "liars"), [(4, 2), (7, 3)])
@pytest.mark.parametrize("behaviour", ["double_vote", "equivocate"])
def test_liars_beyond_a_third_are_all_proven_to_be_liars(behaviour: str, nodes: int, liars: int) -> None:
    """The honest accuse only them, whether or not their tallies could still agree."""
    witness = Witness()
    byzantine = {ValidatorId(number): behaviour for number in range(liars)}
    cluster = Cluster(nodes, 1, links=LINKS, byzantine=byzantine, observers=(witness,))
    cluster.run_for(0.5)
    found = search(cluster, list(witness.messages))
    offenders = {proof.offender for proof in found}
    assert offenders <= set(byzantine)
    if behaviour == "double_vote":
        table = cluster.context.stake_table
        assert offenders == set(byzantine)
        assert compute_offending_stake(found, cluster.context.epoch, table) >= table.one_honest_threshold


def test_two_of_four_that_withhold_their_votes_stall_the_chain() -> None:
    """Negative control of liveness: with one of them it goes on."""
    cluster = Cluster(4, 1, links=LINKS, byzantine={ValidatorId(0): "abstain"})
    cluster.run_until(height=10, timeout_seconds=30)
    cluster = Cluster(4, 1, links=LINKS, byzantine={ValidatorId(0): "abstain", ValidatorId(1): "abstain"})
    with pytest.raises(ExpectationFailed, match="height 1 was not reached within 10 virtual seconds"):
        cluster.run_until(height=1, timeout_seconds=10)


class SignBadly(Actor):
    """Its votes carry no signature that is right."""

    def send(self, message: Message, to: ValidatorId) -> Iterable[Message]:
        if isinstance(message, QuorumVote | FinalizeVote):
            return (replace(message, signature=bytes(len(message.signature))),)
        return (message,)


def test_a_forged_vote_that_is_counted_is_caught_by_the_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at signatures of votes any more, and a quorum needs the one that is bad."""
    monkeypatch.setattr(SharedVotes, "is_genuine", lambda validator, vote: True)
    monkeypatch.setattr(MessageValidator, "is_genuine", lambda validator, vote: True)
    cluster = Cluster(4, 1, links=LINKS, byzantine={ValidatorId(0): SignBadly})
    cluster.node(1).crash()
    with pytest.raises(Violation, match="P2: a forged signature in"):
        cluster.run_for(10)


@pytest.mark.parametrize(("stakes", "victims"), [([1] * 7, (1, 4, 6)), ([5, 1, 1, 1, 4], (0,)), ([1, 1, 1, 1], (2, 3))])
def test_while_more_than_a_third_are_gone_nothing_is_decided_and_then_nothing_is_lost(
    stakes: list[int], victims: tuple[int, ...]
) -> None:
    cluster = Cluster(len(stakes), 1, stakes=stakes, links=LINKS, workload=Workload(200))
    cluster.run_until(height=8)
    for victim in victims:
        cluster.node(victim).crash()
    cluster.run_for(0.1)  # what was on its way is decided yet
    stopped, decided = cluster.highest, cluster.count_transactions()
    cluster.submit(50)
    cluster.run_for(5)
    assert (cluster.highest, cluster.count_transactions()) == (stopped, decided)
    for victim in victims:
        cluster.node(victim).restart()
    submitted = cluster.count_submitted()
    assert submitted >= decided + 50
    cluster.run_until(lambda: cluster.count_transactions() >= submitted, height=stopped + 3, timeout_seconds=60)
    cluster.finish(submitted)
