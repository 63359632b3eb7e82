"""Validators that forge: certificates, the words of others, proofs, answers to those who are behind.

Each is shown to bite: what it says is really sent and really refused, for the reason it was made for, or is held
against it. The chain goes on, no honest validator is accused, memory keeps to its bounds: the oracles see to that.
"""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from consensus.evidence import Evidence
from consensus.ledger import EpochParameters, LeadershipParameters, LedgerParameters
from consensus.messages import (
    EpochEnd,
    EvidenceNotice,
    LeafResponse,
    Message,
    QuorumProposal,
    RangeResponse,
)
from consensus.types import Microseconds, ValidatorId
from netsim.byzantine.wire import ByzantineWire
from netsim.cluster import Cluster
from netsim.disk import DiskModel
from netsim.network import Exponential, LinkModel
from netsim.observer import Observer

LIAR = ValidatorId(0)
LINKS = LinkModel(Exponential(2_000, floor_microseconds=200))
SLOW_DISK = DiskModel(Exponential(200))
EVERYONE_LEADS = LeadershipParameters(primary_size=4, bench_after=1000)
SHORT_EPOCHS = EpochParameters(epoch_blocks=12)

REFUSED = {
    "forge_certificates": {"bad_signature", "bad_certificate", "bad_bitmap", "no_quorum"},
    "replay": {"wrong_sender", "repeated", "stale"},
    "speak_ahead": {"far_ahead"},
    "serve_lies": set[str](),
    "mutate_slightly": {"bad_signature"},
    "mutate_anything": {"wrong_sender"},
    "flood_signatures": {"bad_signature", "wrong_sender"},
    "frame": {"bad_signature", "bad_leaf"},
    "fork_tail": set[str](),
    "forge_anything": {"bad_signature", "wrong_sender"},
}
"""Why honest nodes refuse what each of them says; some need a test of their own to be seen biting."""


@dataclass
class Record(Observer):
    said: Counter[type[Message]] = field(default_factory=Counter)
    """By the liar."""
    framing: int = 0
    reports: list[Evidence] = field(default_factory=list)

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        if node == LIAR:
            self.said[type(message)] += 1
            if isinstance(message, QuorumProposal):
                self.framing += bool(message.leaf.evidence)

    def on_report(self, now: Microseconds, node: ValidatorId, evidence: Evidence) -> None:
        if node != LIAR:
            self.reports.append(evidence)


def make_cluster(behaviour: str, seed: int, *, short_epochs: bool = False) -> tuple[Cluster, Record]:
    record = Record()
    epochs = SHORT_EPOCHS if short_epochs else EpochParameters()
    cluster = Cluster(
        4,
        seed,
        links=LINKS,
        disk=SLOW_DISK,
        ledger=LedgerParameters(EVERYONE_LEADS, epochs=epochs),
        byzantine={LIAR: behaviour},
        observers=(record,),
    )
    return cluster, record


def count_refusals(cluster: Cluster) -> Counter[str]:
    """At honest nodes, by reason."""
    refused: Counter[str] = Counter()
    for process in cluster.processes[1:]:
        refused.update(process.drops)
    return refused


def disturb(cluster: Cluster) -> None:
    """One honest node misses something, so that there is something to ask for: with the liar, no quorum is left."""
    late = cluster.node(2)
    late.crash()
    cluster.run_for(0.4)
    late.restart()
    cluster.run_until(height=cluster.highest + 6, timeout_seconds=120)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", REFUSED)
def test_a_forger_is_refused_and_the_chain_goes_on(name: str, seed: int) -> None:
    cluster, _ = make_cluster(name, seed, short_epochs=seed == 1)
    cluster.run_until(height=10, timeout_seconds=120)
    disturb(cluster)
    submitted = cluster.count_submitted()
    cluster.run_until(height=cluster.highest + 6, timeout_seconds=120)
    cluster.finish(submitted)
    assert set(count_refusals(cluster)) >= REFUSED[name]


@pytest.mark.parametrize("name", ["mutate_slightly", "speak_ahead"])
def test_whoever_signs_what_an_honest_validator_never_would_is_named(name: str) -> None:
    """A vote with another leaf or view is a second vote, sooner or later."""
    cluster, record = make_cluster(name, 1)
    cluster.run_until(lambda: bool(record.reports), timeout_seconds=30)
    cluster.run_until(height=cluster.height + 5)
    assert {evidence.offender for evidence in record.reports} == {LIAR}


