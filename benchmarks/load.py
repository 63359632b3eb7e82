"""A load generator: raw sockets under Trio, HTTP/1.1 with keep-alive, binary batches that wait for finality.

It must cost little beside the nodes that it loads, for they share the machine: a batch is one buffer in which eight
strided writes make every transaction new, and an answer is looked at only for its status and length.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import trio

NONCE_BYTES: Final = 8
_INDEX_BYTES: Final = 2
_HEADER_BYTES: Final = 3
"""MessagePack: bin 16 with its length."""
_READ_BYTES: Final = 65_536
WAIT_SECONDS: Final = 60


@dataclass(frozen=True)
class LoadPlan:
    """What to send. Closed loop: each connection sends its next batch when the last one is final. With `rate`
    (transactions per second) batches fall due at even intervals whatever the nodes do, and latency counts from then.
    """

    urls: Sequence[str]
    connections: int = 16
    batch_transactions: int = 500
    transaction_bytes: int = 512
    rate: float | None = None
    warmup_seconds: float = 3.0
    measured_seconds: float = 10.0


@dataclass
class LoadResult:
    """`latencies` has one entry per batch that was final within the measured time, in seconds."""

    batch_transactions: int
    started_at: float = 0.0
    ended_at: float = 0.0
    latencies: list[float] = field(default_factory=list)
    refused: int = 0

    @property
    def transactions_per_second(self) -> float:
        return len(self.latencies) * self.batch_transactions / (self.ended_at - self.started_at)


class BatchTemplate:
    """The body of a request; `make` changes every transaction of it."""

    def __init__(self, transactions: int, transaction_bytes: int) -> None:
        if not NONCE_BYTES + _INDEX_BYTES <= transaction_bytes < 2**16 or not 0 < transactions < 2**16:
            raise ValueError("a transaction has 10 to 65,535 bytes, a batch 1 to 65,535 transactions")
        header = b"\xc5" + transaction_bytes.to_bytes(2, "big")
        filling = os.urandom(transaction_bytes - NONCE_BYTES - _INDEX_BYTES)
        self._stride = _HEADER_BYTES + transaction_bytes
        self._count = transactions
        self._body = bytearray().join(
            header + bytes(NONCE_BYTES) + index.to_bytes(2, "big") + filling for index in range(transactions)
        )

    def make(self, nonce: int) -> bytearray:
        for offset, byte in enumerate(nonce.to_bytes(NONCE_BYTES, "big")):
            self._body[_HEADER_BYTES + offset :: self._stride] = bytes([byte]) * self._count
        return self._body


class _Run:
    def __init__(self, plan: LoadPlan) -> None:
        self.plan = plan
        self.result = LoadResult(plan.batch_transactions)
        self._nonce = int.from_bytes(os.urandom(4), "big") << 32

    async def run(self) -> LoadResult:
        send_due, receive_due = trio.open_memory_channel[float](2**20)
        end = self.plan.warmup_seconds + self.plan.measured_seconds
        with trio.move_on_after(end):
            async with trio.open_nursery() as nursery:
                for index in range(self.plan.connections):
                    url = self.plan.urls[index % len(self.plan.urls)]
                    nursery.start_soon(self._work, url, receive_due if self.plan.rate else None)
                if self.plan.rate:
                    nursery.start_soon(self._schedule, send_due, self.plan.rate)
                await trio.sleep(self.plan.warmup_seconds)
                self.result.latencies.clear()
                self.result.started_at = time.monotonic()
        self.result.ended_at = time.monotonic()
        return self.result

    async def _schedule(self, due: trio.MemorySendChannel[float], rate: float) -> None:
        interval = self.plan.batch_transactions / rate
        moment = trio.current_time()
        while True:
            due.send_nowait(moment)
            moment += interval
            await trio.sleep_until(moment)

    async def _work(self, url: str, due: trio.MemoryReceiveChannel[float] | None) -> None:
        parts = urlsplit(url)
        template = BatchTemplate(self.plan.batch_transactions, self.plan.transaction_bytes)
        stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 80)
        head = (
            f"POST /v1/transactions/batch?wait=finalized&timeout_s={WAIT_SECONDS} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Content-Type: application/vnd.msgpack\r\nContent-Length: {len(template.make(0))}\r\n\r\n"
        ).encode()
        async with stream:
            while True:
                started = trio.current_time() if due is None else await due.receive()
                self._nonce += 1
                await stream.send_all(head)
                await stream.send_all(template.make(self._nonce))
                status = await _read_answer(stream)
                if status == 200:
                    self.result.latencies.append(trio.current_time() - started)
                else:
                    self.result.refused += 1


async def _read_answer(stream: trio.SocketStream) -> int:
    """The status of one answer, which is read to its end. Raises `ConnectionError` when the stream ends before."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += await _receive(stream)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        body += await _receive(stream)
    return int(head[9:12])


async def _receive(stream: trio.SocketStream) -> bytes:
    chunk = await stream.receive_some(_READ_BYTES)
    if not chunk:
        raise ConnectionError("the node closed the connection")
    return bytes(chunk)


def run_load(plan: LoadPlan) -> LoadResult:
    """Blocks for the time of the plan."""
    return trio.run(_Run(plan).run)
