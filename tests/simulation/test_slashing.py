"""Leaders that fail and validators that cheat pay for it, alike on every node, and nobody else does (J1 to J4)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from consensus.effects import LedgerChanges
from consensus.ledger import LeadershipParameters, Ledger, LedgerChange, LedgerParameters, Status
from consensus.ledger.changes import Benched, Jailed, Slashed, Tombstoned
from consensus.ledger.state import compute_supply
from consensus.types import Height, Microseconds, ValidatorId
from netsim.cluster import Cluster
from netsim.network import LinkModel, Uniform
from netsim.observer import Observer
from netsim.process import Process

STAKES = [300_000, 250_000, 200_000, 150_000, 100_000, 80_000, 60_000]
LAN = LinkModel(Uniform(500, 2_000))


@dataclass
class Ledgers(Observer):
    """What each node was told of its ledger, by height."""

    told: dict[ValidatorId, list[tuple[Height, LedgerChange]]] = field(default_factory=dict)

    def on_ledger(self, now: Microseconds, node: ValidatorId, ledger: Ledger, changes: LedgerChanges) -> None:
        for height, described in changes:
            self.told.setdefault(node, []).extend((height, change) for change in described)

    def of(self, kind: type, node: int = 0) -> list[tuple[Height, LedgerChange]]:
        return [entry for entry in self.told.get(ValidatorId(node), []) if isinstance(entry[1], kind)]


def count_skipped(process: Process, first: int, last: int) -> int:
    """Views without a decided leaf between two heights."""
    chain = process.disk.decided
    return chain[last].leaf.view - chain[first].leaf.view - (last - first)


def test_j1_a_dead_leader_costs_a_view_per_bench_term_and_is_jailed_for_a_sum_that_can_be_computed_by_hand() -> None:
    """Links with little jitter: a quorum among fewer voters takes longer where delays differ, whoever leads."""
    ledgers = Ledgers()
    cluster = Cluster(
        7,
        3,
        stakes=STAKES,
        links=LinkModel(Uniform(950, 1_050)),
        leadership=LeadershipParameters(primary_size=7, fallback_size=2, bench_doublings_max=4),
        observers=[ledgers],
    )
    cluster.run_until(height=400, timeout_seconds=300)
    started = cluster.simulation.elapsed_seconds
    cluster.run_until(height=600, timeout_seconds=300)
    healthy = 200 / (cluster.simulation.elapsed_seconds - started)

    dead = ValidatorId(3)
    cluster.node(dead).crash()
    witness = cluster.processes[0]
    killed_at = witness.height
    cluster.run_until(lambda: len(ledgers.of(Benched)) == 3, timeout_seconds=300)
    benched = [(height, change) for height, change in ledgers.of(Benched) if isinstance(change, Benched)]
    assert {change.validator for _, change in benched} == {dead}
    assert [change.turns for _, change in benched] == [2, 4, 8]
    # Two slots until the first bench, then one at the end of each term; nothing in between.
    assert count_skipped(witness, killed_at, benched[0][0]) == 2
    assert count_skipped(witness, benched[0][0], benched[1][0]) == 1
    assert count_skipped(witness, benched[1][0], benched[2][0]) == 1

    cluster.run_until(lambda: len(ledgers.of(Benched)) == 5, timeout_seconds=300)
    started, height = cluster.simulation.elapsed_seconds, witness.height
    cluster.run_until(height=height + 300, timeout_seconds=300)
    after = (witness.height - height) / (cluster.simulation.elapsed_seconds - started)
    assert after >= 0.95 * healthy

    cluster.run_until(lambda: bool(ledgers.of(Jailed)), timeout_seconds=3_000)
    ((height, jailed),) = ledgers.of(Jailed)
    assert isinstance(jailed, Jailed)
    assert jailed.validator == dead
    assert jailed.missed >= 12
    # 0.01 % of 150,000: 15 units, of which 45 % go to the pool (6.75, rounded down) and the rest is burned.
    assert jailed.amount == 15
    ledger = find_ledger(witness, height)
    assert ledger.validators[dead].stake == 150_000 - 15
    assert ledger.validators[dead].status is Status.JAILED
    assert (ledger.state.pool, ledger.state.burned) == (6, 9)
    assert compute_supply(ledger.state) == sum(STAKES)
    assert all(state.stake == STAKES[state.id] for state in ledger.state.validators if state.id != dead)


def find_ledger(process: Process, height: Height) -> Ledger:
    """The ledger as it stands on a node that has just decided this height or a little more."""
    assert process.height - height < 10
    return process.member.ledger


@pytest.mark.parametrize("seed", range(5))
def test_j2_more_than_a_third_cut_off_stops_the_chain_and_charges_nobody(seed: int) -> None:
    ledgers = Ledgers()
    cluster = Cluster(7, seed, stakes=STAKES, links=LAN, observers=[ledgers])
    cluster.run_until(height=30)
    cluster.partition([0, 3, 4], [1, 2, 5, 6])
    cluster.run_for(1)
    stuck = cluster.highest
    cluster.run_for(20)
    assert cluster.highest == stuck
    cluster.heal()
    cluster.run_until(height=stuck + 60)
    assert not ledgers.of(Jailed)
    assert not ledgers.of(Slashed)
    ledger = cluster.processes[0].member.ledger
    assert [state.stake for state in ledger.state.validators] == STAKES
    assert all(state.status is Status.ACTIVE for state in ledger.state.validators)


@pytest.mark.parametrize(("behaviour", "rules"), [("equivocate", {"E1"}), ("double_vote", {"E2", "E3"})])
@pytest.mark.parametrize("seed", range(5))
def test_j3_a_cheat_is_slashed_and_tombstoned_on_every_node_at_the_same_height(
    behaviour: str, rules: set[str], seed: int
) -> None:
    ledgers = Ledgers()
    cluster = Cluster(7, seed, stakes=STAKES, links=LAN, byzantine={ValidatorId(4): behaviour}, observers=[ledgers])
    honest = [process for process in cluster.processes if process.id != 4]
    cluster.run_until(lambda: all(ledgers.of(Tombstoned, process.id) for process in honest), timeout_seconds=120)
    check_punished(ledgers, honest, 4, rules)


def check_punished(ledgers: Ledgers, honest: Sequence[Process], cheat: int, rules: set[str]) -> None:
    """On all nodes alike: 5 % at least, the reporter's twentieth, 45 % for the pool, the rest burned."""
    entries = {tuple(map(repr, ledgers.of(Tombstoned, process.id))) for process in honest}
    assert len(entries) == 1
    ((_, tombstoned),) = ledgers.of(Tombstoned, honest[0].id)
    assert isinstance(tombstoned, Tombstoned)
    assert (tombstoned.validator, tombstoned.rule in rules) == (cheat, True)
    assert len({tuple(map(repr, ledgers.of(Slashed, process.id))) for process in honest}) == 1
    ((_, slashed),) = ledgers.of(Slashed, honest[0].id)
    assert isinstance(slashed, Slashed)
    total = sum(STAKES)
    fraction = max(50_000, min(1_000_000, 3 * STAKES[cheat] * 1_000_000 // total))
    amount = STAKES[cheat] * fraction // 1_000_000
    assert slashed.amount == amount
    # Nobody earns by reporting itself.
    assert slashed.to_reporter == (0 if slashed.reporter is None else amount * 50_000 // 1_000_000)
    assert slashed.to_pool == amount * 450_000 // 1_000_000
    assert slashed.burned == amount - slashed.to_reporter - slashed.to_pool
    for process in honest:
        ledger = process.member.ledger
        assert ledger.validators[ValidatorId(cheat)].status is Status.TOMBSTONED
        assert ledger.validators[ValidatorId(cheat)].stake == STAKES[cheat] - amount
        assert cheat in ledger.sidelined or cheat not in ledger.table


@pytest.mark.parametrize("seed", range(5))
def test_j3_an_amnesiac_is_slashed_and_tombstoned_on_every_node_at_the_same_height(seed: int) -> None:
    """It times out as if it had never finalized what it did: that shows whenever a leader is missing."""
    ledgers = Ledgers()
    cluster = Cluster(7, seed, stakes=STAKES, links=LAN, byzantine={ValidatorId(4): "forget"}, observers=[ledgers])
    honest = [process for process in cluster.processes if process.id != 4]
    for _ in range(20):
        height = cluster.highest
        cluster.run_until(lambda height=height: cluster.highest >= height + 3)  # type: ignore[misc]
        leader = cluster.leader()
        leader.crash()
        cluster.run_for(0.05)
        leader.restart()
        if ledgers.of(Tombstoned, honest[0].id):
            break
    cluster.run_until(lambda: all(ledgers.of(Tombstoned, process.id) for process in honest), timeout_seconds=60)
    check_punished(ledgers, honest, 4, {"E4"})


def test_j1_a_jailed_validator_returns_by_its_own_operation_after_the_term() -> None:
    parameters = LedgerParameters(LeadershipParameters(primary_size=4, fallback_size=1, bench_doublings_max=0))
    parameters = with_short_epochs(parameters)
    ledgers = Ledgers()
    cluster = Cluster(4, 2, links=LAN, ledger=parameters, observers=[ledgers])
    cluster.run_until(height=10)
    absent = cluster.processes[1]
    absent.crash()
    cluster.run_until(lambda: bool(ledgers.of(Jailed)), timeout_seconds=600)
    absent.restart()
    epoch = cluster.processes[0].epoch
    with pytest.raises(ValueError, match="epoch"):
        cluster.stakers.unjail(absent)
    until = cluster.processes[0].member.ledger.validators[absent.id].jailed_until
    assert until > epoch
    cluster.run_until(lambda: all(process.epoch >= until for process in cluster.alive()), timeout_seconds=300)
    cluster.stakers.unjail(absent)
    cluster.run_until(
        lambda: cluster.processes[0].member.ledger.validators[absent.id].status is Status.ACTIVE, timeout_seconds=60
    )
    cluster.run_until(lambda: any(block.leaf.proposer == 1 for block in cluster.processes[0].disk.decided[-12:]))


def with_short_epochs(parameters: LedgerParameters) -> LedgerParameters:
    epochs = replace(parameters.epochs, epoch_blocks=40, beacon_difficulty=32, beacon_checkpoints=4)
    return replace(parameters, epochs=epochs)
