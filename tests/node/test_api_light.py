"""Leaves, payloads, finality certificates and epochs, over the real chain of a node that goes through epochs."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio
from trio.testing import MockClock

from consensus.certificates import FinalityCertificate
from consensus.joining import open_snapshot
from consensus.leaf import EpochProof, Leaf, compute_leaf_commitment
from consensus.messages import Snapshot, decode
from consensus.payload_tree import compute_payload_commitment
from consensus.types import Epoch, Height
from consensus.validation import verify_epoch_proof
from sequencer.api.app import make_app
from sequencer.api.certificates import Tables
from sequencer.light.finality import decode_finality, verify_finality
from sequencer.storage.sqlite import SqliteStorage
from tests.node.api_world import MSGPACK, World, open_world
from tests.node.fleet import PATIENCE_SECONDS, open_fleet
from tests.node.mesh import Keyring

EPOCH_BLOCKS = 8
RAW = {"Accept": "application/octet-stream"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A validator alone, in its third epoch or a later one."""
    async with open_world(tmp_path, validators=1, keyring=Keyring(1, epoch_blocks=EPOCH_BLOCKS)) as world:
        assert (await world.post_one(b"first", "?wait=finalized")).status_code == 200
        number = 0
        with trio.fail_after(PATIENCE_SECONDS):
            while world.node.status().epoch < 2:
                await world.post_one(b"%d" % number, "?wait=finalized")
                number += 1
        yield world


def unhex(text: str) -> bytes:
    assert text.startswith("0x")
    return bytes.fromhex(text[2:])


async def get_raw(world: World, path: str) -> bytes:
    response = await world.client.get(path, headers=RAW)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == RAW["Accept"]
    return response.content


async def test_a_leaf_is_shown_field_by_field_and_as_the_bytes_under_its_hash(world: World) -> None:
    shown = await world.get("/v1/leaves/1")
    leaf = msgspec.msgpack.decode(unhex(shown["encoding"]), type=Leaf)
    assert compute_leaf_commitment(leaf).hex() == shown["hash"][2:]
    assert shown["hash"] == (await world.get("/v1/blocks/1"))["hash"]
    assert (shown["height"], shown["view"], shown["proposer"]) == (1, leaf.view, "n0")
    assert shown["ledger"] == "0x" + leaf.ledger.hex()
    assert shown["justify_qc"] == {"view": 0, "leaf": shown["parent"], "signers": []}
    second = await world.get("/v1/leaves/2")
    assert second["justify_qc"] == {"view": leaf.view, "leaf": shown["hash"], "signers": ["n0"]}
    assert await get_raw(world, f"/v1/leaves/{shown['hash']}") == unhex(shown["encoding"])


async def test_the_first_leaf_of_an_epoch_shows_how_the_one_before_ended(world: World) -> None:
    ended = await world.get(f"/v1/leaves/{EPOCH_BLOCKS}")
    first = await world.get(f"/v1/leaves/{EPOCH_BLOCKS + 1}")
    assert (ended["epoch_end"], first["epoch"]) == (None, 1)
    assert first["epoch_end"]["leaf"] == ended["hash"]
    assert first["epoch_end"]["trusted"] == f"0:{ended['hash']}"


async def test_a_payload_is_what_its_leaf_commits_to(world: World) -> None:
    for height in (0, 1, 2):
        leaf = await world.get(f"/v1/leaves/{height}")
        payload = await get_raw(world, f"/v1/payloads/{leaf['hash']}")
        assert compute_payload_commitment(payload) == unhex(leaf["payload_hash"])
        assert len(payload) == leaf["payload_bytes"]
    response = await world.client.get("/v1/payloads/latest", headers={"Accept": MSGPACK})
    assert (response.status_code, response.headers["content-type"]) == (200, MSGPACK)
    response = await world.client.get("/v1/payloads/latest", headers={"Accept": "application/json"})
    assert response.json()["code"] == "not_acceptable"


