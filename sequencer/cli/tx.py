"""`sequencer tx`: hand in transactions, and ask what became of one."""

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from sequencer.cli.output import OutputFormat, OutputOption, make_console, print_json, print_rows, talk
from sequencer.cli.status import resolve_urls
from sequencer.failures import CommandError, ExitCode
from sequencer.payload_format import NAMESPACE_MAX

if TYPE_CHECKING:
    from sequencer.client import Client
    from sequencer.schema.transactions import BatchJson, SoftJson, TransactionJson

BATCH_TRANSACTIONS = 500
"""In one request: large enough that a request costs nothing per transaction, small enough for a bar that moves."""
FULL_RETRIES_MAX = 30
"""How often a batch is sent again to a node whose mempool is full, one second apart."""
FULL_RETRY_SECONDS = 1.0

_HASH = re.compile("(0x)?[0-9a-fA-F]{64}")


class Waiting(StrEnum):
    """What `tx submit` waits for."""

    FINALIZED = "finalized"
    SOFT = "soft"


tx_app = typer.Typer(no_args_is_help=True, help="Submit transactions, and ask where one stands.")

UrlOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A node's API; when several are given, the next one is asked when one cannot be reached.",
        envvar="SEQUENCER_URL",
    ),
]
HomeOption = Annotated[
    Path | None, typer.Option(help="Use the nodes of this home.", envvar="SEQUENCER_HOME", show_default="./devnet")
]


@tx_app.command()
def submit(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Files with one transaction in hex a line, - for stdin, or transactions in hex."),
    ] = None,
    namespace: Annotated[
        int,
        typer.Option(
            min=0,
            max=NAMESPACE_MAX,
            help="Whose transactions these are: the number by which a rollup knows its own. Part of their hash.",
        ),
    ] = 0,
    url: UrlOption = None,
    home: HomeOption = None,
    wait: Annotated[
        Waiting | None,
        typer.Option(
            help="finalized: until all of them are final. soft: until the next leader has promised to include each.",
            show_default="not at all",
        ),
    ] = None,
    beneficiary: Annotated[
        str,
        typer.Option(help="Account that is compensated should a soft promise be broken.", show_default="nobody"),
    ] = "",
    timeout: Annotated[float, typer.Option(help="Seconds that --wait may take per batch.", min=0.1, max=300)] = 30.0,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Submit transactions. All lines are checked before the first is sent; sending again what is known does no harm.

    Ends with 1 when the node refused some, with 3 when --wait took longer than --timeout or a promise did not come.
    """
    from sequencer.client import split_batches

    if not sources and sys.stdin.isatty():
        raise CommandError(
            "no transactions given. Name a file with one transaction in hex a line, or pipe such lines in. "
            "Try: sequencer tx submit examples/ethereum-mainnet-transactions.hex",
            ExitCode.USAGE,
        )
    from sequencer.cli.transactions import read_transactions

    client = _open_client(url, home)
    # Reading comes first: what is wrong with the input needs no node to be found out.
    transactions = read_transactions(sources or ["-"])
    limits = client.limits()
    _check_sizes(transactions, limits.transaction_bytes_max)
    batches = split_batches(
        transactions,
        bytes_max=limits.batch_bytes_max,
        transactions_max=min(BATCH_TRANSACTIONS, limits.batch_transactions_max),
    )
    if beneficiary and wait is not Waiting.SOFT:
        raise CommandError("--beneficiary means nothing without --wait soft", ExitCode.USAGE)
    if wait is Waiting.SOFT:
        _submit_softly(client, transactions, namespace, beneficiary, output)
        return
    started = time.monotonic()
    with _progress(len(transactions)) as advance:
        counts, rejected = _send_all(client, batches, namespace, timeout if wait else None, advance)
    seconds = time.monotonic() - started
    report = _make_report(len(transactions), counts, rejected, is_final=wait is not None, seconds=seconds)
    if len(transactions) == 1:
        from sequencer.payload import compute_transaction_hash

        report["hash"] = "0x" + compute_transaction_hash(namespace, transactions[0]).hex()
    _tell_report(report, is_final=wait is not None, output=output)
    if rejected:
        raise CommandError(f"{len(rejected)} of {len(transactions)} transactions were refused; the reasons stand above")


@tx_app.command()
def status(
    transaction_hash: Annotated[
        str,
        typer.Argument(
            metavar="HASH", help="SHA-256 of the namespace (4 bytes, big endian) and the transaction, in hex."
        ),
    ],
    url: UrlOption = None,
    home: HomeOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Say whether a transaction is unknown, pending or finalized, and where it stands in the chain."""
    if not _HASH.fullmatch(transaction_hash):
        raise CommandError(
            f'"{transaction_hash}" is no hash of a transaction: that is 64 hex digits, with or without 0x before them. '
            "`sequencer tx submit` prints it for a single transaction; it is the SHA-256 of its namespace (4 bytes, "
            "big endian) and its data",
            ExitCode.USAGE,
        )
    answer = _open_client(url, home).transaction(transaction_hash)
    if output is OutputFormat.JSON:
        print_json(msgspec.to_builtins(answer))
    else:
        columns = ("hash", "status", "namespace", "height", "position")
        print_rows(columns, [[getattr(answer, column) for column in columns]])