def test_fabricated_proofs_convince_nobody() -> None:
    """J4: told to everyone and put into leaves; no docket keeps one, and a leaf with one is not voted for."""
    cluster, record = make_cluster("frame", 4)
    cluster.run_until(height=30, timeout_seconds=120)
    assert record.said[EvidenceNotice] > 50
    assert record.framing >= 3
    assert record.reports == []
    assert all(process.member.docket.evidence == () for process in cluster.processes[1:])
    assert all(block.leaf.evidence == () for block in cluster.node(1).disk.decided)


@pytest.mark.parametrize("seed", range(3))
def test_a_peer_that_serves_lies_delays_whoever_asks_it_and_nothing_else(seed: int) -> None:
    """L3, L5: nodes 2 and 3 miss blocks one after the other, and one of two that they can ask is the liar."""
    cluster, record = make_cluster("serve_lies", seed)
    for turn in range(20):
        late = cluster.node(2 + turn % 2)
        cluster.run_until(height=cluster.highest + 4, timeout_seconds=60)
        cluster.isolate(late)
        cluster.run_until(lambda goal=cluster.highest + 8: cluster.highest >= goal, timeout_seconds=60)  # type: ignore[misc]
        cluster.heal()
        cluster.run_until(height=cluster.highest, timeout_seconds=60)
        if turn >= 3 and set(count_refusals(cluster)) & {"bad_range", "bad_payload", "bad_leaf", "useless_range"}:
            break
    cluster.finish()
    assert record.said[LeafResponse] + record.said[RangeResponse] > 0
    assert turn < 19


def test_a_block_in_the_middle_that_is_said_to_end_the_epoch_ends_nothing() -> None:
    """T2: the FC is genuine, the height is not the last one."""
    cluster, record = make_cluster("speak_ahead", 1, short_epochs=True)
    cluster.run_until(height=8, timeout_seconds=60)
    cluster.isolate(2)
    cluster.run_until(lambda: cluster.highest >= 11, timeout_seconds=60)
    cluster.heal()
    cluster.run_until(height=30, timeout_seconds=60)
    cluster.finish()
    assert record.said[EpochEnd] > 0


@pytest.mark.parametrize("seed", range(3))
def test_a_leader_that_drops_the_leaf_before_its_own_forks_nothing_that_is_final(seed: int) -> None:
    """S7: nodes 2 and 3 do not hear each other, so node 1 alone sees the QC of a leaf, and the others give up on it."""
    cluster, record = make_cluster("fork_tail", seed)
    actor = cluster.wire.actors[LIAR]  # type: ignore[attr-defined]
    cluster.run_until(height=5)
    for _ in range(60):
        cluster.cut(2, 3)
        cluster.cut(3, 2)
        cluster.run_for(0.3)
        cluster.heal()
        cluster.run_for(0.2)
        if actor.forks:
            break
    cluster.run_until(height=cluster.highest + 5)
    cluster.finish()
    assert actor.forks > 0
    assert record.reports == [], "it is no offence"


@pytest.mark.parametrize(("nodes", "liars"), [(7, 2), (10, 3)])
def test_forgers_below_a_third_together(nodes: int, liars: int) -> None:
    forgers = {ValidatorId(number): "forge_anything" for number in range(liars)}
    cluster = Cluster(nodes, 5, links=LINKS, leadership=EVERYONE_LEADS, byzantine=forgers)
    cluster.run_until(height=12, timeout_seconds=120)
    cluster.node(nodes - 1).crash()
    cluster.run_for(0.05)
    cluster.node(nodes - 1).restart()
    cluster.run_until(height=cluster.highest + 5, timeout_seconds=120)
    cluster.finish()


def test_an_actor_of_each_name_stands_on_the_wire() -> None:
    for name in REFUSED:
        cluster, _ = make_cluster(name, 0)
        assert isinstance(cluster.wire, ByzantineWire)
        assert type(cluster.wire.actors[LIAR]).__name__.lower() == name.replace("_", "")
