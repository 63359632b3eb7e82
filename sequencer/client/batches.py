"""Many transactions in requests that a node takes."""

from collections.abc import Iterable, Iterator

from sequencer.client.calls import pack


def split_batches(transactions: Iterable[bytes], *, bytes_max: int, transactions_max: int) -> Iterator[list[bytes]]:
    """Batches that fit into one request each, in order. The bounds stand in `Client.limits`."""
    batch: list[bytes] = []
    size = 0
    for transaction in transactions:
        packed = len(pack(transaction))
        if batch and (size + packed > bytes_max or len(batch) >= transactions_max):
            yield batch
            batch, size = [], 0
        batch.append(transaction)
        size += packed
    if batch:
        yield batch