def _open_client(url: list[str] | None, home: Path | None) -> "Client":
    """Of all nodes that were named; when one does not answer the next is asked, and that is told."""
    from sequencer.client import Client

    urls = [each for _, each in resolve_urls(url, home)]
    return Client(urls, on_turn=lambda silent, other: talk(f"{silent} does not answer, asking {other}"))


def _submit_softly(
    client: "Client", transactions: Sequence[bytes], namespace: int, beneficiary: str, output: OutputFormat
) -> None:
    """One after the other, each with its promise."""
    from sequencer.client import ApiProblem

    answers: list[SoftJson | TransactionJson] = []
    refused: list[str] = []
    try:
        for transaction in transactions:
            try:
                answer = client.promise(transaction, namespace=namespace, beneficiary=beneficiary or None)
            except ApiProblem as problem:
                if problem.code != "no_promise":
                    raise
                refused.append(str(problem))
            else:
                answers.append(answer)
    finally:  # however it ends: a promise that nobody hears of is lost
        _tell_promises(answers, refused, output)
    if refused:
        raise CommandError(f"{len(refused)} of {len(transactions)} transactions got no promise", ExitCode.INCONCLUSIVE)


def _tell_promises(
    answers: "Sequence[SoftJson | TransactionJson]", refused: Sequence[str], output: OutputFormat
) -> None:
    from sequencer.schema.transactions import SoftJson, TransactionJson

    promised = [answer.promise for answer in answers if isinstance(answer, SoftJson)]
    if output is OutputFormat.JSON:
        print_json(msgspec.to_builtins(answers))
    elif promised:
        columns = ("transaction", "promiser", "epoch", "first view", "last view")
        print_rows(
            columns, [[getattr(promise, column.replace(" ", "_")) for column in columns] for promise in promised]
        )
    for answer in answers:
        if isinstance(answer, TransactionJson):
            talk(f"{answer.hash} is {answer.status} already: no promise is needed")
    for reason in refused:
        talk(reason)


def _check_sizes(transactions: Sequence[bytes], bytes_max: int) -> None:
    for number, transaction in enumerate(transactions, start=1):
        if len(transaction) > bytes_max:
            raise CommandError(
                f"nothing was sent: transaction {number} has {len(transaction)} bytes, "
                f"and this network takes at most {bytes_max}"
            )


def _send_all(
    client: "Client",
    batches: Iterator[list[bytes]],
    namespace: int,
    wait_seconds: float | None,
    advance: Callable[[int], None],
) -> tuple[Counter[str], list[dict[str, Any]]]:
    """How many were accepted, duplicate and finalized before; what was refused, with its index in the whole input."""
    counts: Counter[str] = Counter()
    rejected: list[dict[str, Any]] = []
    first = 0
    for batch in batches:
        answer = _send(client, batch, namespace, wait_seconds)
        for key in ("accepted", "duplicate", "finalized"):
            counts[key] += getattr(answer, key)
        rejected += [msgspec.to_builtins(refusal) | {"index": refusal.index + first} for refusal in answer.rejected]
        first += len(batch)
        advance(len(batch))
    return counts, rejected


def _send(client: "Client", batch: list[bytes], namespace: int, wait_seconds: float | None) -> "BatchJson":
    from sequencer.client import ApiProblem

    for _ in range(FULL_RETRIES_MAX):
        try:
            return client.submit_batch(batch, namespace=namespace, wait_seconds=wait_seconds)
        except ApiProblem as problem:
            match problem.code:
                case "mempool_full":
                    # What was taken counts as duplicate the next time, so nothing is lost or doubled.
                    time.sleep(FULL_RETRY_SECONDS)
                case "not_finalized_in_time" | "transaction_expired":
                    raise CommandError(str(problem), ExitCode.INCONCLUSIVE) from problem
                case _:
                    raise
    raise CommandError(
        f"the mempool stays full, although {FULL_RETRIES_MAX} attempts were made. Is the network deciding? "
        "`sequencer status` tells."
    )


def _make_report(
    submitted: int, counts: Counter[str], rejected: Sequence[dict[str, Any]], *, is_final: bool, seconds: float
) -> dict[str, Any]:
    return {
        "submitted": submitted,
        "accepted": counts["accepted"],
        "duplicate": counts["duplicate"],
        "finalized_before": counts["finalized"],
        "rejected": rejected,
        "all_final": is_final and not rejected,
        "seconds": round(seconds, 3),
    }


def _tell_report(report: dict[str, Any], *, is_final: bool, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        print_json(report)
        return
    all_final = ("yes" if report["all_final"] else "no") if is_final else "not waited for"
    row = report | {"rejected": len(report["rejected"]), "all_final": all_final}
    print_rows([key.replace("_", " ") for key in row], [list(row.values())])
    for refusal in report["rejected"]:
        talk(f"transaction {refusal['index'] + 1}: {refusal['detail']}")
    if "hash" in report and not is_final:
        talk(f"follow it with: sequencer tx status {report['hash']}")


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("submitting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=make_console(is_talk=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.advance(task, count)
