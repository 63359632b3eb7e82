"""Section 4, accountability: nothing that an honest validator does is an offence, and whoever forks the chain is found.

What is examined is what a court would have: everything that was ever sent, or the disks that are left.
"""

from copy import deepcopy
from random import Random

import pytest

from consensus.certificates import FinalityCertificate, QuorumCertificate, TimeoutCertificate
from consensus.evidence import Evidence, get_rule
from consensus.forensics import Exhibit, compute_offending_stake, examine
from consensus.leaf import make_header
from consensus.ledger import EpochParameters, LeadershipParameters, LedgerParameters
from consensus.messages import (
    FinalizeVote,
    Message,
    QuorumProposal,
    QuorumVote,
    StatusResponse,
    TimeoutVote,
)
from consensus.stake_table import StakeTable
from consensus.types import Epoch, Microseconds, ValidatorId, View
from consensus.watch import Watch
from netsim.cluster import Cluster
from netsim.disk import Disk, DiskModel
from netsim.network import Exponential, LinkModel
from netsim.observer import Observer
from netsim.simulation import make_stream
from tests.simulation.test_chaos import disturb

SLOW_DISK = DiskModel(Exponential(1_000))
SHORT_EPOCHS = LedgerParameters(LeadershipParameters(), epochs=EpochParameters(epoch_blocks=8))


class Witness(Observer):
    """Everything that was ever said."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        self.messages.append(message)


def get_tables(cluster: Cluster) -> list[tuple[Epoch, StakeTable]]:
    """Of all epochs that any node's ledger still knows."""
    ledgers = [process.disk.load().ledger or cluster.context.genesis_ledger for process in cluster.processes]
    tables = [(table.epoch, ledger.find_table(table.epoch)) for ledger in ledgers for table in ledger.state.tables]
    return [(epoch, table) for epoch, table in tables if table is not None]


def search(cluster: Cluster, exhibits: list[Exhibit]) -> list[Evidence]:
    return examine(exhibits, get_tables(cluster), cluster.context.scheme, cluster.context.network_id)


def get_exhibits(disk: Disk) -> list[Exhibit]:
    """What stands on a node's disk."""
    found = disk.load()
    blocks = [*disk.decided, *found.undecided]
    proofs = [disk.read_finality_proof(block.leaf.height, leaves_max=1) for block in disk.decided[1:]]
    return [found.record, *(block.leaf for block in blocks), *(proof[1] for proof in proofs if proof is not None)]


def run_chaos(seed: int, *, ledger: LedgerParameters | None = None) -> tuple[Cluster, Witness]:
    random, witness = make_stream(seed, "parameters"), Witness()
    links = LinkModel(Exponential(random.choice([300, 3_000])), loss=random.choice([0.0, 0.1]), reordering=0.2)
    cluster = Cluster(random.choice([4, 4, 7]), seed, links=links, disk=SLOW_DISK, ledger=ledger, observers=(witness,))
    cluster.run_until(height=20)
    for _ in range(random.randint(4, 10)):
        cluster.run_for(random.random() * random.choice([0.01, 0.1, 0.5]))
        disturb(cluster, random)
    return cluster, witness


def show(watch: Watch, message: Message, epoch: Epoch) -> list[Evidence]:
    """All that a replica would show its watch of this message."""
    match message:
        case QuorumVote(epoch=said) if said == epoch:
            return watch.note_vote(message)
        case FinalizeVote(epoch=said) if said == epoch:
            return watch.note_finalize(message)
        case TimeoutVote(epoch=said) if said == epoch:
            found = watch.note_timeout(message) + watch.note_qc(message.high_qc)
            return found + ([] if message.entry_tc is None else watch.note_tc(message.entry_tc))
        case QuorumProposal(leaf=leaf) if leaf.epoch == epoch:
            found = watch.note_unjustified(make_header(leaf)) + watch.note_qc(leaf.justify_qc)
            return found + ([] if leaf.timeout_certificate is None else watch.note_tc(leaf.timeout_certificate))
        case StatusResponse(high_qc=QuorumCertificate(epoch=said)) if said == epoch:
            certificates = (message.high_qc, message.fc, message.entry_tc)
            return [proof for each in certificates for proof in show_certificate(watch, each)]
        case _:
            return []


def show_certificate(
    watch: Watch, certificate: QuorumCertificate | FinalityCertificate | TimeoutCertificate | None
) -> list[Evidence]:
    match certificate:
        case QuorumCertificate():
            return watch.note_qc(certificate)
        case FinalityCertificate():
            return watch.note_fc(certificate)
        case TimeoutCertificate():
            return watch.note_tc(certificate)
        case None:
            return []


