"""Stake operations over the API: every form in which one may be sent, and what became of it."""

from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio

from consensus.operations import (
    Bond,
    Operation,
    RotateKey,
    Unbond,
    Unjail,
    compute_operation_id,
    is_signed,
    prove_possession,
    sign_operation,
)
from consensus.types import Height, ValidatorId
from sequencer.keys import generate_key
from sequencer.operation_codec import (
    KINDS,
    IncludedOperations,
    OperationPlace,
    decode_operation,
    describe_operation,
    encode_operation,
    get_kind,
    parse_operation,
)
from sequencer.schema.operations import OPERATION_BYTES_MAX
from tests.node.api_world import open_world
from tests.node.fake_node import FakeNode, make_client
from tests.node.test_api_status import assert_problem
from tests.node.test_metrics import read

OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
async def client(node: FakeNode) -> AsyncIterator[httpx.AsyncClient]:
    async with make_client(node) as client:
        yield client


def make_operations(node: FakeNode) -> dict[str, Operation]:
    """One signed operation of each kind."""
    account, network_id = node.staker.public_key, node.network.network_id
    key = generate_key()
    possession = prove_possession(account, key, network_id)
    operations: list[Operation] = [
        Bond(account, 0, b"", key.public_key, 50, "late", "10.0.0.4:27600", possession),
        Unbond(account, 1, b"", ValidatorId(2), 2**62),
        Unjail(account, 2, b"", ValidatorId(2**16 - 1)),
        RotateKey(account, 3, b"", ValidatorId(2), key.public_key, possession),
    ]
    return {
        kind: sign_operation(operation, node.staker, network_id)
        for kind, operation in zip(KINDS, operations, strict=True)
    }


@pytest.mark.parametrize("kind", KINDS)
async def test_every_form_of_an_operation_is_the_same_operation(
    node: FakeNode, client: httpx.AsyncClient, kind: str
) -> None:
    operation = make_operations(node)[kind]
    data = encode_operation(operation)
    assert len(data) <= OPERATION_BYTES_MAX
    forms: list[dict[str, Any]] = [
        {"content": data, "headers": OCTETS},
        {"json": {"operation": data.hex()}},
        {"json": {"operation": "0x" + data.hex()}},
        {"json": {"operation_base64": b64encode(data).decode()}},
        {"json": describe_operation(operation)},
    ]
    for form in forms:
        response = await client.post("/v1/operations", **form)
        assert response.status_code == 202, response.text
        operation_id = "0x" + compute_operation_id(operation).hex()
        assert response.json() == {"id": operation_id, "status": "pending", "kind": kind, "height": None}
    assert node.pending_operations() == [operation]
    assert is_signed(node.pending_operations()[0], node.context.scheme, node.network.network_id)


async def test_an_operation_is_pending_then_included_and_never_taken_twice(
    node: FakeNode, client: httpx.AsyncClient
) -> None:
    operation = make_operations(node)["unjail"]
    path = "/v1/operations/0x" + compute_operation_id(operation).hex()
    assert (await client.get(path)).json()["status"] == "unknown"
    await client.post("/v1/operations", content=encode_operation(operation), headers=OCTETS)
    assert (await client.get(path)).json()["status"] == "pending"
    pending = (await client.get("/v1/operations")).json()["operations"]
    assert [entry["id"] for entry in pending] == ["0x" + compute_operation_id(operation).hex()]
    assert pending[0]["nonce"] == 2
    node.places[compute_operation_id(operation)] = OperationPlace(operation, Height(33))
    shown = (await client.get(path)).json()
    assert (shown["status"], shown["height"], shown["kind"]) == ("included", 33, "unjail")
    node.refusal = "nonce 2, the account's next one is 3"
    again = await client.post("/v1/operations", content=encode_operation(operation), headers=OCTETS)
    assert (again.status_code, again.json()["height"]) == (200, 33)
    assert (await client.get("/v1/operations")).json() == {"operations": [], "next": None}


