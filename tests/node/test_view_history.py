"""The record of the last views: what a node remembers of each, and the words that it finds for it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from trio.testing import MockClock

from consensus.evidence import DoubleProposal, SignedLeaf, make_pair
from consensus.leaf import Block
from consensus.messages import FinalizeVote, QuorumVote, TimeoutVote
from consensus.types import Commitment, Epoch, Microseconds, ValidatorId, View
from sequencer.view_history import VIEWS_AHEAD_MAX, VIEWS_KEPT_MAX, VIEWS_KEPT_MIN, VOTES_KEPT_MAX, ViewHistory
from tests.lab import Lab
from tests.node.fake_node import FakeNode, make_client
from tests.node.fleet import open_fleet
from tests.node.mesh import Keyring
from tests.node.test_api_status import assert_problem

LEADER = ValidatorId(1)


@pytest.fixture
def node() -> FakeNode:
    """n0 of four alike, which has just entered view 1 of n1."""
    node = FakeNode()
    node.views.on_entered(View(1), LEADER, timed_out=False)
    return node


@pytest.fixture
async def client(node: FakeNode) -> AsyncIterator[httpx.AsyncClient]:
    async with make_client(node) as client:
        yield client


class Happenings:
    """What may happen to the views of a node; each takes a millisecond."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self.lab = Lab()

    @property
    def views(self) -> ViewHistory:
        return self.node.views

    def wait(self, milliseconds: int) -> None:
        self.node.now = Microseconds(self.node.now + milliseconds * 1000)

    def propose(self, block: Block, transactions: int | None = 3) -> None:
        self.wait(1)
        self.views.hear_proposal(block.leaf, block.commitment)
        if transactions is not None:
            self.views.on_payload(block.leaf.epoch, block.leaf.view, block.leaf.proposer, transactions)

    def vote(self, block: Block, *voters: int) -> None:
        for voter in voters:
            self.wait(1)
            self.views.hear_vote(self.lab.vote(voter, block))

    def finalize(self, block: Block, *voters: int) -> None:
        for voter in voters:
            self.wait(1)
            self.views.hear_vote(self.lab.finalize(voter, block))

    def time_out(self, view: int, *voters: int) -> None:
        for voter in voters:
            self.wait(1)
            self.views.hear_vote(self.lab.timeout(voter, view, self.lab.genesis_qc))

    def enter(self, view: int, leader: int | None, *, timed_out: bool = False) -> None:
        self.wait(1)
        known = None if leader is None else ValidatorId(leader)
        self.views.on_entered(View(view), known, timed_out=timed_out)


@pytest.fixture
def happenings(node: FakeNode) -> Happenings:
    return Happenings(node)


async def get(client: httpx.AsyncClient, path: str) -> Any:
    response = await client.get(path)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_view_that_succeeds_tells_when_what_came(client: httpx.AsyncClient, happenings: Happenings) -> None:
    block = happenings.lab.block(happenings.lab.genesis, 1)
    happenings.propose(block)
    happenings.vote(block, 0, 1, 2)
    happenings.enter(2, 2)
    happenings.finalize(block, 0, 1, 2)
    happenings.views.on_decide([block], View(1))
    happenings.vote(block, 3)
    shown = await get(client, "/v1/views/1")
    assert shown["outcome"] == "decided"
    assert (shown["leader"], shown["committee"], shown["leader_reason"]) == ("n1", "primary", "primary rotation")
    assert shown["proposal"]["hash"] == "0x" + block.commitment.hex()
    assert (shown["proposal"]["height"], shown["proposal"]["transactions"]) == (1, 3)
    assert (shown["proposal"]["after_ms"], shown["qc_after_ms"], shown["fc_after_ms"]) == (1, 5, 8)
    assert (shown["quorum_voters"], shown["finalize_voters"]) == (["n0", "n1", "n2", "n3"], ["n0", "n1", "n2"])
    assert shown["late_voters"] == ["n3", "n0", "n1", "n2"], "the finalize votes and the last quorum vote"
    assert (shown["timeout_voters"], shown["timeout_cause"]) == ([], None)
    assert shown["ended_ms"] - shown["started_ms"] == 5
    assert shown["reasons"] == ["final after 8 ms, after this node had gone on"]


