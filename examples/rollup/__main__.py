"""Four nodes of a rollup execute transfers and agree on every state root, while a leader of the sequencer dies.

python -m examples.rollup
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from time import monotonic

import trio
from nacl.signing import SigningKey
from rich.box import ROUNDED
from rich.table import Table

from consensus.types import Commitment
from examples.narrator import Narrator
from examples.rollup.ledger import Ledger, Outcome
from examples.rollup.node import RollupNode
from examples.rollup.wallet import Wallet
from sequencer.client import AsyncClient
from sequencer.failures import ExitCode, explain_failure
from sequencer.home import BASE_PORT, HomePlan
from sequencer.light.collecting import collect
from sequencer.light.questions import TransactionIn
from sequencer.light.source import NodeSource
from sequencer.local_cluster.cluster import LocalCluster
from sequencer.local_cluster.home import DEVNET_NAME, find_base_port, open_devnet

NODES = 4
NAMESPACE = 4242
WALLETS = 6
COINS_EACH = 1000
TRANSFERS_EACH = 20
WAIT_SECONDS = 30.0
POLL_SECONDS = 0.02


async def run(folder: Path, narrator: Narrator) -> list[str]:
    """The whole story. Returns what did not hold."""
    plan = HomePlan(stakes=(100,) * NODES, name=DEVNET_NAME, base_port=find_base_port(NODES, first=BASE_PORT))
    home, _ = open_devnet(folder / "home", plan)
    with LocalCluster(home) as cluster:
        with narrator.step("a sequencer of four nodes starts") as done:
            cluster.start()
            cluster.wait_ready(timeout_seconds=WAIT_SECONDS)
            done("a sequencer of four nodes decides")
        urls = [cluster.url(name) for name in cluster.names]
        keys = [SigningKey.generate() for _ in range(WALLETS)]
        genesis = {bytes(key.verify_key): COINS_EACH for key in keys}
        # Each asks a sequencer node of its own first, and the others when that one is gone.
        nodes = [
            RollupNode(f"r{number}", [*urls[number:], *urls[:number]], Ledger(NAMESPACE, genesis))
            for number in range(NODES)
        ]
        async with AsyncClient(urls) as client, trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(node.follow)
            wallets = [Wallet(key, NAMESPACE, client) for key in keys]
            last = await _pay_and_kill(cluster, nodes, wallets, narrator)
            with narrator.step("the rollup's nodes are compared") as done:
                faults = find_faults(nodes, WALLETS * COINS_EACH, WALLETS * TRANSFERS_EACH)
                done(
                    f"{NODES} rollup nodes, {len(nodes[0].roots)} state roots each: "
                    f"{'[red]they differ[/]' if faults else f'all the same, the last one {_get_root(nodes[0])}'}"
                )
            nursery.cancel_scope.cancel()
        with narrator.step("a stranger proves the last transfer") as done:
            done(_prove(cluster, last))
        _print_accounts(narrator, nodes[0], wallets)
        return faults


async def _pay_and_kill(
    cluster: LocalCluster, nodes: Sequence[RollupNode], wallets: Sequence[Wallet], narrator: Narrator
) -> str:
    """Everybody pays everybody; when a third of it is executed the leader of the sequencer is killed. Returns the hash
    of a transfer that came after that.
    """
    total = WALLETS * TRANSFERS_EACH
    hashes: list[str] = []

    async def spend(wallet: Wallet, random: Random) -> None:
        for _ in range(TRANSFERS_EACH):
            others = [other.account for other in wallets if other is not wallet]
            hashes.append(await wallet.pay(random.choice(others), random.randint(1, 5)))

    async with trio.open_nursery() as nursery:
        for number, wallet in enumerate(wallets):
            nursery.start_soon(spend, wallet, Random(number))  # noqa: S311 - who pays whom is no secret
        with narrator.step(f"{WALLETS} wallets have {total} transfers ordered in namespace {NAMESPACE}") as done:
            await _wait_until(lambda: min(node.outcomes.total() for node in nodes) >= total // 3)
            done(f"{total} transfers in namespace {NAMESPACE}: a third of them is executed by all four rollup nodes")
        with narrator.step("the sequencer's leader is killed") as done:
            status = await wallets[0].client.status()
            leader, began = status.leader or status.validator, monotonic()
            await trio.to_thread.run_sync(cluster.kill, leader)
            seen = len(hashes)
            await _wait_until(lambda: len(hashes) > seen)
            done(f"[bold]kill -9 {leader}[/]: the next transfer is final {(monotonic() - began) * 1000:.0f} ms later")
    await _wait_until(lambda: min(node.outcomes.total() for node in nodes) >= total)
    return hashes[-1]


def _prove(cluster: LocalCluster, transaction: str) -> str:
    """Trusts the network file alone, and the node that it asks for nothing."""
    question = TransactionIn(Commitment(bytes.fromhex(transaction.removeprefix("0x"))))
    with NodeSource(cluster.url(cluster.running[0]), seconds=WAIT_SECONDS) as source:
        _, proven = collect(source, cluster.home.network.context(), None, question)
    (block,) = proven.blocks
    return (
        f"the last transfer stands in block {block.leaf.height}, which {block.signed.stake} of {block.signed.total} "
        "stake have signed: proven with the network file alone"
    )


def find_faults(nodes: Sequence[RollupNode], coins: int, transfers: int) -> list[str]:
    """What is wrong, in words; nothing when all nodes have executed all transfers and agree on every state root."""
    first, *others = nodes
    faults = [
        f"{node.name} and {first.name} disagree after block {height}"
        for node in others
        for height in sorted(node.roots.keys() | first.roots.keys())
        if node.roots.get(height) != first.roots.get(height)
    ]
    for node in nodes:
        if node.outcomes != {Outcome.APPLIED: transfers}:
            faults.append(f"{node.name} has not applied {transfers} transfers but {dict(node.outcomes)}")
        if node.ledger.supply != coins:
            faults.append(f"{node.name} counts {node.ledger.supply} coins, and there are {coins}")
    return faults


def _get_root(node: RollupNode) -> str:
    return f"0x{node.ledger.compute_root().hex()[:16]}…"


async def _wait_until(condition: Callable[[], bool]) -> None:
    """Raises `trio.TooSlowError`."""
    with trio.fail_after(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is looked at belongs to others
            await trio.sleep(POLL_SECONDS)


def _print_accounts(narrator: Narrator, node: RollupNode, wallets: Sequence[Wallet]) -> None:
    table = Table(box=ROUNDED, title=f"accounts, as {node.name} has them at height {node.height}")
    for column in ("account", "began with", "has", "transfers"):
        table.add_column(column, justify="left" if column == "account" else "right")
    for wallet in wallets:
        account = node.ledger.accounts[wallet.account]
        table.add_row(wallet.account.hex()[:16], str(COINS_EACH), str(account.balance), str(account.nonce))
    narrator.console.print()
    narrator.console.print(table)


def main() -> ExitCode:
    narrator = Narrator()
    try:
        with tempfile.TemporaryDirectory(prefix="sequencer-rollup-") as folder:
            faults = trio.run(run, Path(folder), narrator)
    except (Exception, KeyboardInterrupt) as error:
        failure = explain_failure(error)
        if failure is None:
            raise
        print(f"error: {failure.message}", file=sys.stderr)
        return failure.code
    for fault in faults[:10]:
        narrator.console.print(f"[red]✗[/] {fault}")
    return ExitCode.FAILED if faults else ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
