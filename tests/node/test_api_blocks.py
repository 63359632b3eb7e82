"""Blocks and ranges over the real chain of a node."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from consensus.effects import Batch
from consensus.leaf import Block, make_leaf
from consensus.payload_tree import compute_payload_commitment
from consensus.types import Height, ValidatorId, View
from sequencer.payload import DEFAULT_NAMESPACE, encode_payload, make_transaction
from tests.node.api_world import World, open_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A chain with three transactions in three blocks, perhaps with empty ones between them."""
    async with open_world(tmp_path, validators=1) as world:
        for transaction in (b"first", b"second", b"third"):
            assert (await world.post_one(transaction, "?wait=finalized")).status_code == 200
        yield world


async def find_height(world: World, transaction: bytes) -> int:
    response = await world.post_one(transaction)
    height: int = response.json()["height"]
    return height


async def test_a_block_is_the_same_by_height_and_by_hash(world: World) -> None:
    height = await find_height(world, b"second")
    by_height = await world.get(f"/v1/blocks/{height}")
    assert await world.get(f"/v1/blocks/{by_height['hash']}") == by_height
    assert await world.get(f"/v1/blocks/{by_height['hash'].removeprefix('0x').upper()}") == by_height


async def test_a_block_says_what_its_leaf_says(world: World) -> None:
    height = await find_height(world, b"second")
    block = world.storage.read_decided_at(Height(height))
    assert block is not None
    shown = await world.get(f"/v1/blocks/{height}?transactions=full")
    assert shown == {
        "height": height,
        "view": block.leaf.view,
        "epoch": 0,
        "hash": "0x" + block.commitment.hex(),
        "parent": "0x" + block.leaf.parent.hex(),
        "proposer": "n0",
        "timestamp_ms": block.leaf.timestamp_ms,
        "payload_hash": "0x" + block.leaf.payload.hex(),
        "payload_bytes": block.leaf.payload_bytes,
        "transactions": ["0x" + b"second".hex()],
        "namespaces": [{"namespace": 0, "transactions": 1}],
    }
    assert (
        compute_payload_commitment(encode_payload([make_transaction(DEFAULT_NAMESPACE, b"second")]))
        == block.leaf.payload
    )


async def test_latest_is_the_last_finalized_block(world: World) -> None:
    height = await find_height(world, b"third")
    latest = await world.get("/v1/blocks/latest")
    assert latest["height"] >= height
    assert latest == await world.get(f"/v1/blocks/{latest['height']}")


async def test_height_0_is_genesis(world: World) -> None:
    genesis = await world.get("/v1/blocks/0")
    assert genesis["transactions"] == []
    assert (await world.get("/v1/blocks/1"))["parent"] == genesis["hash"]


async def test_transactions_come_as_hashes_in_full_or_not_at_all(world: World) -> None:
    height = await find_height(world, b"first")
    hashes = await world.get(f"/v1/blocks/{height}")
    assert hashes == await world.get(f"/v1/blocks/{height}?transactions=hashes")
    assert hashes["transactions"] == [(await world.post_one(b"first")).json()["hash"]]
    assert "transactions" not in await world.get(f"/v1/blocks/{height}?transactions=none")


async def test_following_next_walks_the_whole_chain_once_and_ends(world: World) -> None:
    walked: list[Any] = []
    cursor: int | None = 0
    pages = 0
    while cursor is not None:
        page = await world.get(f"/v1/blocks?from={cursor}&limit=2&transactions=full")
        assert 1 <= len(page["blocks"]) <= 2
        walked += page["blocks"]
        cursor = page["next"]
        pages += 1
    assert [block["height"] for block in walked] == list(range(len(walked)))
    assert [block["parent"] for block in walked[1:]] == [block["hash"] for block in walked[:-1]]
    assert [hex_ for block in walked for hex_ in block["transactions"]] == [
        "0x" + transaction.hex() for transaction in (b"first", b"second", b"third")
    ]
    assert pages >= 2