@pytest.mark.parametrize("seed", range(12))
def test_crashes_and_restarts_of_honest_validators_are_no_offence(seed: int) -> None:
    """Writes that were never synced are lost in them, partitions come and go: in whatever order it is heard."""
    cluster, witness = run_chaos(seed)
    exhibits = [exhibit for process in cluster.processes for exhibit in get_exhibits(process.disk)]
    assert search(cluster, [*witness.messages, *exhibits]) == []
    context, random = cluster.context, Random(seed)
    for _ in range(3):
        random.shuffle(witness.messages)
        watch = Watch(context.network_id, context.epoch, context.stake_table, context.scheme)
        for message in witness.messages:
            assert show(watch, message, context.epoch) == []
            if random.random() < 0.01:
                watch.forget_below(View(random.randrange(cluster.processes[0].view + 1)))


@pytest.mark.parametrize("seed", range(20, 26))
def test_passing_from_epoch_to_epoch_is_no_offence(seed: int) -> None:
    """T1: the voting record starts fresh and closing leaves are voted for, in another epoch each."""
    cluster, witness = run_chaos(seed, ledger=SHORT_EPOCHS)
    assert max(process.epoch for process in cluster.processes) >= 2
    exhibits = [exhibit for process in cluster.processes for exhibit in get_exhibits(process.disk)]
    assert search(cluster, [*witness.messages, *exhibits]) == []


@pytest.mark.parametrize(
    ("behaviour", "rules"),
    [("equivocate", {"E1", "E2"}), ("double_vote", {"E2", "E3"}), ("forget", {"E4"})],
)
def test_those_who_break_a_rule_are_found_and_nobody_else(behaviour: str, rules: set[str]) -> None:
    """Negative control: the same search does find offences."""
    witness = Witness()
    liar = ValidatorId(0)
    everyone = LeadershipParameters(primary_size=4, bench_after=1000)
    cluster = Cluster(4, 1, byzantine={liar: behaviour}, leadership=everyone, disk=SLOW_DISK, observers=(witness,))
    cluster.run_until(height=30)
    found = search(cluster, list(witness.messages))
    assert {get_rule(proof) for proof in found} >= rules
    assert {proof.offender for proof in found} == {liar}


def test_an_old_copy_of_the_record_makes_a_validator_an_offender() -> None:
    """R8: it goes back to before its last votes, and nobody is there to help it to catch up first."""
    found: list[Evidence] = []
    for seed in range(10):
        witness = Witness()
        cluster = Cluster(4, seed)
        cluster.observers[:] = [witness]
        cluster.run_for(0.02 + 0.0003 * seed)
        amnesiac = cluster.node(1)
        record = amnesiac.disk.record
        cluster.run_for(0.0015)
        for process in cluster.processes:
            process.crash()
        amnesiac.disk.put_back(record)
        cluster.run_for(1)
        amnesiac.restart()
        cluster.run_for(5)
        found += search(cluster, list(witness.messages))
    assert {proof.offender for proof in found} == {1}
    assert {get_rule(proof) for proof in found} >= {"E4"}


@pytest.mark.parametrize("seed", range(5))
def test_disks_that_were_put_back_fork_the_chain_and_the_disks_of_the_others_tell(seed: int) -> None:
    """0 and 1 finalize with 2, are restored from old copies, and finalize something else with 3."""
    cluster = Cluster(4, seed)
    cluster.observers.clear()  # the oracles would stop at the fork
    cluster.run_until(height=5)
    cluster.partition({0, 1, 2}, {3})
    copies = {number: deepcopy(cluster.node(number).disk) for number in (0, 1)}
    cluster.run_until(lambda: cluster.node(2).height >= cluster.node(3).height + 10)
    for number in (0, 1, 2):
        cluster.node(number).crash()
    cluster.run_for(1)  # nothing that was said so far is still on its way
    for number, copy in copies.items():
        cluster.node(number).disk = copy
        cluster.node(number).restart()
    cluster.partition({0, 1, 3})
    cluster.run_until(lambda: cluster.node(3).height >= cluster.node(2).height + 5)
    chains = [[block.commitment for block in cluster.node(number).disk.decided] for number in (2, 3)]
    assert any(one != other for one, other in zip(*chains, strict=False))
    found = search(cluster, [*get_exhibits(cluster.node(2).disk), *get_exhibits(cluster.node(3).disk)])
    table = cluster.context.stake_table
    assert {proof.offender for proof in found} == {0, 1}
    assert compute_offending_stake(found, cluster.context.epoch, table) >= table.one_honest_threshold
