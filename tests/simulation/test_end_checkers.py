"""Negative controls of the oracles over states, memory and whole runs: each must name what it exists for."""

import pytest
from msgspec.structs import replace

from consensus.effects import Decide, EnteredView
from consensus.evidence import DoubleVote, SignedLeaf
from consensus.leaf import Block
from consensus.ledger import EpochParameters, LeadershipParameters, Ledger, LedgerParameters, LedgerState
from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote, TimeoutVote
from consensus.safety import SafetyRecord
from consensus.types import Commitment, Epoch, Microseconds, ValidatorId, View
from netsim.checkers import Violation, make_checkers
from netsim.checkers.accusations import OnlyByzantineAccused
from netsim.checkers.commitments import compute_ledger_commitment
from netsim.checkers.ledgers import LedgerCommitments
from netsim.checkers.memory import VIEWS_BETWEEN_LOOKS, MemoryBudget
from netsim.checkers.replay import Replay
from netsim.checkers.supply import SupplyConserved
from netsim.cluster import Cluster
from netsim.network import Constant, LinkModel
from netsim.observer import Observer
from netsim.workload import Workload

NOW = Microseconds(1)
NODE, OTHER = ValidatorId(1), ValidatorId(2)
SHORT_EPOCHS = LedgerParameters(LeadershipParameters(), epochs=EpochParameters(epoch_blocks=6))


class Log(Observer):
    def __init__(self) -> None:
        self.decides: list[Decide] = []
        self.messages: dict[type[Message], Message] = {}

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        if node == NODE:
            self.decides.append(decide)

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        if node == NODE:
            self.messages[type(message)] = message


@pytest.fixture
def cluster() -> Cluster:
    """Healthy, through two ends of epochs, a crash and views that timed out, and still running: material to bend."""
    links = LinkModel(Constant(20_000))
    cluster = Cluster(4, seed=3, ledger=SHORT_EPOCHS, links=links, observers=[Log()])
    cluster.run_until(height=8)
    cluster.node(3).crash()
    cluster.run_until(height=11)
    cluster.partition([0], [1], [2], [3])
    cluster.run_for(1)
    cluster.heal()
    cluster.node(3).restart()
    cluster.run_until(height=14)
    return cluster


@pytest.fixture
def log(cluster: Cluster) -> Log:
    return next(observer for observer in cluster.observers if isinstance(observer, Log))


def get_state(cluster: Cluster) -> LedgerState:
    return cluster.context.genesis_ledger.state


def bend_ledger(cluster: Cluster, **changes: object) -> None:
    """One node's ledger, in its memory."""
    chain = cluster.node(NODE).replica.chain
    chain.ledger = Ledger(replace(chain.ledger.state, **changes))


def test_a_healthy_run_passes_to_the_end(cluster: Cluster) -> None:
    submitted = cluster.count_submitted()
    cluster.run_until(height=cluster.height + 10)
    assert submitted > 0
    cluster.finish(submitted)
    looks = next(observer for observer in cluster.observers if isinstance(observer, MemoryBudget)).looks
    assert looks > 4
    assert next(observer for observer in cluster.observers if isinstance(observer, Replay)).replays == 4


def test_every_oracle_here_is_always_on(cluster: Cluster) -> None:
    kinds = {type(checker) for checker in make_checkers(cluster.context)}
    assert kinds >= {LedgerCommitments, SupplyConserved, OnlyByzantineAccused, MemoryBudget, Replay}
    assert kinds <= {type(observer) for observer in cluster.observers}


class TestLedgers:
    def test_the_commitment_is_the_one_of_the_rules(self, cluster: Cluster) -> None:
        for process in cluster.processes:
            ledger = process.member.ledger
            assert compute_ledger_commitment(ledger.state) == ledger.commitment

    def test_a_ledger_that_differs_is_found_at_the_next_decide(self, cluster: Cluster, log: Log) -> None:
        checker = LedgerCommitments(cluster.context)
        genesis = cluster.context.genesis_ledger
        checker.on_ledger(NOW, NODE, genesis, ())
        checker.on_decide(NOW, NODE, log.decides[0])
        checker.on_ledger(NOW, NODE, Ledger(replace(genesis.state, pool=1)), ())
        with pytest.raises(Violation, match="S1: node 1 has the ledger"):
            checker.on_decide(NOW, NODE, log.decides[1])

    def test_a_ledger_that_differs_after_the_last_decide_is_found_at_the_end(self, cluster: Cluster) -> None:
        cluster.run_until(lambda: cluster.node(0).height == cluster.node(1).height, timeout_seconds=5)
        bend_ledger(cluster, burned=1)
        with pytest.raises(Violation, match="S1: nodes 0 and 1 have different ledgers"):
            cluster.finish()


class TestSupply:
    @pytest.mark.parametrize("part", ["pool", "burned", "balance", "stake"])
    def test_a_unit_too_many_or_too_few(self, cluster: Cluster, part: str) -> None:
        checker, state = SupplyConserved(cluster.context), get_state(cluster)
        account, validator = state.accounts[0], state.validators[0]
        bent = {
            "pool": replace(state, pool=1),
            "burned": replace(state, burned=1),
            "balance": replace(state, accounts=(replace(account, balance=account.balance + 1), *state.accounts[1:])),
            "stake": replace(state, validators=(replace(validator, stake=validator.stake - 1), *state.validators[1:])),
        }
        checker.on_ledger(NOW, NODE, Ledger(state), ())
        with pytest.raises(Violation, match="J4: node 1 has a ledger with"):
            checker.on_ledger(NOW, NODE, Ledger(bent[part]), ())

    def test_a_debt_that_makes_up_for_a_gift(self, cluster: Cluster) -> None:
        with pytest.raises(Violation, match="owns -1 units"):
            SupplyConserved(cluster.context).on_ledger(
                NOW, NODE, Ledger(replace(get_state(cluster), pool=1, burned=-1)), ()
            )


