"""`sequencer devnet add` and `devnet remove`: change a running devnet's members."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sequencer.cli.output import talk
from sequencer.cli.stake_session import StakeSession, open_session
from sequencer.cli.status import DEFAULT_HOME
from sequencer.failures import CommandError, ExitCode

if TYPE_CHECKING:
    from sequencer.home import Home

POLL_SECONDS = 0.2
INCLUDED_SECONDS = 60.0
"""For an operation to stand in a finalized block: a view or two, on a devnet that works."""
READY_SECONDS = 60.0
"""For the new node to start and to catch up."""

HomeOption = Annotated[Path, typer.Option(help="The home of the running devnet.", envvar="SEQUENCER_HOME")]
TimeoutOption = Annotated[float, typer.Option(help="Seconds that --wait may take.", min=1)]


def add(
    stake: Annotated[
        int | None, typer.Option(help="What it bonds.", min=1, show_default="as much as n0 began with")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What it is called.", show_default="the next number")] = None,
    home: HomeOption = DEFAULT_HOME,
    from_genesis: Annotated[
        bool, typer.Option("--from-genesis", help="Fetch every block instead of beginning with the last epoch's end.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until its stake is active and it votes.")] = False,
    timeout: TimeoutOption = 900.0,
) -> None:
    """Add a validator to the devnet that runs from --home, and start its node there.

    The treasury bonds for it. The node follows the chain at once, and votes and leads when its stake is active, two
    epochs later.
    """
    from consensus.operations import Bond, prove_possession
    from sequencer.keys import read_key
    from sequencer.local_cluster.membership import make_node, plan_newcomer

    with _open(home) as (session, loaded):
        newcomer = plan_newcomer(loaded, name)
        treasury = read_key(loaded.treasury_path)
        operation = Bond(
            treasury.public_key,
            session.next_nonce(treasury.public_key),
            b"",
            newcomer.signer.public_key,
            loaded.network.validators[0].stake if stake is None else stake,
            newcomer.name,
            str(newcomer.listen),
            prove_possession(treasury.public_key, newcomer.signer, session.network_id),
        )
        _await_included(session, session.submit(operation, treasury).id)
        known = session.find_validator(newcomer.name)
        # The devnet that it joins is one's own, so its word about what is final is good enough.
        trusted = "" if from_genesis else session.client.ledger().trusted or ""
        folder = make_node(loaded, newcomer, known.id, trusted)
        talk(f"{newcomer.name} has bonded {known.stake:,} as validator {known.id}; its home is {folder}")
        _await_ready(str(newcomer.api), newcomer.name)
        talk(
            f"{newcomer.name} follows the chain: http://{newcomer.api}. It votes from epoch {session.first_epoch} on; "
            f"now is epoch {session.client.status().epoch}"
        )
        if wait:
            _await(
                lambda: session.find_validator(newcomer.name).status == "active", timeout, f"{newcomer.name} to vote"
            )
            talk(f"{newcomer.name} votes")


def remove(
    name: Annotated[str, typer.Argument(help="The node that is to leave.")],
    home: HomeOption = DEFAULT_HOME,
    wait: Annotated[bool, typer.Option(help="Wait until it has left the stake table, then end its process.")] = True,
    timeout: TimeoutOption = 900.0,
) -> None:
    """Take a validator out of the devnet that runs from --home: all of its stake is unbonded.

    It votes until it has left the stake table, two epochs later; then its process is ended. The stake is paid to its
    owner after the unbonding time. With --no-wait call the command again later to end the process.
    """
    from consensus.operations import Unbond
    from consensus.types import ValidatorId
    from sequencer.local_cluster.membership import take_out

    with _open(home) as (session, loaded):
        known = session.find_validator(name)
        if name not in {node.config.validator for node in loaded.nodes}:
            raise CommandError(f"{home} has no node {name} that runs", ExitCode.USAGE)
        if known.stake:
            owner = session.read_account_key(None, known)
            operation = Unbond(
                owner.public_key, session.next_nonce(owner.public_key), b"", ValidatorId(known.id), known.stake
            )
            _await_included(session, session.submit(operation, owner).id)
            talk(
                f"{name} has unbonded {known.stake:,}: it votes until epoch {session.first_epoch} begins; "
                f"now is epoch {session.client.status().epoch}"
            )
        if wait or not known.weight:
            _await(lambda: not _is_member(session, name), timeout, f"{name} to leave the stake table")
            take_out(loaded, name)
            talk(f"{name} has left; `sequencer stake show` tells when its stake is paid")


def _is_member(session: StakeSession, name: str) -> bool:
    """In the running stake table or the next: a node of either has to be there."""
    known = session.client.find_validator(name)
    return known is not None and bool(known.weight or known.weight_next)


@contextmanager
def _open(home: Path) -> Iterator["tuple[StakeSession, Home]"]:
    """A session with the devnet that runs from this home."""
    from sequencer.home import load_home

    loaded = load_home(home)
    with open_session(None, home) as session:
        yield session, loaded


def _await_included(session: StakeSession, operation_id: str) -> None:
    _await(
        lambda: session.client.operation(operation_id).status == "included",
        INCLUDED_SECONDS,
        "a finalized block with the operation",
    )


def _await_ready(api: str, name: str) -> None:
    from sequencer.client import Client

    with Client(f"http://{api}") as client:
        _await(
            client.is_ready,
            READY_SECONDS,
            f"{name} to start and catch up. The devnet starts it while it runs; its log tells more",
        )


def _await(condition: Callable[[], bool], seconds: float, what: str) -> None:
    from sequencer.client import ApiProblem, Unreachable

    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (ApiProblem, Unreachable):
            pass
        if time.monotonic() > deadline:
            raise CommandError(f"waited {seconds:g} s for {what}", ExitCode.INCONCLUSIVE)
        time.sleep(POLL_SECONDS)