async def test_a_block_is_final_by_its_certificate_under_the_stake_table_alone(world: World) -> None:
    context = world.node.network.context()
    for block_id in (1, EPOCH_BLOCKS):
        shown = await world.get(f"/v1/blocks/{block_id}/finality")
        finality = decode_finality(await get_raw(world, f"/v1/blocks/{block_id}/finality"))
        assert verify_finality(context, finality).height == block_id == shown["height"]
        assert [unhex(leaf) for leaf in shown["leaves"]] == [msgspec.msgpack.encode(leaf) for leaf in finality.leaves]
        assert msgspec.msgpack.decode(unhex(shown["certificate"]), type=FinalityCertificate) == finality.fc
        assert (shown["signers"], shown["stake"], shown["threshold"], shown["total_stake"]) == (["n0"], 1, 1, 1)


async def test_blocks_come_with_their_certificates_when_they_are_asked_for(world: World) -> None:
    assert "finality" not in await world.get("/v1/blocks/3")
    alone = await world.get("/v1/blocks/3?finality=true")
    assert alone["finality"] == await world.get("/v1/blocks/3/finality")
    blocks = (await world.get("/v1/blocks?from=0&finality=true&limit=12"))["blocks"]
    assert "finality" not in blocks[0], "genesis needs none"
    for block in blocks[1:]:
        assert block["finality"] == await world.get(f"/v1/blocks/{block['height']}/finality")


async def test_a_block_without_a_certificate_of_its_own_has_that_of_the_next_one(
    world: World,
) -> None:
    """A node that caught up has one certificate for many blocks (L5).

    A range names it for each of them, and one block's own address has the leaves that lead to it.
    """
    forget_certificates(world.storage, (2, 3, EPOCH_BLOCKS))
    second = await world.get("/v1/blocks/2/finality")
    assert (second["certified_height"], len(second["leaves"])) == (4, 3)
    finality = decode_finality(await get_raw(world, "/v1/blocks/2/finality"))
    assert verify_finality(world.node.network.context(), finality).height == 2
    blocks = (await world.get("/v1/blocks?from=1&finality=true&limit=9"))["blocks"]
    shown = [(block["finality"]["certified_height"], len(block["finality"]["leaves"])) for block in blocks]
    assert shown[:5] == [(1, 1), (4, 0), (4, 0), (4, 1), (5, 1)]
    # At the end of an epoch its proof is what there is.
    assert blocks[EPOCH_BLOCKS - 1]["finality"]["epoch"] == 0
    assert blocks[1]["finality"] == second | {"leaves": []}


