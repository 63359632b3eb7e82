"""What the API says of the ledger: epoch, mode, money, validators, accounts, and who leads next and why."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from consensus.ledger import LedgerSchedule, Profile, Status
from consensus.ledger.state import LeaderRecord, Mode, Offence, Unbonding
from consensus.types import Commitment, Epoch, Height, ValidatorId, View
from tests.node.fake_node import FakeNode, make_client
from tests.node.test_api_status import assert_problem


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
async def client(node: FakeNode) -> AsyncIterator[httpx.AsyncClient]:
    async with make_client(node) as client:
        yield client


async def get(client: httpx.AsyncClient, path: str) -> Any:
    response = await client.get(path)
    assert response.status_code == 200, response.text
    return response.json()


async def test_the_ledger_is_told_with_epoch_mode_and_money(node: FakeNode, client: httpx.AsyncClient) -> None:
    node.change(pool=30, burned=20)
    node.height = Height(17)
    shown = await get(client, "/v1/ledger")
    assert shown["height"] == 17
    assert shown["epoch"] == {"number": 0, "first_height": 1, "last_height": 64}
    assert shown["mode"]["name"] == "normal"
    assert (shown["pool"], shown["burned"], shown["total_stake"]) == (30, 20, 400)
    assert shown["supply"] == 400 + 1000 + 30 + 20
    assert shown["commitment"] == "0x" + node.ledger.commitment.hex()
    assert shown["beacon"] is None
    assert shown["trusted"] is None
    assert sorted(shown["primary"]) == ["n0", "n1", "n2", "n3"]


async def test_an_epoch_is_told_with_its_own_heights(node: FakeNode, client: httpx.AsyncClient) -> None:
    beacon = Commitment(bytes(range(32)))
    tables = tuple(msgspec.structs.replace(node.ledger.state.tables[0], epoch=Epoch(epoch)) for epoch in (3, 4))
    node.change(epoch=Epoch(3), tables=tables, beacon=beacon)
    shown = await get(client, "/v1/ledger")
    assert shown["epoch"] == {"number": 3, "first_height": 193, "last_height": 256}
    assert shown["beacon"] == "0x" + beacon.hex()
    assert shown["trusted"] == "2:0x" + "02" * 32
    status = await get(client, "/v1/status")
    assert (status["epoch"], status["epoch_first_height"], status["epoch_last_height"]) == (3, 193, 256)


async def test_fallback_mode_is_told_with_what_would_end_it(node: FakeNode, client: httpx.AsyncClient) -> None:
    node.change(mode=Mode(is_fallback=True, since=Height(120), clean_leaves=3, relapses=1))
    mode = (await get(client, "/v1/ledger"))["mode"]
    assert (mode["name"], mode["since_height"], mode["relapses"]) == ("fallback", 120, 1)
    assert (mode["clean_leaves"], mode["handback_leaves"]) == (3, 32)
    assert "since height 120, relapse 1: 3 of 32 leaves" in mode["reason"]
    status = await get(client, "/v1/status")
    assert (status["mode"], status["mode_reason"]) == ("fallback", mode["reason"])
    assert status["committee"] == status["fallback"]


async def test_validators_are_told_with_status_and_reason(node: FakeNode, client: httpx.AsyncClient) -> None:
    node.change_validator(0, leader=LeaderRecord(missed=3, benchings=2, bench_turns=4, window=0b1011))
    node.change_validator(1, status=Status.JAILED, jailed_until=Epoch(7), offences=2)
    node.change_validator(
        2,
        status=Status.TOMBSTONED,
        stake=90,
        offence=Offence("E2", Epoch(0), 100, 400, stake=100, slashed=10),
        unbonding=(Unbonding(5, Epoch(9)),),
    )
    shown = await get(client, "/v1/validators")
    assert (shown["epoch"], shown["total"]) == (0, 400)
    assert (shown["success_threshold"], shown["one_honest_threshold"]) == (267, 134)
    benched, jailed, tombstoned, active = shown["validators"]
    assert (benched["status"], benched["reason"]) == ("benched", "missed 3 in a row, 4 turns left")
    assert benched["leader"]["window_misses"] == 3
    assert benched["leader"]["window_slots"] == 48
    assert (jailed["status"], jailed["reason"]) == ("jailed", "until epoch 7; 2 liveness offences")
    assert (jailed["jailed_until"], benched["jailed_until"]) == (7, None)
    assert (tombstoned["status"], tombstoned["reason"]) == ("tombstoned", "E2 in epoch 0: lost 10 of 100")
    assert (tombstoned["stake"], tombstoned["weight"]) == (90, 100)
    assert tombstoned["unbonding"] == [{"amount": 5, "payable_epoch": 9}]
    assert tombstoned["offence"] == {"rule": "E2", "epoch": 0, "stake": 100, "slashed": 10}
    assert (active["status"], active["reason"]) == ("active", None)
    assert active["owner"] == active["public_key"] == active["voting_key"] == "0x" + node.signers[3].public_key.hex()
    status = await get(client, "/v1/status")
    assert (status["benched"], status["jailed"], status["tombstoned"]) == (["n0"], ["n1"], ["n2"])


async def test_a_newcomer_is_told_by_the_name_of_its_bond(node: FakeNode, client: httpx.AsyncClient) -> None:
    first = node.ledger.state.validators[0]
    late = msgspec.structs.replace(
        first, id=ValidatorId(4), status=Status.PENDING, stake=70, profile=Profile("late", "10.0.0.4:27600")
    )
    node.change(validators=(*node.ledger.state.validators, late))
    for path in ("/v1/validators/late", "/v1/validators/4"):
        shown = await get(client, path)
        assert (shown["id"], shown["name"], shown["status"]) == (4, "late", "pending")
        assert (shown["stake"], shown["weight"], shown["weight_next"]) == (70, 0, 0)
        assert shown["address"] == "10.0.0.4:27600"
        assert shown["voting_key"] is None


async def test_weights_are_those_of_this_epoch_and_the_next(node: FakeNode, client: httpx.AsyncClient) -> None:
    now, following = node.ledger.state.tables
    entries = (msgspec.structs.replace(following.entries[0], stake=250), *following.entries[1:3])
    node.change(tables=(now, msgspec.structs.replace(following, entries=entries)))
    shown = (await get(client, "/v1/validators"))["validators"]
    assert [(entry["weight"], entry["weight_next"]) for entry in shown] == [
        (100, 250),
        (100, 100),
        (100, 100),
        (100, 0),
    ]


@pytest.mark.parametrize("name", ["n9", "9", "v9", "N0", "-1"])
async def test_nobody_is_found_under_a_wrong_name(client: httpx.AsyncClient, name: str) -> None:
    body = assert_problem(await client.get(f"/v1/validators/{name}"), 404, "validator_not_found")
    assert name in body["detail"]


async def test_an_account_is_told_with_what_it_owns(node: FakeNode, client: httpx.AsyncClient) -> None:
    staker = node.staker.public_key.hex()
    node.change_validator(2, owner=node.staker.public_key)
    for path in (staker, "0x" + staker):
        assert await get(client, f"/v1/accounts/{path}") == {
            "public_key": "0x" + staker,
            "name": "staker",
            "balance": 1000,
            "nonce": 0,
            "validators": ["n2"],
        }


async def test_an_account_that_never_held_anything_is_unknown(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get(f"/v1/accounts/{'ab' * 32}"), 404, "account_not_found")
    for text in ("ab", "xy" * 32, "ab" * 97):
        assert_problem(await client.get(f"/v1/accounts/{text}"), 400, "bad_public_key")


async def test_committees_are_told_with_weights_and_turns(client: httpx.AsyncClient) -> None:
    shown = await get(client, "/v1/committees")
    assert (shown["epoch"], shown["leading"], shown["turns"]) == (0, "primary", 4)
    assert sorted(member["name"] for member in shown["primary"]) == ["n0", "n1", "n2", "n3"]
    assert {member["turns"] for member in shown["primary"]} == {1}
    assert [member["name"] for member in shown["fallback"]] == [shown["fallback"][0]["name"]]


async def test_the_schedule_names_the_leaders_that_the_rules_name(node: FakeNode, client: httpx.AsyncClient) -> None:
    shown = await get(client, "/v1/schedule?views=8")
    schedule = LedgerSchedule(node.network.leadership.to_parameters())
    outlook = node.outlook()
    assert outlook is not None
    expected = [
        schedule.leader(View(view), msgspec.structs.replace(outlook.parent, view=View(view - 1)), node.ledger)
        for view in range(1, 9)
    ]
    assert [entry["view"] for entry in shown["views"]] == list(range(1, 9))
    assert [entry["leader"] for entry in shown["views"]] == [f"n{leader}" for leader in expected]
    assert {entry["why"] for entry in shown["views"]} == {"primary rotation"}
    assert shown["from_height"] == 1


async def test_the_schedule_says_whose_turn_goes_to_whom_and_for_how_long(
    node: FakeNode, client: httpx.AsyncClient
) -> None:
    """S3: a bench of two turns ends within two rotations, in the forecast as on the chain."""
    node.change_validator(1, leader=LeaderRecord(missed=2, benchings=1, bench_turns=2))
    views = (await get(client, "/v1/schedule?views=12"))["views"]
    own = [entry for entry in views if node.ledger.cycle[entry["view"] % 4] == 1]
    assert [entry["leader"] == "n1" for entry in own] == [False, False, True]
    assert own[0]["why"] == f"n1 is benched for 2 turns: the turn goes to {own[0]['leader']}"
    assert own[1]["why"].startswith("n1 is benched for 1 turn: ")
    assert own[2]["why"] == "primary rotation"
    assert all(entry["why"] == "primary rotation" for entry in views if entry not in own)


async def test_the_schedule_tells_jailed_from_tombstoned(node: FakeNode, client: httpx.AsyncClient) -> None:
    cycle = node.ledger.cycle
    node.change_validator(cycle[1], status=Status.JAILED, jailed_until=Epoch(3))
    node.change_validator(cycle[2], status=Status.TOMBSTONED)
    first, *_ = (await get(client, "/v1/schedule?views=4"))["views"]
    assert first["why"] == (
        f"n{cycle[1]} is jailed until epoch 3; n{cycle[2]} is tombstoned: the turn goes to n{cycle[3]}"
    )


async def test_the_schedule_ends_with_the_epoch(node: FakeNode, client: httpx.AsyncClient) -> None:
    node.height = Height(60)
    shown = await get(client, "/v1/schedule?views=256")
    assert len(shown["views"]) == 4
    assert shown["from_height"] == 61
    node.height = Height(64)
    assert (await get(client, "/v1/schedule"))["views"] == []


async def test_no_schedule_without_the_block_that_it_depends_on(node: FakeNode, client: httpx.AsyncClient) -> None:
    node.is_blind = True
    assert_problem(await client.get("/v1/schedule"), 503, "not_ready")


@pytest.mark.parametrize("views", ["0", "257", "-1", "many"])
async def test_a_schedule_has_bounds(client: httpx.AsyncClient, views: str) -> None:
    assert_problem(await client.get(f"/v1/schedule?views={views}"), 400, "bad_parameter")