async def test_a_refusal_says_what_the_ledger_says(node: FakeNode, client: httpx.AsyncClient) -> None:
    node.refusal = "validator 2 belongs to another account"
    operation = make_operations(node)["bond"]
    response = await client.post("/v1/operations", content=encode_operation(operation), headers=OCTETS)
    body = assert_problem(response, 409, "operation_refused")
    assert body["reason"] == "n2 belongs to another account"
    assert body["detail"] == "The ledger says: n2 belongs to another account."
    assert read(node.metrics, "sequencer_operations_total", kind="bond", outcome="refused") == 1
    assert read(node.metrics, "sequencer_operations_total", kind="bond", outcome="accepted") == 0


async def test_a_node_that_goes_down_takes_no_operation(node: FakeNode) -> None:
    closing = trio.Event()
    closing.set()
    async with make_client(node, closing) as client:
        operation = encode_operation(make_operations(node)["unbond"])
        assert_problem(await client.post("/v1/operations", content=operation, headers=OCTETS), 503, "shutting_down")
    assert node.pending_operations() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "mint"}, "it must be one of bond, unbond, unjail, rotate-key"),
        ({"kind": {}}, "it must be one of bond, unbond, unjail, rotate-key"),
        ({"kind": ["bond"]}, "it must be one of bond, unbond, unjail, rotate-key"),
        ({"amount": 0}, "no operation"),
        ({"amount": 1.5}, "no operation"),
        ({"amount": 2**64}, "a number in it is too large"),
        ({"amount": []}, "no operation"),
        ({"validator": -1}, "no operation"),
        ({"account": "0xzz"}, "account is not hexadecimal"),
        ({"account": 7}, "account must be a string"),
        ({"account": "0xabcd"}, "no operation"),
        ({"colour": "red"}, "has no field 'colour'"),
    ],
)
async def test_fields_that_cannot_be_are_named(
    node: FakeNode, client: httpx.AsyncClient, change: dict[str, object], said: str
) -> None:
    fields = describe_operation(make_operations(node)["unbond"]) | change
    body = assert_problem(await client.post("/v1/operations", json=fields), 400, "bad_body")
    assert said in body["detail"]
    assert node.pending_operations() == []


async def test_following_next_lists_every_operation_that_waits(node: FakeNode, client: httpx.AsyncClient) -> None:
    for operation in make_operations(node).values():
        node.submit_operation(operation)
    everything = (await client.get("/v1/operations")).json()
    assert everything["next"] is None
    page = (await client.get("/v1/operations?limit=3")).json()
    assert page["operations"] == everything["operations"][:3]
    rest = (await client.get(f"/v1/operations?from={page['next']}&limit=3")).json()
    assert rest == {"operations": everything["operations"][3:], "next": None}
    node.places.clear()
    body = assert_problem(await client.get(f"/v1/operations?from={page['next']}"), 404, "operation_not_pending")
    assert "without from" in body["detail"]


async def test_an_integer_may_be_written_with_a_fraction_of_zero(node: FakeNode, client: httpx.AsyncClient) -> None:
    operation = make_operations(node)["unbond"]
    fields = describe_operation(operation)
    response = await client.post("/v1/operations", json=fields | {"amount": float(str(fields["amount"]))})
    assert response.status_code == 202
    assert node.pending_operations() == [operation]


async def test_a_missing_field_is_named(node: FakeNode, client: httpx.AsyncClient) -> None:
    fields = describe_operation(make_operations(node)["unbond"])
    del fields["nonce"]
    body = assert_problem(await client.post("/v1/operations", json=fields), 400, "bad_body")
    assert "'nonce' is missing" in body["detail"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"operation": "xy"}', b'{"operation": 5}', b'{"operation_base64": "?"}', b"{}", b"\xff"]
)
async def test_what_is_no_operation_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert_problem(await client.post("/v1/operations", content=body, headers=headers), 400, "bad_body")


async def test_an_operation_has_one_encoding(node: FakeNode, client: httpx.AsyncClient) -> None:
    """P4: trailing bytes and longer forms of the same values are other bytes, and no operation."""
    data = encode_operation(make_operations(node)["unjail"])
    longer = data[:1] + b"\xd9\x06unjail" + data[len(b"\xa6unjail") + 1 :]
    assert msgspec.msgpack.decode(longer) == msgspec.msgpack.decode(data)
    for other in (data + b"\x00", data[:-1], longer):
        assert_problem(await client.post("/v1/operations", content=other, headers=OCTETS), 400, "bad_body")


