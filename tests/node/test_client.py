"""The typed client: blocking, on Trio and on asyncio, all three of one description."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import msgspec
import pytest
import trio

from sequencer.api.app import make_table
from sequencer.client import ApiProblem, AsyncClient, Client, UnexpectedAnswer, Unreachable, calls, split_batches
from sequencer.client.calls import Call
from sequencer.client.exchange import Nodes
from sequencer.client.streaming import PAUSE_SECONDS_MAX, BlockStream
from sequencer.failures import CommandError, ExitCode
from sequencer.payload import compute_transaction_hash
from sequencer.schema.blocks import BlockJson
from sequencer.schema.status import StatusJson
from sequencer.schema.transactions import SoftJson, TransactionJson
from tests.node.api_world import Served, open_served
from tests.node.fake_node import FakeNode
from tests.node.test_why import make_view

Handler: TypeAlias = Callable[[httpx.Request], httpx.Response]
Ask: TypeAlias = Callable[..., Any]

pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning")
"""The library leaves inner generators of a stream that is not read to its end to Trio, which says so."""

PATIENCE_SECONDS = 60
URLS = ("http://one", "http://two", "http://three")
HASH = "0x" + "ab" * 32


def ask_blocking(urls: Any, transport: Any, name: str, *args: Any, take: int | None = None, **kwargs: Any) -> Any:
    with Client(urls, transport=transport, timeout_seconds=PATIENCE_SECONDS) as client:
        answer = getattr(client, name)(*args, **kwargs)
        if not isinstance(answer, Iterator):
            return answer
        return list(answer if take is None else islice(answer, take))


async def ask_awaited(urls: Any, transport: Any, name: str, *args: Any, take: int | None = None, **kwargs: Any) -> Any:
    async with AsyncClient(urls, transport=transport, timeout_seconds=PATIENCE_SECONDS) as client:
        answer = getattr(client, name)(*args, **kwargs)
        if not hasattr(answer, "__aiter__"):
            return await answer
        taken: list[Any] = []
        async for item in answer:
            taken.append(item)
            if len(taken) == take:
                break
        await answer.aclose()
        return taken


def ask_on_asyncio(*args: Any, **kwargs: Any) -> Any:
    return asyncio.run(ask_awaited(*args, **kwargs))


def ask_on_trio(*args: Any, **kwargs: Any) -> Any:
    async def main() -> Any:
        return await ask_awaited(*args, **kwargs)

    return trio.run(main)


@pytest.fixture(params=[ask_blocking, ask_on_trio, ask_on_asyncio], ids=["blocking", "trio", "asyncio"])
def ask(request: pytest.FixtureRequest) -> Ask:
    flavour: Ask = request.param
    return flavour


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with open_served(tmp_path, validators=1) as served:
        yield served


# Against the real application, over loopback


async def test_what_is_submitted_is_read_back(served: Served, ask: Ask) -> None:
    """One client submits and waits; what it reads are the shapes of the schema."""
    url = f"http://{served.address}"

    async def run(name: str, *args: Any, **kwargs: Any) -> Any:
        return await trio.to_thread.run_sync(lambda: ask(url, None, name, *args, **kwargs))

    final = await run("submit", b"a transaction", namespace=7, wait_seconds=PATIENCE_SECONDS)
    assert isinstance(final, TransactionJson)
    assert (final.status, final.namespace) == ("finalized", 7)
    assert final.hash == "0x" + compute_transaction_hash(7, b"a transaction").hex()
    assert await run("transaction", final.hash) == final
    block = await run("block", final.height, transactions="full")
    assert isinstance(block, BlockJson)
    assert final.height == block.height
    batch = await run("submit_batch", [b"one", b"two", b"one"], hashes=True, wait_seconds=PATIENCE_SECONDS)
    assert (batch.accepted, batch.duplicate, len(batch.hashes)) == (2, 1, 3)
    everything = await run("iterate_blocks", 0, transactions="full")
    assert [block.height for block in everything] == list(range(len(everything)))
    assert everything[final.height].hash == block.hash
    streamed = await run("stream_blocks", 1, transactions="full", take=final.height + 1)
    assert streamed == everything[1 : final.height + 2]
    assert await run("is_ready")
    assert "sequencer_view" in await run("metrics")
    assert len(await run("payload", final.height)) == block.payload_bytes


async def test_what_a_node_refuses_is_a_problem_with_its_code(served: Served, ask: Ask) -> None:
    def run() -> None:
        with pytest.raises(ApiProblem) as refused:
            ask(f"http://{served.address}", None, "block", 10**6)
        assert (refused.value.code, refused.value.status) == ("block_not_found", 404)
        assert refused.value.members["latest"] < 10**6
        assert refused.value.exit_code is ExitCode.FAILED
        assert "ask again later" in refused.value.detail

    await trio.to_thread.run_sync(run)


async def test_a_node_that_is_not_there_is_passed_over(served: Served, ask: Ask) -> None:
    """Nothing listens at port 1."""

    def run() -> None:
        urls = ["http://127.0.0.1:1", f"http://{served.address}"]
        assert ask(urls, None, "status").network == "test"
        with pytest.raises(Unreachable, match=r"cannot reach http://127\.0\.0\.1:1: connection refused"):
            ask("127.0.0.1:1", None, "status")

    await trio.to_thread.run_sync(run)


async def test_many_tasks_share_one_client(served: Served) -> None:
    heights: list[int] = []
    async with AsyncClient(f"http://{served.address}") as client:

        async def submit(number: int) -> None:
            answer = await client.submit(bytes([number]), wait_seconds=PATIENCE_SECONDS)
            assert answer.height is not None
            heights.append(answer.height)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(submit, number)
    assert len(heights) == 20


# What is described


SAMPLES: dict[str, tuple[Any, ...]] = {
    "submit": (b"x",),
    "promise": (b"x",),
    "submit_batch": ([b"x"],),
    "transaction": (HASH,),
    "transaction_proof": (HASH,),
    "namespace": (7,),
    "snapshot": (0,),
    "find_account": (bytes(32),),
    "find_validator": ("n0",),
    "submit_operation": (b"x",),
    "operation": (HASH,),
}
OPTIONS = {
    "submit": {"namespace": 1, "wait_seconds": 2.5},
    "promise": {"namespace": 1, "beneficiary": "07" * 32},
    "submit_batch": {"namespace": 1, "hashes": True, "wait_seconds": 1.0},
    "block": {"transactions": "full", "finality": True},
    "blocks": {"from_": 1, "limit": 2, "transactions": "none", "namespace": 1, "finality": False},
    "views": {"from_": 1, "limit": 2},
    "schedule": {"count": 3},
    "operations": {"from_": HASH, "limit": 2},
    "changes": {"from_": "20.1", "limit": 2},
    "slashings": {"from_": 20, "limit": 2},
    "evidence": {"from_": 20, "limit": 2},
    "faults": {"limit": 3},
}
FOR_PEOPLE_AND_MACHINES = {"/", "/web/{file}", "/docs", "/openapi.json", "/livez"}
FOR_PEOPLE_AND_MACHINES |= {"/v1/stream/blocks", "/v1/stream/views"}
"""Addresses that no method is for; of streams there are methods of another kind."""


def make_calls() -> dict[str, Call[Any]]:
    described = [name for name in vars(Client) if name in vars(calls) and callable(vars(calls)[name])]
    return {
        name: getattr(calls, name)(*SAMPLES.get(name, ()), **OPTIONS.get(name, {}))  # type: ignore[arg-type]
        for name in described
    }


def test_every_route_has_a_method_with_its_parameters() -> None:
    """A route that is added to the table needs a line in the client."""
    asked = set()
    made = make_calls()
    for route in make_table(FakeNode(), trio.Event()):
        pattern = re.sub(r"{\w+}", "[^/]+", route.path)
        fitting = [call for call in made.values() if call.method == route.method and re.fullmatch(pattern, call.path)]
        if route.path in FOR_PEOPLE_AND_MACHINES:
            continue
        assert fitting, f"no method of the client asks {route.method} {route.path}"
        asked |= {call.path for call in fitting}
        offered = {name for call in fitting for name in call.query or {}}
        assert offered == set(route.known), f"{route.path}: {offered ^ set(route.known)}"
        for call in fitting:
            for name, value in (call.query or {}).items():
                route.known[name].parse(value)
            if call.media_type is not None:
                assert call.media_type in {body.media_type for body in route.bodies}
    assert len(asked) >= 25


def test_both_clients_have_the_same_methods() -> None:
    public = {name for name in vars(Client) if not name.startswith("_")}
    assert public == {name for name in vars(AsyncClient) if not name.startswith("_")}
    assert set(make_calls()) <= public
    assert Client.status.__doc__ == calls.status.__doc__


# Against answers that are made up


def answer_json(value: object) -> httpx.Response:
    return httpx.Response(200, content=msgspec.json.encode(value))


def answer_problem(code: str, status: int = 503) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": "not here."})


def make_block(height: int) -> BlockJson:
    return BlockJson(height, height, 0, HASH, HASH, "n0", 1, HASH, 3)


def write_events(*heights: int, tail: str = "") -> httpx.Response:
    blocks = [(height, msgspec.json.encode(make_block(height)).decode()) for height in heights]
    events = "".join(f"id: {height}\nevent: block\ndata: {block}\n\n" for height, block in blocks)
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text=f": hello\n\n{events}{tail}")


class Script:
    """Answers in the order of a list, whoever asks; an exception is raised. `asked` are the URLs."""

    def __init__(self, *steps: httpx.Response | Exception) -> None:
        self._steps = list(steps)
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)


VIEWS_SEEN = ((7, "decided"), (8, "open"), (8, "timed_out"))
READY = {"status": "ready"}


def test_a_connection_that_was_reset_is_tried_once_more(ask: Ask) -> None:
    """A node closes what is idle for five seconds, perhaps in the moment in which it is used again."""
    script = Script(httpx.RemoteProtocolError("Server disconnected"), answer_json(READY))
    assert ask(URLS, script.transport, "ready").status == "ready"
    assert script.asked == ["http://one/readyz", "http://one/readyz"]
    script = Script(httpx.ReadError("reset"), httpx.ReadError("reset again"), answer_json(READY))
    assert ask(URLS, script.transport, "ready").status == "ready"
    assert script.asked[2] == "http://two/readyz"


def test_the_next_node_is_asked_when_one_goes_down_but_not_when_it_refuses(ask: Ask) -> None:
    script = Script(answer_problem("shutting_down"), httpx.ConnectError("refused"), answer_json(READY))
    assert ask(URLS, script.transport, "ready").status == "ready"
    assert [url[7:12] for url in script.asked] == ["one/r", "two/r", "three"]
    script = Script(answer_problem("not_ready"))
    with pytest.raises(ApiProblem, match="not_ready"):
        ask(URLS, script.transport, "ready")
    script = Script(answer_problem("shutting_down"), httpx.ConnectTimeout("slow"), httpx.ConnectError("refused"))
    with pytest.raises(ApiProblem, match="shutting_down"):
        ask(URLS, script.transport, "ready")


def test_the_node_that_answered_is_asked_first_the_next_time() -> None:
    script = Script(httpx.ConnectError("refused"), answer_json(READY), answer_json(READY))
    with Client(URLS, transport=script.transport) as client:
        client.ready()
        assert client.url == "http://two"
        client.ready()
    assert script.asked == ["http://one/readyz", "http://two/readyz", "http://two/readyz"]


def test_an_answer_in_another_shape_is_told_as_such(ask: Ask) -> None:
    nested = httpx.Response(200, text='{"network": ' + "[" * 10_000)
    for answer in (httpx.Response(200, text="<html>"), answer_json({"state": "ready"}), httpx.Response(200), nested):
        with pytest.raises(UnexpectedAnswer, match="http://one/v1/status answers in a form"):
            ask("http://one", Script(answer).transport, "status")
    with pytest.raises(ApiProblem, match="Bad Gateway"):
        ask("http://one", Script(httpx.Response(502, text="Bad Gateway")).transport, "status")


def test_members_that_a_newer_node_adds_are_no_reason_to_fail(ask: Ask) -> None:
    script = Script(answer_json(READY | {"since_ms": 5}))
    assert ask("http://one", script.transport, "ready").status == "ready"


def test_a_promise_is_one_or_a_place_in_the_chain(ask: Ask) -> None:
    promise = {
        "promiser": "n0", "epoch": 0, "first_view": 1, "last_view": 2,
        "transaction": HASH, "beneficiary": None, "signature": "0x",
    }  # fmt: skip
    soft = answer_json({"hash": HASH, "status": "promised", "promise": promise})
    assert isinstance(ask("one", Script(soft).transport, "promise", b"x"), SoftJson)
    final = answer_json({"hash": HASH, "status": "finalized", "height": 3, "position": 0})
    assert isinstance(ask("one", Script(final).transport, "promise", b"x"), TransactionJson)


def test_iterating_follows_the_cursor(ask: Ask) -> None:
    pages = [
        {"blocks": [make_block(5), make_block(6)], "next": 7, "latest": 7},
        {"blocks": [make_block(7)], "next": None, "latest": 7},
    ]
    script = Script(*map(answer_json, pages))
    assert [block.height for block in ask("one", script.transport, "iterate_blocks", 5)] == [5, 6, 7]
    assert script.asked == ["http://one/v1/blocks?from=5", "http://one/v1/blocks?from=7"]


def test_a_stream_goes_on_elsewhere_with_the_next_block(ask: Ask) -> None:
    """Connections end, nodes go down, one repeats itself, one has a gap: each height comes once, none is missing."""
    closing = 'event: closing\ndata: {"reason": "shutting_down", "next": 8}\n\n'
    lagging = 'event: lagging\ndata: {"behind": 9, "latest": 20, "next": 15, "skipped": {"first": 10, "last": 14}}\n\n'
    script = Script(
        write_events(5, 6),
        httpx.ConnectError("refused"),
        write_events(6, 7, tail=closing),
        write_events(8, 9, tail=lagging),
        answer_problem("too_many_streams"),
        write_events(12),
        answer_problem("block_not_found", 404),
        write_events(10, 11),
    )
    taken = ask(URLS, script.transport, "stream_blocks", 5, namespace=3, take=7)
    assert [block.height for block in taken] == [5, 6, 7, 8, 9, 10, 11]
    hosts = [httpx.URL(url).host for url in script.asked]
    assert hosts == ["one", "two", "three", "one", "two", "three", "one", "two"]
    starts = [httpx.URL(url).params["from"] for url in script.asked]
    assert starts == ["5", "7", "7", "8", "10", "10", "10", "10"]
    assert all(httpx.URL(url).params["namespace"] == "3" for url in script.asked)


def test_a_stream_of_views_goes_on_with_the_last_one_that_came(ask: Ask) -> None:
    """A view comes again when its outcome changes, so what came last is asked for again."""
    views = [make_view(view=number, outcome=outcome) for number, outcome in VIEWS_SEEN]
    events = [f"id: {view.view}\nevent: view\ndata: {msgspec.json.encode(view).decode()}\n\n" for view in views]
    stream = {"headers": {"Content-Type": "text/event-stream"}}
    script = Script(
        httpx.Response(200, text="".join(events[:2]), **stream),  # type: ignore[arg-type]
        httpx.Response(200, text="".join(events[2:]), **stream),  # type: ignore[arg-type]
    )
    assert ask(URLS, script.transport, "stream_views", take=3) == views
    assert script.asked == ["http://one/v1/stream/views", "http://two/v1/stream/views?from=8"]


def test_a_stream_without_a_height_begins_after_the_latest_block(ask: Ask) -> None:
    script = Script(answer_json(make_block(41)), write_events(42))
    (block,) = ask("one", script.transport, "stream_blocks", take=1)
    assert block.height == 42


def test_a_stream_that_every_node_refuses_ends_with_the_reason(ask: Ask) -> None:
    script = Script(*[answer_problem("block_not_found", 404)] * 3)
    with pytest.raises(ApiProblem, match="block_not_found"):
        ask(URLS, script.transport, "stream_blocks", 5, take=1)
    assert len(script.asked) == 3


def test_attempts_to_stream_come_ever_more_slowly_until_a_block_comes() -> None:
    stream = BlockStream(5)
    pauses = [stream.compute_pause(2) for _ in range(40)]
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSE_SECONDS_MAX


@pytest.mark.parametrize("url", ["ftp://one", "http://", "http://one:port", "http://one:99999", ""])
def test_what_is_no_url_is_told_before_anything_is_sent(url: str) -> None:
    with pytest.raises(CommandError, match="no URL of a node") as refused:
        Client(url)
    assert refused.value.exit_code is ExitCode.USAGE


def test_urls_may_lack_a_scheme_and_come_twice() -> None:
    assert Nodes(["127.0.0.1:27700", "http://127.0.0.1:27700/"]).urls == ["http://127.0.0.1:27700"]
    with pytest.raises(CommandError, match="no URL"):
        Nodes([])


def test_batches_hold_what_a_request_may() -> None:
    transactions = [bytes(100)] * 7
    batches = list(split_batches(transactions, bytes_max=310, transactions_max=500))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert [len(batch) for batch in split_batches(transactions, bytes_max=10**6, transactions_max=2)] == [2, 2, 2, 1]
    assert list(split_batches([bytes(400)], bytes_max=310, transactions_max=2)) == [[bytes(400)]]


def test_methods_are_typed() -> None:
    """Checked by the type checker: without a cast, a status has a height and a block its transactions."""
    script = Script(answer_json(make_block(3)))
    with Client("one", transport=script.transport) as client:
        block: BlockJson = client.block(3)
        height: int = block.height
    assert height == 3
    assert StatusJson.__struct_fields__