async def test_without_from_the_newest_blocks_come(world: World) -> None:
    latest = (await world.get("/v1/blocks/latest"))["height"]
    page = await world.get("/v1/blocks?limit=2")
    assert [block["height"] for block in page["blocks"]] == [latest - 1, latest]
    assert page["next"] is None
    assert (await world.get("/v1/blocks"))["blocks"][0]["height"] == 0


async def test_a_range_beyond_the_end_is_empty_and_has_no_next(world: World) -> None:
    page = await world.get("/v1/blocks?from=1000000")
    assert page["blocks"] == []
    assert page["next"] is None
    assert page["latest"] < 1_000_000


async def test_an_answer_is_bounded_in_bytes_and_names_the_rest(world: World) -> None:
    """Six blocks of 450 KiB do not fit into one answer."""
    for number in range(6):
        batch = [bytes([number]) * 150 * 1024, bytes([number]) * 150 * 1025, bytes([number]) * 150 * 1026]
        assert (await world.post_batch(batch, "?wait=finalized")).status_code == 200
    first = await world.get(f"/v1/blocks?from={await find_height(world, b'third')}")
    assert first["next"] == first["blocks"][-1]["height"] + 1
    assert sum(block["payload_bytes"] for block in first["blocks"]) <= 2 * 1024 * 1024
    rest = await world.get(f"/v1/blocks?from={first['next']}")
    assert rest["blocks"][0]["parent"] == first["blocks"][-1]["hash"]


async def test_a_block_that_is_not_final_is_not_shown(tmp_path: Path) -> None:
    async with open_world(tmp_path, validators=2) as world:
        block = await store_undecided(world)
        assert world.storage.read_block(block.commitment) is not None
        response = await world.client.get(f"/v1/blocks/{block.commitment.hex()}")
        assert response.status_code == 404
        assert response.json()["code"] == "block_not_found"
        assert (await world.get("/v1/blocks/latest"))["height"] == 0


async def store_undecided(world: World) -> Block:
    """A block as a node keeps it that has voted for it."""
    context = world.node.network.context()
    leaf = make_leaf(
        context.genesis,
        epoch=context.epoch,
        view=View(9),
        proposer=ValidatorId(1),
        timestamp_ms=1,
        payload=b"",
        ledger=context.genesis_ledger.commitment,
        justify_qc=context.genesis_qc,
        timeout_certificate=None,
    )
    block = Block(leaf, b"")
    await world.storage.append(Batch(record=None, blocks=(block,), decides=(), release=()))
    return block


@pytest.mark.parametrize("block_id", ["first", "-1", "0x12", "1.0", "abc", "\u0663", "9" * 20])
async def test_what_is_no_block_id_is_refused(world: World, block_id: str) -> None:
    response = await world.client.get(f"/v1/blocks/{block_id}")
    assert response.status_code == 400
    assert response.json()["code"] == "bad_block_id"


@pytest.mark.parametrize("block_id", ["1000000", "9" * 19, "00" * 32, "0x" + "ff" * 32])
async def test_a_block_that_does_not_exist_is_not_found_and_the_latest_is_named(world: World, block_id: str) -> None:
    response = await world.client.get(f"/v1/blocks/{block_id}")
    assert response.status_code == 404
    assert response.json()["code"] == "block_not_found"
    assert response.json()["latest"] == world.storage.latest_height


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("from=-1", "from"),
        ("from=", "from"),
        ("from=1e3", "from"),
        ("from=latest", "from"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("transactions=all", "transactions"),
        ("to=9", "to"),
        ("from=1&from=2", "from"),
    ],
)
async def test_a_range_parameter_that_is_not_understood_is_refused_by_name(
    world: World, query: str, parameter: str
) -> None:
    response = await world.client.get(f"/v1/blocks?{query}")
    assert response.status_code == 400
    assert response.json()["parameter"] == parameter
