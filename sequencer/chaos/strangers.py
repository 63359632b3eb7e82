"""Clients that do not do what they should: who send what is far too large, and who take nothing of an answer."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import httpx
import trio

from sequencer.failures import CommandError
from sequencer.ports import parse_address

CONNECT_SECONDS: Final = 5.0
RECEIVE_BYTES: Final = 4096
"""What a slow reader's kernel takes for it; the rest waits at the node."""
BATCH_EVERY: Final = 10
"""Every so many is a batch: its body has megabytes, a transaction's thousands of bytes."""

_REFUSED: Final = httpx.codes.REQUEST_ENTITY_TOO_LARGE
_READ_ALL: Final = (
    "GET /v1/stream/blocks?from=0&transactions=full HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n"
)


async def submit_oversize(urls: Sequence[str], count: int, *, transport: httpx.AsyncBaseTransport | None = None) -> int:
    """So many to each node, one by one. How many were refused; a node that does not answer is passed over.

    Raises `CommandError` when a node takes one.
    """
    refused = 0
    async with httpx.AsyncClient(timeout=CONNECT_SECONDS, trust_env=False, transport=transport) as client:
        for url in urls:
            try:
                limits = (await client.get(f"{url}/v1/limits")).json()
                for number in range(count):
                    is_batch = number % BATCH_EVERY == 0
                    size = limits["batch_bytes_max" if is_batch else "transaction_bytes_max"] + 1
                    refused += await _is_refused(client, f"{url}/v1/transactions", size, is_batch=is_batch)
            except httpx.HTTPError:
                continue
    return refused


async def _is_refused(client: httpx.AsyncClient, url: str, size: int, *, is_batch: bool) -> bool:
    media_type = "application/vnd.msgpack" if is_batch else "application/octet-stream"
    try:
        answer = await client.post(
            f"{url}/batch" if is_batch else url, content=bytes(size), headers={"Content-Type": media_type}
        )
    except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        return True  # it hung up in the middle of it
    if answer.status_code != _REFUSED:
        raise CommandError(f"{url} answers {answer.status_code} to {size} bytes, which are more than it says to take")
    return True


@asynccontextmanager
async def open_slow_readers(urls: Sequence[str], count: int) -> AsyncIterator[int]:
    """So many at each node, until the end of the context. Yields how many are connected."""
    async with AsyncExitStack() as stack:
        connected = 0
        for url in urls:
            for _ in range(count):
                stream = await _open_slow_reader(url)
                if stream is not None:
                    stack.push_async_callback(trio.aclose_forcefully, stream)
                    connected += 1
        yield connected


async def _open_slow_reader(url: str) -> trio.SocketStream | None:
    """None when the node does not answer."""
    host, port = parse_address(url.removeprefix("http://"))
    reader = trio.socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        with trio.fail_after(CONNECT_SECONDS):
            await reader.connect((host, port))
            stream = trio.SocketStream(reader)
            await stream.send_all(_READ_ALL.format(host=host).encode())
            return stream
    except (OSError, trio.BrokenResourceError, trio.TooSlowError):
        reader.close()
        return None