class TestAccusations:
    def accuse(self, offender: int) -> DoubleVote:
        halves = [SignedLeaf(Commitment(half * 32), b"") for half in (b"a", b"b")]
        return DoubleVote(ValidatorId(offender), Epoch(0), View(1), *halves)

    def test_a_report_against_an_honest_validator(self) -> None:
        checker = OnlyByzantineAccused(byzantine={OTHER})
        checker.on_report(NOW, NODE, self.accuse(OTHER))
        checker.on_report(NOW, OTHER, self.accuse(NODE))  # a liar may say so
        with pytest.raises(Violation, match="framed: node 1 reports a proof of E2 against honest 0"):
            checker.on_report(NOW, NODE, self.accuse(0))

    def test_a_decided_leaf_with_a_proof_against_an_honest_validator(self, log: Log) -> None:
        decide = log.decides[0]
        block = decide.blocks[0]
        framing = Block(replace(block.leaf, evidence=(self.accuse(0),)), block.payload)
        with pytest.raises(Violation, match="framed: node 1 decided at height 1 a proof of E2"):
            OnlyByzantineAccused().on_decide(NOW, NODE, Decide((framing,), decide.fc))

    def test_in_a_whole_cluster_when_the_liar_is_taken_for_honest(self) -> None:
        cluster = Cluster(4, 1, byzantine={ValidatorId(0): "double_vote"})
        cluster.observers[:] = [OnlyByzantineAccused()]
        with pytest.raises(Violation, match="framed"):
            cluster.run_for(10)


class TestMemory:
    def test_a_buffer_beyond_its_bound_at_the_end(self, cluster: Cluster) -> None:
        fetcher = cluster.node(NODE).replica._fetcher
        orphan = cluster.node(NODE).disk.decided[5]
        fetcher._orphans |= {Commitment(number.to_bytes(32, "big")): orphan for number in range(33)}
        with pytest.raises(Violation, match="L4: node 1 keeps 33 orphans, the bound is 32"):
            cluster.finish()

    def test_a_buffer_beyond_its_bound_on_the_way(self, cluster: Cluster) -> None:
        checker = MemoryBudget()
        checker.on_begin(cluster.processes)
        waiting = cluster.node(NODE).disk.decided[5]
        cluster.node(NODE).replica._proposals._waiting |= {ValidatorId(number): waiting for number in range(5)}
        entered = EnteredView(View(5), None, timed_out=False)
        for _ in range(VIEWS_BETWEEN_LOOKS - 1):
            checker.on_enter(NOW, NODE, entered)
        with pytest.raises(Violation, match="keeps 5 proposals that wait for their parent, the bound is 4"):
            checker.on_enter(NOW, NODE, entered)

    def test_votes_of_all_views_to_come(self, cluster: Cluster) -> None:
        """An unbounded future buffer."""
        replica = cluster.node(NODE).replica
        for view in range(1_000):
            leaf = Commitment(view.to_bytes(32, "big"))
            replica._certifier._votes.add(QuorumVote(Epoch(0), View(replica.view + view), leaf, OTHER, b""))
        with pytest.raises(Violation, match="quorum votes, the bound is"):
            cluster.finish()


class TestReplay:
    @pytest.mark.parametrize("kind", [QuorumVote, FinalizeVote, TimeoutVote, QuorumProposal])
    def test_a_start_from_a_record_that_has_lost_a_statement(
        self, cluster: Cluster, log: Log, kind: type[Message]
    ) -> None:
        checker = Replay(cluster.context)
        record = SafetyRecord.initial(cluster.context.genesis_qc)
        checker.on_start(NOW, NODE, record, [cluster.context.genesis])
        checker.on_send(NOW, NODE, log.messages[kind])
        with pytest.raises(Violation, match="R8: node 1 starts with"):
            checker.on_start(NOW, NODE, record, [cluster.context.genesis])

    def test_a_record_that_is_not_written(self, cluster: Cluster) -> None:
        disk = cluster.node(NODE).disk
        disk.put_back(replace(disk.record, voted_view=View(disk.record.voted_view - 1)))
        with pytest.raises(Violation, match="R8: node 1, started from its disk: voted_view"):
            cluster.finish()

    def test_a_decided_block_that_is_not_written(self, cluster: Cluster) -> None:
        cluster.node(NODE).disk._decided.pop()
        with pytest.raises(Violation, match="R8: node 1, started from its disk: tip"):
            cluster.finish()

    def test_a_ledger_that_does_not_follow_from_the_leaves(self, cluster: Cluster) -> None:
        """Every node has it, and every disk, so nothing but the leaves can tell."""
        for process in cluster.processes:
            chain = process.replica.chain
            chain.ledger = process.disk._ledger = Ledger(replace(chain.ledger.state, pool=1, burned=-1))
        cluster.observers[:] = [Replay(cluster.context)]
        with pytest.raises(Violation, match="stores another ledger than its"):
            cluster.finish()


class TestTransactions:
    def test_what_was_submitted_and_never_decided(self) -> None:
        cluster = Cluster(4, 1, workload=Workload(0))
        cluster.submit(20)
        cluster.run_until(height=3)
        cluster.finish(cluster.count_submitted())
        cluster.partition([0], [1], [2], [3])
        cluster.submit(7)
        cluster.run_for(3)
        cluster.finish(20)
        with pytest.raises(Violation, match="lost: 7 of 27 transactions were never decided, first 20") as raised:
            cluster.finish(cluster.count_submitted())
        assert "Cluster(nodes=4, seed=1)" in "\n".join(raised.value.__notes__)