async def test_a_body_larger_than_any_operation_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/operations", content=b"x" * 10_000, headers=OCTETS)
    assert_problem(response, 413, "body_too_large")


def test_fields_read_back_as_the_same_operation() -> None:
    for kind, operation in make_operations(FakeNode()).items():
        assert get_kind(operation) == kind
        assert parse_operation(describe_operation(operation)) == operation
        assert decode_operation(encode_operation(operation)) == operation


def test_a_node_remembers_a_bounded_number_of_included_operations() -> None:
    node = FakeNode()
    included = IncludedOperations(kept_max=2)
    operations = list(make_operations(node).values())
    leaf = node.context.genesis.leaf
    for height, operation in enumerate(operations, start=1):
        included.add(msgspec.structs.replace(leaf, height=Height(height), operations=(operation,)))
    places = [included.find(compute_operation_id(operation)) for operation in operations]
    assert places == [None, None, OperationPlace(operations[2], Height(3)), OperationPlace(operations[3], Height(4))]


async def test_a_real_node_takes_an_operation_into_a_block(tmp_path: Path) -> None:
    """Submitted, judged by the ledger, proposed, decided, told: here the rotation of the only validator's key."""
    async with open_world(tmp_path, validators=1) as world:
        account, network_id, fresh = world.signer.public_key, world.node.network.network_id, generate_key()
        possession = prove_possession(account, fresh, network_id)
        unsigned = RotateKey(account, 0, b"", ValidatorId(0), fresh.public_key, possession)
        refused = await world.client.post("/v1/operations", content=encode_operation(unsigned), headers=OCTETS)
        assert "sign" in assert_problem(refused, 409, "operation_refused")["reason"]
        operation = sign_operation(unsigned, world.signer, network_id)
        taken = await world.client.post("/v1/operations", content=encode_operation(operation), headers=OCTETS)
        assert taken.status_code == 202, taken.text
        assert (await world.get("/v1/operations"))["operations"][0]["kind"] == "rotate-key"
        path = f"/v1/operations/{taken.json()['id']}"
        while (found := await world.get(path))["status"] == "pending":
            # A transaction makes the next leaf due at once; it is final with the leaf or after it.
            await world.post_one(len(found).to_bytes(2, "big") + b"due", "?wait=finalized")
        assert (found["status"], found["kind"]) == ("included", "rotate-key")
        rotated = [entry for entry in (await world.get("/v1/changes"))["changes"] if entry["kind"] == "key_rotated"]
        assert [entry["height"] for entry in rotated] == [found["height"]]
        assert rotated[0]["fields"]["public_key"] == "0x" + fresh.public_key.hex()
        validator = await world.get("/v1/validators/n0")
        assert validator["public_key"] == "0x" + fresh.public_key.hex()
        assert validator["voting_key"] == "0x" + account.hex()
        metrics = world.node.metrics
        assert read(metrics, "sequencer_operations_total", kind="rotate-key", outcome="accepted") == 1
        assert read(metrics, "sequencer_ledger_changes_total", kind="key_rotated") == 1


async def test_a_real_node_tells_its_ledger_and_its_next_leaders(tmp_path: Path) -> None:
    async with open_world(tmp_path, validators=1) as world:
        await world.post_one(b"a transaction", "?wait=finalized")
        ledger, status = await world.get("/v1/ledger"), await world.get("/v1/status")
        assert ledger["epoch"]["last_height"] == status["epoch_last_height"] == 1024
        assert ledger["supply"] == ledger["total_stake"] == 1
        views = (await world.get("/v1/schedule?views=3"))["views"]
        assert [entry["leader"] for entry in views] == ["n0", "n0", "n0"]
        assert views[0]["view"] >= status["view"]
        assert await world.get("/v1/evidence") == {"pending": [], "included": [], "next": None}