async def test_a_way_to_a_certificate_that_no_node_would_send_another_is_not_sent_to_clients_either(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_certificates(world.storage, (2, 3))
    leaf = await get_raw(world, "/v1/leaves/3")
    monkeypatch.setattr("sequencer.api.certificates.RANGE_PATH_BYTES_MAX", len(leaf) + 10)
    response = await world.client.get("/v1/blocks/2/finality")
    assert (response.status_code, response.json()["code"]) == (404, "finality_not_found")
    assert (await world.get("/v1/blocks/3/finality"))["certified_height"] == 4


def forget_certificates(storage: SqliteStorage, heights: tuple[int, ...]) -> None:
    """As if these blocks had come by catch-up."""
    connection = storage._writer._connection
    connection.execute(f"UPDATE decided SET fc = NULL WHERE height IN {heights}")  # noqa: S608 - numbers of ours


async def test_an_epoch_shows_its_stake_table_and_the_proof_of_its_end(world: World) -> None:
    first = await world.get("/v1/epochs/0")
    key = world.signer.public_key.hex()
    assert first["stake_table"] == [{"name": "n0", "id": 0, "public_key": f"0x{key}", "stake": 1}]
    assert (first["first_height"], first["last_height"], first["is_over"]) == (1, EPOCH_BLOCKS, True)
    assert (first["total_stake"], first["success_threshold"], first["one_honest_threshold"]) == (1, 1, 1)
    proof = msgspec.msgpack.decode(unhex(first["end"]["proof"]), type=EpochProof)
    context = world.node.network.context()
    verify_epoch_proof(proof, context.epoch, context, context.stake_table)
    assert first["end"]["leaf"] == (await world.get(f"/v1/blocks/{EPOCH_BLOCKS}"))["hash"] == "0x" + proof.leaf.hex()
    running = await world.get("/v1/epochs/latest")
    assert (running["is_over"], running["end"]) == (False, None)
    coming = await world.get(f"/v1/epochs/{running['number'] + 1}")
    assert (coming["first_height"], coming["is_over"]) == (running["last_height"] + 1, False), "known an epoch ahead"


async def test_an_epochs_snapshot_is_what_a_node_that_joins_is_sent(world: World) -> None:
    snapshot = decode(await get_raw(world, "/v1/epochs/1/snapshot"))
    assert isinstance(snapshot, Snapshot)
    start = open_snapshot(snapshot, snapshot.proof.leaf, world.node.network.context())
    assert start.ledger.epoch == 2


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/leaves/99999", 404, "block_not_found"),
        ("/v1/leaves/x", 400, "bad_block_id"),
        ("/v1/leaves/" + "ab" * 32, 404, "block_not_found"),
        ("/v1/leaves/9999999999999999999", 404, "block_not_found"),
        ("/v1/leaves/1?form=raw", 400, "bad_parameter"),
        ("/v1/payloads/99999", 404, "block_not_found"),
        ("/v1/blocks/0/finality", 404, "finality_not_found"),
        ("/v1/blocks/1?finality=yes", 400, "bad_parameter"),
        ("/v1/epochs/-1", 400, "bad_epoch"),
        ("/v1/epochs/9999999999999999999", 400, "bad_epoch"),
        ("/v1/epochs/77", 404, "epoch_not_found"),
        ("/v1/epochs/77/snapshot", 404, "epoch_not_found"),
    ],
)
async def test_what_is_not_there_is_said_to_be_not_there(world: World, path: str, status: int, code: str) -> None:
    response: httpx.Response = await world.client.get(path)
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"]) == (status, code)


async def test_a_block_that_is_final_without_a_certificate_here_yet_is_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks may arrive before the one that the certificate is about."""
    monkeypatch.setattr(world.storage, "read_finality_proof", lambda _height, *, leaves_max: None)
    response = await world.client.get(f"/v1/blocks/{Height(3)}/finality")
    assert response.json()["code"] == "finality_not_found"
    assert "Ask again" in response.json()["detail"]
    forget_certificates(world.storage, (3, 4))
    blocks = (await world.get("/v1/blocks?from=2&limit=3&finality=true"))["blocks"]
    assert ["finality" in block for block in blocks] == [True, False, False]


async def test_a_node_that_joined_with_a_snapshot_says_which_blocks_it_lacks(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """T5: what came before is not on its disk.

    Its address says from which height on it can answer, and everything from there on is proven as elsewhere.
    """
    async with open_fleet(tmp_path, keyring=Keyring(4, epoch_blocks=EPOCH_BLOCKS)) as fleet:
        await fleet.stop(0)
        await fleet.wait_until(lambda: fleet.nodes[1].status().epoch >= 2)
        await fleet.rejoin(0, source=1)
        joined = fleet.nodes[0]
        first = joined.storage.first_height
        await fleet.wait_height(first + 2)
        transport = httpx.ASGITransport(make_app(joined, trio.Event()), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            for path in ("leaves/1", "payloads/1", "blocks/1", "blocks/1/finality", "blocks/0"):
                problem = (await client.get(f"/v1/{path}")).json()
                assert (problem["code"], problem["first"]) == ("block_not_found", first), path
                assert "ask one that has been there longer" in problem["detail"]
            problem = (await client.get("/v1/epochs/0/snapshot")).json()
            assert problem["code"] == "epoch_not_found"
            assert "joined later" in problem["detail"]
            shown = (await client.get(f"/v1/blocks/{first}/finality")).json()
            assert (shown["height"], len(shown["signers"])) == (first, 3)
            assert (await client.get("/v1/blocks/99999")).json()["detail"].endswith("ask again later.")
            # Its chain begins with a leaf of the epoch before the first that it has seen begin.
            tables = Tables(joined)
            assert tables._read(Epoch(1)) == tables._read(Epoch(2)) == fleet.keyring.context.stake_table
            assert tables.find(Epoch(77)) is None
