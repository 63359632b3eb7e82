"""`sequencer stake`: move stake, come back from jail, change a key, and see who has what at stake and why."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from sequencer.cli.output import OutputFormat, OutputOption, print_json, print_rows, talk
from sequencer.cli.stake_session import StakeSession, open_session
from sequencer.failures import CommandError, ExitCode

if TYPE_CHECKING:
    from consensus.operations import Operation
    from consensus.signatures import Signer
    from sequencer.schema.ledger import AccountJson, LedgerJson
    from sequencer.schema.operations import OperationJson
    from sequencer.schema.validators import ValidatorJson

POLL_SECONDS = 0.2
"""Between two questions whether an operation is included: about a block."""
AMOUNT_MAX = 2**62
"""As much as a stake table holds; kept here because `--help` should not have to load the ledger."""
_UNSIGNED = b""

stake_app = typer.Typer(
    no_args_is_help=True,
    help="Bond and unbond stake, return from jail, change a validator's key, and see where everyone stands.",
)

UrlOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A node's API; when several are given, the first that can be reached is asked.", envvar="SEQUENCER_URL"
    ),
]
HomeOption = Annotated[
    Path | None,
    typer.Option(help="Use the nodes and keys of this home.", envvar="SEQUENCER_HOME", show_default="./devnet"),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key", help="Key file of the account that signs.", show_default="the key in the home that owns the stake"
    ),
]
NameArgument = Annotated[str, typer.Argument(help="Name of the validator.")]
AmountArgument = Annotated[int, typer.Argument(help="In the smallest unit of stake.", min=1, max=AMOUNT_MAX)]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until a finalized block carries it.")]
TimeoutOption = Annotated[float, typer.Option(help="Seconds that --wait may take.", min=0.1, max=300)]


@stake_app.command()
def bond(
    name: NameArgument,
    amount: AmountArgument,
    address: Annotated[
        str, typer.Option(help="host:port at which peers reach a new validator.", show_default="none")
    ] = "",
    validator_key: Annotated[
        Path | None,
        typer.Option(help="Secret key file of a new validator; it is made when there is none.", show_default="none"),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            help="Key file of the account that pays.",
            show_default="the home's treasury for a new validator, else the key in the home that owns the stake",
        ),
    ] = None,
    url: UrlOption = None,
    home: HomeOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Move AMOUNT from an account's balance into the stake of a validator, which begins with it when it is new.

    A new validator needs --validator-key, the key with which its node will sign, and --address.
    """
    with open_session(url, home) as session:
        known = session.client.find_validator(name)
        if known is None:
            signer = session.read_account_key(key, None)
            operation = _plan_newcomer(session, signer.public_key, name, amount, address, validator_key)
        else:
            if validator_key is not None or address:
                raise CommandError(
                    f"{name} is a validator already: leave out --validator-key and --address to add to its stake",
                    ExitCode.USAGE,
                )
            signer = session.read_account_key(key, known)
            operation = _plan_bond(session, signer.public_key, name, amount, bytes.fromhex(known.public_key[2:]))
        _submit(session, operation, signer, name, wait=wait, timeout=timeout, output=output)
        talk(f"it votes from epoch {session.first_epoch} on; now is epoch {session.epoch}")


