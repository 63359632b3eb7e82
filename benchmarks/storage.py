"""What storage, index and mempool cost a node, by themselves: medians, and the 99th percentile where it matters.

    python benchmarks/storage.py [--rows 2000000] [--folder DIR]

Everything runs in one process, so the index and the checkpoints share the cores with what is measured, as in a node.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from time import perf_counter

import trio

from consensus.certificates import FinalityCertificate, QuorumCertificate, make_genesis_certificate
from consensus.effects import Batch, Decide
from consensus.leaf import Block, make_genesis, make_leaf
from consensus.payload_tree import compute_payload_commitment
from consensus.safety import SafetyRecord
from consensus.types import Commitment, Epoch, Height, NetworkId, ValidatorId, View
from sequencer.mempool import Mempool
from sequencer.payload import (
    PayloadCache,
    compute_hashes,
    compute_payload_bytes,
    decode_payload,
    encode_payload,
    make_transaction,
)
from sequencer.storage import create_database
from sequencer.storage.sqlite import Durability, SqliteStorage
from sequencer.storage.transaction_index import FLUSH_ROWS, TransactionIndex

TRANSACTION_BYTES = 512
BLOCK_TRANSACTIONS = 500
GENESIS = make_genesis(Epoch(0), 0, Commitment(bytes(32)))
NETWORK = NetworkId(bytes(32))
VALIDATOR = ValidatorId(0)
SIGNATURES = os.urandom(3 * 64)


def show(what: str, seconds: Sequence[float], per: int = 1) -> None:
    ordered = sorted(seconds)
    median = statistics.median(ordered) / per * 1e6
    late = ordered[int(len(ordered) * 0.99)] / per * 1e6
    print(f"{what:<58} {median:>10.2f} {late:>10.2f} µs")


def measure(call: Callable[[], object], times: int = 50) -> list[float]:
    seconds = []
    for _ in range(times):
        started = perf_counter()
        call()
        seconds.append(perf_counter() - started)
    return seconds


def make_transactions() -> list[bytes]:
    """Of one block, all of one namespace."""
    return [make_transaction(7, os.urandom(TRANSACTION_BYTES)) for _ in range(BLOCK_TRANSACTIONS)]


def make_block(parent: Block) -> Block:
    payload = encode_payload(make_transactions())
    view = View(parent.leaf.view + 1)
    leaf = make_leaf(
        parent,
        epoch=Epoch(0),
        view=view,
        proposer=VALIDATOR,
        timestamp_ms=0,
        payload=payload,
        ledger=Commitment(bytes(32)),
        justify_qc=QuorumCertificate(Epoch(0), parent.leaf.view, b"\x0f", SIGNATURES, parent.commitment),
        timeout_certificate=None,
    )
    return Block(leaf, payload)


async def measure_append(folder: Path, durability: Durability, blocks: int) -> None:
    """A node's three writes per view: vote with block, finalize vote, decide."""
    path = folder / f"{durability}.db"
    genesis_qc = make_genesis_certificate(Epoch(0), View(0), GENESIS.commitment)
    record = SafetyRecord.initial(genesis_qc)
    create_database(path, NETWORK, VALIDATOR, record)
    votes: list[float] = []
    finalizes: list[float] = []
    decides: list[float] = []
    with SqliteStorage(path, NETWORK, VALIDATOR, GENESIS, PayloadCache(64), durability) as storage:
        parent = GENESIS
        for _ in range(blocks):
            block = make_block(parent)
            qc = QuorumCertificate(Epoch(0), block.leaf.view, b"\x0f", SIGNATURES, block.commitment)
            fc = FinalityCertificate(Epoch(0), block.leaf.view, b"\x0f", SIGNATURES, block.commitment, qc)
            steps = (
                (votes, Batch(record, (block,), (), ())),
                (finalizes, Batch(record, (), (), ())),
                (decides, Batch(None, (), (Decide((block,), fc),), ())),
            )
            for seconds, batch in steps:
                started = perf_counter()
                await storage.append(batch)
                seconds.append(perf_counter() - started)
            parent = block
    show(f"{durability}: append vote with block of {BLOCK_TRANSACTIONS} x {TRANSACTION_BYTES} B", votes)
    show(f"{durability}: append finalize vote", finalizes)
    show(f"{durability}: append decide, payload opened and indexed", decides)


