"""The client that is awaited, on Trio and on asyncio."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Self, TypeVar

import anyio
import httpx
import httpx_sse

from sequencer.client import calls
from sequencer.client.binding import awaiting
from sequencer.client.calls import Call
from sequencer.client.errors import ApiProblem, Unreachable
from sequencer.client.exchange import (
    RESET,
    TIMEOUT_SECONDS,
    Nodes,
    OnTurn,
    is_worth_another,
    make_arguments,
    make_options,
    make_problem,
    make_unreachable,
    read_answer,
)
from sequencer.client.streaming import BlockStream, Elsewhere, Stream, ViewStream
from sequencer.failures import CommandError
from sequencer.schema.blocks import BlockJson, TransactionForm
from sequencer.schema.views import ViewJson

Answer = TypeVar("Answer")
Item = TypeVar("Item")


class AsyncClient:
    """Talks to one node, or to several that stand in for each other: when one cannot be reached the next is asked.

    Methods raise `Unreachable` when nobody answers, `ApiProblem` when a node refuses, `UnexpectedAnswer` when it
    answers what is not known here. `timeout_seconds` bounds each wait for the network. Many tasks may use one.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
        on_turn: OnTurn | None = None,
    ) -> None:
        self.nodes = Nodes(urls, on_turn)
        self.timeout_seconds = timeout_seconds
        self._http = httpx.AsyncClient(**make_options(self.nodes.urls, timeout_seconds, transport))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    @property
    def url(self) -> str:
        """Of the node that is asked first."""
        return self.nodes.current

    async def send(self, call: Call[Answer]) -> Answer:
        """Make a request that `sequencer.client.calls` describes; every method below is one."""
        failure: CommandError | None = None
        for url in self.nodes.in_order():
            try:
                return await self._send_to(url, call)
            except (Unreachable, ApiProblem) as error:
                if not is_worth_another(error):
                    raise
                failure = failure or error
                self.nodes.turn_from(url)
        assert failure is not None  # noqa: S101 - there is at least one URL
        raise failure

    async def _send_to(self, url: str, call: Call[Answer]) -> Answer:
        arguments = make_arguments(call, url, self.timeout_seconds)
        try:
            try:
                response = await self._http.request(**arguments)
            except RESET:
                # Mostly an idle connection that the node has closed; no request does harm when it is made twice.
                response = await self._http.request(**arguments)
        except (httpx.HTTPError, OSError) as error:
            raise make_unreachable(url, error) from error
        return read_answer(call, url, response)

    status = awaiting(calls.status)
    limits = awaiting(calls.limits)
    ready = awaiting(calls.ready)
    metrics = awaiting(calls.metrics)
    submit = awaiting(calls.submit)
    promise = awaiting(calls.promise)
    submit_batch = awaiting(calls.submit_batch)
    transaction = awaiting(calls.transaction)
    transaction_proof = awaiting(calls.transaction_proof)
    block = awaiting(calls.block)
    blocks = awaiting(calls.blocks)
    namespaces = awaiting(calls.namespaces)
    namespace = awaiting(calls.namespace)
    finality = awaiting(calls.finality)
    leaf = awaiting(calls.leaf)
    payload = awaiting(calls.payload)
    epoch = awaiting(calls.epoch)
    snapshot = awaiting(calls.snapshot)
    views = awaiting(calls.views)
    view = awaiting(calls.view)
    committees = awaiting(calls.committees)
    schedule = awaiting(calls.schedule)
    ledger = awaiting(calls.ledger)
    find_account = awaiting(calls.find_account)
    validators = awaiting(calls.validators)
    find_validator = awaiting(calls.find_validator)
    submit_operation = awaiting(calls.submit_operation)
    operations = awaiting(calls.operations)
    operation = awaiting(calls.operation)
    changes = awaiting(calls.changes)
    slashings = awaiting(calls.slashings)
    evidence = awaiting(calls.evidence)
    faults = awaiting(calls.faults)

    async def is_ready(self) -> bool:
        """Has decided and is not behind. False also when nothing answers."""
        try:
            await self.ready()
        except (Unreachable, ApiProblem):
            return False
        return True

    async def iterate_blocks(
        self,
        from_height: int = 0,
        *,
        transactions: TransactionForm | None = None,
        namespace: int | None = None,
        finality: bool | None = None,
    ) -> AsyncGenerator[BlockJson, None]:
        """Every finalized block from this height up to the latest one of now."""
        following: int | None = from_height
        while following is not None:
            page = await self.blocks(following, transactions=transactions, namespace=namespace, finality=finality)
            for block in page.blocks:
                yield block
            following = page.next

    async def stream_blocks(
        self,
        from_height: int | None = None,
        *,
        transactions: TransactionForm | None = None,
        namespace: int | None = None,
    ) -> AsyncGenerator[BlockJson, None]:
        """Every finalized block from this height on (else from the next one on), without an end and without a gap.

        Goes on at another node, or at the same one, when a connection ends; raises `ApiProblem` only when all nodes
        refuse. Close the iterator to stop.
        """
        if from_height is None:
            from_height = (await self.block("latest", transactions="none")).height + 1
        stream = BlockStream(from_height, transactions=transactions, namespace=namespace)
        async with aclosing(self._stream(stream)) as blocks:
            async for block in blocks:
                yield block

    def stream_views(self, from_view: int | None = None) -> AsyncGenerator[ViewJson, None]:
        """Views as the node that answers sees them, from this one on (else from the current one on), without an end:
        when each begins, when it has ended, and again when its outcome changes.
        """
        return self._stream(ViewStream(from_view))

    async def _stream(self, stream: Stream[Item]) -> AsyncGenerator[Item, None]:
        """What all connections bring, one after the other."""
        refusals = 0
        while True:
            url, before = self.nodes.current, stream.start
            try:
                async with aclosing(self._follow(url, stream)) as items:
                    async for item in items:
                        yield item
            except ApiProblem as problem:
                refusals += 1
                if refusals >= len(self.nodes.urls) and not is_worth_another(problem):
                    raise
            except (httpx.HTTPError, OSError, Elsewhere):
                refusals = 0
            if stream.start != before:
                refusals = 0
            self.nodes.turn_from(url)
            await anyio.sleep(stream.compute_pause(len(self.nodes.urls)))

    async def _follow(self, url: str, stream: Stream[Item]) -> AsyncGenerator[Item, None]:
        """What one connection brings."""
        async with self._http.stream(**stream.make_arguments(url, self.timeout_seconds)) as response:
            if response.status_code >= httpx.codes.BAD_REQUEST:
                raise make_problem(url, response.status_code, await response.aread())
            async with aclosing(httpx_sse.EventSource(response).aiter_sse()) as events:
                async for event in events:
                    item = stream.read(url, event)
                    if item is not None:
                        yield item