async def test_a_view_without_a_proposal_says_so_and_who_was_silent(
    client: httpx.AsyncClient, happenings: Happenings
) -> None:
    happenings.wait(1200)
    happenings.views.on_timed_out(View(1), "timer")
    assert (await get(client, "/v1/views/latest"))["outcome"] == "open"
    happenings.time_out(1, 0, 2, 3)
    happenings.enter(2, 2, timed_out=True)
    shown = await get(client, "/v1/views/1")
    assert shown["outcome"] == "timed_out"
    assert shown["timeout_voters"] == ["n0", "n2", "n3"]
    assert (shown["timeout_cause"], shown["timeout_after_ms"]) == ("timer", 1200)
    assert shown["reasons"] == [
        "no proposal from n1 arrived within 1.2 s",
        "this node stopped voting after 1.2 s: its timer ran out",
        "timed out: n0, n2, n3 (75 %)",
        "nothing was heard from n1",
    ]
    assert (await get(client, "/v1/views/latest"))["entered_by"] == "tc"


async def test_votes_that_are_short_of_a_quorum_are_counted_in_stake(
    client: httpx.AsyncClient, happenings: Happenings
) -> None:
    block = happenings.lab.block(happenings.lab.genesis, 1)
    happenings.propose(block)
    happenings.vote(block, 1, 2)
    happenings.wait(1300)
    happenings.views.on_timed_out(View(1), "others")
    happenings.enter(2, 2, timed_out=True)
    assert "quorum votes from n1, n2 (50 %) are short of 67 %" in (await get(client, "/v1/views/1"))["reasons"]


async def test_a_proposal_after_the_timeouts_is_told_as_too_late(
    client: httpx.AsyncClient, happenings: Happenings
) -> None:
    block = happenings.lab.block(happenings.lab.genesis, 1)
    happenings.wait(1294)
    happenings.time_out(1, 0, 2, 3)
    happenings.views.on_timed_out(View(1), "others")
    happenings.wait(2)
    happenings.propose(block)
    happenings.enter(2, 2, timed_out=True)
    reasons = (await get(client, "/v1/views/1"))["reasons"]
    assert reasons[0] == "the proposal of n1 came after 1.3 s, when n0, n2, n3 (3 of 4) had timed out"
    assert "quorum votes came from nobody" in reasons


async def test_a_refused_proposal_and_two_leaves_of_one_leader_are_reasons(
    client: httpx.AsyncClient, happenings: Happenings
) -> None:
    lab = happenings.lab
    one, other = lab.block(lab.genesis, 1), lab.block(lab.genesis, 1, payload=b"\x90")
    happenings.propose(one, transactions=None)
    happenings.views.on_drop(LEADER, "bad_leaf", "the parent is wrong")
    happenings.views.on_drop(LEADER, "repeated", "says nothing about a view")
    happenings.vote(one, 0, 2)
    happenings.vote(other, 3)
    halves = [SignedLeaf(block.commitment, b"s") for block in (one, other)]
    happenings.views.on_report(make_pair(DoubleProposal, LEADER, Epoch(0), View(1), *halves))
    happenings.views.on_timed_out(View(1), "timer")
    shown = await get(client, "/v1/views/1")
    assert shown["rival_voters"] == ["n3"]
    assert shown["reasons"][0] == "the proposal of n1 was refused: its leaf breaks a rule (the parent is wrong)"
    assert "n3 voted for another leaf" in shown["reasons"]
    assert "n1 proposed two leaves (E1)" in shown["reasons"]
    assert "repeated" not in str(shown)


async def test_rival_votes_are_those_that_are_not_for_the_leaders_leaf(
    client: httpx.AsyncClient, happenings: Happenings
) -> None:
    """The first vote that comes may be the odd one."""
    lab = happenings.lab
    block, other = lab.block(lab.genesis, 1), lab.block(lab.genesis, 1, payload=b"\x90")
    happenings.vote(other, 3)
    happenings.propose(block)
    happenings.vote(block, 0, 2)
    assert (await get(client, "/v1/views/1"))["rival_voters"] == ["n3"]


async def test_an_impostors_proposal_is_not_taken_for_the_leaders(
    client: httpx.AsyncClient, happenings: Happenings
) -> None:
    lab = happenings.lab
    block = lab.block(lab.genesis, 1)
    forged = Block(lab.block(lab.genesis, 1, bend={"proposer": 3}).leaf, b"")
    happenings.propose(forged, transactions=None)
    assert (await get(client, "/v1/views/1"))["proposal"] is None
    happenings.propose(block)
    assert (await get(client, "/v1/views/1"))["proposal"]["hash"] == "0x" + block.commitment.hex()


