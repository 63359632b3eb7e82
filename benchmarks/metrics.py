"""What counting costs a node: the figures of one view among four, and one scrape."""

from collections.abc import Callable
from itertools import count
from time import perf_counter

from consensus.leaf import make_genesis
from consensus.messages import FinalizeVote, QuorumVote
from consensus.types import Commitment, Epoch, Height, ValidatorId, View
from sequencer.directory import Directory
from sequencer.home import HomePlan, create_home
from sequencer.metrics import NodeMetrics

ROUNDS = 9
VIEWS = 5000
SCRAPES = 20
VALIDATORS = 4


def measure(run: Callable[[], object], times: int) -> float:
    """Seconds of one, in the best of several rounds: the others were disturbed."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = perf_counter()
        for _ in range(times):
            run()
        best = min(best, (perf_counter() - started) / times)
    return best


def make_view(metrics: NodeMetrics) -> Callable[[], None]:
    """A proposal, the votes of all, a QC, a decide and two writes."""
    leaf = Commitment(bytes(32))
    votes = [
        kind(Epoch(0), View(1), leaf, ValidatorId(voter), b"")
        for kind in (QuorumVote, FinalizeVote)
        for voter in range(VALIDATORS)
    ]
    block = make_genesis(Epoch(0), 1, leaf)
    views = count(1)

    def run() -> None:
        view = next(views)
        metrics.on_proposal(block.commitment, view + 0.1)
        for vote in votes:
            metrics.count_message(vote, "received")
        metrics.on_entered_view(View(view), timed_out=False, now=float(view), led_by=ValidatorId(view % VALIDATORS))
        metrics.on_certified(Height(view))
        metrics.on_decide([block], transactions=7, now=view + 0.2)
        for _ in range(2):
            metrics.fsync_seconds.observe(0.001)

    return run


def main() -> None:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        home = create_home(Path(folder) / "home", HomePlan(stakes=(100,) * VALIDATORS), lambda node: None)
    metrics = NodeMetrics("benchmark", home.network.name, "n0")
    ledger = home.network.context().genesis_ledger
    metrics.on_ledger(ledger, Directory(home.network, ledger))
    print(f"a view of {VALIDATORS} nodes: {measure(make_view(metrics), VIEWS) * 1e6:.1f} us")
    print(f"one scrape: {measure(metrics.render, SCRAPES) * 1e3:.2f} ms, {len(metrics.render()[0]):,} bytes")