@stake_app.command()
def unbond(
    name: NameArgument,
    amount: Annotated[int | None, typer.Argument(help="In the smallest unit of stake.", min=1, max=AMOUNT_MAX)] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of it: the validator leaves.")] = False,
    key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Take AMOUNT, or --all, out of a validator's stake.

    It is paid to the account that owns it after the unbonding time, and can be slashed until then.
    """
    from consensus.operations import Unbond
    from consensus.types import ValidatorId

    if (amount is None) == (not everything):
        raise CommandError("say how much: an AMOUNT or --all, one of the two", ExitCode.USAGE)
    with open_session(url, home) as session:
        known = session.find_validator(name)
        signer = session.read_account_key(key, known)
        account = signer.public_key
        taken = known.stake if amount is None else amount
        if not taken:
            raise CommandError(f"{name} has no stake that is bonded")
        operation = Unbond(account, session.next_nonce(account), _UNSIGNED, ValidatorId(known.id), taken)
        _submit(session, operation, signer, name, wait=wait, timeout=timeout, output=output)
        talk(f"`sequencer stake show {name}` tells when it is paid, once it is included")


@stake_app.command()
def unjail(
    name: NameArgument,
    key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Let a validator lead again after its term in jail, on probation. Mend what kept it from leading first."""
    from consensus.operations import Unjail
    from consensus.types import ValidatorId

    with open_session(url, home) as session:
        known = session.find_validator(name)
        signer = session.read_account_key(key, known)
        operation = Unjail(signer.public_key, session.next_nonce(signer.public_key), _UNSIGNED, ValidatorId(known.id))
        _submit(session, operation, signer, name, wait=wait, timeout=timeout, output=output)


@stake_app.command()
def rotate_key(
    name: NameArgument,
    new_key: Annotated[
        Path | None,
        typer.Option(
            help="File for the new secret key; it is made when there is none.",
            show_default="in a home validator.key.next, next to the old one",
        ),
    ] = None,
    key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Give a validator another key to sign with. It makes the new key file, and says from which epoch on that is used.

    The node needs both files until then.
    """
    from consensus.operations import RotateKey, prove_possession
    from consensus.types import ValidatorId

    with open_session(url, home) as session:
        known = session.find_validator(name)
        signer = session.read_account_key(key, known)
        account = signer.public_key
        path = session.choose_new_key_path(new_key, name)
        fresh = session.read_or_make_key(path)
        operation = RotateKey(
            account,
            session.next_nonce(account),
            _UNSIGNED,
            ValidatorId(known.id),
            fresh.public_key,
            prove_possession(account, fresh, session.network_id),
        )
        _submit(session, operation, signer, name, wait=wait, timeout=timeout, output=output)
        talk(
            f"{name} signs with {path} from epoch {session.first_epoch} on; now is epoch {session.epoch}. Restart its "
            f"node before that, with both files in place. Once that epoch has begun, put the new file in the place of "
            f"the old one."
        )


@stake_app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="One validator.", show_default="all of them")] = None,
    url: UrlOption = None,
    home: HomeOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Show what validators have at stake, how they stand, and why: in this epoch and in the next."""
    with open_session(url, home) as session:
        ledger = session.client.ledger()
        if name is None:
            validators = session.client.validators().validators
            answer: dict[str, Any] = {"ledger": ledger, "validators": validators}
        else:
            validators = [session.find_validator(name)]
            answer = {"ledger": ledger, "validator": validators[0]}
            answer["account"] = session.client.find_account(bytes.fromhex(validators[0].owner[2:]))
    if output is OutputFormat.JSON:
        print_json(msgspec.to_builtins(answer))
    elif name is None:
        columns = ("validator", "status", "stake", "weight", "next", "reason")
        print_rows(columns, [[getattr(row, field) for field in _SHOWN] for row in validators])
        talk("\n" + describe_epoch(ledger))
    else:
        print_rows(("", ""), _describe_one(validators[0], answer["account"]))
        talk("\n" + describe_epoch(ledger))


_SHOWN = ("name", "status", "stake", "weight", "weight_next", "reason")


def describe_epoch(ledger: "LedgerJson") -> str:
    """One line: the epoch with its progress, who has the lead, and where slashed stake went."""
    epoch = ledger.epoch
    done = ledger.height - epoch.first_height + 1
    blocks = epoch.last_height - epoch.first_height + 1
    return (
        f"epoch {epoch.number}: {max(0, done)} of {blocks} blocks; {ledger.mode.reason}; "
        f"pool {ledger.pool}, burned {ledger.burned}"
    )


def _describe_one(validator: "ValidatorJson", account: "AccountJson | None") -> list[tuple[str, object]]:
    leader = validator.leader
    unbonding = ", ".join(f"{row.amount} in epoch {row.payable_epoch}" for row in validator.unbonding)
    return [
        ("validator", f"{validator.name} (number {validator.id})"),
        ("status", validator.status),
        ("reason", validator.reason),
        ("stake", validator.stake),
        ("weight now", validator.weight),
        ("weight next", validator.weight_next),
        ("unbonding", unbonding or None),
        ("missed", f"{leader.missed} in a row, {leader.window_misses} of the last {leader.window_slots}"),
        ("bench", f"{leader.bench_turns} turns left" if leader.bench_turns else None),
        ("offences", validator.offences),
        ("address", validator.address),
        ("signs with", validator.voting_key),
        ("next key", validator.public_key if validator.public_key != validator.voting_key else None),
        ("owner", validator.owner),
        ("owner's balance", account.balance if account else 0),
    ]


def _plan_newcomer(
    session: StakeSession, account: bytes, name: str, amount: int, address: str, key_path: Path | None
) -> "Operation":
    import re

    from consensus.operations import NAME_PATTERN, prove_possession
    from sequencer.ports import parse_address

    if not re.fullmatch(NAME_PATTERN, name):
        raise CommandError(
            f'"{name}" is no name for a validator: it is made of a-z, 0-9, _ and -, at most 32 of them', ExitCode.USAGE
        )
    if key_path is None or not address:
        raise CommandError(
            f"{name} is no validator yet. To make it one, give the key with which its node will sign and where its "
            f"peers reach it: sequencer stake bond {name} {amount} --validator-key FILE --address HOST:PORT",
            ExitCode.USAGE,
        )
    try:
        parse_address(address)
    except ValueError as error:
        raise CommandError(f"--address: {error}", ExitCode.USAGE) from error
    validator = session.read_or_make_key(key_path)
    possession = prove_possession(account, validator, session.network_id)
    return _plan_bond(session, account, name, amount, validator.public_key, address, possession)


def _plan_bond(
    session: StakeSession,
    account: bytes,
    name: str,
    amount: int,
    public_key: bytes,
    address: str = "",
    possession: bytes = b"",
) -> "Operation":
    from consensus.operations import Bond

    return Bond(account, session.next_nonce(account), _UNSIGNED, public_key, amount, name, address, possession)


def _submit(
    session: StakeSession,
    operation: "Operation",
    signer: "Signer",
    name: str,
    *,
    wait: bool,
    timeout: float,
    output: OutputFormat,
) -> None:
    answer = session.submit(operation, signer)
    if wait:
        answer = wait_included(session.client.operation, answer, timeout)
    if output is OutputFormat.JSON:
        print_json(msgspec.to_builtins(answer) | {"validator": name, "epoch": session.epoch})
    else:
        print_rows(
            ("operation", "kind", "validator", "status", "height"),
            [[answer.id, answer.kind, name, answer.status, answer.height]],
        )


def wait_included(
    find: "Callable[[str], OperationJson]",
    answer: "OperationJson",
    timeout: float,
    *,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> "OperationJson":
    """Ask until a decided block carries the operation. Raises `CommandError` when that takes longer than `timeout`
    seconds, or when the node has dropped it.
    """
    deadline = clock() + timeout
    while answer.status == "pending":
        if clock() >= deadline:
            raise CommandError(
                f"operation {answer.id} still waits for a block after {timeout:g} s. Is the network deciding? "
                "`sequencer status` tells.",
                ExitCode.INCONCLUSIVE,
            )
        sleep(POLL_SECONDS)
        answer = find(answer.id)
    if answer.status != "included":
        raise CommandError(
            f"the node has dropped operation {answer.id}: the ledger would no longer take it. Another operation of "
            "the same account may have come first; `sequencer stake show` tells where the stake stands."
        )
    return answer
