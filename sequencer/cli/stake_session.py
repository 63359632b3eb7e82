"""What every `sequencer stake` command needs: a node that answers, the network it is on, and the right keys."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sequencer.cli.output import talk
from sequencer.cli.status import DEFAULT_HOME, resolve_urls
from sequencer.failures import CommandError, ExitCode

if TYPE_CHECKING:
    from consensus.operations import Operation
    from consensus.signatures import Signer
    from consensus.types import NetworkId
    from sequencer.client import Client
    from sequencer.home import Home
    from sequencer.schema.operations import OperationJson
    from sequencer.schema.status import StatusJson
    from sequencer.schema.validators import ValidatorJson

OPERATIONS_MAX = 1024
"""As many as can wait."""


class StakeSession:
    """One command's talk with one node. `home` is where keys are looked for, None when none was named."""

    def __init__(self, client: "Client", status: "StatusJson", home: "Home | None") -> None:
        from consensus.ledger.staking import TABLE_LEAD

        self.client = client
        self.home = home
        self.epoch: int = status.epoch
        self.network_id: NetworkId = bytes.fromhex(status.network_id[2:])  # type: ignore[assignment]
        self.first_epoch = self.epoch + TABLE_LEAD
        """From which on a change of stake or key counts: the stake tables before are drawn up already."""
        if home is not None and home.network.network_id != self.network_id:
            raise CommandError(
                f"{client.url} is on another network than {home.path}: nothing was signed. Name the home of that "
                "network, or leave out --url to ask the nodes of this one."
            )

    def find_validator(self, name: str) -> "ValidatorJson":
        """Raises `CommandError` that lists who there is."""
        found = self.client.find_validator(name)
        if found is None:
            names = ", ".join(row.name for row in self.client.validators().validators)
            raise CommandError(f'there is no validator "{name}" on this network. There are: {names}', ExitCode.USAGE)
        return found

    def next_nonce(self, account: bytes) -> int:
        """Of the account's next operation, behind those that wait already."""
        known = self.client.find_account(account)
        waiting = self.client.operations(limit=OPERATIONS_MAX).operations
        nonces: list[int] = [row["nonce"] + 1 for row in waiting if row["account"] == _to_hex(account)]
        return max([known.nonce if known else 0, *nonces])

    def submit(self, operation: "Operation", signer: "Signer") -> "OperationJson":
        """Raises `ApiProblem` with the ledger's reason when it is refused."""
        from consensus.operations import sign_operation
        from sequencer.operation_codec import encode_operation

        return self.client.submit_operation(encode_operation(sign_operation(operation, signer, self.network_id)))

    def read_account_key(self, path: Path | None, validator: "ValidatorJson | None") -> "Signer":
        """The key given, else the one in the home that owns this validator, else (for a new one) the treasury's.

        Raises `CommandError` when there is none, or when it is not the owner's.
        """
        from sequencer.keys import read_key

        if path is not None:
            signer = read_key(path)
            if validator is not None and _to_hex(signer.public_key) != validator.owner:
                raise CommandError(
                    f"{path} is not the key of the account that owns {validator.name}: it belongs to "
                    f"{_to_hex(signer.public_key)}, the owner is {validator.owner}"
                )
            return signer
        if self.home is None:
            raise CommandError("name the key file of the account that signs with --key", ExitCode.USAGE)
        if validator is None:
            return read_key(self.home.treasury_path)
        for candidate in (self.home.treasury_path, *(node.key_path for node in self.home.nodes)):
            if candidate.exists():
                signer = read_key(candidate)
                if _to_hex(signer.public_key) == validator.owner:
                    return signer
        raise CommandError(
            f"{self.home.path} holds no key of the account that owns {validator.name} ({validator.owner}). "
            "Name its key file with --key.",
            ExitCode.USAGE,
        )

    def choose_new_key_path(self, path: Path | None, name: str) -> Path:
        """Where the key of a rotation goes. Raises `CommandError` when nobody says, and the home has no such node."""
        from sequencer.keys import get_next_path

        if path is not None:
            return path
        for node in self.home.nodes if self.home else ():
            if node.config.validator == name:
                return get_next_path(node.key_path)
        raise CommandError(f"say with --new-key where the new key of {name} is to lie", ExitCode.USAGE)

    def read_or_make_key(self, path: Path) -> "Signer":
        """The key at `path`; a new one, on disk when this returns, when there is no such file."""
        from sequencer.keys import generate_key, read_key, write_key

        if path.exists():
            return read_key(path)
        signer = generate_key()
        write_key(path, signer)
        talk(f"made a new key: {path}")
        return signer


@contextmanager
def open_session(urls: Sequence[str] | None, home_path: Path | None) -> Iterator[StakeSession]:
    """Talk to the first node that answers. Keys come from the home that was named, else from ./devnet, and from nowhere
    when only URLs were given. Raises `Unreachable` when no node answers.
    """
    from sequencer.home import load_home

    home = None
    if home_path is not None or (not urls and (DEFAULT_HOME / "network.toml").exists()):
        home = load_home(home_path or DEFAULT_HOME)
    with _reach([url for _, url in resolve_urls(urls, home_path)]) as (client, status):
        yield StakeSession(client, status, home)


@contextmanager
def _reach(urls: Sequence[str]) -> Iterator[tuple["Client", "StatusJson"]]:
    """The first node that answers, and what it says of itself."""
    from sequencer.client import Client, Unreachable

    for position, url in enumerate(urls, start=1):
        with Client(url) as client:
            try:
                status = client.status()
            except Unreachable:
                if position == len(urls):
                    raise
                continue
            yield client, status
            return


def _to_hex(public_key: bytes) -> str:
    return "0x" + public_key.hex()
