"""Transactions all through a run, from clients that do what they should: wait for finality, and ask elsewhere.

A transaction counts as acknowledged when a node has said that it is final. Until then its client sends it again, to
another node each time, so nothing may be missing from the chain in the end, and nothing may stand in it twice.
"""

from collections.abc import Mapping
from itertools import count
from random import Random
from typing import Final

import httpx
import msgpack
import trio

from sequencer.payload import compute_transaction_hash

BATCH_SECONDS: Final = 0.1
"""Between two batches."""
WAIT_SECONDS: Final = 5
"""How long a node may take to make a batch final before its client asks another one."""
RETRY_SECONDS: Final = 0.1
PENDING_BATCHES_MAX: Final = 400
"""Of clients that wait at the same time: 40 s without any decide. Beyond that new ones do not come."""
NAMESPACES: Final = 4
"""Batches take turns among them, so that blocks hold several: of rollups that know nothing of each other."""
_MEDIA_TYPE: Final = "application/vnd.msgpack"
_COUNTER_BYTES: Final = 8


class Traffic:
    """`urls` are the APIs by node name. `latencies`: (when submitted, seconds until final), by Trio's clock."""

    def __init__(self, urls: Mapping[str, str], rate: int, transaction_bytes: int, random: Random) -> None:
        self._urls = list(urls.values())
        self._rate = rate
        self._filling = random.randbytes(transaction_bytes - _COUNTER_BYTES)
        self._numbers = count()
        self._batches = count()
        self._turns = count(random.randrange(len(self._urls)))
        self.sent: set[str] = set()
        """Hashes, as the API writes them."""
        self.acknowledged: set[str] = set()
        self.retries = 0
        self.latencies: list[tuple[float, float]] = []
        self._pending = 0
        self._is_stopped = False
        self._nursery: trio.Nursery | None = None
        self._client: httpx.AsyncClient

    async def run(self) -> None:
        """Until `stop`, and then until everything that was sent is acknowledged; or until cancelled."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=2 * len(self._urls))
        timeout = httpx.Timeout(WAIT_SECONDS + 1.0, connect=1.0)
        async with httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False) as self._client:
            async with trio.open_nursery() as self._nursery:
                await self._keep_rate()
            self._nursery = None

    def stop(self) -> None:
        """No new transactions."""
        self._is_stopped = True

    def burst(self, transactions: int) -> None:
        """So many at once, in batches of 500."""
        while transactions > 0:
            self._start(min(transactions, 500))
            transactions -= 500

    async def _keep_rate(self) -> None:
        due = trio.current_time()
        owed = 0.0
        while not self._is_stopped:
            owed += self._rate * BATCH_SECONDS
            if owed >= 1 and self._pending < PENDING_BATCHES_MAX:
                self._start(int(owed))
                owed -= int(owed)
            due += BATCH_SECONDS
            await trio.sleep_until(due)

    def _start(self, transactions: int) -> None:
        if self._nursery is not None and not self._is_stopped:
            self._pending += 1
            self._nursery.start_soon(self._submit, [self._make() for _ in range(transactions)])

    def _make(self) -> bytes:
        return next(self._numbers).to_bytes(_COUNTER_BYTES, "big") + self._filling

    async def _submit(self, batch: list[bytes]) -> None:
        namespace = next(self._batches) % NAMESPACES
        hashes = ["0x" + compute_transaction_hash(namespace, data).hex() for data in batch]
        body = b"".join(msgpack.packb(transaction, use_bin_type=True) for transaction in batch)
        self.sent.update(hashes)
        started = trio.current_time()
        while not await self._try(body, namespace):
            self.retries += 1
            await trio.sleep(RETRY_SECONDS)
        self.acknowledged.update(hashes)
        self.latencies.append((started, trio.current_time() - started))
        self._pending -= 1

    async def _try(self, body: bytes, namespace: int) -> bool:
        """Whether a node says that all of the batch is final."""
        url = self._urls[next(self._turns) % len(self._urls)]
        query = {"namespace": str(namespace), "wait": "finalized", "timeout_s": str(WAIT_SECONDS)}
        try:
            answer = await self._client.post(
                f"{url}/v1/transactions/batch", params=query, content=body, headers={"Content-Type": _MEDIA_TYPE}
            )
            return answer.status_code == httpx.codes.OK and not answer.json()["rejected"]
        except (httpx.HTTPError, ValueError):
            return False
