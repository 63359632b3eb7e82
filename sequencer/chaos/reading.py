"""What the nodes serve once a run has come to rest: chains, ledgers, evidence. Blocking; to be called in a thread."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sequencer.chaos.judge import Block
from sequencer.client import ApiProblem, Unreachable
from sequencer.local_cluster.cluster import LocalCluster

LEDGER_SECONDS: Final = 10.0
"""Nodes decide an empty block twice a second when there is nothing to do: they are soon at one height together."""


@dataclass
class Ledgers:
    """`samples`: height -> node -> commitment."""

    samples: dict[int, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    supplies: set[int] = field(default_factory=set)


def read_chain(cluster: LocalCluster, name: str) -> list[Block]:
    """Everything from height 1 on. Raises `Unreachable` or `ApiProblem`."""
    with cluster.client(name, timeout_seconds=10.0) as client:
        return [
            Block(block.height, block.view, block.hash, block.parent, tuple(block.transactions or ()))
            for block in client.iterate_blocks(1, transactions="hashes")
        ]


def read_ledgers(cluster: LocalCluster, names: Sequence[str]) -> Ledgers:
    """Asked again until all nodes have told of one height, or time is up."""
    read = Ledgers()
    clients = {name: cluster.client(name) for name in names}
    deadline = time.monotonic() + LEDGER_SECONDS
    while time.monotonic() < deadline:
        for name, client in clients.items():
            try:
                ledger = client.ledger()
            except (Unreachable, ApiProblem):
                continue
            read.samples[ledger.height][name] = ledger.commitment
            read.supplies.add(ledger.supply)
        if any(len(ledgers) == len(names) for ledgers in read.samples.values()):
            break
    for client in clients.values():
        client.close()
    return read


def read_accused(cluster: LocalCluster, names: Sequence[str]) -> set[str]:
    """Everybody of whom these nodes hold a proof, or whom a decided leaf has punished for one."""
    accused: set[str] = set()
    for name in names:
        with cluster.client(name) as client:
            evidence = client.evidence(limit=1000)
        accused |= {entry.offender for entry in (*evidence.pending, *evidence.included)}
    return accused
