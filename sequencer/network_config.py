"""network.toml: what all nodes of a network agree on. Its hash is the network's identity, under every signature."""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from consensus.ledger import Account, LedgerParameters, Profile
from consensus.operations import NAME_PATTERN
from consensus.stake_table import MAX_TOTAL_STAKE, StakeTable, Validator
from consensus.types import NetworkId, ValidatorId
from sequencer.network_sections import (
    PAYLOAD_BYTES_LIMIT,
    AccountConfig,
    Bytes,
    ConsensusSection,
    EpochsSection,
    LeadershipSection,
    Name,
    Section,
    SlashingSection,
    TransactionsSection,
    ValidatorConfig,
)
from sequencer.payload_format import REGION_HEADER_BYTES, TABLE_HEADER_BYTES, TRANSACTION_HEADER_BYTES
from sequencer.toml_file import convert_table, read_table

if TYPE_CHECKING:
    from consensus.context import EpochContext

__all__ = [
    "NAME_PATTERN",
    "NETWORK_FILE",
    "PAYLOAD_BYTES_LIMIT",
    "AccountConfig",
    "Bytes",
    "ConsensusSection",
    "EpochsSection",
    "LeadershipSection",
    "Name",
    "NetworkConfig",
    "Section",
    "SlashingSection",
    "TransactionsSection",
    "ValidatorConfig",
    "load_network",
]

NETWORK_FILE = "network.toml"
PAYLOAD_OVERHEAD_BYTES = TABLE_HEADER_BYTES + REGION_HEADER_BYTES + TRANSACTION_HEADER_BYTES
"""What is around the data in a payload of one transaction, which must fit into an otherwise empty payload."""
VALIDATORS_MAX = 1024
"""Certificates grow with the validators: at this number one takes 44 KiB, and a leaf may carry three."""
ACCOUNTS_MAX = 65_536
"""The whole ledger travels in one message to whoever joins (T5)."""

_NETWORK_TAG = b"sequencer/network/1\0"


class NetworkConfig(Section, frozen=True, kw_only=True):
    """network.toml. Raises `ValueError` when it is inconsistent; `load_network` turns that into a `ConfigError`."""

    name: Annotated[Name, Meta(description="Name of the network, for people and metrics.")]
    genesis_time_ms: Annotated[
        int, Meta(ge=0, le=2**53, description="Timestamp of the block at height 0, in ms since the Unix epoch.")
    ]
    consensus: Annotated[
        ConsensusSection, Meta(description="How the network paces itself. Explained beside each rule in docs/spec.md.")
    ] = ConsensusSection()
    leadership: Annotated[LeadershipSection, Meta(description="Who leads when leaders fail.")] = LeadershipSection()
    slashing: Annotated[SlashingSection, Meta(description="What offences cost.")] = SlashingSection()
    epochs: Annotated[EpochsSection, Meta(description="When stake tables change.")] = EpochsSection()
    transactions: Annotated[TransactionsSection, Meta(description="What counts as a transaction.")] = (
        TransactionsSection()
    )
    accounts: Annotated[
        tuple[AccountConfig, ...],
        Meta(max_length=ACCOUNTS_MAX, description="Tokens that stakers may bond, by account; others begin with none."),
    ] = ()
    validators: Annotated[
        tuple[ValidatorConfig, ...],
        Meta(min_length=1, max_length=VALIDATORS_MAX, description="The stake table, in ascending order of id."),
    ]

    def __post_init__(self) -> None:
        ids = [validator.id for validator in self.validators]
        if ids != sorted(set(ids)):
            raise ValueError("validators must be listed in ascending order of id, each id once")
        for kind, entries in (("validators", self.validators), ("accounts", self.accounts)):
            for field in ("name", "public_key"):
                repeated = _find_repeated(getattr(entry, field) for entry in entries)
                if repeated is not None:
                    raise ValueError(f'two {kind} have the {field} "{repeated}"')
        # All of it may be bonded one day, and a stake table holds no more than this.
        supply = self.stake_table().total + sum(account.balance for account in self.accounts)
        if supply > MAX_TOTAL_STAKE:
            raise ValueError(f"all stakes and balances together ({supply}) are above {MAX_TOTAL_STAKE}")
        room = self.consensus.payload_bytes_max - PAYLOAD_OVERHEAD_BYTES
        if self.transactions.transaction_bytes_max > room:
            raise ValueError(
                f"transactions.transaction_bytes_max ({self.transactions.transaction_bytes_max}) does not fit: "
                f"at most {room} with consensus.payload_bytes_max = {self.consensus.payload_bytes_max}"
            )

    @property
    def network_id(self) -> NetworkId:
        """SHA-256 of the whole file as canonical MessagePack, defaults included: comments and layout do not count."""
        return NetworkId(sha256(_NETWORK_TAG + msgspec.msgpack.encode(self)).digest())

    def stake_table(self) -> StakeTable:
        """Raises `ValueError` when the total is impossible."""
        return StakeTable(
            tuple(Validator(entry.id, bytes.fromhex(entry.public_key), entry.stake) for entry in self.validators)
        )

    def ledger_parameters(self) -> LedgerParameters:
        """The sections leadership, slashing and epochs, as the ledger takes them."""
        return LedgerParameters(
            self.leadership.to_parameters(), self.slashing.to_parameters(), self.epochs.to_parameters()
        )

    def context(self) -> "EpochContext":
        """The facts of the first epoch."""
        # Loading libsodium takes a while, and most commands that read the file need no keys.
        from consensus.context import EpochContext
        from consensus.signatures.ed25519 import Ed25519

        return EpochContext.start_network(
            self.network_id,
            self.stake_table(),
            Ed25519(),
            genesis_time_ms=self.genesis_time_ms,
            parameters=self.consensus.to_parameters(),
            ledger_parameters=self.ledger_parameters(),
            profiles={entry.id: Profile(entry.name) for entry in self.validators},
            owners={entry.id: entry.owner_key for entry in self.validators},
            accounts=[Account(bytes.fromhex(entry.public_key), entry.balance) for entry in self.accounts],
        )

    @property
    def names(self) -> dict[int, str]:
        """Of the first epoch's validators, by number; later ones are in `sequencer.directory`."""
        return {entry.id: entry.name for entry in self.validators}

    def name_of(self, validator_id: ValidatorId) -> str:
        """Raises `KeyError` for a number that the network does not know."""
        for entry in self.validators:
            if entry.id == validator_id:
                return entry.name
        raise KeyError(validator_id)

    def id_of(self, name: str) -> ValidatorId:
        """Raises `KeyError` for a name that the network does not know."""
        return self.validator(name).id

    def validator(self, name: str) -> ValidatorConfig:
        """Raises `KeyError` for a name that the network does not know."""
        for entry in self.validators:
            if entry.name == name:
                return entry
        raise KeyError(name)


def load_network(path: Path) -> NetworkConfig:
    """Raises `ConfigError`."""
    action = "`sequencer init` writes one; node.toml names it with the key `network`"
    return convert_table(read_table(path, action=action), NetworkConfig, path)


def _find_repeated(values: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
