"""Submitting, waiting and asking, over the real node: what each answer says, and that a refusal changes nothing."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgpack
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from consensus.promises import Promise
from sequencer.metrics import SUBMISSION_RESULTS
from sequencer.payload import DEFAULT_NAMESPACE, compute_transaction_hash
from sequencer.payload_format import NAMESPACE_MAX
from sequencer.promises import PromiseRefusedError
from sequencer.schema.transactions import BATCH_BYTES_MAX, BATCH_TRANSACTIONS_MAX
from tests.node.api_world import MEMPOOL_BYTES_MAX, MEMPOOL_EXPIRY_SECONDS, MSGPACK, NDJSON, World, open_world

HEX_TX = "0x" + b"a transaction".hex()


@pytest.fixture
async def deciding(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path, validators=1) as world:
        yield world


@pytest.fixture
async def stuck(tmp_path: Path) -> AsyncIterator[World]:
    """Nothing is ever decided."""
    async with open_world(tmp_path, validators=2) as world:
        yield world


def name(transaction: bytes) -> str:
    return "0x" + compute_transaction_hash(DEFAULT_NAMESPACE, transaction).hex()


def count_pending(world: World) -> int:
    return world.node.status().mempool_transactions


async def test_one_as_raw_bytes_is_pending_under_the_hash_of_its_bytes(stuck: World) -> None:
    response = await stuck.post_one(b"a transaction")
    assert response.status_code == 202
    answer = {"hash": name(b"a transaction"), "status": "pending", "namespace": 0, "height": None, "position": None}
    assert response.json() == answer
    assert (await stuck.get(f"/v1/transactions/{name(b'a transaction')}"))["status"] == "pending"


async def test_one_as_json_is_the_same_transaction(stuck: World) -> None:
    await stuck.post_one(b"a transaction")
    response = await stuck.client.post("/v1/transactions", json={"transaction": HEX_TX})
    assert response.status_code == 202
    assert response.json()["hash"] == name(b"a transaction")
    assert count_pending(stuck) == 1


async def test_waiting_ends_with_the_place_in_the_chain(deciding: World) -> None:
    response = await deciding.post_one(b"a transaction", "?wait=finalized")
    assert response.status_code == 200
    answer = response.json()
    assert answer["status"] == "finalized"
    block = await deciding.get(f"/v1/blocks/{answer['height']}?transactions=full")
    assert block["transactions"][answer["position"]] == HEX_TX
    assert await deciding.get(f"/v1/transactions/{name(b'a transaction')}") == answer


async def test_what_is_final_already_is_answered_with_its_place_and_not_ordered_again(deciding: World) -> None:
    first = await deciding.post_one(b"a transaction", "?wait=finalized")
    again = await deciding.post_one(b"a transaction")
    assert again.status_code == 200
    assert again.json() == first.json()
    assert count_pending(deciding) == 0


async def test_waiting_too_long_is_a_gateway_timeout_and_leaves_nothing_behind(
    stuck: World, autojump_clock: MockClock
) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    started = trio.current_time()
    response = await stuck.post_one(b"a transaction", "?wait=finalized&timeout_s=7.5")
    assert response.status_code == 504
    assert response.json()["code"] == "not_finalized_in_time"
    assert trio.current_time() - started == pytest.approx(7.5, abs=0.1)
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert count_pending(stuck) == 1


async def test_who_waits_for_what_expires_is_told_at_once(stuck: World, autojump_clock: MockClock) -> None:
    await stuck.post_one(b"a transaction")
    await trio.sleep(MEMPOOL_EXPIRY_SECONDS)
    started = trio.current_time()
    response = await stuck.post_batch([b"a transaction", b"a newer one"], "?wait=finalized&timeout_s=300")
    assert response.status_code == 504
    assert response.json()["code"] == "transaction_expired"
    assert trio.current_time() - started < MEMPOOL_EXPIRY_SECONDS / 4
    assert count_pending(stuck) == 1


async def test_a_transaction_has_the_namespace_that_it_was_given(deciding: World) -> None:
    """The same bytes in two namespaces are two transactions, each with a name of its own."""
    for namespace in (7, NAMESPACE_MAX):
        hash_ = "0x" + compute_transaction_hash(namespace, b"data").hex()
        answer = (await deciding.post_one(b"data", f"?namespace={namespace}")).json()
        assert answer == {"hash": hash_, "status": "pending", "namespace": namespace, "height": None, "position": None}
        final = (await deciding.post_one(b"data", f"?namespace={namespace}&wait=finalized")).json()
        assert (final["status"], final["namespace"]) == ("finalized", namespace)
        assert await deciding.get(f"/v1/transactions/{hash_}") == final
        batch = await deciding.post_batch([b"data", b"more"], f"?namespace={namespace}&hashes=true")
        assert (batch.json()["accepted"], batch.json()["hashes"][0]) == (1, hash_)
    for refused in ("-1", str(NAMESPACE_MAX + 1), "x"):
        response = await deciding.post_one(b"data", f"?namespace={refused}")
        assert (response.status_code, response.json()["parameter"]) == (400, "namespace")


async def test_what_is_pending_has_its_namespace(stuck: World) -> None:
    await stuck.post_one(b"data", "?namespace=9")
    answer = await stuck.get("/v1/transactions/0x" + compute_transaction_hash(9, b"data").hex())
    assert (answer["status"], answer["namespace"]) == ("pending", 9)


async def test_an_unknown_hash_is_unknown_and_not_an_error(stuck: World) -> None:
    answer = await stuck.get(f"/v1/transactions/{'ab' * 32}")
    assert answer == {
        "hash": "0x" + "ab" * 32,
        "status": "unknown",
        "namespace": None,
        "height": None,
        "position": None,
    }


@pytest.mark.parametrize(
    ("transaction", "status", "code"),
    [(b"", 400, "transaction_empty"), (bytes(256 * 1024 + 1), 413, "body_too_large")],
)
async def test_one_that_no_block_may_hold_is_refused(stuck: World, transaction: bytes, status: int, code: str) -> None:
    response = await stuck.post_one(transaction)
    assert response.status_code == status
    assert response.json()["code"] == code
    assert count_pending(stuck) == 0


async def test_one_too_large_as_json_is_refused_by_its_own_size(stuck: World) -> None:
    response = await stuck.client.post("/v1/transactions", json={"transaction": "00" * (256 * 1024 + 1)})
    assert response.status_code == 413
    assert response.json()["code"] == "transaction_too_large"
    assert response.json()["bytes_max"] == 256 * 1024


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({}, "no Content-Type"),
        ({"Content-Type": "text/plain"}, "text/plain"),
        ({"Content-Type": "application/octet-stream", "Content-Encoding": "gzip"}, "gzip"),
    ],
)
async def test_a_body_in_another_form_is_unsupported_and_the_forms_are_named(
    stuck: World, headers: dict[str, str], named: str
) -> None:
    response = await stuck.client.post("/v1/transactions", content=b"x", headers=headers)
    assert response.status_code == 415
    assert named in response.json()["detail"]
    if "Content-Encoding" not in headers:
        assert "application/octet-stream" in response.headers["Accept"]


async def test_a_media_type_may_carry_parameters_and_capitals(stuck: World) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    response = await stuck.client.post(
        "/v1/transactions", content=json.dumps({"transaction": HEX_TX}).encode(), headers=headers
    )
    assert response.status_code == 202


async def test_a_batch_counts_what_is_new_pending_and_final(deciding: World) -> None:
    await deciding.post_batch([b"final"], "?wait=finalized")
    response = await deciding.post_batch([b"final", b"new", b"new", b"newer"], "?wait=finalized")
    assert response.status_code == 200
    assert response.json() == {"accepted": 2, "duplicate": 1, "finalized": 1, "rejected": []}


async def test_a_batch_of_text_and_a_binary_one_are_the_same(stuck: World) -> None:
    lines = f'{HEX_TX}\n"{HEX_TX}00"\n'
    response = await stuck.client.post(
        "/v1/transactions/batch?hashes=true", content=lines.encode(), headers={"Content-Type": NDJSON}
    )
    assert response.status_code == 202
    assert response.json()["hashes"] == [name(b"a transaction"), name(b"a transaction\0")]
    assert (await stuck.post_batch([b"a transaction", b"a transaction\0"])).json()["duplicate"] == 2


async def test_a_waited_batch_is_final_to_the_last_transaction(deciding: World) -> None:
    transactions = [b"transaction %d" % number for number in range(500)]
    response = await deciding.post_batch(transactions, "?wait=finalized&hashes=true")
    assert response.status_code == 200
    answer = response.json()
    assert answer["accepted"] == 500
    assert answer["hashes"] == [name(transaction) for transaction in transactions]
    for transaction in (transactions[0], transactions[-1]):
        assert (await deciding.get(f"/v1/transactions/{name(transaction)}"))["status"] == "finalized"


async def test_bad_items_are_rejected_each_by_its_index_and_the_others_taken(stuck: World) -> None:
    response = await stuck.post_batch([b"good", b"", bytes(256 * 1024 + 1), b"good too"])
    assert response.status_code == 202
    answer = response.json()
    assert answer["accepted"] == 2
    assert [(item["index"], item["code"]) for item in answer["rejected"]] == [
        (1, "transaction_empty"),
        (2, "transaction_too_large"),
    ]
    assert count_pending(stuck) == 2


async def test_nothing_of_a_body_that_does_not_parse_is_submitted(stuck: World) -> None:
    body = msgpack.packb(b"fine") + msgpack.packb(b"fine too") + b"\xc1garbage"
    response = await stuck.client.post("/v1/transactions/batch", content=body, headers={"Content-Type": MSGPACK})
    assert response.status_code == 400
    assert response.json()["code"] == "bad_body"
    assert response.json()["index"] == 2
    assert count_pending(stuck) == 0


async def test_a_full_mempool_refuses_the_rest_says_which_and_when_to_come_back(stuck: World) -> None:
    size = MEMPOOL_BYTES_MAX // 8
    batch = [bytes([number]) * size for number in range(1, 10)]
    response = await stuck.post_batch(batch)
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) >= 1
    answer = response.json()
    assert answer["code"] == "mempool_full"
    assert answer["accepted"] == count_pending(stuck) == 7
    assert [item["index"] for item in answer["rejected"]] == [7, 8]
    again = (await stuck.post_batch(batch)).json()
    assert (again["accepted"], again["duplicate"]) == (0, 7)
    assert (await stuck.post_one(bytes([9]) * size)).json()["code"] == "mempool_full"


async def test_an_empty_batch_is_an_error(stuck: World) -> None:
    response = await stuck.post_batch([])
    assert response.status_code == 400
    assert response.json()["code"] == "bad_body"


async def test_the_limits_of_a_batch_hold_and_are_published(stuck: World) -> None:
    limits = (await stuck.get("/v1/status"))["limits"]
    assert limits["batch_bytes_max"] == BATCH_BYTES_MAX
    assert limits["batch_transactions_max"] == BATCH_TRANSACTIONS_MAX
    too_large = await stuck.post_batch([bytes(64 * 1024)] * 65)
    assert too_large.status_code == 413
    assert too_large.json()["code"] == "body_too_large"
    too_long = await stuck.post_batch([b"x"] * (BATCH_TRANSACTIONS_MAX + 1))
    assert too_long.status_code == 413
    assert too_long.json()["code"] == "batch_too_long"
    assert count_pending(stuck) == 0


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("wait=pending", "wait"),
        ("wait=finalized&wait=finalized", "wait"),
        ("timeout_s=1", "timeout_s"),
        ("wait=finalized&timeout_s=0", "timeout_s"),
        ("wait=finalized&timeout_s=301", "timeout_s"),
        ("wait=finalized&timeout_s=nan", "timeout_s"),
        ("wait=finalized&timeout_s=soon", "timeout_s"),
        ("timeout=1", "timeout"),
        ("hashes=yes", "hashes"),
    ],
)
async def test_a_parameter_that_is_not_understood_is_refused_by_name(stuck: World, query: str, parameter: str) -> None:
    response = await stuck.post_batch([b"x"], "?" + query)
    assert response.status_code == 400
    assert response.json()["code"] == "bad_parameter"
    assert response.json()["parameter"] == parameter
    assert count_pending(stuck) == 0


async def test_a_node_that_goes_down_takes_nothing_and_releases_who_waits(stuck: World) -> None:
    answers = []

    async def wait_for_finality() -> None:
        answers.append(await stuck.post_one(b"waiting", "?wait=finalized&timeout_s=300"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_finality)
        while count_pending(stuck) == 0:
            await wait_all_tasks_blocked()
        stuck.closing.set()
    late = await stuck.post_one(b"late")
    for response in (answers[0], late):
        assert response.status_code == 503
        assert response.json()["code"] == "shutting_down"
    assert count_pending(stuck) == 1


async def test_every_submission_is_counted_by_its_result(deciding: World) -> None:
    await deciding.post_batch([b"one", b"one", b""], "?wait=finalized")
    await deciding.post_one(b"one")
    page = (await deciding.client.get("/metrics")).text
    counted = {
        result: float(page.split(f'sequencer_transactions_submitted_total{{result="{result}"}} ')[1].split()[0])
        for result in SUBMISSION_RESULTS
    }
    assert counted == {"accepted": 1, "duplicate": 1, "finalized": 1, "rejected": 1}


async def test_a_soft_confirmation_is_a_promise_that_can_be_checked(deciding: World) -> None:
    beneficiary = "0x" + "07" * 32
    response = await deciding.post_one(b"softly", f"?wait=soft&beneficiary={beneficiary}")
    assert response.status_code == 200
    promise = response.json()["promise"]
    assert (promise["promiser"], promise["transaction"]) == ("n0", name(b"softly"))
    assert promise["beneficiary"] == beneficiary
    assert promise["first_view"] <= promise["last_view"]
    assert len(promise["signature"]) == 2 + 2 * 64


async def test_without_a_leader_that_promises_the_transaction_is_pending_all_the_same(stuck: World) -> None:
    """The one other validator is not there to be asked, so this one is; and it leads no more in this epoch, say."""
    stuck.node._promises._leads_soon = lambda: False  # type: ignore[method-assign]
    response = await stuck.post_one(b"softly", "?wait=soft")
    assert response.status_code == 503
    assert (response.json()["code"], response.json()["hash"]) == ("no_promise", name(b"softly"))
    assert "leads in none of 64 views" in response.json()["detail"]
    assert (await stuck.get(f"/v1/transactions/{name(b'softly')}"))["status"] == "pending"


async def test_what_became_final_before_it_was_promised_is_told_as_final(deciding: World) -> None:
    """The leader was faster than the request: there is nothing left to promise, and nothing to complain about."""

    async def refuse_late(transaction: bytes, hash_: bytes, beneficiary: bytes) -> Promise:
        assert await deciding.node.wait_finalized([hash_])
        raise PromiseRefusedError("the transaction is final already")

    deciding.node._promise_desk.ask = refuse_late  # type: ignore[method-assign]
    response = await deciding.post_one(b"softly", "?wait=soft")
    assert response.status_code == 200
    assert response.json()["status"] == "finalized"
    assert response.json() == await deciding.get(f"/v1/transactions/{name(b'softly')}")


async def test_a_node_that_reaches_nobody_promises_what_it_will_propose_itself(stuck: World) -> None:
    response = await stuck.post_one(b"softly", "?wait=soft")
    assert response.status_code == 200
    assert response.json()["promise"]["promiser"] == "n0"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("?beneficiary=07", "beneficiary"),
        ("?wait=soon", "wait"),
        ("?wait=soft&beneficiary=xy", "beneficiary"),
        ("?wait=soft&timeout_s=3", "timeout_s"),
    ],
)
async def test_what_makes_no_sense_with_a_promise_is_refused_by_name(stuck: World, query: str, parameter: str) -> None:
    response = await stuck.post_one(b"softly", query)
    assert response.status_code == 400
    assert response.json()["parameter"] == parameter
    assert count_pending(stuck) == 0
