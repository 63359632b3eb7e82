"""From what was read of the nodes to lines of a verdict. Nothing here asks anybody anything."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from netsim.scenario.outcome import Line, Verdict

MEMORY_SLACK_BYTES: Final = 48 * 2**20
"""Caches, pools of the allocator and the blocks kept in memory fill up in the first minute of any process."""
MEMORY_BYTES_PER_SECOND: Final = 512 * 1024
"""Beyond that. A leak of one block per block at these rates is above it, what a healthy node gains is far below."""
DESCRIPTOR_SLACK: Final = 4
"""A client that is about to leave, a file that is about to be closed."""
_SHOWN_MAX: Final = 3


@dataclass(frozen=True)
class Block:
    """A decided block as a node serves it. `transactions` are hashes."""

    height: int
    view: int
    hash: str
    parent: str
    transactions: tuple[str, ...]


Chain = Sequence[Block]
"""From height 1 on."""


@dataclass(frozen=True)
class Process:
    """What one process held, from its first sample to its last."""

    node: str
    seconds: float
    first_bytes: int
    last_bytes: int


def judge_agreement(chains: Mapping[str, Chain]) -> Line:
    """Every node serves the same block at each height, each the child of the one before."""
    what = "agreement"
    shortest = min(map(len, chains.values()), default=0)
    if not shortest:
        return Line(what=what, verdict=Verdict.INCONCLUSIVE, detail="a node serves no block")
    for name, chain in chains.items():
        for place, block in enumerate(chain):
            if block.height != place + 1 or (place and block.parent != chain[place - 1].hash):
                return _fail(what, f"{name}: the block at height {block.height} does not continue the one before")
    reference = next(iter(chains))
    for name, chain in chains.items():
        for mine, theirs in zip(chains[reference], chain, strict=False):
            if mine != theirs:
                return _fail(what, f"{reference} and {name} differ at height {mine.height}: {mine.hash}, {theirs.hash}")
    return _pass(what, f"equal chains on {len(chains)} nodes, up to height {shortest}")


def judge_ledgers(samples: Mapping[int, Mapping[str, str]], nodes: Collection[str], supplies: Collection[int]) -> Line:
    """`samples`: height -> node -> what it says that its ledger is. `supplies`: all sums of money that were told."""
    what = "ledger"
    for height, ledgers in samples.items():
        if len(set(ledgers.values())) > 1:
            return _fail(what, f"at height {height}: {', '.join(f'{name} {each}' for name, each in ledgers.items())}")
    if len(set(supplies)) > 1:
        return _fail(what, f"the supply was {' and '.join(map(str, sorted(set(supplies))))}")
    heights = [height for height, ledgers in samples.items() if set(ledgers) >= set(nodes)]
    if not heights:
        return Line(what=what, verdict=Verdict.INCONCLUSIVE, detail="never seen on all nodes at the same height")
    return _pass(what, f"equal on {len(nodes)} nodes at height {max(heights)}, supply unchanged")


def judge_transactions(
    chain: Chain, sent: Collection[str], acknowledged: Collection[str], altered_max: int = 0
) -> Line:
    """Each acknowledged transaction once, none twice, none that nobody sent.

    `altered_max`: chunks that a corrupt link has altered. What it does to a transaction on its way from one mempool to
    the next makes another one: they are opaque here, and it is the rollup that knows whose signature is missing.
    """
    what = "acknowledged transactions"
    counts = Counter(hash_ for block in chain for hash_ in block.transactions)
    lost = [hash_ for hash_ in acknowledged if not counts[hash_]]
    if lost:
        return _fail(what, f"{len(lost)} of {len(acknowledged)} are not in the chain: {_show(lost)}")
    twice = [hash_ for hash_, count in counts.items() if count > 1]
    if twice:
        return _fail(what, f"{len(twice)} stand in it several times: {_show(twice)}")
    strange = [hash_ for hash_ in counts if hash_ not in sent]
    if len(strange) > altered_max:
        return _fail(what, f"{len(strange)} were sent by nobody: {_show(strange)}")
    altered = f"; {len(strange)} others were altered on a corrupt link" if strange else ""
    return _pass(what, f"{len(acknowledged):,}, each exactly once{altered}")


def judge_memory_of_decides(regressions: Sequence[str]) -> Line:
    what = "decided stays decided"
    return _fail(what, _show(regressions)) if regressions else _pass(what, "no node ever fell behind its own height")


def judge_ends(ended: Sequence[str], defects: Sequence[str]) -> Line:
    """`ended`: processes that ended though nobody had told them to, or otherwise than told."""
    what = "processes"
    if ended or defects:
        return _fail(what, _show([*ended, *defects]))
    return _pass(what, "none ended by itself, no error in a log")


def judge_pending(sent: int, acknowledged: int) -> Line:
    what = "every client was answered"
    if acknowledged < sent:
        return _fail(what, f"{sent - acknowledged:,} of {sent:,} transactions were not final in time")
    return _pass(what, f"{sent:,} transactions are final")


def judge_memory(processes: Sequence[Process]) -> Line:
    what = "flat memory"
    if not processes:
        return Line(what=what, verdict=Verdict.INCONCLUSIVE, detail="no process lived long enough to say, or no /proc")
    grown = {process: process.last_bytes - process.first_bytes for process in processes}
    for process, growth in grown.items():
        if growth > MEMORY_SLACK_BYTES + MEMORY_BYTES_PER_SECOND * process.seconds:
            detail = f"{process.node} grew by {growth / 2**20:.0f} MiB in {process.seconds:.0f} s"
            return _fail(what, f"{detail}, to {process.last_bytes / 2**20:.0f} MiB")
    worst = max(grown, key=lambda process: grown[process])
    return _pass(what, f"at most {grown[worst] / 2**20:+.0f} MiB ({worst.node}, in {worst.seconds:.0f} s)")


def judge_descriptors(before: Mapping[str, int], after: Mapping[str, int]) -> Line:
    """Open descriptors by node, at rest."""
    what = "no leaked descriptors"
    compared = before.keys() & after.keys()
    if not compared:
        return Line(what=what, verdict=Verdict.INCONCLUSIVE, detail="they cannot be counted here")
    leaks = [
        f"{name} has {after[name]}, had {before[name]}"
        for name in sorted(compared)
        if after[name] > before[name] + DESCRIPTOR_SLACK
    ]
    if leaks:
        return _fail(what, _show(leaks))
    most, former = max(after[name] for name in compared), max(before[name] for name in compared)
    return _pass(what, f"at most {most} open, {former} before")


def judge_triggers(untriggered: Sequence[str]) -> list[Line]:
    if not untriggered:
        return []
    detail = f"never came to be: {', '.join(untriggered)}"
    return [Line(what="triggers", verdict=Verdict.INCONCLUSIVE, detail=detail)]


def _show(items: Collection[str]) -> str:
    first = list(items)[:_SHOWN_MAX]
    return "; ".join(first) + (f"; and {len(items) - len(first)} more" if len(items) > len(first) else "")


def _pass(what: str, detail: str) -> Line:
    return Line(what=what, verdict=Verdict.PASS, detail=detail)


def _fail(what: str, detail: str) -> Line:
    return Line(what=what, verdict=Verdict.FAIL, detail=detail)
