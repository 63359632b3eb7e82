"""Namespaces over the API: what a rollup reads of its own, and the proofs of it against the leaf."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consensus.types import Height
from sequencer.light.errors import ProofError
from sequencer.light.payload_proof import check_namespace, check_transaction
from sequencer.payload import compute_hashes, compute_transaction_hash, make_transaction
from sequencer.payload_format import NAMESPACE_MAX
from sequencer.schema.namespaces import NamespaceJson, TransactionProofJson
from tests.node.api_world import World, open_world
from tests.node.test_api_status import assert_problem


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Two transactions that stand alone, then a block with those of three namespaces."""
    async with open_world(tmp_path, validators=1) as world:
        await world.post_one(b"first", "?wait=finalized&namespace=7")
        await world.post_one(b"second", "?wait=finalized")
        together = [
            make_transaction(namespace, b"%d of %d" % (number, namespace))
            for namespace, count in ((NAMESPACE_MAX, 2), (7, 4), (0, 1))
            for number in range(count)
        ]
        world.node.submit(together, compute_hashes(together))
        await world.post_one(b"3 of 7", "?wait=finalized&namespace=7")
        yield world


def of_namespace(namespace: int, count: int) -> list[str]:
    return ["0x" + (b"%d of %d" % (number, namespace)).hex() for number in range(count)]


async def read_blocks(world: World, query: str) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = (await world.get(f"/v1/blocks{query}"))["blocks"]
    return blocks


def read_leaf(world: World, height: int) -> Any:
    block = world.storage.read_decided_at(Height(height))
    assert block is not None
    return block.leaf


async def test_a_block_lists_its_transactions_by_namespace(world: World) -> None:
    """The lists of all blocks together have everything once; `namespaces` says where one ends and the next begins."""
    seen: dict[int, list[str]] = {}
    shapes: list[list[int]] = []
    for block in await read_blocks(world, "?transactions=full"):
        transactions = iter(block["transactions"])
        assert [each["namespace"] for each in block["namespaces"]] == sorted(
            {each["namespace"] for each in block["namespaces"]}
        )
        for group in block["namespaces"]:
            seen.setdefault(group["namespace"], []).extend(next(transactions) for _ in range(group["transactions"]))
        assert next(transactions, None) is None
        shapes.append([each["transactions"] for each in block["namespaces"]])
    assert [1, 4, 2] in shapes, "the block with three of them"
    assert seen == {
        7: ["0x" + b"first".hex(), *of_namespace(7, 4)],
        0: ["0x" + b"second".hex(), *of_namespace(0, 1)],
        NAMESPACE_MAX: of_namespace(NAMESPACE_MAX, 2),
    }


async def test_a_range_shows_the_transactions_of_one_namespace(world: World) -> None:
    """Every block is there, with what it has of the namespace: so nobody wonders whether one was left out."""
    blocks = await read_blocks(world, "?from=1&namespace=7")
    assert [block["height"] for block in blocks] == list(range(1, len(blocks) + 1))
    assert [each for block in blocks for each in block["transactions"]] == ["0x" + b"first".hex(), *of_namespace(7, 4)]
    assert all(
        sum(each["transactions"] for each in block["namespaces"]) == len(block["transactions"]) for block in blocks
    )
    assert all(each["namespace"] == 7 for block in blocks for each in block["namespaces"])
    hashes = await read_blocks(world, "?namespace=7&transactions=hashes")
    assert ["0x" + compute_transaction_hash(7, b"first").hex()] in [block["transactions"] for block in hashes]
    assert not any("transactions" in block for block in await read_blocks(world, "?namespace=7&transactions=none"))
    assert not any(block["transactions"] for block in await read_blocks(world, "?namespace=8"))
    assert_problem(await world.client.get("/v1/blocks?namespace=4294967296"), 400, "bad_parameter")