async def test_a_view_is_decided_by_a_later_one_or_stays_certified(
    client: httpx.AsyncClient, happenings: Happenings
) -> None:
    first, second = happenings.lab.chain(2)
    happenings.propose(first)
    happenings.vote(first, 0, 1, 2)
    happenings.enter(2, 2)
    happenings.finalize(first, 1)
    happenings.propose(second)
    happenings.enter(3, 3)
    shown = await get(client, "/v1/views/1")
    assert shown["outcome"] == "certified"
    assert shown["reasons"] == ["certified, but finalize votes from n1 (25 %) are short of 67 %"]
    happenings.views.on_decide([first, second], View(2))
    shown = await get(client, "/v1/views/1")
    assert shown["outcome"] == "decided"
    assert shown["reasons"] == ["final through the certificate of a later view: this node saw none of this view's own"]


async def test_votes_of_a_view_that_is_not_entered_yet_are_kept_for_it(
    client: httpx.AsyncClient, happenings: Happenings
) -> None:
    happenings.time_out(2, 2)
    happenings.time_out(5, 3)
    happenings.time_out(2 + VIEWS_AHEAD_MAX, 3)
    assert_problem(await client.get("/v1/views/2"), 404, "view_not_found")
    happenings.enter(2, 2)
    assert (await get(client, "/v1/views/2"))["timeout_voters"] == ["n2"]
    happenings.enter(6, 2)
    assert_problem(await client.get("/v1/views/5"), 404, "view_not_found")
    assert (await get(client, "/v1/views/2"))["next_view"] == 6
    assert (
        "this node went on to view 6 at once, with a certificate of others"
        in ((await get(client, "/v1/views/2"))["reasons"])
    )


async def test_pages_follow_each_other_and_the_newest_come_without_a_start(
    client: httpx.AsyncClient, happenings: Happenings
) -> None:
    for view in range(2, 11):
        happenings.enter(view, view % 4)
    shown = await get(client, "/v1/views?limit=3")
    assert ([view["view"] for view in shown["views"]], shown["next"]) == ([8, 9, 10], None)
    assert (shown["oldest"], shown["latest"]) == (1, 10)
    seen: list[int] = []
    start: int | None = 2
    while start is not None:
        page = await get(client, f"/v1/views?from={start}&limit=4")
        seen += [view["view"] for view in page["views"]]
        start = page["next"]
    assert seen == list(range(2, 11))
    assert (await get(client, "/v1/views?from=11"))["views"] == []


async def test_who_was_heard_last_is_told_by_name(client: httpx.AsyncClient, happenings: Happenings) -> None:
    happenings.time_out(1, 2)
    heard = happenings.node.now // 1000
    happenings.enter(2, 2)
    happenings.wait(500)
    assert (await get(client, "/v1/views"))["last_heard_ms"] == {"n2": heard}


async def test_a_view_that_is_not_here_says_why(client: httpx.AsyncClient, happenings: Happenings) -> None:
    assert_problem(await client.get("/v1/views/0"), 404, "view_not_found")
    problem = (await client.get("/v1/views/0")).json()
    assert (problem["oldest"], problem["latest"]) == (1, 1)
    assert "remembers views from 1 on" in problem["detail"]
    assert "is in view 1" in (await client.get("/v1/views/9")).json()["detail"]
    assert_problem(await client.get("/v1/views/-1"), 400, "bad_view")
    assert_problem(await client.get("/v1/views/newest"), 400, "bad_view")
    assert_problem(await client.get("/v1/views?limit=0"), 400, "bad_parameter")


async def test_a_node_that_has_not_started_has_no_view() -> None:
    async with make_client(FakeNode()) as client:
        assert (await get(client, "/v1/views"))["views"] == []
        assert_problem(await client.get("/v1/views/latest"), 404, "view_not_found")


