"""What happened, told by the API: changes of the ledger, slashings, evidence."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from consensus.certificates import TimeoutCertificate
from consensus.evidence import (
    BrokenPromise,
    DoubleFinalize,
    DoubleProposal,
    DoubleVote,
    Evidence,
    ForgottenFinalize,
    SignedLeaf,
    UnjustifiedVote,
    compute_evidence_id,
    make_pair,
)
from consensus.leaf import Block, make_header
from consensus.ledger import LedgerChange
from consensus.ledger.changes import Benched, Bonded, FallbackActivated, Slashed, Tombstoned
from consensus.promises import Promise
from consensus.types import Commitment, Epoch, Height, ValidatorId, View
from sequencer.api.proofs import describe_contradiction, describe_messages
from sequencer.directory import Directory
from sequencer.ledger_log import CHANGES_KEPT_MAX, describe_change
from tests.node.chain import GENESIS, make_block
from tests.node.fake_node import FakeNode, make_client
from tests.node.test_api_status import assert_problem

BENCHED = Benched(ValidatorId(1), missed=2, turns=4)
SLASHED = Slashed(ValidatorId(2), "E2", 50, to_reporter=2, to_pool=22, burned=26, reporter=bytes(32))
TOMBSTONED = Tombstoned(ValidatorId(2), "E2", Epoch(3))


@pytest.fixture
def node() -> FakeNode:
    node = FakeNode()
    directory = Directory(node.network)

    def note(height: int, *changes: LedgerChange) -> None:
        node.changes += [describe_change(change, Height(height), directory) for change in changes]

    note(10, BENCHED)
    note(20, SLASHED, TOMBSTONED)
    note(30, FallbackActivated(4), Bonded(ValidatorId(0), bytes(32), 5, 105))
    return node


@pytest.fixture
async def client(node: FakeNode) -> AsyncIterator[httpx.AsyncClient]:
    async with make_client(node) as client:
        yield client


async def get(client: httpx.AsyncClient, path: str) -> Any:
    response = await client.get(path)
    assert response.status_code == 200, response.text
    return response.json()


async def test_changes_come_with_names_and_reasons(client: httpx.AsyncClient) -> None:
    shown = await get(client, "/v1/changes")
    assert [(change["height"], change["kind"]) for change in shown["changes"]] == [
        (10, "benched"),
        (20, "slashed"),
        (20, "tombstoned"),
        (30, "fallback_activated"),
        (30, "bonded"),
    ]
    assert shown["complete_from"] == 10
    assert shown["changes"][0]["fields"] == {"validator": "n1", "missed": 2, "turns": 4}
    assert "missed 2 own slots in a row" in shown["changes"][0]["reason"]


async def test_changes_from_a_height_on_and_the_newest_ones(client: httpx.AsyncClient) -> None:
    shown = await get(client, "/v1/changes?from=20")
    assert [change["height"] for change in shown["changes"]] == [20, 20, 30, 30]
    shown = await get(client, "/v1/changes?limit=1")
    assert [change["kind"] for change in shown["changes"]] == ["bonded"]
    assert_problem(await client.get("/v1/changes?from=-1"), 400, "bad_parameter")
    assert_problem(await client.get("/v1/changes?limit=0"), 400, "bad_parameter")


async def test_slashings_are_the_changes_that_cost(client: httpx.AsyncClient) -> None:
    shown = (await get(client, "/v1/slashings"))["changes"]
    assert [change["kind"] for change in shown] == ["slashed", "tombstoned"]
    assert shown[0]["fields"]["amount"] == 50
    assert "22 to the pool, 26 burned" in shown[0]["reason"]


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
async def test_following_next_tells_every_change_once(client: httpx.AsyncClient, limit: int) -> None:
    """Several happened at one height, and a page may end between them."""
    told: list[Any] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = await get(client, f"/v1/changes?from={cursor}&limit={limit}")
        assert len(page["changes"]) <= limit
        told += page["changes"]
        cursor = page["next"]
    assert told == (await get(client, "/v1/changes"))["changes"]
    assert len(told) == 5


async def test_a_cursor_means_the_same_when_more_has_happened(node: FakeNode, client: httpx.AsyncClient) -> None:
    cursor = (await get(client, "/v1/changes?from=0&limit=2"))["next"]
    assert cursor == "20.1"
    node.changes.append(node.changes[-1])
    rest = await get(client, f"/v1/changes?from={cursor}")
    assert [change["kind"] for change in rest["changes"]] == ["tombstoned", "fallback_activated", "bonded", "bonded"]
    assert rest["next"] is None
    assert (await get(client, "/v1/changes?from=20.9"))["changes"][0]["height"] == 30
    assert_problem(await client.get("/v1/changes?from=20."), 400, "bad_parameter")


async def test_slashings_and_evidence_come_in_pages_too(client: httpx.AsyncClient) -> None:
    page = await get(client, "/v1/slashings?from=0&limit=1")
    assert (page["changes"][0]["kind"], page["next"]) == ("slashed", "20.1")
    page = await get(client, "/v1/slashings?from=20.1&limit=1")
    assert (page["changes"][0]["kind"], page["next"]) == ("tombstoned", None)
    assert (await get(client, "/v1/evidence?from=21"))["included"] == []
    assert len((await get(client, "/v1/evidence?from=20&limit=1"))["included"]) == 1


async def test_a_full_memory_says_from_where_on_it_is_complete(node: FakeNode, client: httpx.AsyncClient) -> None:
    entry = node.changes[0]
    node.changes = [entry] * CHANGES_KEPT_MAX
    assert (await get(client, "/v1/changes"))["complete_from"] == 11
    node.changes = []
    assert await get(client, "/v1/changes") == {"complete_from": None, "changes": [], "next": None}


def sign(number: int) -> SignedLeaf:
    return SignedLeaf(Commitment(bytes([number] * 32)), bytes([number] * 64))


async def test_evidence_that_waits_has_an_id_and_shows_both_messages(node: FakeNode, client: httpx.AsyncClient) -> None:
    proof = make_pair(DoubleVote, ValidatorId(3), Epoch(0), View(7), sign(2), sign(1))
    node.evidence = [proof]
    (shown,) = (await get(client, "/v1/evidence"))["pending"]
    assert shown["offender"] == "n3"
    assert (shown["rule"], shown["epoch"], shown["height"]) == ("E2", 0, None)
    assert shown["id"] == "0x" + compute_evidence_id(proof).hex()
    assert shown["contradiction"].startswith("In view 7 it voted for two different leaves")
    assert [
        (message["kind"], message["view"], message["leaf"], message["signature"]) for message in shown["messages"]
    ] == [
        ("quorum_vote", 7, "0x" + "01" * 32, "0x" + "01" * 64),
        ("quorum_vote", 7, "0x" + "02" * 32, "0x" + "02" * 64),
    ]


async def test_evidence_in_a_block_is_shown_from_the_block(node: FakeNode, client: httpx.AsyncClient) -> None:
    """Both proofs stand in one leaf; each is told with the tombstone that it brought, and looked up once."""
    other = make_pair(DoubleProposal, ValidatorId(3), Epoch(3), View(7), sign(1), sign(2))
    proof = make_pair(DoubleVote, ValidatorId(2), Epoch(3), View(8), sign(1), sign(2))
    leaf = msgspec.structs.replace(node.context.genesis.leaf, height=Height(20), evidence=(other, proof))
    node.blocks[Height(20)] = Block(leaf, b"")
    (shown,) = (await get(client, "/v1/evidence"))["included"]
    assert (shown["offender"], shown["rule"], shown["height"]) == ("n2", "E2", 20)
    assert shown["id"] == "0x" + compute_evidence_id(proof).hex()
    assert [message["view"] for message in shown["messages"]] == [8, 8]
    node.blocks.clear()
    assert (await get(client, "/v1/evidence"))["included"] == [shown]


async def test_evidence_in_a_block_that_is_not_kept_here_is_told_without_it(client: httpx.AsyncClient) -> None:
    assert (await get(client, "/v1/evidence"))["included"] == [
        {
            "offender": "n2",
            "rule": "E2",
            "epoch": 3,
            "id": None,
            "height": 20,
            "contradiction": None,
            "messages": [],
        }
    ]


def make_unjustified(justified: int, *, tc: tuple[int, tuple[int, ...]] | None) -> UnjustifiedVote:
    """A vote for a leaf of view 9. `tc`: the view of its timeout certificate and what its signers claim to know."""
    block = make_block(GENESIS, view=9)
    qc = msgspec.structs.replace(block.leaf.justify_qc, view=View(justified))
    certificate = (
        None if tc is None else TimeoutCertificate(Epoch(0), View(tc[0]), b"\x07", b"", tuple(map(View, tc[1])), qc)
    )
    leaf = msgspec.structs.replace(block.leaf, justify_qc=qc, timeout_certificate=certificate)
    return UnjustifiedVote(ValidatorId(2), make_header(leaf), bytes(64))


PROMISE = Promise(ValidatorId(2), Epoch(0), View(5), View(9), Commitment(bytes([7] * 32)), b"", bytes(64))


@pytest.mark.parametrize(
    ("proof", "kinds", "words"),
    [
        (
            make_pair(DoubleProposal, ValidatorId(2), Epoch(0), View(7), sign(1), sign(2)),
            ["proposal", "proposal"],
            "leader of view 7 it proposed two different leaves",
        ),
        (
            make_pair(DoubleFinalize, ValidatorId(2), Epoch(0), View(7), sign(1), sign(2)),
            ["finalize_vote", "finalize_vote"],
            "In view 7 it voted to finalize two different leaves",
        ),
        (
            ForgottenFinalize(ValidatorId(2), Epoch(0), View(7), sign(1), View(9), View(5), bytes(64)),
            ["finalize_vote", "timeout_vote"],
            "view 9 timed out it signed that its highest QC was of view 5",
        ),
        (make_unjustified(5, tc=None), ["quorum_vote"], "a leaf of view 5, with no timeout certificate"),
        (make_unjustified(5, tc=(6, (5,))), ["quorum_vote"], "of view 6, which does not lead there"),
        (make_unjustified(5, tc=(8, (5, 7))), ["quorum_vote"], "tells of a QC of view 7"),
        (BrokenPromise(PROMISE, Height(12)), ["promise"], "that leaf is block 12"),
    ],
    ids=["E1", "E3", "E4", "E5", "E5-wrong-tc", "E5-stale", "promise"],
)
def test_every_kind_of_proof_can_be_told(proof: Evidence, kinds: list[str], words: str) -> None:
    messages = describe_messages(proof)
    assert [message.kind for message in messages] == kinds
    assert words in describe_contradiction(proof)
    if len(messages) == 2:
        assert (messages[0].leaf, messages[0].high_qc_view) != (messages[1].leaf, messages[1].high_qc_view)
