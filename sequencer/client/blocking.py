"""The client that blocks."""

import time
from collections.abc import Iterator, Sequence
from typing import Self, TypeVar

import httpx
import httpx_sse

from sequencer.client import calls
from sequencer.client.binding import blocking
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


class Client:
    """Talks to one node, or to several that stand in for each other: when one cannot be reached the next is asked.

    Methods raise `Unreachable` when nobody answers, `ApiProblem` when a node refuses, `UnexpectedAnswer` when it
    answers what is not known here. `timeout_seconds` bounds each wait for the network. Belongs to one thread.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        transport: httpx.BaseTransport | None = None,
        on_turn: OnTurn | None = None,
    ) -> None:
        self.nodes = Nodes(urls, on_turn)
        self.timeout_seconds = timeout_seconds
        self._http = httpx.Client(**make_options(self.nodes.urls, timeout_seconds, transport))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    @property
    def url(self) -> str:
        """Of the node that is asked first."""
        return self.nodes.current

    def send(self, call: Call[Answer]) -> Answer:
        """Make a request that `sequencer.client.calls` describes; every method below is one."""
        failure: CommandError | None = None
        for url in self.nodes.in_order():
            try:
                return self._send_to(url, call)
            except (Unreachable, ApiProblem) as error:
                if not is_worth_another(error):
                    raise
                failure = failure or error
                self.nodes.turn_from(url)
        assert failure is not None  # noqa: S101 - there is at least one URL
        raise failure

    def _send_to(self, url: str, call: Call[Answer]) -> Answer:
        arguments = make_arguments(call, url, self.timeout_seconds)
        try:
            try:
                response = self._http.request(**arguments)
            except RESET:
                # Mostly an idle connection that the node has closed; no request does harm when it is made twice.
                response = self._http.request(**arguments)
        except (httpx.HTTPError, OSError) as error:
            raise make_unreachable(url, error) from error
        return read_answer(call, url, response)

    status = blocking(calls.status)
    limits = blocking(calls.limits)
    ready = blocking(calls.ready)
    metrics = blocking(calls.metrics)
    submit = blocking(calls.submit)
    promise = blocking(calls.promise)
    submit_batch = blocking(calls.submit_batch)
    transaction = blocking(calls.transaction)
    transaction_proof = blocking(calls.transaction_proof)
    block = blocking(calls.block)
    blocks = blocking(calls.blocks)
    namespaces = blocking(calls.namespaces)
    namespace = blocking(calls.namespace)
    finality = blocking(calls.finality)
    leaf = blocking(calls.leaf)
    payload = blocking(calls.payload)
    epoch = blocking(calls.epoch)
    snapshot = blocking(calls.snapshot)
    views = blocking(calls.views)
    view = blocking(calls.view)
    committees = blocking(calls.committees)
    schedule = blocking(calls.schedule)
    ledger = blocking(calls.ledger)
    find_account = blocking(calls.find_account)
    validators = blocking(calls.validators)
    find_validator = blocking(calls.find_validator)
    submit_operation = blocking(calls.submit_operation)
    operations = blocking(calls.operations)
    operation = blocking(calls.operation)
    changes = blocking(calls.changes)
    slashings = blocking(calls.slashings)
    evidence = blocking(calls.evidence)
    faults = blocking(calls.faults)

    def is_ready(self) -> bool:
        """Has decided and is not behind. False also when nothing answers."""
        try:
            self.ready()
        except (Unreachable, ApiProblem):
            return False
        return True

    def iterate_blocks(
        self,
        from_height: int = 0,
        *,
        transactions: TransactionForm | None = None,
        namespace: int | None = None,
        finality: bool | None = None,
    ) -> Iterator[BlockJson]:
        """Every finalized block from this height up to the latest one of now."""
        following: int | None = from_height
        while following is not None:
            page = self.blocks(following, transactions=transactions, namespace=namespace, finality=finality)
            yield from page.blocks
            following = page.next

    def stream_blocks(
        self,
        from_height: int | None = None,
        *,
        transactions: TransactionForm | None = None,
        namespace: int | None = None,
    ) -> Iterator[BlockJson]:
        """Every finalized block from this height on (else from the next one on), without an end and without a gap.

        Goes on at another node, or at the same one, when a connection ends; raises `ApiProblem` only when all nodes
        refuse. Close the iterator to stop.
        """
        if from_height is None:
            from_height = self.block("latest", transactions="none").height + 1
        return self._stream(BlockStream(from_height, transactions=transactions, namespace=namespace))

    def stream_views(self, from_view: int | None = None) -> Iterator[ViewJson]:
        """Views as the node that answers sees them, from this one on (else from the current one on), without an end:
        when each begins, when it has ended, and again when its outcome changes.
        """
        return self._stream(ViewStream(from_view))

    def _stream(self, stream: Stream[Item]) -> Iterator[Item]:
        """What all connections bring, one after the other."""
        refusals = 0
        while True:
            url, before = self.nodes.current, stream.start
            try:
                yield from self._follow(url, stream)
            except ApiProblem as problem:
                refusals += 1
                if refusals >= len(self.nodes.urls) and not is_worth_another(problem):
                    raise
            except (httpx.HTTPError, OSError, Elsewhere):
                refusals = 0
            if stream.start != before:
                refusals = 0
            self.nodes.turn_from(url)
            time.sleep(stream.compute_pause(len(self.nodes.urls)))

    def _follow(self, url: str, stream: Stream[Item]) -> Iterator[Item]:
        """What one connection brings."""
        with self._http.stream(**stream.make_arguments(url, self.timeout_seconds)) as response:
            if response.status_code >= httpx.codes.BAD_REQUEST:
                raise make_problem(url, response.status_code, response.read())
            for event in httpx_sse.EventSource(response).iter_sse():
                item = stream.read(url, event)
                if item is not None:
                    yield item