def test_memory_is_bounded_whatever_comes(happenings: Happenings) -> None:
    """Views pass, and peers vote for views ahead, propose twice and send what is of no use."""
    views, lab = happenings.views, happenings.lab
    block = lab.block(lab.genesis, 1)
    signature = b"s"
    for number in range(2, VIEWS_KEPT_MAX + 300):
        happenings.enter(number, 1)
        for ahead in (number, number + 3, number + 10_000):
            for voter in range(4):
                views.hear_vote(
                    QuorumVote(Epoch(0), View(ahead), Commitment(bytes([voter]) * 32), ValidatorId(voter), signature)
                )
                views.hear_vote(FinalizeVote(Epoch(0), View(ahead), block.commitment, ValidatorId(voter), signature))
    record = views.get_current()
    assert record is not None
    for peer in range(100):
        views.on_drop(ValidatorId(peer), "bad_leaf", "no")
        views.on_report(
            make_pair(
                DoubleProposal,
                ValidatorId(peer),
                Epoch(0),
                record.view,
                SignedLeaf(block.commitment, b"s"),
                SignedLeaf(lab.genesis.commitment, b"s"),
            )
        )
    assert len(views.read(None, 10_000)) == VIEWS_KEPT_MAX
    assert len(views._views) <= VIEWS_KEPT_MAX + VIEWS_AHEAD_MAX
    assert len(record.drops) <= 16
    assert len(record.offences) <= 16


def test_many_validators_are_remembered_for_fewer_views() -> None:
    for validators, kept in ((4, VIEWS_KEPT_MAX), (100, VOTES_KEPT_MAX // 300), (1500, VIEWS_KEPT_MIN)):
        node = FakeNode((1,) * 4)
        node.views._begin(Epoch(0), FakeNode((1,) * validators).context.stake_table)
        for view in range(1, kept + 50):
            node.views.on_entered(View(view), LEADER, timed_out=False)
        assert len(node.views.read(None, 10_000)) == kept


async def test_real_nodes_tell_the_same_story_of_their_views(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Every view of a healthy network is decided, with the votes of all, also those that come late."""
    async with open_fleet(tmp_path) as fleet:
        fleet.submit(0, b"transaction one", b"transaction two")
        await fleet.wait_height(12)
        decided = [block.leaf for block in fleet.applications[0].blocks[:8]]
        for node in fleet.nodes.values():
            for leaf in decided[1:]:
                record = node.views.find(leaf.view)
                assert record is not None
                assert record.outcome == "decided"
                assert record.leader == leaf.proposer
                assert record.proposal is not None
                assert record.proposal.height == leaf.height
                assert record.transactions is not None
                assert record.leader_reason == "primary rotation"
                assert set(record.quorum) == set(record.finalize) == set(map(ValidatorId, range(4)))
                assert record.qc_at is not None
                assert record.fc_at is not None
                assert record.entered_at <= record.qc_at <= record.fc_at
        records = fleet.nodes[0].views.read(None, 1000)
        assert sum(record.transactions or 0 for record in records) == 2


async def test_a_stopped_leader_is_named_by_everyone(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(4)
        victim = fleet.get_leader()
        await fleet.stop(victim)
        height, stopped_in = fleet.get_height((victim + 1) % 4), fleet.nodes[(victim + 1) % 4].status().view
        await fleet.wait_height(height + 8)
        for node in fleet.nodes.values():
            failed = [record for record in node.views.read(stopped_in, 1000) if record.outcome == "timed_out"]
            assert failed
            for record in failed:
                assert record.leader == victim
                assert record.timeout_cause is not None
                assert record.proposal is None
                assert victim not in record.timeout
                assert len(record.timeout) >= 3


async def test_the_first_view_of_an_epoch_replaces_what_closed_the_one_before(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """T2: its number may have been used already; its proposal and votes are all remembered."""
    keyring = Keyring(4, epoch_blocks=4)
    async with open_fleet(tmp_path, keyring=keyring) as fleet:
        await fleet.wait_height(22)
        for node in fleet.nodes.values():
            records = node.views.read(None, 1000)
            assert [record.view for record in records] == sorted({record.view for record in records})
            assert [record.epoch for record in records] == sorted(record.epoch for record in records)
            firsts = [record for record in records if record.entered_by == "epoch"]
            assert len(firsts) >= 4
            for record in firsts[:-1]:
                assert record.outcome == "decided"
                assert record.proposal is not None
                assert record.proposal.height % 4 == 1
                assert record.transactions is not None
                assert len(record.quorum) == 4


def test_a_message_of_the_next_epoch_waits_for_it(happenings: Happenings) -> None:
    """The turn in which an epoch begins may bring its first votes before it is durable."""
    views = happenings.views
    vote = TimeoutVote(Epoch(1), View(2), View(0), ValidatorId(2), b"s", happenings.lab.genesis_qc, None)
    views.hear_vote(vote)
    record = views.find(View(1))
    assert record is not None
    assert not record.timeout
    assert len(views._early) == 1
    views.hear_vote(msgspec.structs.replace(vote, epoch=Epoch(2)))
    assert len(views._early) == 1, "two epochs ahead is too far"
