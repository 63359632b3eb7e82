"""One validator lies with its own key and real messages; the others agree, go on, and can say who it was.

The liar is a production replica whose words are replaced on their way out, so it always knows enough to lie about the
present.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

import pytest
from msgspec.structs import replace

from consensus.certificates import make_timeout_subject
from consensus.evidence import DoubleProposal, DoubleVote, Evidence
from consensus.leaf import Block, compute_leaf_commitment, make_leaf
from consensus.ledger import LeadershipParameters
from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote, StatusResponse, TimeoutVote
from consensus.safety import SafetyRules
from consensus.signatures import Domain, make_statement
from consensus.types import Commitment, Microseconds, ValidatorId, View
from netsim.cluster import Cluster
from netsim.network import Exponential, LinkModel
from netsim.observer import Observer
from netsim.process import Process

SEEDS = range(5)
LIAR = 0
LINKS = LinkModel(Exponential(2_000, floor_microseconds=200))

Lie = Callable[["Liar", Message, ValidatorId], Iterable[Message]]
"""What the liar sends to one peer instead of what it should have sent."""


@dataclass
class Record(Observer):
    """What the honest sent and whom they accused."""

    liar: ValidatorId
    reports: list[Evidence] = field(default_factory=list)
    votes: list[QuorumVote] = field(default_factory=list)
    proposals: dict[Commitment, QuorumProposal] = field(default_factory=dict)
    answers: int = 0
    """StatusResponses that the liar was sent."""

    def on_report(self, now: Microseconds, node: ValidatorId, evidence: Evidence) -> None:
        self.reports.append(evidence)

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        if isinstance(message, QuorumProposal):
            self.proposals[compute_leaf_commitment(message.leaf)] = message
        elif node != self.liar and isinstance(message, QuorumVote):
            self.votes.append(message)


class Liar:
    """The words of one process, twisted."""

    def __init__(self, cluster: Cluster, process: Process, random: Random) -> None:
        self.cluster, self.process, self.random = cluster, process, random
        self.others: dict[tuple[type[Message], View], Message] = {}
        """The second, contradicting message of a kind and view."""

    def sign(self, domain: Domain, view: View, subject: bytes) -> bytes:
        safety: SafetyRules = self.process.replica._safety
        context = self.cluster.context
        return safety._signer.sign(make_statement(context.network_id, domain, context.epoch, view, subject))

    def propose(self, block: Block) -> QuorumProposal:
        signature = self.sign(Domain.PROPOSAL, block.leaf.view, block.commitment)
        return QuorumProposal(block.leaf, block.payload, signature)

    def vote_for(self, vote: QuorumVote | FinalizeVote, leaf: Commitment) -> QuorumVote | FinalizeVote:
        domain = Domain.QUORUM_VOTE if isinstance(vote, QuorumVote) else Domain.FINALIZE_VOTE
        return replace(vote, leaf=leaf, signature=self.sign(domain, vote.view, leaf))

    def find(self, commitment: Commitment) -> Block | None:
        replica = self.process.replica
        known = [*self.process.disk.decided, *replica.chain.blocks]
        return next((block for block in reversed(known) if block.commitment == commitment), None)


def make_cluster(seed: int, lie: Lie, *, nodes: int = 4, liars: int = 1) -> tuple[Cluster, Record]:
    record = Record(ValidatorId(LIAR))
    byzantine = {ValidatorId(number) for number in range(LIAR, LIAR + liars)}
    # The liar leads too, and goes on to: whoever proposes in vain would be benched.
    everyone = LeadershipParameters(primary_size=nodes, bench_after=1000)
    cluster = Cluster(
        nodes, seed, links=LINKS, leadership=everyone, byzantine=byzantine, observers=(record,), start=False
    )
    puppets = {node: Liar(cluster, cluster.node(node), cluster.simulation.streams["byzantine"]) for node in byzantine}
    broadcast, send = cluster.wire.broadcast, cluster.wire.send

    def twisted_broadcast(source: ValidatorId, message: Message) -> None:
        if source not in puppets:
            broadcast(source, message)
            return
        for process in cluster.processes:
            if process.id != source:
                for instead in lie(puppets[source], message, process.id):
                    send(source, process.id, instead)

    def counting_send(source: ValidatorId, to: ValidatorId, message: Message) -> None:
        record.answers += to == LIAR and isinstance(message, StatusResponse)
        send(source, to, message)

    cluster.wire.broadcast = twisted_broadcast  # type: ignore[method-assign]
    cluster.wire.send = counting_send  # type: ignore[method-assign]
    for process in cluster.processes:
        process.start()
    return cluster, record


# Lies


def equivocate(liar: Liar, message: Message, to: ValidatorId) -> Iterable[Message]:
    """Two proposals in one view, one of them for half of the peers and sometimes both; votes for both as well."""
    other: Message
    match message:
        case QuorumProposal(leaf, payload):
            other = liar.propose(Block(replace(leaf, timestamp_ms=leaf.timestamp_ms + 1), payload))
            liar.others[QuorumProposal, leaf.view] = other
        case QuorumVote(view=view) | FinalizeVote(view=view) if (QuorumProposal, view) in liar.others:
            proposal = liar.others[QuorumProposal, view]
            assert isinstance(proposal, QuorumProposal)
            other = liar.vote_for(message, compute_leaf_commitment(proposal.leaf))
        case _:
            return (message,)
    return ((message,), (other,), (message, other), (other, message))[liar.random.randrange(4) if to == 1 else to % 2]


def propose_on_a_stale_qc(liar: Liar, message: Message, to: ValidatorId) -> Iterable[Message]:
    """Extend the grandparent by its own, older QC: whoever votes for that undoes the parent."""
    if isinstance(message, QuorumProposal):
        parent = liar.find(message.leaf.parent)
        grandparent = None if parent is None else liar.find(parent.leaf.parent)
        if parent is not None and grandparent is not None:
            leaf = make_leaf(
                grandparent,
                epoch=message.leaf.epoch,
                view=message.leaf.view,
                proposer=message.leaf.proposer,
                timestamp_ms=message.leaf.timestamp_ms,
                payload=b"",
                ledger=message.leaf.ledger,
                justify_qc=parent.leaf.justify_qc,
                timeout_certificate=liar.process.replica._safety.entry_tc,
            )
            return (liar.propose(Block(leaf, b"")),)
    return (message,)


def withhold_votes(liar: Liar, message: Message, to: ValidatorId) -> Iterable[Message]:
    return () if isinstance(message, QuorumVote | FinalizeVote) else (message,)


def flood_with_old_timeouts(liar: Liar, message: Message, to: ValidatorId) -> Iterable[Message]:
    """With each word a dozen TimeoutVotes of views that are over, each of them valid by itself."""
    old: list[Message] = []
    for block in liar.process.disk.decided[-12:]:
        qc = block.leaf.justify_qc
        view = View(qc.view + 1)
        signature = liar.sign(Domain.TIMEOUT_VOTE, view, make_timeout_subject(qc.view))
        old.append(TimeoutVote(qc.epoch, view, qc.view, liar.process.id, signature, qc, None))
    return (*old, message)


def deny_high_qc(liar: Liar, message: Message, to: ValidatorId) -> Iterable[Message]:
    """Sign a TimeoutVote as if no QC had ever been seen, after FinalizeVotes for later ones (E4)."""
    if isinstance(message, TimeoutVote):
        signature = liar.sign(Domain.TIMEOUT_VOTE, message.view, make_timeout_subject(View(0)))
        return (replace(message, high_qc_view=View(0), signature=signature),)
    return (message,)


def do_anything(liar: Liar, message: Message, to: ValidatorId) -> Iterable[Message]:
    honest: Lie = lambda _liar, said, _to: (said,)  # noqa: E731 - one more entry of the table below
    silent: Lie = lambda *_: ()  # noqa: E731
    lies = (honest, silent, equivocate, propose_on_a_stale_qc, withhold_votes, flood_with_old_timeouts, deny_high_qc)
    return liar.random.choices(lies, weights=(6, 1, 4, 2, 1, 1, 2))[0](liar, message, to)


# What must hold all the same


@pytest.mark.parametrize("seed", SEEDS)
def test_an_equivocating_leader_splits_a_vote_and_nothing_else(seed: int) -> None:
    """R3a, R5, E1, E2: the chain goes on, everyone agrees (the oracles watch), and the proof names the liar."""
    cluster, record = make_cluster(seed, equivocate)
    cluster.run_until(height=40)
    assert {type(evidence) for evidence in record.reports} >= {DoubleProposal, DoubleVote}
    assert {evidence.offender for evidence in record.reports} == {LIAR}


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_votes_for_a_proposal_on_a_stale_qc(seed: int) -> None:
    """R3c; every turn of the liar costs its view and no more."""
    cluster, record = make_cluster(seed, propose_on_a_stale_qc)
    cluster.run_until(height=30)
    stale = [proposal for proposal in record.proposals.values() if not is_justified(proposal)]
    assert len(stale) >= 5
    assert {vote.leaf for vote in record.votes}.isdisjoint(compute_leaf_commitment(each.leaf) for each in stale)
    assert all(process.view <= 1.5 * cluster.height for process in cluster.processes)


def is_justified(proposal: QuorumProposal) -> bool:
    leaf, tc = proposal.leaf, proposal.leaf.timeout_certificate
    if tc is not None and tc.view == leaf.view - 1:
        return leaf.justify_qc.view >= max(tc.high_qc_views)
    return leaf.justify_qc.view == leaf.view - 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_withheld_vote_is_not_missed(seed: int) -> None:
    cluster, _ = make_cluster(seed, withhold_votes)
    cluster.run_until(height=40)
    cluster.expect(all(process.view <= 45 for process in cluster.processes), "hardly a view is lost")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_flood_of_old_timeouts_costs_no_view_and_gets_few_answers(seed: int) -> None:
    """L3, L4: answers are limited in rate, whatever is asked."""
    cluster, record = make_cluster(seed, flood_with_old_timeouts)
    cluster.run_until(height=60)
    cluster.expect(all(process.view <= 65 for process in cluster.processes), "hardly a view is lost")
    intervals = cluster.simulation.elapsed_seconds * 1e6 / cluster.context.parameters.fetch_interval
    assert 0 < record.answers <= 3 * (intervals + 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_timeout_that_denies_the_own_high_qc_undoes_nothing(seed: int) -> None:
    """Section 4: in every quorum of timeouts an honest signer remembers what was finalized."""
    cluster, _ = make_cluster(seed, deny_high_qc)
    for _ in range(10):
        cluster.run_until(height=cluster.height + 2)
        victim = cluster.leader()
        if victim.id != LIAR:
            victim.crash()
            victim.restart()
    cluster.run_until(height=cluster.highest + 5)


@pytest.mark.parametrize(("nodes", "liars"), [(4, 1), (7, 2), (10, 3)])
@pytest.mark.parametrize("seed", SEEDS)
def test_liars_below_a_third_with_any_mixture_of_lies(seed: int, nodes: int, liars: int) -> None:
    cluster, record = make_cluster(seed, do_anything, nodes=nodes, liars=liars)
    cluster.run_until(height=15, timeout_seconds=120)
    honest = cluster.node(nodes - 1)
    for _ in range(5):
        honest.crash()
        cluster.run_for(0.05)
        honest.restart()
        cluster.run_until(height=cluster.height + 3, timeout_seconds=120)
    assert {evidence.offender for evidence in record.reports} <= set(range(liars))