async def test_the_namespaces_of_a_block_are_told_with_their_size(world: World) -> None:
    for block in await read_blocks(world, "?from=1&transactions=full"):
        answer = await world.get(f"/v1/blocks/{block['height']}/namespaces")
        assert (answer["height"], answer["hash"]) == (block["height"], block["hash"])
        counts = [
            {"namespace": each["namespace"], "transactions": each["transactions"]} for each in answer["namespaces"]
        ]
        assert counts == block["namespaces"]
        total = sum(len(each) // 2 - 1 for each in block["transactions"])
        assert sum(each["bytes"] for each in answer["namespaces"]) == total
    assert (await world.get("/v1/blocks/0/namespaces"))["namespaces"] == []


async def test_a_namespace_of_a_block_is_proven_there_or_not(world: World) -> None:
    """A client that has the leaf, however it came by that, needs to trust nobody else."""
    for block in await read_blocks(world, "?transactions=full"):
        leaf = read_leaf(world, block["height"])
        for namespace in (0, 5, 7, NAMESPACE_MAX):
            answer = await world.get(f"/v1/blocks/{block['hash']}/namespaces/{namespace}")
            proven = check_namespace(
                leaf.payload, leaf.payload_bytes, namespace, msgspec.convert(answer, NamespaceJson, strict=True)
            )
            (shown,) = await read_blocks(world, f"?from={block['height']}&limit=1&namespace={namespace}")
            assert ["0x" + each.hex() for each in proven] == shown["transactions"] == answer["transactions"]


async def test_a_transaction_is_proven_to_stand_in_its_block(world: World) -> None:
    for namespace, data in ((7, b"first"), (0, b"second"), (7, b"2 of 7"), (NAMESPACE_MAX, b"1 of 4294967295")):
        hash_ = compute_transaction_hash(namespace, data).hex()
        place = await world.get(f"/v1/transactions/{hash_}")
        answer = await world.get(f"/v1/transactions/{hash_}/proof")
        assert (answer["height"], answer["position"]) == (place["height"], place["position"])
        assert (answer["hash"], answer["namespace"], answer["transaction"]) == (
            "0x" + hash_,
            namespace,
            "0x" + data.hex(),
        )
        leaf, shown = read_leaf(world, place["height"]), msgspec.convert(answer, TransactionProofJson)
        check_transaction(leaf.payload, leaf.payload_bytes, namespace, data, shown)
        with pytest.raises(ProofError):
            check_transaction(leaf.payload, leaf.payload_bytes, namespace, data + b"!", shown)
        with pytest.raises(ProofError):
            check_transaction(leaf.payload, leaf.payload_bytes, namespace + 1, data, shown)


async def test_what_is_not_there_is_a_problem_of_its_own(world: World) -> None:
    client = world.client
    assert_problem(await client.get("/v1/blocks/99/namespaces"), 404, "block_not_found")
    assert_problem(await client.get("/v1/blocks/99/namespaces/7"), 404, "block_not_found")
    assert_problem(await client.get("/v1/blocks/x/namespaces/7"), 400, "bad_block_id")
    for namespace in ("x", "-1", "4294967296"):
        assert_problem(await client.get(f"/v1/blocks/1/namespaces/{namespace}"), 400, "bad_namespace")
    assert_problem(await client.get(f"/v1/transactions/{'ab' * 32}/proof"), 404, "transaction_not_found")
    assert_problem(await client.get("/v1/transactions/ab/proof"), 400, "bad_hash")


async def test_what_is_pending_has_no_proof_yet(tmp_path: Path) -> None:
    async with open_world(tmp_path, validators=2) as stuck:
        await stuck.post_one(b"data")
        hash_ = compute_transaction_hash(0, b"data").hex()
        assert (await stuck.get(f"/v1/transactions/{hash_}"))["status"] == "pending"
        assert_problem(await stuck.client.get(f"/v1/transactions/{hash_}/proof"), 404, "transaction_not_found")