def measure_index(folder: Path, rows: int) -> None:
    path = folder / "index.db"
    with ThreadPoolExecutor(1) as executor:
        index = TransactionIndex(path, b"benchmark", Height(0), lambda _: (), executor)
        height, adds = 0, []
        started = perf_counter()
        while height * BLOCK_TRANSACTIONS < rows:
            height += 1
            hashes = [os.urandom(32) for _ in range(BLOCK_TRANSACTIONS)]
            adding = perf_counter()
            index.add(Height(height), hashes)
            adds.append(perf_counter() - adding)
            if index.is_behind:
                index.finish_flush()
            if height == 100_000 // BLOCK_TRANSACTIONS:
                show_lookups(index, hashes, "100,000 rows, all in memory")
        index.finish_flush()
        show("index: add, per hash", adds, BLOCK_TRANSACTIONS)
        wall = (perf_counter() - started) / rows * 1e6
        size = sum(file.stat().st_size for file in folder.glob("index.db*")) / rows
        print(f"index: wall time of everything per hash {wall:.2f} µs; {size:.0f} bytes on disk per hash")
        show_lookups(index, hashes, f"{rows:,} rows, {min(rows, FLUSH_ROWS):,} or fewer in memory")
        index.close()
        opening = perf_counter()
        reopened = TransactionIndex(path, b"benchmark", Height(height), lambda _: (), executor)
        print(f"index: opened, filter loaded, in {perf_counter() - opening:.2f} s")
        show_lookups(reopened, hashes, "opened, all on disk")
        reopened.close()


def show_lookups(index: TransactionIndex, known: list[bytes], state: str, repeat: int = 30) -> None:
    fresh = [[os.urandom(32) for _ in range(BLOCK_TRANSACTIONS)] for _ in range(repeat)]
    batches = iter(fresh)
    show(
        f"select_decided, new, {state}",
        measure(lambda: index.select_decided(next(batches)), repeat),
        BLOCK_TRANSACTIONS,
    )
    show(f"select_decided, decided, {state}", measure(lambda: index.select_decided(known), repeat), BLOCK_TRANSACTIONS)


def measure_mempool() -> None:
    mempool = Mempool(bytes_max=2**30, data_bytes_max=2**18, expiry_seconds=600, select_decided=lambda _: frozenset())
    batches = [make_transactions() for _ in range(200)]
    hashes = [compute_hashes(batch) for batch in batches]
    pending = iter(batches)
    show(
        "mempool: add, per transaction, hashing included",
        measure(lambda: mempool.add(next(pending)), 200),
        BLOCK_TRANSACTIONS,
    )
    in_flight = [frozenset(group) for group in hashes[:4]]
    room = compute_payload_bytes(list(chain.from_iterable(batches))[:2000])
    show("mempool: take 2,000 of 100,000, per transaction", measure(lambda: mempool.take(room)), 2000)
    show("mempool: the same behind 2,000 in flight", measure(lambda: mempool.take(room, in_flight)), 2000)
    decided = iter(hashes)
    show(
        "mempool: on_decide, per transaction",
        measure(lambda: mempool.on_decide(next(decided)), 200),
        BLOCK_TRANSACTIONS,
    )
    payload = encode_payload(batches[0])
    show("payload: encode, per transaction", measure(lambda: encode_payload(batches[0])), BLOCK_TRANSACTIONS)
    show(
        "payload: its commitment, per transaction",
        measure(lambda: compute_payload_commitment(payload)),
        BLOCK_TRANSACTIONS,
    )
    show("payload: decode, check, hash, per transaction", measure(lambda: decode_payload(payload)), BLOCK_TRANSACTIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000, help="transactions in the index (default 2,000,000)")
    parser.add_argument("--blocks", type=int, default=600, help="blocks to append (default 600)")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder here by default")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="storage-benchmark-", dir=arguments.folder or Path.cwd()))
    print(f"{'':<58} {'median':>10} {'p99':>10}")
    try:
        measure_mempool()
        trio.run(measure_append, folder, "os", arguments.blocks)
        trio.run(measure_append, folder, "fsync", arguments.blocks)
        measure_index(folder, arguments.rows)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
