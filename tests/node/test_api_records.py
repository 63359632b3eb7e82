"""What happened, told by the API: changes of the ledger, slashings, evidence."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from consensus.evidence import DoubleVote, SignedLeaf, compute_evidence_id, make_pair
from consensus.ledger import LedgerChange
from consensus.ledger.changes import Benched, Bonded, FallbackActivated, Slashed, Tombstoned
from consensus.types import Commitment, Epoch, Height, ValidatorId, View
from sequencer.directory import Directory
from sequencer.ledger_log import CHANGES_KEPT_MAX, describe_change
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
    shown = await get(client, "/v1/changes?from_height=20")
    assert [change["height"] for change in shown["changes"]] == [20, 20, 30, 30]
    shown = await get(client, "/v1/changes?limit=1")
    assert [change["kind"] for change in shown["changes"]] == ["bonded"]
    assert_problem(await client.get("/v1/changes?from_height=-1"), 400, "bad_parameter")
    assert_problem(await client.get("/v1/changes?limit=0"), 400, "bad_parameter")


async def test_slashings_are_the_changes_that_cost(client: httpx.AsyncClient) -> None:
    shown = (await get(client, "/v1/slashings"))["changes"]
    assert [change["kind"] for change in shown] == ["slashed", "tombstoned"]
    assert shown[0]["fields"]["amount"] == 50
    assert "22 to the pool, 26 burned" in shown[0]["reason"]


async def test_a_full_memory_says_from_where_on_it_is_complete(node: FakeNode, client: httpx.AsyncClient) -> None:
    entry = node.changes[0]
    node.changes = [entry] * CHANGES_KEPT_MAX
    assert (await get(client, "/v1/changes"))["complete_from"] == 11
    node.changes = []
    assert await get(client, "/v1/changes") == {"complete_from": None, "changes": []}


async def test_evidence_is_pending_or_included(node: FakeNode, client: httpx.AsyncClient) -> None:
    halves = [SignedLeaf(Commitment(bytes([number] * 32)), b"") for number in (1, 2)]
    proof = make_pair(DoubleVote, ValidatorId(3), Epoch(0), View(7), *halves)
    node.evidence = [proof]
    shown = await get(client, "/v1/evidence")
    assert shown["pending"] == [
        {
            "offender": "n3",
            "rule": "E2",
            "epoch": 0,
            "id": "0x" + compute_evidence_id(proof).hex(),
            "height": None,
        }
    ]
    assert shown["included"] == [{"offender": "n2", "rule": "E2", "epoch": 3, "id": None, "height": 20}]
